"""After a test that commits, the tables are empty again: by deleting from the few that have rows.

Django truncates every table and makes the content types and permissions anew, which takes several times as long; and
hundreds of tests commit.
"""

import threading
import time
from functools import cache

from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import OperationalError, connection

KEPT = {"django_content_type", "auth_permission"}  # the same in every test
PATIENCE_S = 5
TRIES = 5
LARGE = 2**20  # bytes: a larger table is truncated, so that the rows deleted in it slow nobody down


@cache
def _tables() -> list[str]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(names) - KEPT)


@cache
def may_skip_triggers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return cursor.fetchone()[0]


def _are_others_at_work() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
            "AND xact_start IS NOT NULL"
        )
        return bool(cursor.fetchone()[0]) or bool(requests.under_way())


class Requests:
    """Those that the live server is at, each in a thread of its own."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        request_started.connect(self._begun)
        request_finished.connect(self._ended)

    def _begun(self, **_: object) -> None:
        if threading.current_thread() is not threading.main_thread():  # a test's own client
            self._threads.add(threading.current_thread())

    def _ended(self, **_: object) -> None:
        self._threads.discard(threading.current_thread())

    def under_way(self) -> int:
        return sum(thread.is_alive() for thread in self._threads.copy())


requests = Requests()


def _wait_for_the_others() -> None:
    """A page that was closed gives its tasks back while it goes: what a request writes now would stay behind."""
    end = time.monotonic() + PATIENCE_S
    while _are_others_at_work() and time.monotonic() < end:
        time.sleep(0.02)


def _delete_rows() -> list[str]:
    """The tables that had any."""
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{name}', pg_relation_size('\"{name}\"') > {LARGE} WHERE EXISTS (SELECT 1 FROM \"{name}\")"
                for name in _tables()
            )
        )
        found = cursor.fetchall()
        large = [f'"{name}"' for name, is_large in found if is_large]
        # As a replica: nothing is checked row by row, for all of it goes.
        work = ["BEGIN", "SET LOCAL session_replication_role = replica"]
        work += [f'DELETE FROM "{name}"' for name, is_large in found if not is_large]
        if large:
            work.append(f"TRUNCATE {', '.join(large)} CASCADE")
        if found:
            cursor.execute("; ".join([*work, "COMMIT"]))
    return [name for name, _ in found]


def empty_tables(test_case: object = None) -> None:
    """In place of TransactionTestCase._fixture_teardown."""
    if not may_skip_triggers():  # on a server that DATABASE_URL names
        call_command("flush", verbosity=0, interactive=False, allow_cascade=True)
        return
    left: object = None
    for _ in range(TRIES):
        _wait_for_the_others()
        try:
            left = _delete_rows()
        except OperationalError as error:
            # A request that came late and this waited for each other, and PostgreSQL ended this. The next test must not
            # get a connection on which a failed transaction is open, nor the rows of this one.
            connection.close()
            left = error
        if not left:
            return
    raise AssertionError(f"After {TRIES} tries the tables are not empty: {left}")
