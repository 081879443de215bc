"""Train the mini set's depth net on the ad world's rendered truth.

    python -m adproof.perception.train_depth --out adproof/models/mini/depth --work data/train/depth

Draws scenes, trains, measures on scenes and products it has not seen, and writes the model with its card.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from transformers import DPTForDepthEstimation

from adproof.adworld.catalogue import load_catalogue, products
from adproof.adworld.scenes import Kind, World
from adproof.perception.depth_training import (
    DepthErrors,
    DepthPairs,
    DepthTraining,
    measure,
    train,
)

HELD_OUT_SHARE = 0.15
N_TEST_SCENES = 400


def split_products(seed: int) -> tuple[list[str], list[str]]:
    """Share out the catalogue's products: those that training scenes show, and those kept for measuring."""
    skus = sorted(each.sku for each in products())
    order = np.random.default_rng(seed).permutation(len(skus))
    n_held_out = max(1, round(HELD_OUT_SHARE * len(skus)))
    held_out = {skus[index] for index in order[:n_held_out]}
    return [sku for sku in skus if sku not in held_out], sorted(held_out)


def draw_pairs(
    n: int, rng: np.random.Generator, skus: list[str], size_px: int, kind: Kind = "feedback"
) -> DepthPairs:
    """Draw scenes, half of them with the products seen from the catalogue's other side."""
    worlds = [World(load_catalogue(yaw), size=size_px, kind=kind, skus=skus) for yaw in (35, -30)]
    pictures = np.empty((n, size_px, size_px, 3), np.uint8)
    depths = np.empty((n, size_px, size_px), np.float32)
    for row in range(n):
        scene = worlds[row % 2].draw(rng)
        pictures[row], depths[row] = scene.image, scene.depth
    return DepthPairs(pictures, depths)


def write_model(network: DPTForDepthEstimation, out: Path, card: str) -> None:
    """Write the net in half precision with its card, each file whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as folder:
        network.half().save_pretrained(folder)
        (Path(folder) / "MODEL_CARD.md").write_text(card, "utf-8")
        for written in sorted(Path(folder).iterdir()):
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.chmod(0o644)
            written.replace(out / written.name)
    network.float()


def card(
    config: DepthTraining, n_scenes: int, minutes: float, measured: dict[str, DepthErrors], command: str
) -> str:
    """The model card, with what this very training measured."""
    rows = "\n".join(
        f"| {name} | {each.n} | {each.net:.4f} | {each.mean_map:.4f} | {each.constant:.4f} |"
        for name, each in measured.items()
    )
    return f"""# Depth net of the mini set

A small DPT (transformers `DPTForDepthEstimation`) for {config.size_px} x {config.size_px} pictures, trained
from random weights. Distance in [0, 1], 0 = nearest, 1 = farthest (`"depth_kind": "distance"` in
config.json). Half precision on disk.

Data: {n_scenes} scenes of the ad world (`adproof.adworld`, CC0 models), rendered truth, no photographs.
Split: {HELD_OUT_SHARE:.0%} of the products never appear in training. Augmentation: mirror, tint, blur, noise.
Method: L1 plus gradient matching (Ranftl et al., arXiv:1907.01341); DPT: arXiv:2103.13413.
Command: `{command}` ({minutes:.1f} minutes of training on one CPU thread, bf16 autocast,
torch {torch.__version__}, {platform.machine()}).
Settings: `{json.dumps(asdict(config))}`

Mean absolute error on scenes that training did not see. "mean map" answers with the training set's mean depth
at each pixel, "constant" with its median, for every picture.

| scenes | n | net | mean map | constant |
|---|---|---|---|---|
{rows}

Knows rendered table-top scenes only: on photographs its maps mean little. Use a published DPT there.
Licence: as the project (Apache-2.0).
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, required=True, help="folder of the state to resume from")
    parser.add_argument("--steps", type=int, default=DepthTraining.steps)
    parser.add_argument("--scenes", type=int, default=5000, help="training scenes to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the state in --work")
    options = parser.parse_args()
    if (options.work / "state.pt").exists() and not options.resume:
        parser.error(f"{options.work} holds a training's state: pass --resume or name another folder")
    torch.set_num_threads(1)
    _run(options.out, options.work, DepthTraining(steps=options.steps, seed=options.seed), options.scenes)


def _run(out: Path, work: Path, config: DepthTraining, n_scenes: int) -> None:
    seen, unseen = split_products(config.seed)
    training = draw_pairs(n_scenes, np.random.default_rng([config.seed, 1]), seen, config.size_px)
    _say(f"{n_scenes} scenes of {len(seen)} products drawn")
    start = time.perf_counter()
    recent: list[float] = []

    def on_step(step: int, loss: float) -> None:
        recent.append(loss)
        if step % 50 == 0 or step == config.steps:
            spent = time.perf_counter() - start
            _say(f"step {step}/{config.steps} loss {np.mean(recent[-50:]):.4f} {spent:.0f} s")

    network = train(config, training, work, on_step)
    minutes = (time.perf_counter() - start) / 60
    measured = {
        "products of training, new scenes": _measured(network, training, seen, config, "feedback", 2),
        "new products": _measured(network, training, unseen, config, "feedback", 3),
        "new products, the judge's kind of scenes": _measured(network, training, unseen, config, "judge", 4),
    }
    for name, errors in measured.items():
        _say(f"{name}: {errors}")
    options = f"--steps {config.steps} --scenes {n_scenes} --seed {config.seed}"
    command = f"python -m adproof.perception.train_depth {options} --out OUT --work WORK"
    write_model(network, out, card(config, n_scenes, minutes, measured, command))


def _measured(
    network: DPTForDepthEstimation,
    training: DepthPairs,
    skus: list[str],
    config: DepthTraining,
    kind: Kind,
    key: int,
) -> DepthErrors:
    rng = np.random.default_rng([config.seed, key])
    return measure(network, draw_pairs(N_TEST_SCENES, rng, skus, config.size_px, kind), training)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
