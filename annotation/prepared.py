"""The desk's statements as prepared ones, several to a round trip.

Django puts values into the text of a statement, so PostgreSQL parses and plans it anew each time: for the statements of
every label that is most of what they cost. A connection prepares each of these once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from psycopg import Cursor
from psycopg.types.numeric import Int8


def run(statement: str, values: dict[str, Any]) -> Cursor[Any]:
    """Execute one statement on Django's connection, within its transaction; the cursor has the rows."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = Cursor(connection.connection)
        cursor.execute(statement, _same_types(values), prepare=True)
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": "0"})
    return cursor


@contextmanager
def together() -> Iterator[None]:
    """What is run in here goes out in one round trip; its rows may be fetched afterwards.

    Each statement still sees what was committed before it began. Wants a transaction.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def _same_types(values: dict[str, Any]) -> dict[str, Any]:
    """All whole numbers as bigint: psycopg takes the smallest type that fits, and each mixture is prepared anew."""
    return {name: _same_type(value) for name, value in values.items()}


def _same_type(value: Any) -> Any:
    if type(value) is int:
        return Int8(value)
    if type(value) is list and value and type(value[0]) is int:
        return [Int8(number) for number in value]
    return value
