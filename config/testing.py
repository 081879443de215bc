"""pytest plugin (-p config.testing): a PostgreSQL and a data folder for the tests, before Django reads its settings."""

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("ADPROOF_DATA", str(Path(__file__).resolve().parent.parent / "data" / "test"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["DEBUG"] = "1"  # static files straight from their folders: the tests need no collectstatic
os.environ["ADPROOF_DEMO"] = "0"

from config.database import ensure_database  # noqa: E402

ensure_database()
