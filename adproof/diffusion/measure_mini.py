"""Draw ad-world prompts with a generator and measure what can be measured without a judge.

    python -m adproof.diffusion.measure_mini --count 120 --sheet sheet.png [--folder DIR] [--guidance 1.5]

Prints the share of walls and surfaces as prompted, for the generator's pictures and for rendered scenes beside them,
and the seconds of CPU per picture.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.scenes import World
from adproof.diffusion.conditions import Uint8Array
from adproof.diffusion.fidelity import prompt_fidelity
from adproof.diffusion.generator import MINI_FOLDER, DrawRequest, Generator


def requests(world: World, count: int, seed: int) -> list[DrawRequest]:
    """One prompt each for `count` products, in random order."""
    rng = np.random.default_rng(seed)
    skus = sorted(world.products)
    chosen = [skus[i] for i in rng.choice(len(skus), count, replace=count > len(skus))]
    return [
        DrawRequest(world.products[sku][0].image(), world.prompt(rng, sku), seed * 100_000 + i, image_scale=0.5)
        for i, sku in enumerate(chosen)
    ]


def contact_sheet(images: list[Uint8Array], columns: int = 8, side: int = 192) -> Image.Image:
    sheet = Image.new("RGB", (columns * side, -(-len(images) // columns) * side))
    for i, image in enumerate(images):
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        sheet.paste(tile, (i % columns * side, i // columns * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=MINI_FOLDER)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sheet", type=Path, help="where to write a contact sheet (PNG)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {k: v for k, v in (("guidance", args.guidance), ("steps", args.steps)) if v is not None}
    generator = Generator.load({"kind": "mini", "base": str(args.folder), **chosen})
    world = World(load_catalogue())
    asked = requests(world, args.count, args.seed)
    started = time.process_time()
    images = generator.generate(asked)
    seconds = (time.process_time() - started) / len(images)
    rng = np.random.default_rng(args.seed)
    scenes = [world.draw(rng) for _ in range(args.count)]
    print(f"{seconds:.2f} CPU s per picture, key {generator.key[:12]}")  # noqa: T201
    print("drawn   ", prompt_fidelity(images, [r.prompt for r in asked]))  # noqa: T201
    print("rendered", prompt_fidelity([s.image for s in scenes], [s.prompt for s in scenes]))  # noqa: T201
    if args.sheet:
        contact_sheet(images).save(args.sheet)


if __name__ == "__main__":
    main()
