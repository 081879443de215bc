"""Real workers, as separate processes on the test's own database."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from runs.actions import start_in_parts
from tests import trial_kinds  # noqa: F401 - the workers know them by EXTRA_TASKS

ROOT = Path(__file__).resolve().parent.parent


def database_url() -> str:
    values = connection.settings_dict
    host = quote(values["HOST"], safe="")
    port = f":{values['PORT']}" if values["PORT"] else ""
    password = f":{quote(values['PASSWORD'], safe='')}" if values["PASSWORD"] else ""
    return f"postgresql://{values['USER']}{password}@{host}{port}/{values['NAME']}"


def environment(**more: str) -> dict[str, str]:
    return {
        **os.environ, "DATABASE_URL": database_url(), "ADPROOF_DATA": str(settings.DATA_DIR), "EXTRA_TASKS": "tests.trial_kinds",
        "SECRET_KEY": settings.SECRET_KEY, "PYTHONPATH": str(ROOT), **more,
    }  # fmt: skip


def start_worker(*queues: str, threads: int = 1, **more: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "manage.py"), "work", "--queues", *(queues or ("heavy", "light")), "--threads", str(threads)]
    return subprocess.Popen(command, env=environment(**more), cwd=ROOT, start_new_session=True)


def kill(process: subprocess.Popen) -> None:
    """kill -9 of the worker alone; its children must notice by themselves."""
    process.send_signal(signal.SIGKILL)
    process.wait()


@contextmanager
def workers(n: int = 1, *queues: str, **options):
    running = [start_worker(*queues, **options) for _ in range(n)]
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def all_up(n: int) -> None:
    """Until n workers on the light queue have taken a part of one run, each with a child that is ready."""
    parts = [{"n": 1, "meet": n}] * (4 * n)  # a worker fetches some before it can do them
    run = start_in_parts("trial_parts", "trial_count", parts, params={})
    wait_until(lambda: type(run).objects.get(pk=run.pk).is_finished)


def wait_until(check, seconds: float = 120, every: float = 0.2):
    """The first true value of `check`, or the failure after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {check}")
