"""The sample catalogue: rendered products and reference objects with their true sizes.

`python -m adproof.adworld.catalogue sheet OUT` draws all products on one contact sheet.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

DATA = Path(__file__).parent / "catalogue_data"
PITCH_DEGREES = 17.0
MAIN_YAW = 35


@dataclass(frozen=True)
class GroundEllipse:
    """An axis-aligned ellipse on the ground, in px of the picture: centre (x right, y down), half extents."""

    cx: float
    cy: float
    rx: float
    ry: float


@dataclass(frozen=True)
class CatalogueProduct:
    """One thing seen under one yaw, orthographic, from `PITCH_DEGREES` above.

    sku: unique among the things; the same under every yaw.
    size_cm: width, depth, height of the real thing, before the yaw.
    px_per_cm: of the shipped picture, the same in both directions across the line of sight.
    yaw: degrees; 35 for the main picture, -30 for the turned one.
    name: one lower-case word for references, None for products.
    base_y: y (px, down) of the front-most point that touches the ground; within the picture.
    contact: ellipse around the parts that touch the ground (feet, base, wheels).
    plan: ellipse around everything seen from straight above, laid on the ground: where a shadow would lie.
    """

    sku: str
    title: str
    description: str
    category: str
    size_cm: tuple[float, float, float]
    px_per_cm: float
    yaw: int
    is_reference: bool
    name: str | None
    base_y: float
    contact: GroundEllipse
    plan: GroundEllipse
    source: str
    license: str
    credits: str
    path: Path

    def image(self) -> NDArray[np.uint8]:
        """(h, w, 4) uint8 RGBA, straight alpha, a clear margin of 2 px all round.

        Raises FileNotFoundError if the data were not installed with the package.
        """
        with Image.open(self.path) as opened:
            return np.asarray(opened.convert("RGBA"))


@cache
def _all_views() -> tuple[CatalogueProduct, ...]:
    rows = json.loads((DATA / "catalogue.json").read_text("utf-8"))
    return tuple(_from_row(row) for row in rows)


def _from_row(row: dict[str, Any]) -> CatalogueProduct:
    width, depth, height = row.pop("size_cm")
    return CatalogueProduct(
        size_cm=(width, depth, height),
        contact=GroundEllipse(*row.pop("contact")),
        plan=GroundEllipse(*row.pop("plan")),
        path=DATA / row.pop("file"),
        **row,
    )


@cache
def load_catalogue(yaw: int = MAIN_YAW) -> tuple[CatalogueProduct, ...]:
    """Products and references under one yaw (35 or -30), sorted by sku. Raises ValueError for another yaw."""
    found = tuple(view for view in _all_views() if view.yaw == yaw)
    if not found:
        raise ValueError(f"the catalogue has no pictures of yaw {yaw}")
    return found


def products(yaw: int = MAIN_YAW) -> tuple[CatalogueProduct, ...]:
    """The things to advertise, sorted by sku."""
    return tuple(entry for entry in load_catalogue(yaw) if not entry.is_reference)


def references(yaw: int = MAIN_YAW) -> tuple[CatalogueProduct, ...]:
    """Well-known things that tell the scale of a scene, sorted by sku."""
    return tuple(entry for entry in load_catalogue(yaw) if entry.is_reference)


def contact_sheet(entries: tuple[CatalogueProduct, ...], columns: int = 10, tile: int = 160) -> Image.Image:
    """All pictures on a light checkerboard, each with its title below."""
    caption = 30
    rows = -(-len(entries) // columns)
    sheet = _checkerboard(columns * tile, rows * (tile + caption))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for index, entry in enumerate(entries):
        x, y = index % columns * tile, index // columns * (tile + caption)
        picture = Image.fromarray(entry.image())
        picture.thumbnail((tile - 14, tile - 14), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x + (tile - picture.width) // 2, y + tile - 4 - picture.height), picture)
        draw.rectangle([x, y + tile, x + tile, y + tile + caption - 1], fill="white")
        for line, text in enumerate(_wrapped(entry.title, font, tile - 6)):
            draw.text((x + tile / 2, y + tile + 2 + 13 * line), text, fill="#222222", font=font, anchor="ma")
    return sheet


def _checkerboard(width: int, height: int, square: int = 10) -> Image.Image:
    row, column = np.indices((height, width)) // square
    grey = np.where((row + column) % 2, 255, 243).astype(np.uint8)
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2))


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["sheet"])
    parser.add_argument("out", type=Path, help="picture file to write (.webp, .png)")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(products() + references()).save(arguments.out, quality=85)


if __name__ == "__main__":
    main()
