"""Drawn scenes once more, as the mini generator would have made their pictures; what is known of them stays true.

    python -m adproof.adworld.drawn data/train/rf/simple --simple --seed 500 --scenes 4000 --mix .40 .17 .14 .05 .24
    python -m adproof.diffusion.redrawn data/train/rf/simple data/train/rf/redrawn --seed 500

A generator's background is small, a decoder's and enlarged, the product lies over it in full resolution, and nets say
depth and saliency. RFNet judges such pictures, and nobody knows their labels; so it first learns from scenes with labels
that were made to look like them: of each ten, one keeps its crisp background, two go through the autoencoder, seven are
noised to a middle step as well and drawn to the end by the generator, which keeps what stands where and how big, and
redraws the rest. The folder that comes of it is one of `adproof.adworld.drawn`, chunk by chunk; it is gone on with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adproof.adworld.catalogue import MAIN_YAW, load_catalogue
from adproof.adworld.drawn import CHUNK, TURNED_YAW, DrawnScenes, Truth, write_chunk
from adproof.diffusion.conditions import Uint8Array, alpha_box, from_canvas, lay_over, placed
from adproof.diffusion.enlarging import enlarge
from adproof.diffusion.generator import MINI_FOLDER, Generator
from adproof.diffusion.train_further import together
from adproof.perception.depth import Depth
from adproof.perception.saliency import open_saliency
from adproof.rfnet.preprocess import place_product, square

CRISP, DECODED = -1, 0  # instead of a first step
MANNERS = (CRISP, DECODED, DECODED, 1, 1, 1, 1, 1, 1, 1)  # of the tenths of a chunk; 1: a middle step
FIRST_STEPS = (4, 10)  # of 16: earlier ones no longer keep what the label is about
TRUE_DEPTH = 0.4  # share of the scenes whose depth stays the truth
# Whose saliency is the truth, or the product alone: its net is slow, and misses most of what is grown and soft.
TRUE_SALIENCY, PRODUCT_ALONE = 0.35, 0.35
SCALE_ERROR = 0.004  # RFNet finds the product's size on the picture to this much of the canvas


class Redrawing:
    """The nets of a mini set, loaded once."""

    def __init__(self, mini: Path) -> None:
        # Without guidance (usually 1.25) and in bfloat16: nearly the same pictures at a quarter of the cost.
        cheap = {"guidance": 1.0, "dtype": "bfloat16", "channels_last": True}
        self.generator = Generator.load({"kind": "mini", "base": str(mini / "generator"), **cheap})
        self.depth = Depth(mini / "depth")
        self.saliency = open_saliency(mini / "saliency" / "u2netp.onnx")

    def chunk(
        self, planes: npt.NDArray[np.uint8], truths: Sequence[Truth], rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """(250, 9, S, S) uint8 anew; see drawn."""
        found = planes.copy()
        order = rng.permutation(len(planes)).reshape(len(MANNERS), -1)
        for manner, rows in zip(MANNERS, order, strict=True):
            first = int(rng.integers(*FIRST_STEPS)) if manner > 0 else manner
            behind = self.backgrounds(planes[rows], [truths[row].prompt for row in rows], first, rng)
            for row, background in zip(rows, behind, strict=True):
                found[row] = self._seen(planes[row], background, truths[row].sku, rng)
        return found

    @torch.no_grad()
    def backgrounds(
        self, planes: npt.NDArray[np.uint8], prompts: Sequence[str], first: int, rng: np.random.Generator
    ) -> list[Uint8Array]:
        """(S, S, 3) uint8 each, product and all: as drawn, decoded, or drawn by the generator after its step `first`."""
        pictures = np.ascontiguousarray(planes[:, 4:7].transpose(0, 2, 3, 1))
        if first == CRISP:
            return list(pictures)
        sampler = self.generator.sampler
        latents = self._latents(planes[:, 4:7])
        if first == DECODED:
            return sampler.decode(latents)
        canvases = [from_canvas(np.ascontiguousarray(p[:4].transpose(1, 2, 0))) for p in planes]
        seeds = [int(seed) for seed in rng.integers(2**62, size=len(planes))]
        rows = sampler.begin(canvases, prompts, [""] * len(planes), seeds)
        rows.latents = sampler.noised(latents, rows.noise, first)
        sampler.denoise(rows, lambda _step, _estimate: None, first)
        return sampler.decode(rows.latents)

    def _latents(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        vae = self.generator.pipeline.vae
        pixels = torch.from_numpy(pictures).to(vae.dtype) / 127.5 - 1
        latents: Tensor = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
        return latents

    def _seen(
        self, planes: npt.NDArray[np.uint8], background: Uint8Array, sku: str, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """(9, S, S) uint8: the background with the product over it, as RFNet gets to see a candidate."""
        size, whole = planes.shape[-1], self.generator.config.size
        product, scale = shown_product(planes[:4], sku)
        canvas, _ = placed(product, scale, whole)
        covered = np.maximum(planes[3], square(canvas, size)[..., 3])
        picture = lay_over(enlarge(background, covered, whole), canvas)
        found = planes.copy()
        found[:4] = place_product(product, size, scale + SCALE_ERROR * rng.uniform(-1, 1)).transpose(2, 0, 1)
        found[4:7] = square(picture, size).transpose(2, 0, 1)
        if rng.random() >= TRUE_DEPTH:
            found[7] = square((self.depth([picture])[0] >> 8).astype(np.uint8), size)
        saliency = rng.random()
        if saliency < PRODUCT_ALONE:
            found[8] = found[3]
        elif saliency >= PRODUCT_ALONE + TRUE_SALIENCY:
            found[8] = square(self.saliency([picture])[0], size)
        return found


def shown_product(canvas: npt.NDArray[np.uint8], sku: str) -> tuple[Uint8Array, float]:
    """The catalogue's picture of the product as (4, S, S) shows it, from its one side or the other, and its longest side
    as a share of the canvas."""
    size = canvas.shape[-1]
    x0, y0, x1, y1 = alpha_box(canvas[3])
    scale = max(x1 - x0, y1 - y0) / size

    def misfit(picture: Uint8Array) -> int:
        return int(np.abs(placed(picture, scale, size)[0].transpose(2, 0, 1).astype(np.int16) - canvas)[3].sum())

    return min(_pictures(sku), key=misfit), scale


@cache
def _pictures(sku: str) -> tuple[Uint8Array, ...]:
    views = (*load_catalogue(MAIN_YAW), *load_catalogue(TURNED_YAW))
    return tuple(view.image() for view in views if view.sku == sku)


def redraw_into(
    folder: Path, scenes: Path, mini: Path, seed: int, n_scenes: int, part: int = 0, parts: int = 1
) -> None:
    """What the folder lacks of the first n_scenes of `scenes`, or of its chunks part, part + parts, ...

    A chunk depends on its scenes, the nets, the seed and its number. Raises FileNotFoundError: no scene there.
    """
    torch.set_num_threads(1)
    drawn = DrawnScenes(scenes)
    folder.mkdir(parents=True, exist_ok=True)
    redrawing: Redrawing | None = None
    for number in range(part, -(-min(n_scenes, len(drawn)) // CHUNK), parts):
        name = folder / f"chunk-{number:05d}"
        if name.with_suffix(".json").is_file():
            continue
        redrawing = redrawing or Redrawing(mini)
        rows = range(number * CHUNK, (number + 1) * CHUNK)
        truths = [drawn.truths[row] for row in rows]
        write_chunk(name, redrawing.chunk(drawn.planes(rows), truths, np.random.default_rng([seed, number])), truths)
        print(f"{time.strftime('%H:%M:%S')} chunk {number}", flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drawn", type=Path, help="folder of adproof.adworld.drawn")
    parser.add_argument("out", type=Path, help="folder to write, of the same kind")
    parser.add_argument("--mini", type=Path, default=MINI_FOLDER.parent, help="model set whose nets draw and look")
    parser.add_argument("--scenes", type=int, default=1_000_000, help="only the first so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="of one thread each")
    args = parser.parse_args()
    begun = time.monotonic()
    together(redraw_into, [(args.out, args.drawn, args.mini, args.seed, args.scenes, part, args.processes)
                           for part in range(args.processes)])  # fmt: skip
    print(f"{len(DrawnScenes(args.out))} scenes redrawn, {(time.monotonic() - begun) / 60:.1f} minutes")  # noqa: T201


if __name__ == "__main__":
    main()
