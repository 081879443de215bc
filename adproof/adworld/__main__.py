"""`python -m adproof.adworld sheet OUT [--kind judge]` draws examples; `... rate` prints scenes per
second."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.scenes import Scene, World
from adproof.labels import TITLES, Label

COLUMNS = 8
STRIP = 46
NEAR_MISS = "#e8820c"


def sheet(world: World, seed: int, columns: int = COLUMNS) -> Image.Image:
    """A row of scenes per label, with the product's own cut-out and caption below each; near-misses are
    framed."""
    rng = np.random.default_rng(seed)
    tile, gap, head = world.size, 6, 22
    height = head + tile + STRIP + gap
    out = Image.new("RGB", (columns * (tile + gap) + gap, len(Label) * height), "white")
    pen = ImageDraw.Draw(out)
    for row, label in enumerate(Label):
        pen.text((gap, row * height + 3), TITLES[label], fill="#222222", font=ImageFont.load_default(14))
        for column in range(columns):
            scene = world.draw(rng, label)
            x, y = gap + column * (tile + gap), row * height + head
            if scene.attributes["near_miss"]:
                pen.rectangle([x - 3, y - 3, x + tile + 2, y + tile + 2], fill=NEAR_MISS)
            out.paste(Image.fromarray(scene.image), (x, y))
            _explain(out, pen, scene, x, y + tile + 4)
    return out


def _explain(out: Image.Image, pen: ImageDraw.ImageDraw, scene: Scene, x: int, y: int) -> None:
    own = Image.fromarray(scene.product_rgba)
    own = own.crop(own.getbbox())
    own.thumbnail((STRIP - 6, STRIP - 6), Image.Resampling.LANCZOS)
    out.paste(own, (x + (STRIP - own.width) // 2, y + (STRIP - 6 - own.height) // 2), own)
    lines = textwrap.wrap(scene.caption, 18)[:4]
    pen.multiline_text(
        (x + STRIP + 2, y), "\n".join(lines), fill="#444444", font=ImageFont.load_default(9), spacing=1
    )


def rate(world: World, count: int, seed: int) -> tuple[float, list[Scene]]:
    """Scenes per second over `count` scenes of the natural mixture, after a warm-up that fills the caches."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        world.draw(rng)
    start = time.perf_counter()
    scenes = [world.draw(rng) for _ in range(count)]
    return count / (time.perf_counter() - start), scenes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m adproof.adworld", description=__doc__)
    parser.add_argument("--kind", choices=["feedback", "judge"], default="feedback")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in px")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("sheet", help="draw a sheet of examples")
    drawing.add_argument("out", type=Path, help="picture file to write (.webp, .png)")
    drawing.add_argument("--kind", choices=["feedback", "judge"], default=argparse.SUPPRESS)
    drawing.add_argument("--seed", type=int, default=argparse.SUPPRESS)
    timing = commands.add_parser("rate", help="print scenes per second")
    timing.add_argument("--count", type=int, default=300)
    arguments = parser.parse_args()
    world = World(load_catalogue(), size=arguments.size, kind=arguments.kind)
    if arguments.command == "sheet":
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        sheet(world, arguments.seed).save(arguments.out, quality=88)
    else:
        speed, _ = rate(world, arguments.count, arguments.seed)
        sys.stdout.write(f"{speed:.1f} scenes/s at {arguments.size} px\n")


if __name__ == "__main__":
    main()
