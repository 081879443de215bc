"""Reading a dataset version: the torch dataset with workers beside raw decoding of the same pictures from memory.

Raw: as many processes, each with its share of the encoded pictures in memory, decode them by the same function and drop
them. Ours: a DataLoader over the version's files: read, mixed, decoded, joined to batches, sent to the training process.
The two take turns in short passes, so that a busy moment of the machine hits both. Printed are the ratio of the medians,
that of the best turns, and that of the CPU seconds. The yardstick hands nothing over: what batches and their way to the
training process cost is counted against ours.
Also one row at random, out of a shard that was not opened before, and the bytes that it took.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

import adproof.shards
from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.scenes import World
from adproof.shards.manifest import VersionInfo
from adproof.shards.plan import SplitSize
from adproof.shards.reading import decode_picture
from adproof.shards.schema import IMAGE_COLUMNS, Picture, SampleRow
from adproof.shards.torch_data import collate
from adproof.shards.writer import write_version
from bench import _cpu

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCENES = 24  # drawing takes longer than all the rest: further pictures are these with other colours


def samples(n: int, size: int) -> list[SampleRow]:
    """Scenes of the ad world with their four pictures as PNG."""
    world, rng = World(load_catalogue(), size=size), np.random.default_rng(0)
    scenes = [world.draw(rng) for _ in range(min(SCENES, n))]
    ramp = np.linspace(0, 65535, size).astype(np.uint16)
    rows = []
    for number in range(n):
        scene, turn = scenes[number % len(scenes)], number // len(scenes)
        image = np.clip(scene.image.astype(np.int16) + np.roll((0, 3, 7), turn) * (turn % 9), 0, 255).astype(np.uint8)
        grey = image.mean(axis=2).astype(np.uint8)
        depth = (grey.astype(np.uint16) << 7) + ramp[:, None] // 2
        pictures = [_png(picture, f"{number}-{place}.png") for place, picture in
                    enumerate((image, scene.product_rgba, depth, grey))]
        rows.append(SampleRow(
            f"s{number:06d}", "train", f"p{number // 4}", "adworld", "chair", scene.caption, "Oak, four legs", "a room", "",
            *pictures, number % 5, (0.2,) * 5, 0, None, (), "mini", number, 1, None, None, NOW,
        ))
    return rows


def _png(pixels: np.ndarray, name: str) -> Picture:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=3)
    return Picture(out.getvalue(), name)


def decode_all(pictures: Sequence[bytes], start: Any, done: Any) -> None:
    """A process of the yardstick."""
    start.wait()
    before = sum(os.times()[:2])
    for content in pictures:
        decode_picture(content)
    done.put(sum(os.times()[:2]) - before)


def raw_pass(shares: Sequence[Sequence[bytes]]) -> tuple[float, float]:
    """Seconds, from the moment that all processes are ready; and the CPU seconds that they took."""
    context = multiprocessing.get_context("fork")
    start, done = context.Barrier(len(shares) + 1), context.Queue()
    processes = [context.Process(target=decode_all, args=(share, start, done)) for share in shares]
    for process in processes:
        process.start()
    start.wait()
    started = time.perf_counter()
    cpu = sum(done.get() for _ in processes)
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return seconds, cpu


def random_rows(path: Path, n: int) -> tuple[float, float]:
    """(median ms of a random row with its four pictures decoded, bytes read of it / bytes of the shard)."""
    shard = next((path / "data").glob("*.parquet"))
    rng, seconds, shares = np.random.default_rng(1), [], []
    rows = adproof.shards.open(path).rows("train")
    for place in rng.permutation(len(rows))[:n]:
        before, started = _bytes_read(), time.perf_counter()
        rows[int(place)]
        seconds.append(time.perf_counter() - started)
        shares.append((_bytes_read() - before) / shard.stat().st_size)
    return statistics.median(seconds) * 1000, statistics.median(shares)


def _bytes_read() -> int:
    """By this process, from files, whether the disk was asked or not."""
    line = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def first_row(path: Path) -> float:
    """ms from a path to one row: manifest, footer and pages."""
    started = time.perf_counter()
    adproof.shards.open(path).rows("train")[7]
    return (time.perf_counter() - started) * 1000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench read", description=__doc__)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="200 rows of 256 px, 3 turns")
    args = parser.parse_args(argv)
    if args.quick:
        args.rows, args.size, args.turns = 200, 256, 3
    torch.set_num_threads(1)
    rows = samples(args.rows, args.size)
    pictures = [picture.bytes for row in rows for picture in row.pictures() if picture]
    n_bytes = sum(map(len, pictures))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v1"
        info = VersionInfo("bench", "v1", NOW, "bench", 0)
        write_version(rows, path, info, [SplitSize("train", len(rows), n_bytes)], shard_bytes=10**12)
        del rows
        report(args, path, pictures, n_bytes)
    return 0


def report(args: argparse.Namespace, path: Path, pictures: list[bytes], n_bytes: int) -> None:
    step = len(IMAGE_COLUMNS)
    by_row = [pictures[at : at + step] for at in range(0, len(pictures), step)]
    shares = [[one for row in by_row[w :: args.workers] for one in row] for w in range(args.workers)]
    stream = adproof.shards.open(path).stream("train", [*IMAGE_COLUMNS, "label", "title"], seed=1)
    loader = DataLoader(
        stream, batch_size=args.batch, num_workers=args.workers, collate_fn=collate, persistent_workers=True,
    )
    list(loader)  # workers are there, the file is in the page cache: as in the second pass of a training
    raw, ours, raw_cpu, our_cpu = [], [], [], []
    for turn in range(args.turns):
        seconds, cpu = raw_pass(shares)
        raw.append(seconds)
        raw_cpu.append(cpu)
        stream.set_epoch(turn)
        started, before = time.perf_counter(), _cpu.of_trees(os.getpid())
        n_rows = sum(len(batch["label"]) for batch in loader)
        ours.append(time.perf_counter() - started)
        our_cpu.append(_cpu.of_trees(os.getpid()) - before)
        assert n_rows == args.rows
    # Of medians, and of the best turn of each, which other work hit least.
    ratio, best_ratio = (of(raw) / of(ours) for of in (statistics.median, min))
    cpu_ratio = statistics.median(raw_cpu) / statistics.median(our_cpu)
    del loader
    random_ms, share = random_rows(path, 60)
    opened_ms = statistics.median(first_row(path) for _ in range(5))
    print(f"{args.rows} rows of {step} pictures, {args.size} px, {n_bytes / 1e6:.0f} MB; {args.workers} processes;"
          f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'median of ' + str(args.turns) + ' turns':44}{'rows/s':>9}{'MB/s':>8}{'CPU s':>8}")
    for name, seconds, cpu in (
        ("raw decoding from memory", raw, raw_cpu), ("torch dataset from files, in batches", ours, our_cpu),
    ):  # fmt: skip
        middle = statistics.median(seconds)
        print(f"{name:44}{args.rows / middle:9.1f}{n_bytes / 1e6 / middle:8.1f}{statistics.median(cpu):8.2f}")
    print(f"ratio by the clock {ratio:.2f} of medians, {best_ratio:.2f} of the best turns; by CPU seconds {cpu_ratio:.2f}."
          f" Turns: {', '.join(f'{r / o:.2f}' for r, o in zip(raw, ours, strict=True))}")
    print(f"one random row, four pictures decoded: {random_ms:.1f} ms, {share:.2%} of its shard read;"
          f" from path to row {opened_ms:.1f} ms")
    print(json.dumps({
        "rows": args.rows,
        "raw_rows_per_s": round(args.rows / statistics.median(raw), 1),
        "rows_per_s": round(args.rows / statistics.median(ours), 1),
        "ratio_to_raw_decode": round(ratio, 3),
        "ratio_to_raw_decode_best": round(best_ratio, 3),
        "ratio_to_raw_decode_cpu": round(cpu_ratio, 3),
        "random_row_ms": round(random_ms, 2),
        "bytes_read_ratio": round(share, 5),
        "load": round(os.getloadavg()[0], 1),
    }))


if __name__ == "__main__":
    sys.exit(main())
