"""Where things stand: the geometry of a scene that decides support, and with it space mismatch.

All lengths are px on the canvas; `unit` = canvas/64. Rows grow downwards, so "behind" is a smaller row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Stand:
    """The product's place: its box on the canvas, its base row, the columns its base covers, its footprint's
    depth."""

    x0: float
    y0: float
    x1: float
    y1: float
    base_x0: float
    base_x1: float
    foot: float

    @property
    def back(self) -> float:
        """Row of the rearmost point that touches the ground."""
        return self.y1 - self.foot

    @property
    def centre(self) -> float:
        return (self.base_x0 + self.base_x1) / 2


@dataclass(frozen=True)
class Podium:
    centre: float
    radius: float
    top: float
    bottom: float
    """top: row of the middle of the upper face; bottom: row where the front of the podium meets the
    ground."""

    @property
    def half_depth(self) -> float:
        return 0.29 * self.radius


@dataclass(frozen=True)
class Layout:
    kind: str
    horizon: float
    """Row of the surface's back edge."""
    front: float | None = None
    """Row of the surface's front edge, None if it runs out of the picture."""
    left: float | None = None
    right: float | None = None
    """Columns of the surface's side edges at the product's base row."""
    podium: Podium | None = None
    ground: float = 0.0
    """Row where the product would touch the ground: the base row, or lower for one that hovers."""
    cause: str = ""
    """How the product lacks support, one of UNSUPPORTED, or nothing."""
    near_miss: bool = False


def supported(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    """A layout that carries the whole footprint, or None if the canvas has no room for it."""
    unit = size / 64
    close = rng.random() < 0.2
    gap = rng.uniform(1.5, 3.0) if close else rng.uniform(3.0, 14.0)
    horizon = stand.back - gap * unit
    if kind == "floor" and not close:
        horizon = rng.uniform(min(0.3 * size, stand.back - 3 * unit), stand.back - 3 * unit)
    front: float | None = None
    podium = None
    if kind == "shelf":
        front = stand.y1 + rng.uniform(2, 6) * unit
        horizon = stand.back - rng.uniform(1.5, 6) * unit
    elif kind == "table" and rng.random() < 0.5:
        low, high = stand.y1 + 2 * unit, size - 2 * unit
        if high <= low:
            return None
        front = low + rng.uniform(0, 1) ** (2 if close else 1) * (high - low)
    elif kind == "podium":
        least = max((stand.base_x1 - stand.base_x0) / 2 + 2.5 * unit, (stand.foot / 2 + unit) / 0.29)
        radius = least * (1.0 if close else rng.uniform(1.0, 1.35))
        top = stand.y1 - stand.foot / 2
        bottom = top + 0.29 * radius + rng.uniform(2, 12) * unit
        if radius > 0.47 * size or bottom > size - unit:
            return None
        podium = Podium(stand.centre, radius, top, bottom)
        horizon = min(top, bottom - 0.6 * radius) - rng.uniform(0, 12) * unit
        tall = _pedestal(rng, podium, stand, unit)
        if rng.random() < 0.35 and tall.bottom < size - unit:
            # The floor begins below the product: as for one that floats, but here a pedestal carries it.
            podium, horizon = tall, tall.bottom - 0.6 * radius
    layout = Layout(kind, horizon, front, podium=podium, ground=podium.bottom if podium else stand.y1, near_miss=close)
    if kind == "table" and rng.random() < 0.25:
        return _side_edge(rng, layout, stand, unit, size)
    return layout if horizon > 0.08 * size else None


def _side_edge(rng: np.random.Generator, layout: Layout, stand: Stand, unit: float, size: int) -> Layout:
    """A side edge well outside of the base: a near-miss of hanging over it."""
    if rng.random() < 0.5 and stand.base_x0 > 4 * unit:
        return replace(layout, left=rng.uniform(2 * unit, stand.base_x0 - 2 * unit), near_miss=True)
    if stand.base_x1 < size - 4 * unit:
        return replace(layout, right=rng.uniform(stand.base_x1 + 2 * unit, size - 2 * unit), near_miss=True)
    return layout


def unsupported(rng: np.random.Generator, stand: Stand, kind: str, cause: str, size: int) -> Layout | None:
    """A layout that contradicts gravity or perspective in one of the UNSUPPORTED ways; None if there is no
    room."""
    found = _WAYS[cause](rng, stand, kind, size)
    return found and replace(found, cause=cause)


def _float(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    unit = size / 64
    gap = rng.uniform(3.5, 12)
    if stand.y1 + gap * unit > size - 5 * unit:
        return None
    kind = "floor" if kind == "podium" else kind
    front = min(size - 1.0, stand.y1 + (gap + rng.uniform(5, 8)) * unit) if kind == "shelf" else None
    ground = stand.y1 + (gap + 2) * unit + stand.foot
    return Layout(kind, stand.y1 + gap * unit, front, ground=ground, near_miss=gap < 5.5)


def _hover(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    unit = size / 64
    gap = rng.uniform(5, 11)
    if stand.y1 + gap * unit > size - 2 * unit:
        return None
    carried = supported(rng, stand, "floor" if kind in ("shelf", "podium") else kind, size)
    if carried is None:
        return None
    ground = stand.y1 + gap * unit
    return replace(carried, front=None, left=None, right=None, ground=ground, near_miss=gap < 6.5)


def _front_edge(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    unit = size / 64
    deepest = min(0.45 * (stand.y1 - stand.y0), 12 * unit)
    if deepest < 4 * unit:
        return None
    over = rng.uniform(4 * unit, deepest)
    front = stand.y1 - over
    horizon = front - rng.uniform(6, 14) * unit
    kind = kind if kind in ("table", "shelf") else "table"
    return Layout(kind, horizon, front, ground=stand.y1, near_miss=over < 5.5 * unit)


def _side_edge_under(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    carried = supported(rng, stand, "table", size)
    if carried is None:
        return None
    share = rng.uniform(0.32, 0.68)
    at = stand.base_x0 + share * (stand.base_x1 - stand.base_x0)
    left, right = (at, None) if rng.random() < 0.5 else (None, at)
    return replace(carried, left=left, right=right, near_miss=abs(share - 0.5) > 0.13)


def _podium_edge(rng: np.random.Generator, stand: Stand, kind: str, size: int) -> Layout | None:
    unit = size / 64
    carried = supported(rng, stand, "podium", size)
    if carried is None or carried.podium is None:
        return None
    width = stand.base_x1 - stand.base_x0
    aside = carried.podium.radius + width / 2 - rng.uniform(0.15, 0.4) * width
    # A tall one before the wall: beside a low one the product would seem to stand on the floor.
    podium = replace(_pedestal(rng, carried.podium, stand, unit), centre=stand.centre + rng.choice([-1, 1]) * aside)
    if podium.bottom > size - unit:
        return None
    horizon = podium.bottom - 0.6 * podium.radius
    return replace(carried, podium=podium, horizon=horizon, ground=podium.bottom, near_miss=False)


_WAYS = {
    "float": _float, "hover": _hover, "front_edge": _front_edge, "side_edge": _side_edge_under, "podium_edge": _podium_edge,
}  # fmt: skip
UNSUPPORTED = tuple(_WAYS)


def _pedestal(rng: np.random.Generator, podium: Podium, stand: Stand, unit: float) -> Podium:
    """The podium made so tall that the floor's back edge can lie below the product's base."""
    return replace(podium, bottom=stand.y1 + rng.uniform(3.5, 7) * unit + 0.6 * podium.radius)
