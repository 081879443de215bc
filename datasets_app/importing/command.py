"""`manage.py dataset import KIND PATH`: looks first, and imports unless told to look only."""

from __future__ import annotations

import os
import threading
import time
from argparse import _SubParsersAction
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.db import connection

from adproof.imports.problems import BadImport
from datasets_app.importing.order import KINDS, Order, start
from datasets_app.importing.shown import table_lines
from runs.models import Run


def add_arguments(verbs: _SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("import", help="bring products, candidates, labels or a version in")
    parser.add_argument(
        "kind", choices=list(KINDS), help="; ".join(f"{name}: {about}" for name, (_, about) in KINDS.items())
    )
    parser.add_argument("path", help="a file or folder, or an address (http, https) of an allowed host")
    parser.add_argument("--dry-run", action="store_true", help="only show what would happen")
    parser.add_argument("--source", default="", help="the name that it is known by (default: the kind)")
    parser.add_argument("--category", default="", help="of products that have none")
    parser.add_argument("--labels", default="", help="what raw labels mean: '0=available, 1=unsuitable, ...'")
    parser.add_argument("--no-cut-out", action="store_true", help="leave pictures without transparency out")
    parser.add_argument("--queue", action="store_true", help="leave the work to a worker")


def import_it(options: dict[str, Any], write: Callable[[str], Any]) -> None:
    is_url = options["path"].startswith(("http://", "https://"))
    order = Order(
        kind=options["kind"], path="" if is_url else options["path"], url=options["path"] if is_url else "",
        source=options["source"] or options["kind"], category=options["category"], labels=options["labels"],
        cuts_out=not options["no_cut_out"], dry_run=options["dry_run"],
    )  # fmt: skip
    try:
        run = start(order, anywhere=True)
    except BadImport as error:
        raise CommandError(str(error)) from error
    write(f"{run.title}: run {run.pk}")
    if options["queue"]:
        return
    if run.claim(f"dataset command {os.getpid()}"):
        threading.Thread(target=_work_here, args=(run.pk, run.fence)).start()
    _watch(run, write)
    for line in table_lines(run):
        write(line)
    if run.state != Run.State.SUCCEEDED:
        raise CommandError(run.error or f"The run was {run.state}; manage.py dataset import again goes on with it.")


def _work_here(run_id: int, fence: int) -> None:
    from runs.child import work_on

    try:
        work_on(run_id, fence)
    finally:
        connection.close()


def _watch(run: Run, write: Callable[[str], Any]) -> None:
    """A line whenever the run's row says something new, until it has ended."""
    said = ""
    while not run.is_finished:
        time.sleep(0.2)
        run.refresh_from_db()
        line = f"  {run.stage}: {run.done:,}" + (f" of {run.total:,}" if run.total else "")
        if run.stage and line != said:
            write(line)
            said = line
