"""Stop in the middle of a long statement of the database, instead of after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from django.db import Error, OperationalError, connection

from runs.context import RunContext, StopRequested

LOOK_EVERY_S = 0.5


@contextmanager
def stoppable(ctx: RunContext) -> Iterator[None]:
    """While this is open, asking the run to stop cancels the statement that is running, and raises StopRequested here.

    What was not committed is rolled back by the transaction that the statement belongs to.
    """
    connection.ensure_connection()
    asked, over = threading.Event(), threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(ctx, connection.connection, asked, over), name="stop watcher", daemon=True
    )
    watcher.start()
    try:
        yield
    except (OperationalError, psycopg.errors.QueryCanceled) as error:
        # Of a COPY it comes as psycopg's own.
        if asked.is_set() and isinstance(error.__cause__ or error, psycopg.errors.QueryCanceled):
            raise StopRequested from error
        raise
    finally:
        over.set()
        watcher.join()  # so that no statement after this one is cancelled


def _watch(ctx: RunContext, working: psycopg.Connection, asked: threading.Event, over: threading.Event) -> None:
    try:
        while not over.wait(LOOK_EVERY_S):
            with suppress(Error, psycopg.Error):  # away for a moment: the statement itself will say so
                if ctx.run.held().values_list("stop_requested", flat=True).first():
                    asked.set()
                    # Again and again: it may come between two statements, and then does nothing.
                    working.cancel_safe(timeout=5)
    finally:
        connection.close()
