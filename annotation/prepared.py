"""The desk's statements as prepared ones, several to a round trip.

Django puts values into the text of a statement, so PostgreSQL parses and plans it anew each time, and answers each one
before it hears the next: for the statements of every label that is most of what they cost. Here a connection prepares
each of them once, with one plan for all values (plan_cache_mode in the settings), and those that go together are sent
together. Each still sees what was committed before it began.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from annotation.statements import TYPES

Rows = list[tuple[Any, ...]]
_VALUE = re.compile(r"%\((\w+)\)s")
_PREPARED = "adproof_prepared"  # names, kept at the connection itself: it goes from request to request


@dataclass(frozen=True)
class _Prepared:
    name: str
    prepare: str
    execute: str


@cache
def _prepared(statement: str) -> _Prepared:
    names = list(dict.fromkeys(_VALUE.findall(statement)))
    name = f"adproof_{hashlib.sha256(statement.encode()).hexdigest()[:16]}"
    types = ", ".join(TYPES[value] for value in names)
    body = _VALUE.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    return _Prepared(
        name,
        f"PREPARE {name} {f'({types}) ' if names else ''}AS {body}",
        _execute(name, names),
    )


def _execute(name: str, names: list[str]) -> str:
    return f"EXECUTE {name} ({', '.join(f'%({value})s' for value in names)})" if names else f"EXECUTE {name}"


def run(*statements: str, values: Mapping[str, Any], begin: bool = False, commit: bool = False) -> list[Rows]:
    """Send these in one round trip, on Django's connection and within its transaction; the rows of each."""
    connection.ensure_connection()
    texts = list(statements)
    if settings.DATABASE_PREPARES:
        texts = [_ready(statement) for statement in statements]
    with connection.cursor() as cursor:
        cursor.execute("; ".join(["BEGIN"] * begin + texts + ["COMMIT"] * commit), values)
        results = [_fetched(cursor)]
        while cursor.nextset():
            results.append(_fetched(cursor))
    return results[begin : len(results) - commit]


def _fetched(cursor: Any) -> Rows:
    return cursor.fetchall() if cursor.description is not None else []


def _ready(statement: str) -> str:
    """Its EXECUTE, after the connection has prepared it."""
    prepared = _prepared(statement)
    known = connection.connection.__dict__.setdefault(_PREPARED, set())
    if prepared.name not in known:
        with connection.cursor() as cursor:
            cursor.execute(prepared.prepare)
        known.add(prepared.name)
    return prepared.execute


class Trips:
    """A transaction in few round trips: its beginning goes with the first statements, its end with the last."""

    def __init__(self, *, own: bool) -> None:
        self._own, self._begun, self._ended = own, False, False

    def run(self, *statements: str, values: Mapping[str, Any], last: bool = False) -> list[Rows]:
        begin, self._begun = self._own and not self._begun, True
        found = run(*statements, values=values, begin=begin, commit=last and self._own)
        self._ended = last
        return found

    def end(self, how: str) -> None:
        if self._own and self._begun and not self._ended:
            with connection.cursor() as cursor:
                cursor.execute(how)


@contextmanager
def trips() -> Iterator[Trips]:
    """A transaction: committed at the end (with the statement that was said to be the last, if one was), or not at all.

    Within another transaction it is a part of that one, with a savepoint, as transaction.atomic is.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            yield Trips(own=False)
        return
    own = Trips(own=True)
    try:
        yield own
    except BaseException:
        try:
            own.end("ROLLBACK")
        except DatabaseError:  # it is away, and so is what we began
            connection.close()
        raise
    own.end("COMMIT")
