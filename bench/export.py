"""Writing a dataset version: how fast beside plain pyarrow, how much memory, and how fast without pictures.

Makes samples (rows in an embedded PostgreSQL, four pictures each in the store) in a temporary folder, and writes them by
the same run that workers would do: database, the check of every picture against its sha256, fsync, the reading of every
shard from the disk, card and manifest included. A run's parts are its shards; as many workers as the platform starts (2)
share them, each a process that has written before, as a worker's is kept. The yardstick writes the same row groups of the
same shards with the same settings, so the same bytes, from memory by nothing but pyarrow in one process, and leaves its
files to the system to bring to the disk. The pictures of the comparison have the size that those of 512 px candidates
have on average (bench read makes such ones). Memory is the peak of a process (VmHWM), the largest of a run's workers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import _cpu
from bench._export_rows import fill
from bench._platform import platform

# What Label Studio's JSON export, which has no pictures, was measured at: 300 to 470 tasks a second.
LABEL_STUDIO_ROWS_PER_S = (300, 470)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench export", description=__doc__)
    parser.add_argument("--rate-rows", type=int, default=4000, help="samples of the comparison with pyarrow")
    parser.add_argument("--rate-kb", type=int, default=168, help="size of each of their four pictures")
    parser.add_argument("--rows", type=int, nargs=2, default=[2000, 20_000], help="samples whose peak memory is compared")
    parser.add_argument("--kb", type=int, default=15, help="size of each of their four pictures")
    parser.add_argument("--repeats", type=int, default=3, help="turns of the comparison; the best of each counts")
    parser.add_argument("--workers", type=int, default=2, help="processes that share a run's shards, as on the platform")
    parser.add_argument("--tmp", type=Path, help="where the temporary folder is made")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="adproof-bench-", dir=args.tmp) as folder:
        print(json.dumps(_bench(Path(folder), args)))


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    with platform(folder, "ERROR"):
        return _measure(args)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    small, large = args.rows
    versions = {"warm": fill("warm", 200, 1), "rate": fill("rate", args.rate_rows, args.rate_kb)}
    versions |= {"small": fill("small", small, args.kb), "large": fill("large", large, args.kb)}
    load = os.getloadavg()[0]
    ours, plain = [], []
    for turn in range(args.repeats):  # in turn, so that a busy moment of the machine hits both
        ours.append(_child("write", args.workers, versions["warm"], versions["rate"], "full", turn))
        plain.append(_child("plain", 1, versions["warm"], versions["rate"], "full", turn))
    best, yardstick = (max(found, key=lambda one: one["mb_per_s"]) for found in (ours, plain))
    few, many = (_child("write", 1, versions["warm"], versions[name], "full", 0) for name in ("small", "large"))
    labels = [_child("write", 1, versions["warm"], versions["large"], "labels", turn) for turn in range(args.repeats)]
    bare = max(labels, key=lambda one: one["rows_per_s"])
    print(f"{args.rate_rows:,} samples of 4 pictures of {args.rate_kb} KB, best of {args.repeats};"
          f" load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    print(f"{'':42}{'MB/s':>8}{'rows/s':>10}{'CPU s':>8}{'peak MB':>9}")
    told = {
        "plain pyarrow, from memory, 1 process": yardstick,
        f"a run with all its checks, {args.workers} workers": best,
        f"{small:,} samples of 4 x {args.kb} KB, 1 worker": few, f"{large:,} samples of 4 x {args.kb} KB, 1 worker": many,
        f"{large:,} samples, labels only, 1 worker": bare,
    }  # fmt: skip
    for name, one in told.items():
        print(f"{name:42}{one['mb_per_s']:8.1f}{one['rows_per_s']:10,.0f}{one['cpu_s']:8.2f}{one['peak_mb']:9.0f}")
    low, high = (bare["rows_per_s"] / rate for rate in reversed(LABEL_STUDIO_ROWS_PER_S))
    print(f"labels only: {low:.0f} to {high:.0f} times Label Studio's JSON export ({LABEL_STUDIO_ROWS_PER_S} rows/s)")
    return {
        "ratio_to_pyarrow": round(best["mb_per_s"] / yardstick["mb_per_s"], 3),
        "peak_mb": round(max(few["peak_mb"], many["peak_mb"], best["peak_mb"])),
        "peak_mb_of_both_workers": round(best["peak_mb_together"]),
        "peak_ratio_20k_to_2k": round(many["peak_mb"] / few["peak_mb"], 3),
        "labels_only_rows_per_s": round(bare["rows_per_s"]),
        "mb_per_s": round(best["mb_per_s"], 1),
        "pyarrow_mb_per_s": round(yardstick["mb_per_s"], 1),
        "ratios": [round(a["mb_per_s"] / b["mb_per_s"], 3) for a, b in zip(ours, plain, strict=True)],
        "cpu_ratio": round(yardstick["cpu_s"] / best["cpu_s"], 3),
        "workers": args.workers,
        "load": round(load, 1),
    }


def _child(what: str, workers: int, warm: int, version: int, variant: str, turn: int) -> dict[str, Any]:
    command = [sys.executable, "-c", "from bench.export import child; child()", what, *map(str, (workers, warm, version)),
               variant, str(turn)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child() -> None:
    """A worker's process with those of the other workers, or the yardstick's."""
    what, workers, warm, version, variant, turn = sys.argv[1:]
    import django

    django.setup()
    _write(int(warm), variant, f"{os.getpid()}", [])
    others = [_Other(warm, variant) for _ in range(int(workers) - 1)]
    found = _write(int(version), variant, turn, others) if what == "write" else _plain(int(version), variant)
    seconds, cpu, size, rows = found
    peaks = [_peak_mb(), *(other.ended() for other in others)]
    print(json.dumps({"mb_per_s": size / seconds / 1e6, "rows_per_s": rows / seconds, "peak_mb": max(peaks),
                      "peak_mb_together": sum(peaks), "cpu_s": cpu}))  # fmt: skip


class _Other:
    """Another worker's process: takes parts of a run as long as there are some. (A real one is told by the queue.)"""

    def __init__(self, warm: str, variant: str) -> None:
        command = [sys.executable, "-c", "from bench.export import other; other()", warm, variant]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout
        self.answers.readline()

    def begin(self, run: int) -> None:
        self.orders.write(f"{run}\n")

    def ended(self) -> float:
        """Its peak memory."""
        self.orders.close()
        peak = float(self.answers.readline())
        self.process.wait()
        return peak


