"""After a test that commits, the tables are empty again: by deleting from the few that have rows.

Django truncates every table and makes the content types and permissions anew, which takes several times as long; and
hundreds of tests commit.
"""

import time
from functools import cache

from django.core.management import call_command
from django.db import connection

KEPT = {"django_content_type", "auth_permission"}  # the same in every test
PATIENCE_S = 5
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


def _wait_for_the_others() -> None:
    """A page that was closed gives its tasks back while it goes: what a request writes now would stay behind."""
    end = time.monotonic() + PATIENCE_S
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
                "AND xact_start IS NOT NULL"
            )
            if not cursor.fetchone()[0]:
                return
            time.sleep(0.02)


def empty_tables(test_case: object = None) -> None:
    """In place of TransactionTestCase._fixture_teardown."""
    if not may_skip_triggers():  # on a server that DATABASE_URL names
        call_command("flush", verbosity=0, interactive=False, allow_cascade=True)
        return
    _wait_for_the_others()
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
