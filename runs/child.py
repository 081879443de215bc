"""The process in which handlers run: a child of one worker thread, kept for the next run so that models stay loaded.

It reads one JSON line per run from standard input and answers with one on its first standard output. A crash, an
out-of-memory kill or a hang in C code takes only this process; the worker tells the run's row.
"""

import io
import json
import logging
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from adproof.processes import die_with_parent

log = logging.getLogger("runs.child")
HEARTBEAT_S = 2.0


class Heartbeat(threading.Thread):
    """Renews the lease while the handler works; ends the process when the run is somebody else's."""

    def __init__(self, run: Any) -> None:
        super().__init__(daemon=True)
        self.run_row = run
        self.over = threading.Event()

    def run(self) -> None:
        from django.db import Error, connection

        misses = 0
        while not self.over.wait(HEARTBEAT_S):
            try:
                if not self.run_row.renew() and not self.over.is_set():
                    log.error("run %s is held by another worker now: this process ends", self.run_row.pk)
                    os._exit(4)
                misses = 0
            except Error:
                # The database is away for a moment: the lease may lapse, and then the fence keeps us from writing.
                misses += 1
                connection.close()
                if misses > 30:
                    os._exit(5)
        connection.close()


def work_on(run_id: int, fence: int) -> None:
    """Run the handler of this run and write how it ended, all under our fence."""
    from django.db import transaction
    from django.db.models import F
    from django.utils import timezone

    from config.full_disk import is_full_disk
    from runs.actions import part_paused, rest_waiting_parts, start_followers
    from runs.context import BudgetUsedUp, PauseRequested, RunContext, StopRequested, Superseded
    from runs.kinds import kind_of
    from runs.models import Run, settle_parent

    run = Run.objects.filter(pk=run_id, fence=fence, state=Run.State.RUNNING).first()
    if run is None:
        return
    kind = kind_of(run.kind)
    assert kind.handler is not None
    beat = Heartbeat(run)
    beat.start()
    started = time.monotonic()
    state, result, error, was_full = Run.State.SUCCEEDED, {}, "", False
    try:
        result = kind.handler(RunContext(run)) or {}
    except StopRequested:
        state = Run.State.STOPPED
    except PauseRequested:
        beat.over.set()  # what is put back is not renewed: the heartbeat would take it for somebody else's, and end us
        part_paused(run)
        return
    except BudgetUsedUp as spent:
        state, result = Run.State.SPENT, spent.result
    except Superseded:
        log.warning("run %s was taken over by another worker", run_id)
        return
    except Exception as problem:  # noqa: BLE001 - whatever a handler raises belongs to its run
        state = Run.State.FAILED
        error, was_full = _sentence(problem), is_full_disk(problem)
        traceback.print_exc()
    finally:
        beat.over.set()
    with transaction.atomic():
        values: dict[str, Any] = {
            "state": state,
            "error": error[:4000],
            "finished_at": timezone.now(),
            "stage": "",
        }
        if result:
            values["result"] = result
        if state == Run.State.SUCCEEDED:
            values["done"] = F("total")
        if not run.held().update(**values):
            return
        run.refresh_from_db()
        run.log(f"{run.get_state_display()} after {time.monotonic() - started:.1f} s. {error}".strip())
        if state == Run.State.SUCCEEDED:
            start_followers(run)
    if was_full:  # the other parts would work for nothing, one after the other
        rest_waiting_parts(run.parent_id, Run.State.STOPPED)
    settle_parent(run.parent_id)


def _sentence(problem: Exception) -> str:
    from config.full_disk import is_full_disk
    from runs.context import BadInput

    if _is_out_of_memory(problem):
        return "Out of memory: use smaller batches, or a worker with more memory, and resume."
    if is_full_disk(problem):
        return "The disk is full: free some space (data folder), then resume. Nothing half-written was kept."
    if isinstance(problem, (BadInput, OSError)) and str(problem):
        return str(problem)
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _is_out_of_memory(problem: Exception) -> bool:
    """Torch has words of its own for it, and is not loaded here."""
    told = type(problem).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(problem)
    return isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and told)


class _Log(io.FileIO):
    """What a handler prints. On a full disk it is lost, and the run can still tell how it ended."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _printing_to(descriptor: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Log(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", line_buffering=True)


def _open_log(path: Path) -> int:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return os.open(os.devnull, os.O_WRONLY)


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout, sys.stderr = _printing_to(1), _printing_to(2)
    import django

    django.setup()
    from django.conf import settings
    from django.db import connections

    answers.write(json.dumps({"ready": os.getpid()}) + "\n")
    for line in sys.stdin:
        order = json.loads(line)
        log_file = _open_log(Path(settings.RUN_LOGS_DIR) / f"{order['run']}.log")
        os.dup2(log_file, 1)
        os.dup2(log_file, 2)
        os.close(log_file)
        work_on(order["run"], order["fence"])
        sys.stdout.flush()
        sys.stderr.flush()
        connections.close_all()
        answers.write(json.dumps({"done": order["run"]}) + "\n")


if __name__ == "__main__":
    main()
