"""Seconds and memory of freezing a dataset version, of counting before, and of comparing two such versions.

Makes a platform's rows by SQL (products, candidates, three answers each, consensus; no pictures) in an embedded
PostgreSQL in a temporary folder, freezes a version, lets people and a reviewer change some labels, freezes the next one
and compares both. The first freeze also gives every product its split. Memory is what the processes own (RssAnon):
this one, and PostgreSQL's together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import _cpu
from bench._platform import platform

ROWS = 1_000_000
LIMITS = {"freeze_s": 60, "diff_s": 30}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench freeze", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="samples that are frozen")
    parser.add_argument("--quick", action="store_true", help="20,000 rows")
    args = parser.parse_args(argv)
    rows = 20_000 if args.quick else args.rows
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder, platform(Path(folder)):
        result = _bench(Path(folder), rows)
    _table(result)
    print(json.dumps(result))


def _bench(folder: Path, rows: int) -> dict[str, Any]:
    from datasets_app import compare
    from datasets_app.actions import preview

    postgres = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    started = time.monotonic()
    _fill(rows)
    print(f"rows made in {time.monotonic() - started:.0f} s", file=sys.stderr)
    machine, wall = _cpu.of_machine(), time.monotonic()
    used = _cpu.of_trees(postgres) + time.process_time()
    result: dict[str, Any] = {}
    with _peak(postgres) as peak:
        result["preview_s"], seen = _timed(lambda: preview({}, "ads"))
        before = _cpu.of_trees(postgres) + time.process_time()
        result["freeze_s"], first = _timed(_freeze)
        result["freeze_cpu_s"] = round(_cpu.of_trees(postgres) + time.process_time() - before, 1)
        if first.row_count != rows:
            raise SystemExit(f"{first.row_count:,} rows were frozen, not {rows:,}")
        _change()
        result["second_freeze_s"], second = _timed(_freeze)
        before = _cpu.of_trees(postgres) + time.process_time()
        result["diff_s"], found = _timed(lambda: compare.summary(first, second))
        result["diff_cpu_s"] = round(_cpu.of_trees(postgres) + time.process_time() - before, 1)
        result["page_ms"] = max(
            round(1000 * _timed(lambda what=what: compare.changed(first, second, what, after=rows // 2))[0], 1)
            for what in compare.WHAT
        )
    others = _cpu.of_machine() - machine - (_cpu.of_trees(postgres) + time.process_time() - used)
    return {
        "rows": first.row_count, "second_rows": second.row_count, "products": first.leak_check["products"],
        "is_preview_exact": seen["is_exact"], **result, **found["totals"], **peak,
        "others_cpu_share": round(max(0.0, others / ((time.monotonic() - wall) * (os.cpu_count() or 1))), 2),
        "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _fill(rows: int) -> None:
    from django.db import connection

    from bench import _catalogue_rows as made_by
    from bench._rows import settle

    n = -(-rows * 100 // round(made_by.DONE * 100))
    while int(n * made_by.DONE) > rows:
        n -= 1
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the rows are right: millions of look-ups are saved
    made = made_by._people()
    made |= made_by._candidates(n, made)
    made |= made_by._tasks(n, made)
    made_by._consensus(n, made)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("SELECT count(*) FROM annotation_consensus")
        # What the rounding of DONE leaves over.
        cursor.execute(
            "DELETE FROM annotation_consensus WHERE id IN (SELECT id FROM annotation_consensus ORDER BY id DESC LIMIT %s)",
            [max(0, cursor.fetchone()[0] - rows)],
        )
    settle()


def _freeze() -> Any:
    from datasets_app.actions import freeze
    from runs.models import Run

    return freeze("ads", {}, Run.objects.create(kind="freeze", title="Freeze ads"))


def _change() -> None:
    """One label in fifty is another (half by a reviewer, half by a fit), one sample in a hundred is not complete any more."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE annotation_consensus SET label = (label + 1) % 5, method = 'review' WHERE id % 100 = 1")
        cursor.execute("UPDATE annotation_consensus SET label = (label + 1) % 5, method = 'crowdlab' WHERE id % 100 = 2")
        cursor.execute("UPDATE annotation_consensus SET is_complete = false WHERE id % 100 = 3")
        cursor.execute("VACUUM ANALYZE annotation_consensus")


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    found = work()
    return round(time.monotonic() - started, 2), found


@contextmanager
def _peak(postgres: int) -> Iterator[dict[str, int]]:
    """{"peak_mb": of this process, "peak_postgres_mb": of the server's processes together}, looked at ten times a second."""
    peak = {"peak_mb": 0, "peak_postgres_mb": 0}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            own = _owned_kb(os.getpid())
            server = sum(_owned_kb(pid) for pid in _children(postgres))
            peak["peak_mb"] = max(peak["peak_mb"], own // 1024)
            peak["peak_postgres_mb"] = max(peak["peak_postgres_mb"], server // 1024)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peak
    finally:
        done.set()
        looking.join()


def _children(parent: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def _owned_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def _table(result: dict[str, Any]) -> None:
    rows = [
        ("", "Adproof", "limit"),
        ("samples", f"{result['rows']:,}", ""),
        ("products", f"{result['products']:,}", ""),
        ("count before, s", result["preview_s"], ""),
        ("freeze, s", result["freeze_s"], f"under {LIMITS['freeze_s']}"),
        ("  CPU seconds of it", result["freeze_cpu_s"], ""),
        ("next freeze, s", result["second_freeze_s"], f"under {LIMITS['freeze_s']}"),
        ("compare both, s", result["diff_s"], f"under {LIMITS['diff_s']}"),
        ("  CPU seconds of it", result["diff_cpu_s"], ""),
        ("a page of changes, ms", result["page_ms"], ""),
        ("peak of this process, MB", result["peak_mb"], ""),
        ("peak of PostgreSQL, MB", result["peak_postgres_mb"], ""),
        ("CPU others had", f"{result['others_cpu_share']:.0%}", ""),
        ("load of the machine", f"{result['load']} on {result['cores']}", ""),
    ]
    for name, ours, limit in rows:
        print(f"{name:<28}{ours!s:>14}{limit:>14}")
