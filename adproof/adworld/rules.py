"""What is measured in a finished scene to be sure that its label's rule holds, and no other label's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adproof.adworld.sprites import Array, Contour, Mask, Sprite
from adproof.labels import Label

VISIBLE_STEP = 0.085
"""Colour difference (root mean square over RGB, 0..1) from which a piece of contour is seen."""
DISTINCT = 0.70
CAMOUFLAGED = 0.34
"""Shares of the contour that must be seen at least (distinct), or may be seen at most (camouflaged)."""
CALM = 0.052
BUSY = 0.085
"""Mean brightness step per unit around the contour: at most (calm) or at least (busy, cluttered)."""
SIZE_BOUND = 2.5
"""References wrong by this factor or more make a size mismatch; within 1.55 they do not."""
TRUE_BOUND = 1.55


@dataclass(frozen=True)
class Distinctness:
    visible: float
    """Share of the contour that is seen against what lies just outside of it."""
    busy: float
    """How busy the background is around the contour, shadows and references left out."""


def distinctness(picture: Array, plain: Array, sprite: Sprite, at: tuple[int, int], edge: Contour, extra: Mask) -> Distinctness:
    """Measure the contour of the shown product. picture: the finished background; plain: before references and shadows."""
    size = picture.shape[0]
    offset = np.array([at[1], at[0]])
    outer, far = edge.outer + offset, edge.far + offset
    inside = ((outer >= 0) & (outer < size)).all(1)
    inside[inside] &= ~extra[tuple(outer[inside].T)]
    if not inside.any():
        return Distinctness(0.0, 0.0)
    own = sprite.colour[tuple(edge.inner[inside].T)]
    step = np.sqrt(((picture[tuple(outer[inside].T)] - own) ** 2).mean(1))
    grey = cv2.GaussianBlur(plain.mean(2), (0, 0), 0.35 * size / 64)
    dy, dx = np.gradient(grey)
    steps = np.hypot(dy, dx) * (size / 64)
    ring = np.concatenate([outer, far])
    ring = ring[((ring >= 0) & (ring < size)).all(1)]
    return Distinctness(float((step > VISIBLE_STEP).mean()), float(steps[tuple(ring.T)].mean()))


def lost_in(field: Array, sprite: Sprite, at: tuple[int, int], edge: Contour) -> float:
    """Share of the contour that would be seen against a background (S,S,3) before anything else is drawn."""
    offset = np.array([at[1], at[0]])
    outer = np.clip(edge.outer + offset, 0, field.shape[0] - 1)
    step = np.sqrt(((field[tuple(outer.T)] - sprite.colour[tuple(edge.inner.T)]) ** 2).mean(1))
    return float((step > VISIBLE_STEP).mean())


def keeps(label: Label, cause: str, seen: Distinctness) -> bool:
    """Whether the measured contour agrees with the label: only indistinctiveness may be hard to see."""
    if label is not Label.INDISTINCTIVENESS:
        return seen.visible >= DISTINCT and seen.busy <= CALM
    return seen.visible <= CAMOUFLAGED if cause == "camouflage" else seen.busy >= BUSY


def is_near_miss(label: Label, seen: Distinctness) -> bool:
    """Whether the contour is close to the bound that separates indistinctiveness from the rest."""
    if label is Label.INDISTINCTIVENESS:
        return seen.visible > CAMOUFLAGED - 0.06 and seen.busy < BUSY + 0.015
    return seen.visible < DISTINCT + 0.06 or seen.busy > CALM - 0.008


def extension_shows(extra: Mask, own: Array) -> bool:
    """An added part counts from 4 % of the product's own area, and is no ghost of a few pixels."""
    return bool(extra.sum() >= max(0.04 * (own > 0.5).sum(), 0.0012 * extra.size))


def degraded(rng: np.random.Generator, picture: Array, noise: tuple[float, float], blur: tuple[float, float], jpeg: bool) -> Array:
    """The picture (S,S,3) with grain, blur (sigma in px per 64 of canvas) and, half of the time, JPEG if asked."""
    out = picture
    sigma = rng.uniform(*blur) * picture.shape[0] / 64
    if sigma > 0.25:
        out = cv2.GaussianBlur(out, (0, 0), sigma)
    out = out + rng.standard_normal(out.shape, dtype=np.float32) * np.float32(rng.uniform(*noise))
    if jpeg and rng.random() < 0.5:
        pixels = np.rint(np.clip(out, 0, 1) * 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 85))])
        out = cv2.imdecode(packed, cv2.IMREAD_COLOR).astype(np.float32) / 255
    return np.asarray(np.clip(out, 0, 1), np.float32)
