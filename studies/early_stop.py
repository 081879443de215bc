"""Early stop: after which step, and under which p(available), does giving a picture up pay?

    python -m studies.early_stop --draws 240 --out data/studies/early_stop

Draws ad-world prompts with the mini set, has RFNet judge x0_hat after each of --steps and the finished picture, and
chooses for each step the threshold that loses at most --most-lost of the finally available draws, on one half of the
products. The table says what it does on the other half. Goes on from what is in --out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.early_stop", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--draws", type=int, default=240)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 6, 8, 10, 12])
    parser.add_argument("--most-lost", type=float, default=0.02)
    parser.add_argument("--judge", type=Path, help="an RFNet checkpoint's folder (default: the shipped one)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("data/studies/early_stop"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = draw(args)
    report(rows, args)


def draw(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per draw, kept in draws.jsonl; whole batches only, so that a killed study goes on."""
    file = args.out / f"draws-{args.seed}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    rows = rows[: len(rows) // BATCH * BATCH]
    if len(rows) >= args.draws:
        return rows[: args.draws]
    study = Study(args)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with file.open("a") as out:
        while len(rows) < args.draws:
            made = study.batch(len(rows))
            out.write("".join(json.dumps(row) + "\n" for row in made))
            out.flush()
            rows += made
            print(f"{len(rows)} of {args.draws} draws", flush=True)
    return rows[: args.draws]


class Study:
    """The mini set and a judge, loaded once."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        from adproof.adworld.catalogue import load_catalogue
        from adproof.adworld.scenes import World
        from adproof.diffusion.generator import Generator
        from adproof.model_sets import SHIPPED
        from adproof.perception.depth import Depth
        from adproof.perception.quick import QuickSaliency
        from adproof.perception.saliency import Saliency
        from adproof.rfnet.checkpoint import shipped
        from adproof.rfnet.scoring import Scorer

        torch.set_num_threads(1)
        self.args = args
        self.world = World(load_catalogue())
        self.generator = Generator.load({"kind": "mini"})
        self.depth = Depth(SHIPPED / "mini" / "depth")
        self.saliency = Saliency(SHIPPED / "mini" / "saliency" / "u2netp.onnx")
        self.quick = QuickSaliency(SHIPPED / "mini" / "saliency" / "u2netp.safetensors")
        self.scorer = Scorer(args.judge or shipped("rfnet_init"))
        self.plain_s = min(self._plain_s() for _ in range(2))

    def _plain_s(self) -> float:
        """CPU seconds a picture of drawing without a look: what a look costs is all that comes on top, decoding too."""
        began = time.process_time()
        self.generator.draw(self._requests(0)[2])
        return (time.process_time() - began) / BATCH

    def _requests(self, start: int) -> tuple[list[str], list[Any], list[Any]]:
        from adproof.diffusion.generator import DrawRequest

        skus = sorted(self.world.products)
        rng = np.random.default_rng([self.args.seed, start])
        chosen = [skus[i] for i in rng.choice(len(skus), BATCH, replace=False)]
        products = [self.world.products[sku][0] for sku in chosen]
        first = self.args.seed * 100_000 + start
        return chosen, products, [
            DrawRequest(product.image(), self.world.prompt(rng, sku), first + i, image_scale=0.5)
            for i, (sku, product) in enumerate(zip(chosen, products, strict=True))
        ]  # fmt: skip

    def batch(self, start: int) -> list[dict[str, Any]]:
        from adproof.diffusion.generator import EarlyStop

        chosen, products, requests = self._requests(start)
        rows: list[dict[str, Any]] = [{"sku": sku, "middle": {}} for sku in chosen]

        def look(step: int, places: Any, pictures: Any) -> list[bool]:
            for place, p in zip(places, self.judged([products[i] for i in places], pictures, self.quick), strict=True):
                rows[place]["middle"][str(step)] = round(float(p[0]), 5)
            return [True] * len(places)

        began = time.process_time()
        drawn = self.generator.draw(requests, early_stop=EarlyStop(tuple(self.args.steps), look))
        looks = time.process_time() - began - self.plain_s * BATCH
        began = time.process_time()
        final = self.judged(products, [one.image for one in drawn], self.saliency)
        last = time.process_time() - began
        for row, p in zip(rows, final, strict=True):
            row |= {"p": round(float(p[0]), 5), "available": bool(p.argmax() == 0),
                    "drawing_s": round(self.plain_s, 4), "last_look_s": round(last / BATCH, 4),
                    "look_s": round(looks / BATCH / len(self.args.steps), 4)}  # fmt: skip
        return rows

    def judged(self, products: Any, pictures: Any, saliency: Any) -> np.ndarray:
        from adproof.rfnet.scoring import RFNetSample

        maps = zip(products, pictures, self.depth(pictures), saliency(pictures), strict=True)
        return self.scorer([
            RFNetSample(product=product.image(), generated=picture, depth=depth, saliency=saliency,
                        caption=f"{product.title}. {product.description}")
            for product, picture, depth, saliency in maps
        ])  # fmt: skip


def report(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    from adproof.diffusion.early_stop import calibrate, outcome
    from adproof.diffusion.generator import MINI

    # By product, so that no product is on both sides.
    side = np.array([int.from_bytes(row["sku"].encode()[-2:], "big") % 2 for row in rows])
    available = np.array([row["available"] for row in rows])
    names = ("drawing_s", "look_s", "last_look_s")
    drawing, looking, last = (float(np.mean([row[name] for row in rows])) for name in names)
    table = []
    print(f"{len(rows)} draws, {available.mean():.3f} available; {drawing:.2f} CPU s a draw, {looking:.2f} a look, "
          f"{last:.2f} for depth, saliency and verdict of a finished one")
    print(f"{'step':>5}{'threshold':>11}{'n':>6}{'given up':>10}{'good lost':>11}{'steps saved':>13}{'time saved':>12}")
    for step in args.steps:
        middle = np.array([row["middle"][str(step)] for row in rows])
        threshold = calibrate(middle[side == 0], available[side == 0], args.most_lost)
        found = outcome(middle[side == 1], available[side == 1], step, MINI.steps, threshold)
        saved = found.time_saved(drawing, looking, last)
        print(f"{step:>5}{threshold:>11.4f}{int((side == 1).sum()):>6}{found.given_up:>10.3f}{found.good_lost:>11.3f}"
              f"{found.steps_saved:>13.3f}{saved:>12.3f}")  # fmt: skip
        table.append({**found.__dict__, "time_saved": round(saved, 4)})
    result = {"draws": len(rows), "available": round(float(available.mean()), 4), "drawing_s": round(drawing, 3),
              "look_s": round(looking, 3), "last_look_s": round(last, 3), "most_lost": args.most_lost,
              "load": round(os.getloadavg()[0], 1), "table": table}  # fmt: skip
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
