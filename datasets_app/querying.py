"""`manage.py dataset query NAME/vN SQL`: ad-hoc questions to a version's files, answered as a table or CSV."""

import csv
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from adproof.shards.query import MAX_ROWS, SECONDS, QueryError, query, shown
from datasets_app.models import DatasetVersion

WIDEST = 60


def add_arguments(verbs: Any) -> None:
    parser = verbs.add_parser("query", help="ask a version's files by SQL (DuckDB), read-only")
    parser.add_argument("version", help="such as ads/v3")
    parser.add_argument("sql", help="one SELECT from train, validation, test, or samples (all, with their split)")
    parser.add_argument("--rows", type=int, default=MAX_ROWS, help="at most so many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at most so long (%(default)s)")
    parser.add_argument("--csv", action="store_true", help="comma-separated instead of a table")


def answer(version: DatasetVersion, options: dict[str, Any], out: Any, warn: Callable[[str], Any]) -> None:
    """Print what the statement finds. Raises CommandError with a sentence."""
    if version.state != DatasetVersion.State.WRITTEN:
        raise CommandError(f"{version} has no files yet: manage.py dataset write {options['version']}")
    try:
        found = query(version.uri, options["sql"], max_rows=options["rows"], seconds=options["seconds"])
    except (QueryError, ValueError, OSError) as problem:
        raise CommandError(str(problem)) from problem
    cells = [[shown(cell) for cell in row] for row in found.rows]
    if options["csv"]:
        csv.writer(out, lineterminator="\n").writerows([found.columns, *cells])
    else:
        for line in table(found.columns, cells):
            out.write(line + "\n")
    if found.is_cut:
        warn(f"Only the first {len(cells):,} rows: aggregate, add LIMIT, or ask with --rows.")


def table(columns: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    lines = [[cell if len(cell) <= WIDEST else cell[: WIDEST - 1] + "…" for cell in row] for row in [columns, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
