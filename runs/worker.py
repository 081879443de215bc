"""The worker's side of a run: claim the row, hand it to a child process, and see how that ends."""

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
import weakref
from pathlib import Path

from django.conf import settings

from runs.actions import hand_back, worker_lost
from runs.models import Run

# A child that is not ready by then hangs: it ends, and its run is told of.
START_S = 300
NOT_STARTED = "its process did not start: the worker's own log says why"

_local = threading.local()
_children: "weakref.WeakSet[Child]" = weakref.WeakSet()
_stopping = threading.Event()


class Child:
    """One resident child process per worker thread."""

    def __init__(self) -> None:
        environment = {
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
            "OMP_NUM_THREADS": "1",
            **os.environ,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runs.child", str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            cwd=settings.BASE_DIR, text=True, bufsize=1,
        )  # fmt: skip
        _children.add(self)
        if _stopping.is_set():  # told in this very moment, before this one was known
            self.process.terminate()
        late = threading.Timer(START_S, self.process.kill)
        late.daemon = True
        late.start()
        self.ready = bool(self.process.stdout.readline())
        late.cancel()

    def work_on(self, run: Run) -> int | None:
        """None when the child finished the run and lives on; else its exit status."""
        try:
            self.process.stdin.write(json.dumps({"run": run.pk, "fence": run.fence}) + "\n")
            self.process.stdin.flush()
            if self.process.stdout.readline():
                return None
        except OSError:
            pass
        return self.process.wait()

    @property
    def is_alive(self) -> bool:
        return self.ready and self.process.poll() is None


def _child() -> Child:
    child = getattr(_local, "child", None)
    if child is None or not child.is_alive:
        child = _local.child = Child()
    return child


def stop_children() -> None:
    """This worker is told to end: its children end now, and their runs go back to the queue."""
    _stopping.set()
    for child in list(_children):
        child.process.terminate()


def advance(run_id: int) -> None:
    """Do the next piece of work of this run. Called for every message; most doubts end with doing nothing."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None or run.is_finished or run.state == Run.State.WAITING or _stopping.is_set():
        return
    if run.state == Run.State.RUNNING and Run.objects.lapsed().filter(pk=run_id).exists():
        worker_lost(run.pk, run.fence, "its worker was not heard of any more")
        return
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    # Before the run is ours: nobody renews its lease while a child starts, which takes a busy machine longer than that.
    child = _child()
    if not run.claim(name):
        return
    status = child.work_on(run)
    if status is not None and _stopping.is_set():
        hand_back(run.pk, run.fence)
    elif status is not None:
        worker_lost(run.pk, run.fence, f"{_how(status) if child.ready else NOT_STARTED}{log_tail(run.pk)}")


def _how(status: int) -> str:
    if status == -9:
        return "its process was killed (signal 9: by somebody, or by the system for want of memory)"
    return f"its process died with signal {-status}" if status < 0 else f"its process ended with status {status}"


def log_tail(run_id: int, lines: int = 5) -> str:
    path = Path(settings.RUN_LOGS_DIR) / f"{run_id}.log"
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4000))
            tail = file.read().decode(errors="replace").strip().splitlines()[-lines:]
    except OSError:
        return ""
    return "\n" + "\n".join(tail) if tail else ""
