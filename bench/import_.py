"""How fast labels come in: rows of a table as annotations and consensus of candidates that are here, by the run of any import.

Beside it Label Studio's JSON import, measured on two cores like these: 2,500 to 3,800 tasks a second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._platform import platform

LABEL_STUDIO = (2500, 3800)  # tasks/s
LABELS = ("available", "space mismatch", "size mismatch", "indistinctiveness", "shape hallucination")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench import", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shuffled", action="store_true", help="in no order, as no export has them")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
        result = _bench(Path(folder), args)
    print(json.dumps(result))


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    with platform(folder):
        table = _prepare(folder, args)
        first = _import(table)
        again = _import(table)
        return _told(first, again, args)


def _prepare(folder: Path, args: argparse.Namespace) -> Path:
    """So many candidates with tasks of people, as they are before anybody answered; and a table that labels each."""
    from django.db import connection

    from bench._rows import fill, settle

    fill(args.rows, overlap=1)
    order = "random()" if args.shuffled else "id"
    table = folder / "labels.csv"
    with connection.cursor() as cursor:
        # As keys are: their first digits differ, and say nothing of the order.
        cursor.execute("UPDATE generation_candidate SET key = encode(sha256(id::text::bytea), 'hex')")
        with table.open("w") as file:
            file.write("sample_id,label\n")
            cursor.execute(f"SELECT 'c-' || left(key, 20), id FROM generation_candidate ORDER BY {order}")
            while rows := cursor.fetchmany(10_000):
                file.writelines(f"{sample},{LABELS[pk % 5]}\n" for sample, pk in rows)
    settle()
    return table


def _import(table: Path) -> dict[str, Any]:
    from datasets_app.importing.order import Order, start
    from datasets_app.importing.shown import shown
    from runs.child import work_on

    before = _cpu_s()
    started = time.perf_counter()
    run = start(Order(kind="candidates", path=str(table), source="bench", dry_run=False), anywhere=True)
    assert run.claim("bench")
    work_on(run.pk, run.fence)
    seconds = time.perf_counter() - started
    run.refresh_from_db()
    if run.state != "succeeded":
        raise SystemExit(f"the import {run.state}: {run.error}")
    counts = {row["name"]: row["count"] for row in shown(run)["counts"]}
    return {"seconds": seconds, "cpu_s": _cpu_s() - before, "counts": counts}


def _cpu_s() -> float:
    """Of this process and the database, which is its child's child."""
    from django.db import connection

    from bench._cpu import of_trees

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    return of_trees(os.getpid(), backend)


def _told(first: dict[str, Any], again: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    from annotation.models import Annotation, Consensus

    rows = first["counts"].get("labels_new", 0)
    stored = (Annotation.objects.count(), Consensus.objects.count())
    if rows != args.rows or stored != (args.rows, args.rows) or again["counts"] != {"labels_known": args.rows}:
        raise SystemExit(f"wrong: {rows:,} new, {stored} stored, again {again['counts']}")
    rate, load = rows / first["seconds"], os.getloadavg()[0]
    print(f"{rows:,} label rows, load {load:.1f} on {os.cpu_count()} cores")
    print(f"{'':34}{'rows/s':>10}{'rows per CPU second':>22}")
    print(f"{'import (annotation + consensus)':34}{rate:>10,.0f}{rows / first['cpu_s']:>22,.0f}")
    print(f"{'the same again (nothing new)':34}{rows / again['seconds']:>10,.0f}{rows / again['cpu_s']:>22,.0f}")
    print(f"{'Label Studio, JSON (tasks)':34}{LABEL_STUDIO[0]:>4,}-{LABEL_STUDIO[1]:,}")
    return {
        "rows": rows,
        "rows_per_s": round(rate),
        "rows_per_cpu_s": round(rows / first["cpu_s"]),
        "again_rows_per_s": round(rows / again["seconds"]),
        "times_label_studio": [round(rate / most, 1) for most in reversed(LABEL_STUDIO)],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(load, 1),
    }
