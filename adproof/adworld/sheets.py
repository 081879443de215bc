"""Contact sheets: what a person sees of the world's scenes, and of what the mini generator makes of them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.scenes import World
from adproof.labels import TITLES, Label

COLUMNS = 8
NEAR_MISS, LESS_LIKELY = "#e8820c", "#9a9a9a"
_GAP, _HEAD, _STRIP = 6, 22, 46
_JUDGE = "independent judge"


def scene_sheet(world: World, seed: int, columns: int = COLUMNS) -> Image.Image:
    """A row of scenes per label, with the product's own cut-out and caption below each; near-misses are framed."""
    rng = np.random.default_rng(seed)
    out, pen = _paper(world.size, columns)
    for label in Label:
        for column in range(columns):
            scene = world.draw(rng, label)
            x, y = _place(world.size, label, column)
            if scene.attributes["near_miss"]:
                pen.rectangle([x - 3, y - 3, x + world.size + 2, y + world.size + 2], fill=NEAR_MISS)
            out.paste(Image.fromarray(scene.image), (x, y))
            _explain(out, pen, scene.product_rgba, scene.caption, x, y + world.size + 4)
    return out


def candidate_sheet(folder: Path, columns: int = COLUMNS, tile: int = 192) -> Image.Image:
    """Candidates that `studies.untuned` drew: for each label those of which the judge is most certain, with its probability.

    A product stands in a row once. Where the judge gives a label to fewer than `columns` of them, the row goes on with
    those it finds likeliest to have it, framed in grey.

    Args:
        folder: with candidates.json and the pictures.
        tile: side of a picture on the sheet, px.
    Raises: ValueError: fewer candidates than the sheet has places.
    """
    rows: list[dict[str, Any]] = json.loads((folder / "candidates.json").read_text("utf-8"))
    products = {entry.sku: entry for entry in load_catalogue()}
    said = np.array([row[_JUDGE] for row in rows])
    if len(said) < columns * len(Label):
        raise ValueError(f"{folder} holds {len(said)} candidates, the sheet has {columns * len(Label)} places: draw more")
    out, pen = _paper(tile, columns)
    for label, chosen in _surest(said, [row["sku"] for row in rows], columns).items():
        for column, n in enumerate(chosen):
            x, y = _place(tile, label, column)
            if said[n].argmax() != label:
                pen.rectangle([x - 3, y - 3, x + tile + 2, y + tile + 2], fill=LESS_LIKELY)
            with Image.open(folder / f"{rows[n]['number']:04d}.png") as picture:
                out.paste(picture.convert("RGB").resize((tile, tile), Image.Resampling.LANCZOS), (x, y))
            entry = products[rows[n]["sku"]]
            _explain(out, pen, entry.image(), f"{said[n, label]:.2f} {entry.title}", x, y + tile + 4)
    return out


def _surest(said: np.ndarray, skus: list[str], count: int) -> dict[Label, list[int]]:
    """Rows of each label: its own first, then the likeliest that no label has taken; each row, and a product in a label, once."""
    chosen: dict[Label, list[int]] = {label: [] for label in Label}
    taken: set[int] = set()
    for own_only in (True, False):
        for label, row in chosen.items():
            for n in np.argsort(-said[:, label]).tolist():
                if len(row) == count:
                    break
                wanted = said[n].argmax() == label or not own_only
                if wanted and n not in taken and skus[n] not in {skus[k] for k in row}:
                    row.append(n)
                    taken.add(n)
    return chosen


def _paper(tile: int, columns: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    height = _HEAD + tile + _STRIP + _GAP
    out = Image.new("RGB", (columns * (tile + _GAP) + _GAP, len(Label) * height), "white")
    pen = ImageDraw.Draw(out)
    for label in Label:
        pen.text((_GAP, label * height + 3), TITLES[label], fill="#222222", font=ImageFont.load_default(14))
    return out, pen


def _place(tile: int, label: Label, column: int) -> tuple[int, int]:
    return column * (tile + _GAP) + _GAP, int(label) * (_HEAD + tile + _STRIP + _GAP) + _HEAD


def _explain(out: Image.Image, pen: ImageDraw.ImageDraw, rgba: np.ndarray, text: str, x: int, y: int) -> None:
    own = Image.fromarray(rgba)
    own = own.crop(own.getbbox())
    own.thumbnail((_STRIP - 6, _STRIP - 6), Image.Resampling.LANCZOS)
    out.paste(own, (x + (_STRIP - own.width) // 2, y + (_STRIP - 6 - own.height) // 2), own)
    lines = textwrap.wrap(text, 18)[:4]
    font = ImageFont.load_default(9)
    pen.multiline_text((x + _STRIP + 2, y), "\n".join(lines), fill="#444444", font=font, spacing=1)


def save(sheet: Image.Image, path: Path, most_bytes: int = 400_000) -> None:
    """Write a sheet; a WebP in the best quality that keeps it under most_bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (90, 85, 80, 70, 60, 50):
        sheet.save(path, quality=quality)
        if path.suffix != ".webp" or path.stat().st_size <= most_bytes:
            return
    raise ValueError(f"{path} does not fit {most_bytes} bytes: take fewer columns")

