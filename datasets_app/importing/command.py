"""`manage.py dataset import KIND PATH`: looks first, and imports unless told to look only."""

from __future__ import annotations

from argparse import _SubParsersAction
from typing import Any

from django.core.management.base import CommandError

from adproof.imports.problems import BadImport
from datasets_app.importing.order import KINDS, Order, start
from datasets_app.importing.shown import table_lines
from runs.following import add_waiting, follow


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
    add_waiting(parser)


def import_it(options: dict[str, Any], out: Any) -> None:
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
    try:
        follow(run, out, wait=options["wait"], unit="rows")
    finally:
        for line in table_lines(run) if run.is_finished else ():
            out.write(line)
