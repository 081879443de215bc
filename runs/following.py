"""A command that starts a run and shows how far it is. The run is the same one as a page's: it outlives the command."""

from __future__ import annotations

import os
import socket
import threading
import time
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandError
from django.db import connection

from runs.actions import hand_back
from runs.models import Run
from runs.progress_bar import ProgressBar

POLL_S = 0.2
INTERRUPTED = 130


def add_waiting(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wait", action=BooleanOptionalAction, default=True,
        help="follow the run until it has ended; --no-wait leaves it to the workers",
    )  # fmt: skip
    parser.add_argument("--queue", action="store_false", dest="wait", help="the same as --no-wait")


def follow(run: Run, out: Any, *, wait: bool = True, unit: str = "samples") -> None:
    """Until it has ended: this process works on it unless a worker was first. Ctrl-C gives it to the workers.

    Raises: CommandError: it failed or was stopped, with what to do; return code 130 after Ctrl-C.
    """
    out.write(f"{run.title}: run {run.pk}, page /runs/{run.pk}/")
    if not wait:
        out.write(f"It is left to the workers (manage.py up, or manage.py work). {how_to_look(run)}")
        return
    mine = run.claim(f"{socket.gethostname()}:{os.getpid()}:command")
    if mine:
        threading.Thread(target=_work_here, args=(run.pk, run.fence), daemon=True).start()
    try:
        _watch(run, ProgressBar(out, unit))
    except KeyboardInterrupt:
        if mine:
            _leave_to_workers(run)
        raise CommandError(
            f"The run goes on without you, by the workers. {how_to_look(run)}", returncode=INTERRUPTED
        ) from None
    if run.state != Run.State.SUCCEEDED:
        again = "Nothing whole is lost: the same command, or Resume on its page, goes on with it."
        raise CommandError(run.error or f"Run {run.pk} was {run.state}. {again}")


def tell_until_ended(run: Run, out: Any) -> None:
    """A line whenever something has changed; the work is the workers'."""
    shown = ""
    while True:
        run.refresh_from_db()
        line = f"{run.done:,} of {run.total:,} {run.state_words.lower()}"
        if line != shown:
            out.write(line)
            shown = line
        if run.is_finished:
            return
        time.sleep(POLL_S)


def how_to_look(run: Run) -> str:
    return f"Look at it, or stop it, at /runs/{run.pk}/."


def _watch(run: Run, bar: ProgressBar) -> None:
    try:
        while not run.is_finished:
            time.sleep(POLL_S)
            run.refresh_from_db()
            if run.stage:
                bar.tell(run.stage, run.done, run.total)
    finally:
        bar.end()


def _leave_to_workers(run: Run) -> None:
    """Back into the queue with all that this process holds of it; what it still does is fenced off."""
    this = f"{socket.gethostname()}:{os.getpid()}:"
    parts = Run.objects.filter(parent=run, state=Run.State.RUNNING, worker__startswith=this)
    for row in (*parts, run):
        hand_back(row.pk, row.fence)


def _work_here(run_id: int, fence: int) -> None:
    from runs.child import work_on

    try:
        work_on(run_id, fence)
    finally:
        connection.close()
