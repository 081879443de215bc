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


def distinctness(
    picture: Array, plain: Array, sprite: Sprite, at: tuple[int, int], edge: Contour, extra: Mask
) -> Distinctness:
    """Measure the contour of the shown product.

    Args:
        picture: (S, S, 3) float32 in [0, 1], the finished background. plain: the same before references and shadows.
        at: (x, y) of the sprite's frame, px. edge: its contour, in the frame's px.
        extra: (S, S) bool, an added part: where it lies, the contour is not looked at.
    """
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


def seen_against(field: Array, sprite: Sprite, at: tuple[int, int], edge: Contour) -> float:
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


def has_right_shape(label: Label, extra: Mask, own: Array) -> bool:
    """An added part belongs to hallucinations alone; it counts from 4 % of the product's own area and 20 px
    of 128."""
    if label is not Label.SHAPE_HALLUCINATION:
        return not extra.any()
    return bool(extra.sum() >= max(0.04 * (own > 0.5).sum(), 0.0012 * extra.size))
