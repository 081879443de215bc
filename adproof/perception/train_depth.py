"""Train the mini set's depth net on the ad world's rendered truth.

    python -m adproof.adworld.drawn data/train/scenes --kind feedback --seed 100 --scenes 8000
    python -m adproof.perception.train_depth --scenes data/train/scenes --work data/train/depth --out FOLDER

Trains, measures on scenes and products it has not seen, and writes the model with its card.
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

from adproof.adworld.catalogue import products
from adproof.adworld.drawn import DrawnScenes, Recipe, world_of
from adproof.adworld.looks import Kind
from adproof.perception.depth_training import (
    DepthErrors,
    DepthPairs,
    DepthTraining,
    measure,
    train,
)

NATURAL_MIX = (0.56, 0.12, 0.12, 0.10, 0.10)


def read_pairs(folder: Path, n: int) -> DepthPairs:
    """Read the first n scenes that `adproof.adworld.drawn` left in a folder.

    Raises: FileNotFoundError: there are none. ValueError: there are fewer.
    """
    scenes = DrawnScenes(folder)
    if len(scenes) < n:
        raise ValueError(f"{folder} holds {len(scenes)} scenes, not {n}: draw more, or ask for fewer")
    pictures = np.empty((n, scenes.size, scenes.size, 3), np.uint8)
    depths = np.empty((n, scenes.size, scenes.size), np.uint8)
    for start in range(0, n, 250):  # in pieces, because a scene's other planes are not wanted in memory
        rows = np.arange(start, min(n, start + 250))
        planes = scenes.planes(rows)
        pictures[rows], depths[rows] = planes[:, 4:7].transpose(0, 2, 3, 1), planes[:, 7]
    return DepthPairs(pictures, depths)


def split_by_use(folder: Path, n: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say which of the catalogue's products the first n scenes of a folder show, and which they do not.

    Asked of the scenes themselves: a folder may be older than today's catalogue and its split.
    """
    shown = {truth.sku for truth in DrawnScenes(folder).truths[:n]}
    skus = sorted({product.sku for product in products()})
    return tuple(sku for sku in skus if sku in shown), tuple(sku for sku in skus if sku not in shown)


def draw_pairs(n: int, kind: Kind, seed: int, skus: tuple[str, ...], size_px: int) -> DepthPairs:
    """Draw new scenes of these products."""
    world = world_of(Recipe(kind, seed, NATURAL_MIX, skus, size_px))
    rng = np.random.default_rng(seed)
    scenes = [world.draw(rng) for _ in range(n)]
    depths = np.stack([np.rint(scene.depth.clip(0, 1) * 255).astype(np.uint8) for scene in scenes])
    return DepthPairs(np.stack([scene.image for scene in scenes]), depths)


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
    config: DepthTraining,
    n_scenes: int,
    cpu_s_per_step: float | None,
    measured: dict[str, DepthErrors],
    scenes: Path,
) -> str:
    """The model card, with what this very training measured."""
    recipe = json.loads((scenes / "recipe.json").read_text("utf-8"))
    seen, unseen = split_by_use(scenes, n_scenes)
    spent = (
        "training time not measured"
        if cpu_s_per_step is None
        else f"{cpu_s_per_step * config.steps / 60:.1f} CPU minutes in the training loop"
    )
    rows = "\n".join(
        f"| {name} | {each.n} | {each.net:.4f} | {each.mean_map:.4f} | {each.constant:.4f} |"
        for name, each in measured.items()
    )
    return f"""# Depth net of the mini set

A small DPT (transformers `DPTForDepthEstimation`) for {config.size_px} x {config.size_px} pictures, trained
from random weights. Distance in [0, 1], 0 = nearest, 1 = farthest (`"depth_kind": "distance"` in
config.json). Half precision on disk.

Data: {n_scenes} scenes of the ad world (`adproof.adworld`, CC0 models), rendered truth, no photographs:
{len(seen)} of the catalogue's products; the {len(unseen)} others never appear in training.
Augmentation: mirror, tint, blur, noise.
Method: L1 plus gradient matching (Ranftl et al., arXiv:1907.01341); DPT: arXiv:2103.13413.
Commands: `python -m adproof.adworld.drawn SCENES --kind {recipe["kind"]} --seed {recipe["seed"]} --scenes N`, then
`python -m adproof.perception.train_depth --scenes SCENES --n-scenes {n_scenes} --steps {config.steps}
--seed {config.seed} --out OUT --work WORK`
({spent}, one thread, bf16 autocast, torch {torch.__version__}, {platform.machine()}).
Settings: `{json.dumps(asdict(config))}`

Measured: mean absolute error on scenes that training did not see. "mean map" answers with the training set's mean depth
at each pixel, "constant" with its median, for every picture.

| scenes | n | net | mean map | constant |
|---|---|---|---|---|
{rows}

Its maps are soft: they place the ground, the wall and what stands on it, but blur fine contours.
Knows rendered table-top scenes only: on photographs its maps mean little. Use a published DPT there.
Licence: as the project (Apache-2.0).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, required=True, help="folder of the state to resume from")
    parser.add_argument("--steps", type=int, default=DepthTraining.steps)
    parser.add_argument("--scenes", type=Path, required=True, help="folder that adproof.adworld.drawn filled")
    parser.add_argument("--n-scenes", type=int, default=8000, help="how many of them to train on")
    parser.add_argument("--test-scenes", type=int, default=400, help="scenes of each kind to measure on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the state in --work")
    options = parser.parse_args()
    if (options.work / "state.pt").exists() and not options.resume:
        parser.error(f"{options.work} holds a training's state: pass --resume or name another folder")
    torch.set_num_threads(1)
    config = DepthTraining(steps=options.steps, seed=options.seed)
    _run(options, config)


def _run(options: argparse.Namespace, config: DepthTraining) -> None:
    seen, unseen = split_by_use(options.scenes, options.n_scenes)
    training = read_pairs(options.scenes, options.n_scenes)
    start, cpu_start = time.perf_counter(), time.process_time()
    recent: list[float] = []

    def on_step(step: int, loss: float) -> None:
        recent.append(loss)
        if step % 50 == 0 or step == config.steps:
            spent = time.perf_counter() - start
            _say(f"step {step}/{config.steps} loss {np.mean(recent[-50:]):.4f} {spent:.0f} s")

    network = train(config, training, options.work, on_step)
    # From the mean of the steps seen here, because a resumed run saw only its own.
    cpu_s_per_step = (time.process_time() - cpu_start) / len(recent) if recent else None
    tests: list[tuple[str, tuple[str, ...], Kind]] = [
        ("products of training, new scenes", seen, "feedback"),
        ("new products", unseen, "feedback"),
        ("new products, the judge's kind of scenes", unseen, "judge"),
    ]
    measured = {}
    for seed, (name, skus, kind) in enumerate(tests, start=10_000 + config.seed):
        scenes = draw_pairs(options.test_scenes, kind, seed, skus, config.size_px)
        measured[name] = measure(network, scenes, training)
        _say(f"{name}: {measured[name]}")
    write_model(network, options.out, card(config, options.n_scenes, cpu_s_per_step, measured, options.scenes))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
