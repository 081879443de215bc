"""How often the untuned generator of the mini set is available, by RFNet's start and by the independent judge.

    python -m studies.untuned data/train/untuned --count 400

Draws what the folder lacks (a picture, its depth and saliency, and what was asked for), one thread, then lets both nets
judge all of it. The same folder is what `python -m adproof.adworld sheet candidates` lays out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adproof.adworld.catalogue import CatalogueProduct, load_catalogue
from adproof.adworld.judge import Judge
from adproof.adworld.scenes import World
from adproof.diffusion.generator import MINI_FOLDER, DrawRequest, Generator
from adproof.labels import LABELS, Label
from adproof.perception.depth import Depth
from adproof.perception.pictures import (
    depth_to_png,
    open_picture,
    picture_to_png,
    png_to_depth,
    png_to_saliency,
    saliency_to_png,
)
from adproof.perception.saliency import Saliency
from adproof.rfnet.checkpoint import shipped
from adproof.rfnet.scoring import RFNetSample, Scorer

IMAGE_SCALE = 0.5  # as the sample prompts have it
BATCH = 8


def plan(count: int, seed: int) -> list[dict[str, Any]]:
    """Product, prompt and seed of each picture: the products in turn, a prompt of the ad world's own for each."""
    world = World(load_catalogue())
    skus = sorted(world.products)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(skus)) for _ in range(-(-count // len(skus)))])[:count]
    return [
        {"number": n, "sku": skus[i], "prompt": world.prompt(rng, skus[i]), "seed": seed * 100_000 + n}
        for n, i in enumerate(order)
    ]


def draw(
    folder: Path, rows: list[dict[str, Any]], products: dict[str, CatalogueProduct], settings: dict[str, Any]
) -> None:
    """Write NNNN.png, NNNN-depth.png and NNNN-saliency.png of the rows that have none."""
    missing = [row for row in rows if not _file(folder, row, "-saliency").is_file()]
    if not missing:
        return
    generator = Generator.load({"kind": "mini", **settings})
    depth, saliency = Depth(MINI_FOLDER.parent / "depth"), Saliency(MINI_FOLDER.parent / "saliency" / "u2netp.onnx")
    for at in range(0, len(missing), BATCH):
        part = missing[at : at + BATCH]
        asked = [
            DrawRequest(products[row["sku"]].image(), row["prompt"], row["seed"], image_scale=IMAGE_SCALE)
            for row in part
        ]
        images = generator.generate(asked)
        for row, image, far, salient in zip(part, images, depth(images), saliency(images), strict=True):
            _file(folder, row).write_bytes(picture_to_png(image))
            _file(folder, row, "-depth").write_bytes(depth_to_png(far))
            _file(folder, row, "-saliency").write_bytes(saliency_to_png(salient))  # last: the row is complete
        print(f"{len(rows) - len(missing) + at + len(part)} of {len(rows)} drawn", flush=True)


def _file(folder: Path, row: dict[str, Any], map_of: str = "") -> Path:
    return folder / f"{row['number']:04d}{map_of}.png"


def judged(folder: Path, rows: list[dict[str, Any]], products: dict[str, CatalogueProduct]) -> dict[str, Any]:
    """Probabilities of both nets: (N, 5) each, by its name."""
    captions = [f"{products[row['sku']].title}. {products[row['sku']].description}" for row in rows]
    scorer, judge = Scorer(shipped("rfnet_init")), Judge()
    by_rfnet, by_judge = [], []
    for at in range(0, len(rows), 32):
        samples = [
            RFNetSample(
                product=products[row["sku"]].image(),
                generated=open_picture(_file(folder, row).read_bytes()),
                depth=png_to_depth(_file(folder, row, "-depth").read_bytes()),
                saliency=png_to_saliency(_file(folder, row, "-saliency").read_bytes()),
                caption=caption,
            )
            for row, caption in zip(rows[at : at + 32], captions[at : at + 32], strict=True)
        ]
        by_rfnet.append(scorer(samples))
        by_judge.append(
            judge([s.product for s in samples], [s.generated for s in samples], [s.caption for s in samples])
        )
    return {"RFNet's start": np.concatenate(by_rfnet), "independent judge": np.concatenate(by_judge)}


def told(verdicts: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean probability and share by argmax of every label, with the standard error of the mean."""
    result: dict[str, Any] = {}
    print(f"{'':20}" + "".join(f"{name:>20}" for name in LABELS))
    for name, p in verdicts.items():
        share = np.bincount(p.argmax(1), minlength=5) / len(p)
        print(f"{name:20}" + "".join(f"{a:>13.3f}/{b:.3f} " for a, b in zip(p.mean(0), share, strict=True)))
        error = float(p[:, Label.AVAILABLE].std() / len(p) ** 0.5)
        result[name] = {
            "mean_p_available": round(float(p[:, 0].mean()), 3),
            "standard_error": round(error, 3),
            "available_by_argmax": round(float(share[0]), 3),
        }
    print("mean probability / share by argmax")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drawn", action="store_true", help="judge what the folder holds, draw nothing")
    parser.add_argument("--generator", type=Path, default=MINI_FOLDER, help="diffusers folder of a mini generator")
    parser.add_argument("--guidance", type=float, help="another than the mini generator's own")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    products = {entry.sku: entry for entry in load_catalogue()}
    rows = plan(args.count, args.seed)
    if args.drawn:
        rows = [row for row in rows if _file(args.folder, row, "-saliency").is_file()]
    else:
        guidance = {} if args.guidance is None else {"guidance": args.guidance}
        draw(args.folder, rows, products, {"base": str(args.generator), **guidance})
    verdicts = judged(args.folder, rows, products)
    for number, row in enumerate(rows):
        row.update({name: [round(float(v), 4) for v in p[number]] for name, p in verdicts.items()})
    (args.folder / "candidates.json").write_text(json.dumps(rows))
    print(json.dumps({"pictures": len(rows), **told(verdicts)}))


if __name__ == "__main__":
    main()
