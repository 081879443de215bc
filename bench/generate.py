"""How fast candidates are made: drawn by the mini set, with depth and saliency, by runs, as workers make them.

candidates_per_minute: by one process of one thread. overhead: the share of drawing and storing (depth and saliency nets left
out) that is neither denoising network, ControlNet nor VAE, by CPU seconds. ratio_two_workers: what a second process adds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench._platform import platform


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench generate", description=__doc__)
    parser.add_argument("--images", type=int, default=48, help="by each process")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)  # a child: work on this run's parts
    args = parser.parse_args(argv)
    if args.work is not None:
        _work(args.work)
        return
    with tempfile.TemporaryDirectory(prefix="adproof-bench-") as folder:
        print(json.dumps(_bench(Path(folder), args.images)))


def _bench(folder: Path, images: int) -> dict[str, Any]:
    with platform(folder):
        from generation import samples

        samples.import_catalogue()
        samples.make_prompts()
        samples.mini_generator()
        one = _drawn(1, images)
        two = _drawn(2, images)
        return _told(one, two)


def _drawn(processes: int, images: int) -> dict[str, Any]:
    """So many processes draw as many images each; warmed up, and begun at once."""
    from generation.models import Candidate, Product, Prompt
    from generation.planning import start_generation

    run = start_generation(
        products=Product.objects.order_by("pk"), prompts=Prompt.objects.order_by("pk"), limit=images * processes,
        base_seed=processes,
    )  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "bench", "generate", "--work", str(run.pk)]
    children = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(processes)
    ]
    for child in children:
        if child.stdout.readline().strip() != "ready":
            raise SystemExit("a process could not load the models; try `manage.py modelset check mini`")
    load, started = os.getloadavg()[0], time.perf_counter()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [json.loads(child.stdout.readline()) for child in children]
    seconds = time.perf_counter() - started
    for child in children:
        child.wait()
    run.refresh_from_db()
    made = Candidate.objects.filter(run__parent=run).count()
    if run.state != "succeeded" or made != images * processes:
        raise SystemExit(f"wrong: the run {run.state} with {made} of {images * processes} candidates: {run.error}")
    shares = {name: sum(one["cpu"].get(name, 0.0) for one in told) / made for name in ("all", "nets", "maps", "png")}
    return {"images": made, "seconds": seconds, "load": load, "cpu": shares}


def _work(run_id: int) -> None:
    """A worker's child: every part of the run that nobody else has taken."""
    import django

    django.setup()
    from generation.models import Generator
    from runs.child import work_on
    from runs.models import Run

    meter = Meter()
    meter.watch(Generator.objects.get(is_in_use=True))
    print("ready", flush=True)
    sys.stdin.readline()
    meter.begin()
    while part := Run.objects.filter(parent=run_id, state=Run.State.QUEUED).order_by("pk").first():
        if part.claim(f"bench {os.getpid()}"):
            work_on(part.pk, part.fence)
    print(json.dumps({"cpu": meter.read()}), flush=True)


class Meter:
    """CPU seconds of this process by what they were spent on. One thread does all the work."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.started = 0.0

    def watch(self, generator: Any) -> None:
        """Load everything, draw once, and listen."""
        from adproof.diffusion.generator import DrawRequest
        from generation import drawing, runtime
        from generation.models import Product

        drawer = runtime.drawer_of(generator)
        product = drawing.product_rgba(Product.objects.order_by("pk").first())
        pictures = drawer.generate([DrawRequest(product, "on a table", seed, image_scale=0.5) for seed in range(8)])
        drawing.perceived(pictures)
        pipe = drawer.pipeline
        for net in (pipe.unet, pipe.controlnet):
            self._count(net, "forward", "nets")
        for name in ("encode", "decode"):
            self._count(pipe.vae, name, "nets")
        self._count(drawing, "perceived", "maps")
        for name in ("picture_to_png", "depth_to_png", "saliency_to_png"):
            self._count(drawing, name, "png")

    def _count(self, owner: Any, name: str, what: str) -> None:
        real = getattr(owner, name)

        def counted(*args: Any, **values: Any) -> Any:
            began = time.process_time()
            try:
                return real(*args, **values)
            finally:
                self.spent[what] += time.process_time() - began

        setattr(owner, name, counted)

    def begin(self) -> None:
        self.spent.clear()
        self.started = time.process_time()

    def read(self) -> dict[str, float]:
        return {**self.spent, "all": time.process_time() - self.started}


def _told(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    cpu = one["cpu"]
    rest = cpu["all"] - cpu["nets"] - cpu["maps"] - cpu["png"]
    overhead = (cpu["png"] + rest) / (cpu["all"] - cpu["maps"])
    rates = [60 * row["images"] / row["seconds"] for row in (one, two)]
    print(f"{one['images']} + {two['images']} candidates of 512 px on {os.cpu_count()} cores")
    print(f"load {one['load']:.1f} with one process, {two['load']:.1f} with two")
    print(f"{'CPU seconds a candidate':34}{'one process':>12}{'two':>8}")
    lines = {"U-Net, ControlNet, VAE": "nets", "depth and saliency": "maps", "PNG": "png", "all": "all"}
    for words, name in lines.items():
        print(f"{words:34}{cpu[name]:>12.3f}{two['cpu'][name]:>8.3f}")
    print(f"{'candidates a minute (wall)':34}{rates[0]:>12.1f}{rates[1]:>8.1f}")
    print(f"{'candidates a minute of CPU':34}{60 / cpu['all']:>12.1f}{60 / two['cpu']['all']:>8.1f}")
    return {
        "candidates_per_minute": round(rates[0], 1),
        "overhead": round(overhead, 4),
        "ratio_two_workers": round(rates[1] / rates[0], 2),
        "candidates_per_cpu_minute": round(60 / cpu["all"], 1),
        "cpu_s": {name: round(value, 4) for name, value in cpu.items()},
        # On a busy machine this says what the wall clock can't: how much more a candidate costs beside a second process.
        "cpu_ratio_two_workers": round(2 * cpu["all"] / two["cpu"]["all"], 2),
        "load": [round(one["load"], 1), round(two["load"], 1)],
    }