def other() -> None:
    warm, variant = sys.argv[1:]
    import django

    django.setup()
    from runs.child import work_on
    from runs.models import Run

    _write(int(warm), variant, f"{os.getpid()}", [])
    print("ready", flush=True)
    run = int(sys.stdin.readline())
    while Run.objects.filter(pk=run, state=Run.State.RUNNING).exists():
        part = Run.objects.filter(parent=run, state=Run.State.QUEUED).order_by("pk").first()
        if part is not None and part.claim("bench, another"):
            work_on(part.pk, part.fence)
        elif part is None:
            time.sleep(0.01)
    print(_peak_mb(), flush=True)


def _write(pk: int, variant: str, turn: str, others: list[_Other]) -> tuple[float, float, int, int]:
    """What a worker does with the run. Returns: seconds, CPU seconds (of the workers, not of PostgreSQL), bytes, rows."""
    from datasets_app.exporting import start_write
    from datasets_app.models import DatasetVersion, VersionFiles
    from datasets_app.places import default_uri
    from runs.child import work_on

    version = DatasetVersion.objects.get(pk=pk)
    run = start_write(version, variant, f"{default_uri(version, variant)}-{turn}")
    if not run.claim("bench"):
        raise SystemExit("the run is somebody else's")
    started, before = time.perf_counter(), _cpu.of_trees(os.getpid())
    for one in others:
        one.begin(run.pk)
    work_on(run.pk, run.fence)
    seconds, cpu = time.perf_counter() - started, _cpu.of_trees(os.getpid()) - before
    run.refresh_from_db()
    if run.state != "succeeded":
        raise SystemExit(run.error)
    return seconds, cpu, VersionFiles.objects.get(run=run).size_bytes, version.row_count


def _plain(pk: int, variant: str) -> tuple[float, float, int, int]:
    """The same row groups of the same shards, from memory. All files stay until the end, as ours do."""
    import pyarrow.parquet as pq
    from django.conf import settings

    from adproof.shards import writer
    from adproof.shards.schema import checked_to_table
    from datasets_app.exporting import plan_of
    from datasets_app.models import VersionFiles
    from datasets_app.rows import split_rows

    files = VersionFiles.objects.filter(version=pk, variant=variant).order_by("pk").first()
    plan, folder = plan_of(files), Path(tempfile.mkdtemp(dir=settings.DATA_DIR))
    seconds = cpu = 0.0
    for number, spec in enumerate(plan.shards):
        rows = split_rows(files.version, spec.split, spec.start, spec.stop)
        tables = [checked_to_table(group, variant) for group in writer.groups(rows, variant)]
        started, before = time.perf_counter(), time.process_time()
        with pq.ParquetWriter(folder / f"{number}.parquet", tables[0].schema, **writer.parquet_settings(variant)) as out:
            for table in tables:
                out.write_table(table, row_group_size=len(table))
        seconds, cpu = seconds + time.perf_counter() - started, cpu + time.process_time() - before
    size = sum(path.stat().st_size for path in folder.iterdir())
    shutil.rmtree(folder)
    return seconds, cpu, size, plan.n_rows


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's peak memory")
