"""Many scenes drawn once into a folder, for trainings that go over them again and again.

The folder holds chunk-00000.npy, (250, 9, S, S) uint8: product R G B A, image R G B, depth (0 near .. 255
far), saliency; and chunk-00000.json, the truth of each. A chunk depends on (seed, its number) alone, so a
folder that was cut short is completed with what it would have held.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.adworld.catalogue import MAIN_YAW, load_catalogue, products
from adproof.adworld.looks import Kind
from adproof.adworld.scenes import Scene, World
from adproof.adworld.words import EDITIONS

CHUNK = 250
TURNED_YAW = -30
# More of the labels that are hard to learn than a generator would give.
TRAINING_MIX = (0.40, 0.14, 0.18, 0.10, 0.18)
SIMPLE_MIX = (0.50, 0.13, 0.13, 0.12, 0.12)  # near what an untuned generator is to show


@dataclass(frozen=True)
class Truth:
    """What is known about a drawn scene.

    Attributes:
        label: 0..4.
        caption, prompt, sku, category: texts.
        cause: of the defect, "" if none.
        references: (name, scale factor, box) of the things of known size.
        kind: of support.
        horizon: row of the surface's back edge as a share of the side.
        told_cm: height of the product by its caption, cm.
        drawn_cm: height that the scene's references give it, cm.
    """

    label: int
    caption: str
    prompt: str
    sku: str
    category: str
    cause: str
    references: list[Any]
    kind: str
    horizon: float
    told_cm: float
    drawn_cm: float


@dataclass(frozen=True)
class Recipe:
    """Which scenes to draw.

    Attributes:
        kind: the world.
        seed: of all chunks.
        label_mix: shares of the five labels.
        skus: the products; None = all.
        size: side, px.
        simple: as a small generator learns fastest, see World.
    """

    kind: Kind
    seed: int
    label_mix: tuple[float, ...] = TRAINING_MIX
    skus: tuple[str, ...] | None = None
    size: int = 128
    simple: bool = False


def held_out_skus(share: float = 0.15) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(products to train on, products kept for measuring); always the same ones."""
    skus = sorted({p.sku for p in products()})
    order = np.random.default_rng(20240800418).permutation(len(skus))
    n_kept = round(share * len(skus))
    kept = {skus[i] for i in order[:n_kept]}
    return tuple(s for s in skus if s not in kept), tuple(s for s in skus if s in kept)


def truth_of(scene: Scene, size_cm: dict[str, float], categories: dict[str, str]) -> Truth:
    attributes = scene.attributes
    height = size_cm[scene.sku]
    return Truth(
        label=int(scene.label),
        caption=scene.caption,
        prompt=scene.prompt,
        sku=scene.sku,
        category=categories[scene.sku],
        cause=attributes["defect"],
        references=[[name, factor, [int(v) for v in box]] for name, factor, box in attributes["references"]],
        kind=attributes["kind"],
        horizon=float(attributes["horizon_y"]) / scene.image.shape[0],
        told_cm=height * EDITIONS[attributes["edition"]],
        drawn_cm=height * EDITIONS[attributes["drawn_edition"]],
    )


def planes_of(scene: Scene) -> NDArray[np.uint8]:
    """(9, S, S) uint8: product R G B A, image R G B, depth, saliency."""
    return np.concatenate(
        [
            scene.product_rgba.transpose(2, 0, 1),
            scene.image.transpose(2, 0, 1),
            np.rint(np.clip(scene.depth, 0, 1) * 255).astype(np.uint8)[None],
            np.rint(np.clip(scene.saliency, 0, 1) * 255).astype(np.uint8)[None],
        ]
    )


def world_of(recipe: Recipe) -> World:
    """The recipe's world, with products and references seen from both sides (simple: references from one)."""
    turned = [p for p in load_catalogue(TURNED_YAW) if not (recipe.simple and p.is_reference)]
    views = (*load_catalogue(MAIN_YAW), *turned)
    return World(views, recipe.size, recipe.kind, label_mix=recipe.label_mix, skus=recipe.skus, simple=recipe.simple)


