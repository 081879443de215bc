"""pytest plugin (-p config.testing): a fresh database and a data folder for the tests, before Django reads its settings.

The database is made here and not by pytest-django, because the broker connects to the same one when Django starts.
"""

import atexit
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("ADPROOF_DATA", str(Path(__file__).resolve().parent.parent / "data" / "test"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["DEBUG"] = "1"  # static files straight from their folders: the tests need no collectstatic
os.environ["ADPROOF_DEMO"] = "0"
os.environ["ADPROOF_TESTING"] = "1"

from config.database import ensure_database  # noqa: E402

_is_ours = "DATABASE_URL" not in os.environ
SERVER_URL = ensure_database()
NAME = f"adproof_pytest_{os.getpid()}"


def on_server(statement: str) -> list[tuple[str]]:
    with psycopg.connect(SERVER_URL, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _drop_left_overs() -> None:
    """Databases of test runs that were killed."""
    for (name,) in on_server("SELECT datname FROM pg_database WHERE datname LIKE 'adproof_pytest_%'"):
        if not _is_running(int(name.rsplit("_", 1)[1])):
            on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _do_not_wait_for_the_disk() -> None:
    """Nothing here must outlive a power cut; tests of what does (test_desk_faults, test_loop) have servers of their own."""
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        on_server(f"ALTER SYSTEM SET {name} = off")
    on_server("SELECT pg_reload_conf()")


if _is_ours:
    _do_not_wait_for_the_disk()
_drop_left_overs()
on_server(f'CREATE DATABASE "{NAME}"')
atexit.register(on_server, f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')
_parts = urlsplit(SERVER_URL)
os.environ["DATABASE_URL"] = urlunsplit(_parts._replace(path=f"/{NAME}"))
