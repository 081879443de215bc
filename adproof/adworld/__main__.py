"""`python -m adproof.adworld sheet OUT [--of scenes|catalogue|candidates]` draws a contact sheet; `... rate` prints scenes
per second."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from adproof.adworld import sheets
from adproof.adworld.catalogue import MAIN_YAW, contact_sheet, load_catalogue, products, references
from adproof.adworld.drawn import TURNED_YAW
from adproof.adworld.scenes import Scene, World


def rate(world: World, count: int, seed: int) -> tuple[float, float, list[Scene]]:
    """Scenes per second of wall clock and of CPU, over `count` scenes of the natural mixture, after a warm-up."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        world.draw(rng)
    start, cpu = time.perf_counter(), time.process_time()
    scenes = [world.draw(rng) for _ in range(count)]
    return count / (time.perf_counter() - start), count / (time.process_time() - cpu), scenes


def check() -> str:
    """Open every picture of the catalogue. Raises what a missing or damaged one raises."""
    views = [entry for yaw in (MAIN_YAW, TURNED_YAW) for entry in load_catalogue(yaw)]
    for view in views:
        view.image()
    return f"{len(products())} products, {len(references())} references, {len(views)} pictures: all there and whole"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m adproof.adworld", description=__doc__)
    parser.add_argument("--kind", choices=["feedback", "judge"], default="feedback")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in px")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("sheet", help="draw a contact sheet")
    drawing.add_argument("out", type=Path, help="picture file to write (.webp, .png)")
    drawing.add_argument(
        "--of", choices=["scenes", "catalogue", "candidates"], default="scenes",
        help="8 scenes of each label; every product; 8 candidates of each label by the judge's say",
    )  # fmt: skip
    drawing.add_argument("--folder", type=Path, help="of studies.untuned, for the candidates")
    drawing.add_argument("--kind", choices=["feedback", "judge"], default=argparse.SUPPRESS)
    drawing.add_argument("--seed", type=int, default=argparse.SUPPRESS)
    commands.add_parser("check", help="open every picture of the catalogue")
    timing = commands.add_parser("rate", help="print scenes per second")
    timing.add_argument("--count", type=int, default=300)
    arguments = parser.parse_args()
    if arguments.command == "check":
        sys.stdout.write(f"{check()}\n")
        return
    if arguments.command == "sheet" and arguments.of == "candidates":
        if arguments.folder is None:
            parser.error("sheet --of candidates needs --folder, which `python -m studies.untuned FOLDER` fills")
        sheets.save(sheets.candidate_sheet(arguments.folder), arguments.out)
        return
    if arguments.command == "sheet" and arguments.of == "catalogue":
        sheets.save(contact_sheet(products()), arguments.out)
        return
    world = World(load_catalogue(), size=arguments.size, kind=arguments.kind)
    if arguments.command == "sheet":
        sheets.save(sheets.scene_sheet(world, arguments.seed), arguments.out)
    else:
        speed, of_cpu, _ = rate(world, arguments.count, arguments.seed)
        sys.stdout.write(f"{speed:.1f} scenes/s, {of_cpu:.1f} per CPU second, at {arguments.size} px\n")


if __name__ == "__main__":
    main()
