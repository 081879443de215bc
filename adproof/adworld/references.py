"""Things of known size beside the product: which, in what scale, where, with their shadows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adproof.adworld import staging, words
from adproof.adworld.catalogue import CatalogueProduct
from adproof.adworld.drafts import SMALLEST_REFERENCE, Draft, fitting
from adproof.adworld.layout import Layout
from adproof.adworld.sprites import Sprite, SpriteStore
from adproof.adworld.staging import Canvas
from adproof.labels import Label

Box = tuple[int, int, int, int]
CELL = 8  # px of a 128 px canvas: what one latent of the mini generator sees
SIZE_STEP = 1.2  # ratio of one size to the next, well within the tolerance of a true size


def set_references(
    rng: np.random.Generator,
    canvas: Canvas,
    draft: Draft,
    layout: Layout,
    references: Sequence[CatalogueProduct],
    sprites: SpriteStore,
    light_x: float,
    ellipse_shadows: bool,
    on_grid: bool = False,
) -> bool:
    """Stand up to two references on the surface, in the scale of the drawn edition, and note them in the
    draft.

    on_grid: in few sizes, never mirrored, on a grid of latent cells. False if a size mismatch got none: the scene is no use.
    """
    wrong = draft.label is Label.SIZE_MISMATCH
    count = int(rng.choice([1, 2], p=[0.68, 0.32])) if wrong else int(rng.choice(3, p=[0.1, 0.61, 0.29]))
    candidates = fitting(draft, references, draft.drawn_edition, canvas.size)
    sides = [int(side) for side in rng.permutation([-1, 1])]
    for k in rng.permutation(len(candidates)):
        if len(draft.references) >= count:
            break
        near_miss = bool(rng.random() < 0.2)
        factor = _scale_factor(rng, draft, near_miss)
        sprite = _drawn_size(rng, sprites, draft, candidates[k], factor, on_grid)
        x0, y0, x1, y1 = sprite.box
        if max(y1 - y0, (x1 - x0) / 2) < SMALLEST_REFERENCE * canvas.size:
            continue
        at = _find_place(rng, canvas, draft, layout, sprite, sides[len(draft.references)])
        if at is not None:
            at = _on_grid(at, canvas.size) if on_grid else at
            _shade(rng, canvas, sprite, at, light_x, ellipse_shadows)
            staging.paste(canvas, sprite, at, canvas.depth_at(at[1] + sprite.base - sprite.contact[3]))
            box = (at[0] + x0, at[1] + y0, at[0] + x1, at[1] + y1)
            draft.references.append((str(candidates[k].name), factor, box))
            draft.near_miss = draft.near_miss or near_miss
    return bool(draft.references) or not wrong


def _scale_factor(rng: np.random.Generator, draft: Draft, near_miss: bool) -> float:
    """Scale beside the drawn edition's true one: within 1.18, or 1.25-1.5 towards the rule's bound."""
    if not near_miss:
        return float(np.exp(rng.uniform(-1, 1) * np.log(1.18)))
    factor = float(rng.uniform(1.25, 1.5))
    drawn, told = words.EDITIONS[draft.drawn_edition], words.EDITIONS[draft.edition]
    larger = rng.random() < 0.5 if drawn == told else drawn > told
    return factor if larger else 1 / factor


def _drawn_size(
    rng: np.random.Generator,
    sprites: SpriteStore,
    draft: Draft,
    reference: CatalogueProduct,
    factor: float,
    on_grid: bool,
) -> Sprite:
    px_per_cm = draft.whole.px_per_cm / words.EDITIONS[draft.drawn_edition] * factor
    picture = sprites.picture(reference)
    longest = max(picture.alpha.shape) * px_per_cm / picture.px_per_cm
    if on_grid:
        step = round(np.log(longest) / np.log(SIZE_STEP))
        return sprites.sprite(reference, 2 * round(float(SIZE_STEP**step) / 2))
    # Even sizes only, so that the store stays small.
    sprite = sprites.sprite(reference, 2 * round(longest / 2))
    return sprite.mirrored() if rng.random() < 0.5 else sprite


def _on_grid(at: tuple[int, int], size: int) -> tuple[int, int]:
    """The nearest place whose column and row are multiples of a generator's latent cell, and of half of one."""
    x, y = CELL * size / 128, CELL * size / 256
    return round(round(at[0] / x) * x), round(round(at[1] / y) * y)


def _find_place(
    rng: np.random.Generator, canvas: Canvas, draft: Draft, layout: Layout, sprite: Sprite, side: int
) -> tuple[int, int] | None:
    """The frame's corner for a reference on this side (-1 left, 1 right), standing on the surface.

    Behind the product up to 0.28 of it may be covered; up to 0.35 may leave the picture. None if there is no
    room.
    """
    unit, footing = canvas.unit, draft.footing
    x0, _, x1, _ = sprite.box
    width, foot = x1 - x0, 2 * sprite.contact[3]
    row = _ground_row(rng, canvas, layout, foot, footing.y1)
    if row is None:
        return None
    in_front = row > layout.ground - 0.3 * footing.foot
    gap = rng.uniform(0, 5) * unit if in_front else -rng.uniform(0, 0.22) * width
    left = draft.stand.x0 - width - gap if side < 0 else draft.stand.x1 + gap
    if layout.podium is not None and in_front:
        podium = layout.podium
        edge = podium.centre + side * podium.radius
        left = min(left, edge - width) if side < 0 else max(left, edge)
    outside = max(0.0, -left, left + width - canvas.size)
    if outside > 0.35 * width:
        left += (outside - 0.35 * width) * (1 if left < 0 else -1)
        covered = min(left + width, draft.stand.x1) - max(left, draft.stand.x0)
        if covered > (0.0 if in_front else 0.28 * width):
            return None
    middle, radius = left - x0 + sprite.contact[0], sprite.contact[2]
    over_left = layout.left is not None and middle - radius < layout.left
    over_right = layout.right is not None and middle + radius > layout.right
    return None if over_left or over_right else (round(left - x0), round(row - sprite.base))


def _ground_row(rng: np.random.Generator, canvas: Canvas, layout: Layout, foot: float, base_row: float) -> float | None:
    """A row for the base of a thing with this footprint, rather behind the product than far before it."""
    unit = canvas.unit
    lowest = canvas.size - 1.5 * unit
    if layout.front is not None:
        lowest = min(lowest, layout.front - unit)
    first, last = layout.horizon + foot + unit, min(lowest, base_row + 5 * unit)
    if last <= first:
        first, last = last - 0.5 * unit, lowest
    return float(rng.uniform(min(first, last), last)) if last > layout.horizon + foot else None


def _shade(
    rng: np.random.Generator,
    canvas: Canvas,
    sprite: Sprite,
    at: tuple[int, int],
    light_x: float,
    ellipse_shadows: bool,
) -> None:
    cx, cy, rx, ry = sprite.contact
    unit = canvas.unit
    if not ellipse_shadows:
        ground, lean = at[1] + sprite.base - 0.6 * ry, (0.5 - light_x) * 1.1
        staging.cast_shadow(canvas, sprite, at, ground, lean, squash=0.22, darkness=0.25, blur=1.2 * unit)
    radii = (rx * 1.1 + unit, max(1.4 * unit, ry * 1.1))
    staging.soft_shadow(canvas, (at[0] + cx, at[1] + cy + 0.2 * ry), radii, float(rng.uniform(0.2, 0.5)))
