"""Depth and saliency in bulk, beside rembg's and transformers' own use picture by picture, and the nets alone.

PNG of 512 px in, PNG out; the mini set's DPT and U2-Net-p on both sides. rembg runs in its own environment (`make rembg`).
Rounds of all are interleaved, and each figure is the median of its rounds. Theirs is the faster of two: all cores as they
come (OMP waits passively, which helps them on a busy machine), and one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MINI = ROOT / "adproof" / "models" / "mini"
REMBG = ROOT / ".venv-rembg" / "bin" / "python"
Figures = dict[str, list[dict[str, float]]]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench perception", description=__doc__)
    parser.add_argument("--pictures", type=int, default=32, help="some batches for each lane")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lanes", type=int, help="batches in our nets at once (the cores)")
    args = parser.parse_args(argv)
    if not REMBG.is_file():
        raise SystemExit("rembg is not here: `make rembg` puts it into an environment of its own")
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
        print(json.dumps(_bench(Path(folder), args)))


class Peer:
    """A process that does one round whenever it is told to."""

    def __init__(self, python: Path, script: str, *words: str, threads: int | None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "MKL_"))}
        kept |= {"OMP_WAIT_POLICY": "PASSIVE", "U2NET_HOME": str(MINI / "saliency"), "TQDM_DISABLE": "1"}
        if threads:
            kept["OMP_NUM_THREADS"] = str(threads)
        command = [str(python), str(ROOT / "bench" / script), *words]
        self._process = subprocess.Popen(
            command, env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.about = self._answer()

    def round(self, word: str = "session") -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended: run it by hand to see why")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def _bench(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    from adproof.perception.perceiver import usable_cores

    files, out = _pictures(folder, args.pictures), folder / "out"
    out.mkdir()
    lanes = args.lanes or usable_cores()
    peers: dict[str, Peer] = {}
    for name, threads in (("all cores", None), ("one thread", 1)):
        peers[f"rembg, {name}"] = Peer(REMBG, "_rembg.py", str(folder), str(out), threads=threads)
        words = (str(folder), str(out), str(MINI / "depth"))
        peers[f"transformers, {name}"] = Peer(Path(sys.executable), "_one_by_one_depth.py", *words, threads=threads)
    ours = _ours(files, out, lanes)
    figures: Figures = {}
    for _ in range(args.rounds):
        for name, peer in peers.items():
            figures.setdefault(name, []).append(peer.round())
        figures.setdefault("rembg, a session a call", []).append(peers["rembg, one thread"].round("call"))
        for name, work in ours.items():
            figures.setdefault(name, []).append(_timed(work))
    about = peers["rembg, one thread"].about
    for peer in peers.values():
        peer.close()
    return _told(figures, args, lanes, about["rembg"])


def _pictures(folder: Path, count: int) -> list[bytes]:
    import numpy as np

    from adproof.adworld.catalogue import load_catalogue
    from adproof.adworld.scenes import World
    from adproof.perception.pictures import picture_to_png

    world, rng = World(load_catalogue(), size=512), np.random.default_rng(0)
    files = [picture_to_png(world.draw(rng).image) for _ in range(count)]
    for number, data in enumerate(files):
        (folder / f"{number:04d}.png").write_bytes(data)
    return files


def _ours(files: list[bytes], out: Path, lanes: int) -> dict[str, Callable[[], None]]:
    """Our bulk path and the nets alone, in the precision that workers choose here and in fp32."""
    import torch

    from adproof.perception.depth import Depth
    from adproof.perception.perceiver import Maps, Perceiver
    from adproof.perception.pictures import open_picture
    from adproof.perception.saliency import open_saliency

    torch.set_num_threads(1)
    images, work = [open_picture(data) for data in files], {}
    for precision in ("auto", "fp32"):
        depth, saliency = Depth(MINI / "depth", precision=precision), open_saliency(MINI / "saliency" / "u2netp.onnx", precision)
        perceiver = Perceiver(depth, saliency, lanes=lanes)
        chunks = [images[at : at + perceiver.batch] for at in range(0, len(images), perceiver.batch)]
        ready = [([depth.prepared(i) for i in c], [saliency.prepared(i) for i in c]) for c in chunks]
        pool = ThreadPoolExecutor(lanes)

        def bulk(perceiver: Perceiver = perceiver) -> None:
            for number, maps in enumerate(perceiver(files)):
                assert isinstance(maps, Maps)
                (out / f"{number}-ours.png").write_bytes(maps.saliency_png)
                (out / f"{number}-ours-depth.png").write_bytes(maps.depth_png)

        def bare(ready: Any = ready, depth: Any = depth, saliency: Any = saliency, pool: Any = pool) -> None:
            list(pool.map(lambda each: (depth.run(each[0]), saliency.run(each[1])), ready))

        bulk(), bare()
        work[f"ours, {precision}"], work[f"the nets alone, {precision}"] = bulk, bare
    return work


def _timed(work: Callable[[], None]) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}


def _told(figures: Figures, args: argparse.Namespace, lanes: int, rembg: str) -> dict[str, Any]:
    from adproof.perception.precision import chosen_precision

    each = {
        name: {key: statistics.median(r[key] for r in rounds) / args.pictures for key in ("seconds", "cpu_s")}
        for name, rounds in figures.items()
    }
    load = os.getloadavg()[0]
    print(f"{args.pictures} pictures of 512 px, {args.rounds} rounds, {lanes} lanes, rembg {rembg}, load {load:.1f}")
    print(f"{'':34}{'ms a picture':>14}{'CPU ms':>10}{'pictures/min':>14}")
    for name, row in each.items():
        print(f"{name:34}{row['seconds'] * 1e3:>14.0f}{row['cpu_s'] * 1e3:>10.0f}{60 / row['seconds']:>14.0f}")

    def theirs(key: str, session: str = "") -> float:
        kinds = ("all cores", "one thread")
        rembg_ = each[session][key] if session else min(each[f"rembg, {kind}"][key] for kind in kinds)
        return rembg_ + min(each[f"transformers, {kind}"][key] for kind in kinds)

    ratios = {
        "ratio_to_one_by_one": theirs("seconds") / each["ours, auto"]["seconds"],
        "ratio_to_one_by_one_cpu": theirs("cpu_s") / each["ours, auto"]["cpu_s"],
        "ratio_to_one_by_one_fp32": theirs("seconds") / each["ours, fp32"]["seconds"],
        "ratio_to_a_session_a_call": theirs("seconds", "rembg, a session a call") / each["ours, auto"]["seconds"],
        "ratio_to_bare": each["the nets alone, auto"]["seconds"] / each["ours, auto"]["seconds"],
        "ratio_to_bare_cpu": each["the nets alone, auto"]["cpu_s"] / each["ours, auto"]["cpu_s"],
    }
    print("ratio_to_one_by_one: rembg with one session for all pictures + transformers' pipeline; wall clock")
    return {
        "pictures": args.pictures,
        "pictures_per_minute": round(60 / each["ours, auto"]["seconds"]),
        **{name: round(value, 2) for name, value in ratios.items()},
        "precision": chosen_precision("auto", "cpu"),
        "load": round(load, 1),
    }