def draw_chunk(recipe: Recipe, number: int, world: World) -> tuple[NDArray[np.uint8], list[Truth]]:
    """Chunk `number`: (250, 9, S, S) uint8 and the truths."""
    rng = np.random.default_rng([recipe.seed, number])
    heights = {p.sku: p.size_cm[2] for p in products()}
    categories = {p.sku: p.category for p in products()}
    scenes = [world.draw(rng) for _ in range(CHUNK)]
    return np.stack([planes_of(s) for s in scenes]), [truth_of(s, heights, categories) for s in scenes]


def draw_into(folder: Path, recipe: Recipe, n_scenes: int) -> Iterator[int]:
    """Draw what the folder lacks of the first n_scenes; yields how many it holds after each chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe)))
    world = world_of(recipe)
    for number in range(-(-n_scenes // CHUNK)):
        name = folder / f"chunk-{number:05d}"
        if not name.with_suffix(".json").is_file():
            write_chunk(name, *draw_chunk(recipe, number, world))
        yield (number + 1) * CHUNK


def write_chunk(name: Path, planes: NDArray[np.uint8], truths: Sequence[Truth]) -> None:
    """The two files of a chunk; name: their path without ending."""
    np.save(name.with_suffix(".npy"), planes)
    partial = name.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(json.dumps([asdict(t) for t in truths]))
    partial.replace(name.with_suffix(".json"))  # last, whole: it says that the chunk is complete


class DrawnScenes:
    """The scenes of one folder or several, one after the other; pictures stay on disk.

    of_each: only the first so many scenes of each folder, whole chunks. Raises FileNotFoundError: a folder holds none.
    """

    def __init__(self, *folders: Path, of_each: int | None = None) -> None:
        chunks = None if of_each is None else -(-of_each // CHUNK)
        names = [name for folder in folders for name in sorted(folder.glob("chunk-*.json"))[:chunks]]
        empty = [str(folder) for folder in folders if not any(folder in name.parents for name in names)]
        if empty or not names:
            raise FileNotFoundError(f"{', '.join(empty) or 'no folder'} holds no drawn scene")
        self.folder = folders[0]
        self._chunks = [np.load(name.with_suffix(".npy"), mmap_mode="r") for name in names]
        self.truths = [Truth(**row) for name in names for row in json.loads(name.read_text())]
        self.labels = np.array([t.label for t in self.truths], np.int64)

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return int(self._chunks[0].shape[-1])

    def planes(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """(len(rows), 9, S, S) uint8."""
        return np.stack([self._chunks[int(r) // CHUNK][int(r) % CHUNK] for r in rows])


def main() -> None:
    """python -m adproof.adworld.drawn OUT --kind feedback --seed 1 --scenes 16000"""
    import argparse

    parser = argparse.ArgumentParser(description="Draw scenes with known labels into a folder.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=["feedback", "judge"], default="feedback")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=16000)
    parser.add_argument("--products", choices=["train", "kept", "all"], default="train")
    parser.add_argument("--simple", action="store_true", help="as a small generator learns fastest")
    parser.add_argument("--natural-mix", action="store_true", help="56/12/12/10/10, not the training mix")
    parser.add_argument("--mix", type=float, nargs=5, help="shares of the five labels, another than the usual one")
    args = parser.parse_args()
    skus = dict(zip(("train", "kept", "all"), (*held_out_skus(), None), strict=True))[args.products]
    usual = SIMPLE_MIX if args.simple else TRAINING_MIX
    mix = (0.56, 0.12, 0.12, 0.10, 0.10) if args.natural_mix else tuple(args.mix or usual)
    recipe = Recipe(args.kind, args.seed, mix, skus, simple=args.simple)
    for done in draw_into(args.out, recipe, args.scenes):
        if done % 2000 == 0 or done >= args.scenes:
            print(f"{done} scenes", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
