"""What is decided about the product before anything is drawn: its size, place, cut, and edition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adproof.adworld import words
from adproof.adworld.catalogue import CatalogueProduct
from adproof.adworld.layout import Stand
from adproof.adworld.sprites import Sprite, SpriteStore, cut, kept_after_cut
from adproof.adworld.staging import EXTENSIONS
from adproof.labels import Label

SMALLEST_REFERENCE = 0.12
"""Height, or half of the width, that a reference must have in the picture, as a share of the canvas."""
REACH, SIMPLE_REACH = (4, 8), (7, 11)
"""How far an extension goes beyond the product, px per 64 of canvas."""
_BELOW = ("base", "legs", "longer")


@dataclass
class Draft:
    """A scene on its way. whole: the product in full; shown: as the picture shows it; own: its cut-out
    (I_o)."""

    product: CatalogueProduct
    label: Label
    whole: Sprite
    shown: Sprite
    own: Sprite
    at: tuple[int, int]
    stand: Stand
    cause: str
    cut: str
    reach: float
    shift: tuple[float, float]
    near_miss: bool
    edition: str = "regular"
    drawn_edition: str = "regular"
    references: list[tuple[str, float, tuple[int, int, int, int]]] = field(default_factory=list)
    shadow: str = ""

    @property
    def extension(self) -> str:
        return self.cause if self.cause in EXTENSIONS else ""

    @property
    def footing(self) -> Stand:
        """Where the shown thing meets the ground: lower than the product if an extension goes below it."""
        return replace(self.stand, y1=self.stand.y1 + self.reach) if self.cause in _BELOW else self.stand


def place(
    rng: np.random.Generator,
    sprites: SpriteStore,
    image_scale: tuple[float, float],
    product: CatalogueProduct,
    label: Label,
    cause: str,
    simple: bool = False,
) -> Draft | None:
    """Size, cut and place of the product; None if the cut takes too little or too much, or the canvas is too
    small.

    Every scene is centred on what would be left of the product after a cut (often an imaginary one), so that
    the place of the whole product in the picture says nothing about whether its cut-out is whole. simple: the whole
    product in the centre, where generation places it: else a product in the centre, which an extension below it seldom
    leaves there, would tell that there is none.
    """
    size = sprites.size
    # An extension makes the thing bigger: the product without it is a little smaller for that.
    longest = float(rng.choice(np.linspace(*image_scale, 7))) * (0.93 if cause in EXTENSIONS else 1.0)
    whole = sprites.sprite(product, round(longest * size))
    hallucinated = label is Label.SHAPE_HALLUCINATION
    really_cut = cause == "truncation" or (not hallucinated and not simple and rng.random() < 0.08)
    part = str(rng.choice(["bottom", "top", "left", "right"], p=[0.5, 0.26, 0.12, 0.12]))
    fraction = float(rng.uniform(0.14, 0.32))
    left_over = cut(whole, kept_after_cut(whole, part, fraction))
    if not 0.55 <= left_over.solid.sum() / whole.solid.sum() <= 0.94:
        return None
    off_centre = not simple and cause not in _BELOW and rng.random() < 0.7
    x0, y0, x1, y1 = (left_over if really_cut or off_centre else whole).box
    at = (round((size - x0 - x1) / 2), round((size - y0 - y1) / 2))
    reach = float(rng.uniform(*(SIMPLE_REACH if simple else REACH))) * size / 64 if cause in EXTENSIONS else 0.0
    if cause in _BELOW and not simple:
        at = (at[0], at[1] - round(reach * rng.random()))
    shown = left_over if really_cut and not hallucinated else whole
    wx0, wy0, wx1, wy1 = whole.box
    stand = _stand(shown, at, raised=fraction * (wy1 - wy0) if shown is left_over and part == "bottom" else 0.0)
    if stand.y1 > 0.93 * size or stand.x0 < 0 or stand.x1 > size or stand.y0 < 0:
        return None
    return Draft(
        product=product,
        label=label,
        whole=whole,
        shown=shown,
        own=left_over if really_cut else whole,
        at=at,
        stand=stand,
        cause=cause,
        cut=part if really_cut else "",
        reach=reach,
        shift=(at[0] - (size - wx0 - wx1) / 2, at[1] - (size - wy0 - wy1) / 2),
        near_miss=really_cut and not hallucinated,
    )


def _stand(sprite: Sprite, at: tuple[int, int], raised: float) -> Stand:
    """Where the shown product stands; raised: by how much a cut took its base up."""
    x0, y0, x1, y1 = sprite.box
    cx, _, rx, ry = sprite.contact
    return Stand(
        x0=at[0] + x0,
        y0=at[1] + y0,
        x1=at[0] + x1,
        y1=at[1] + min(y1, round(sprite.base - raised)),
        base_x0=at[0] + max(x0, cx - rx),
        base_x1=at[0] + min(x1, cx + rx),
        foot=2 * ry,
    )


def fitting(draft: Draft, references: Sequence[CatalogueProduct], edition: str, size: int) -> list[CatalogueProduct]:
    """References that are seen large enough, and fit the picture, beside this edition of the product."""
    px_per_cm = draft.whole.px_per_cm / words.EDITIONS[edition]
    title = draft.product.title.lower()
    return [r for r in references if str(r.name) not in title and _is_visible(r, px_per_cm, size)]


def _is_visible(reference: CatalogueProduct, px_per_cm: float, size: int) -> bool:
    width, height = max(reference.size_cm[:2]) * px_per_cm, reference.size_cm[2] * px_per_cm
    return max(height, 0.5 * width) >= SMALLEST_REFERENCE * size and height <= 0.75 * size and width <= 0.7 * size


def choose_editions(
    rng: np.random.Generator,
    draft: Draft,
    references: Sequence[CatalogueProduct],
    size: int,
    regular_only: bool = False,
) -> tuple[str, str] | None:
    """(edition of the caption, edition whose size is drawn); None if a size mismatch could not be told.

    A pair of editions is drawn first and then one of it for the caption, for every label alike: so neither
    the caption nor the picture alone tells a size mismatch. regular_only: the caption is of the regular one.
    """
    pairs = [
        ("regular", other)
        for other in ("miniature", "giant")
        if all(fitting(draft, references, edition, size) for edition in ("regular", other))
    ]
    wrong = draft.label is Label.SIZE_MISMATCH
    if not pairs:
        return None if wrong else ("regular", "regular")
    pair = pairs[int(rng.integers(len(pairs)))]
    told = 0 if regular_only else int(rng.integers(2))
    return pair[told], pair[1 - told if wrong else told]
