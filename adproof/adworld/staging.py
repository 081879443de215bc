"""Draw a scene's parts onto a canvas: surfaces with edges, podiums, shadows, cut-outs, and extensions of a
product."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adproof.adworld.layout import Layout, Podium, Stand
from adproof.adworld.sprites import Array, Mask, Sprite


@dataclass
class Canvas:
    """picture (S,S,3) and depth (S,S) float32 in [0,1], and where the supporting surface shows."""

    picture: Array
    depth: Array
    surface: Mask
    horizon: float

    @property
    def size(self) -> int:
        return int(self.picture.shape[0])

    @property
    def unit(self) -> float:
        return self.size / 64

    def depth_at(self, row: float) -> float:
        """Depth of the ground plane at a row: 1 at the horizon, nearer linearly below it."""
        return float(np.clip(1 - 0.75 * (row - self.horizon + 2 * self.unit) / (40 * self.unit), 0.12, 0.96))


def lay_surface(canvas: Canvas, layout: Layout, ground: Array, colour: Array) -> None:
    """Put the ground plane under the horizon, up to its front and side edges, with a lit rim and what lies
    below. ground: (S, S, 3) float32, its look; colour: (3,) float32, that of the rim."""
    size, unit = canvas.size, canvas.unit
    top = int(np.clip(round(layout.horizon), 0, size))
    front = size if layout.front is None else int(np.clip(round(layout.front), top + 1, size))
    shape = np.zeros((size, size), np.uint8)
    left_top, left_low = _slanted(layout.left, -size, top, front, size)
    right_top, right_low = _slanted(layout.right, 2 * size, top, front, size)
    corners = np.array([[left_top, top], [right_top, top], [right_low, front], [left_low, front]])
    cv2.fillPoly(shape, [np.rint(corners).astype(np.int32)], 1)
    shape[front:] = 0
    canvas.surface = shape.astype(bool)
    canvas.picture[canvas.surface] = ground[canvas.surface]
    depth = np.clip(1 - 0.75 * (np.arange(size) - canvas.horizon + 2 * unit) / (40 * unit), 0.12, 0.96)
    canvas.depth = np.where(canvas.surface, depth[:, None].astype(np.float32), canvas.depth)
    rim = slice(top, min(size, top + max(1, round(0.5 * unit))))
    canvas.picture[rim][canvas.surface[rim]] *= 0.94
    if front < size:
        _front_face(canvas, layout, front, colour, (left_low, right_low))


def _slanted(edge: float | None, default: float, top: int, front: int, size: int) -> tuple[float, float]:
    """Columns of a side edge at the back and at the front: it leans to the middle of the picture with
    distance."""
    if edge is None:
        return default, default
    lean = 0.22 * (edge - size / 2) / size
    return edge - lean * (front - top) * 0.5, edge + lean * (front - top) * 0.5


def _front_face(
    canvas: Canvas, layout: Layout, front: int, colour: Array, sides: tuple[float, float]
) -> None:
    size, unit = canvas.size, canvas.unit
    thick = max(2, round((2.2 if layout.kind == "table" else 3.2) * unit))
    end = min(size, front + thick)
    a, b = int(np.clip(sides[0], 0, size)), int(np.clip(sides[1], 0, size))
    near = canvas.depth_at(front)
    below = np.linspace(0.42, 0.7, max(1, size - end), dtype=np.float32)[:, None, None]
    if layout.kind == "table":
        canvas.picture[end:] = canvas.picture[end:] * below
        for leg in (a + 3 * unit, b - 6 * unit):
            x = slice(int(np.clip(leg, 0, size)), int(np.clip(leg + 3 * unit, 0, size)))
            canvas.picture[end:, x] = colour * 0.5
            canvas.depth[end:, x] = near
    else:
        fade = 1 - 0.45 * np.exp(-np.arange(max(1, size - end), dtype=np.float32) / (5 * unit))
        canvas.picture[end:, a:b] *= fade[: size - end, None, None]
    face = np.linspace(0.74, 0.55, end - front, dtype=np.float32)[:, None, None]
    canvas.picture[front:end, a:b] = colour * face
    canvas.picture[front : front + 1, a:b] = np.minimum(colour * 1.12, 1)
    canvas.depth[front:end, a:b] = near


def set_podium(canvas: Canvas, podium: Podium, colour: Array, light_x: float) -> None:
    """A round podium: side lit from light_x (0 left .. 1 right), upper face lighter."""
    size = canvas.size
    axes = (podium.radius, podium.half_depth)
    middle = (podium.centre, podium.bottom - podium.half_depth)
    soft_shadow(canvas, middle, (podium.radius * 1.15, podium.half_depth * 1.3), 0.4)
    centre = (podium.centre, podium.top)
    low = (podium.centre, podium.bottom - podium.half_depth)
    side = np.zeros((size, size), np.uint8)
    cv2.rectangle(
        side,
        _point((podium.centre - podium.radius, podium.top)),
        _point((podium.centre + podium.radius, low[1])),
        255,
        -1,
    )
    for middle in (centre, low):
        cv2.ellipse(side, _point(middle), _point(axes), 0, 0, 360, 255, -1, cv2.LINE_AA)
    across = (np.arange(size, dtype=np.float32) - podium.centre) / podium.radius
    shade = 0.9 - 0.35 * np.abs(across - (light_x - 0.5) * 1.2) ** 1.5
    blend(canvas.picture, colour * np.clip(shade, 0.4, 1)[None, :, None], side)
    face = np.zeros((size, size), np.uint8)
    cv2.ellipse(face, _point(centre), _point(axes), 0, 0, 360, 255, -1, cv2.LINE_AA)
    blend(canvas.picture, np.minimum(colour * 1.08, 1.0)[None, None], face)
    canvas.depth[side > 127] = canvas.depth_at(podium.bottom - podium.half_depth)
    canvas.surface = canvas.surface | (face > 127)


def _point(xy: tuple[float, float]) -> tuple[int, int]:
    return int(round(xy[0])), int(round(xy[1]))


def blend(picture: Array, colour: Array, mask: NDArray[np.uint8]) -> None:
    """Lay a colour (3,) or a picture over `picture` (S, S, 3) in place, as far as the mask (S, S), 0..255, says."""
    weight = mask[..., None].astype(np.float32) / 255
    picture += (colour - picture) * weight


def soft_shadow(
    canvas: Canvas, centre: tuple[float, float], radii: tuple[float, float], darkness: float
) -> None:
    """An elliptic shadow, darkest in the middle and fading out."""
    size = canvas.size
    x = (np.arange(size, dtype=np.float32) - centre[0]) / max(radii[0], 1)
    y = (np.arange(size, dtype=np.float32) - centre[1]) / max(radii[1], 1)
    rows, columns = np.flatnonzero(np.abs(y) < 1.5), np.flatnonzero(np.abs(x) < 1.5)
    if len(rows) == 0 or len(columns) == 0:
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    distance = np.sqrt(x[columns][None] ** 2 + y[rows][:, None] ** 2)
    fade = np.clip((1.45 - distance) / 0.9, 0, 1)
    canvas.picture[window] *= 1 - (darkness * fade * fade * (3 - 2 * fade))[..., None]


def cast_shadow(
    canvas: Canvas,
    sprite: Sprite,
    at: tuple[int, int],
    ground: float,
    lean: float,
    squash: float,
    darkness: float,
    blur: float,
) -> None:
    """The cut-out's shadow thrown onto the surface, leaning by lean px per px of height, squashed by squash.

    ground: row on which the sprite's lowest row would cast from. Falls only on the supporting surface.
    """
    size = canvas.size
    low = sprite.box[3]
    matrix = np.array([[1, -lean, at[0] + lean * low], [0, squash, ground - squash * low]], np.float32)
    shadow = cv2.warpAffine(sprite.alpha, matrix, (size, size), flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(shadow, (0, 0), blur) * canvas.surface
    canvas.picture *= 1 - darkness * shadow[..., None]


def reflect(canvas: Canvas, sprite: Sprite, at: tuple[int, int], ground: float, strength: float) -> None:
    """A fading mirror image below the row `ground`, on the surface only."""
    size, low = canvas.size, sprite.box[3]
    matrix = np.array([[1, 0, at[0]], [0, -1, ground + low]], np.float32)
    alpha = cv2.warpAffine(sprite.alpha, matrix, (size, size))
    colour = cv2.warpAffine(sprite.colour, matrix, (size, size))
    fade = np.clip(1 - (np.arange(size, dtype=np.float32) - ground) / (14 * canvas.unit), 0, 1)
    weight = (cv2.GaussianBlur(alpha, (0, 0), 0.5 * canvas.unit) * fade[:, None] * strength * canvas.surface)[
        ..., None
    ]
    canvas.picture += (colour - canvas.picture) * weight


def paste(canvas: Canvas, sprite: Sprite, at: tuple[int, int], depth: float) -> Mask:
    """Composite a cut-out with its frame's upper left corner at (x, y); returns where it is solid, (S,S)
    bool."""
    size = canvas.size
    alpha = framed(sprite.alpha, at, size)
    colour = framed(sprite.colour, at, size)
    canvas.picture += (colour - canvas.picture) * alpha[..., None]
    solid = np.asarray(alpha > 0.5)
    canvas.depth[solid] = depth
    return solid


def framed(values: Array, at: tuple[int, int], size: int) -> Array:
    """values (h,w) or (h,w,c) placed on an empty canvas of (size,size), cropped where they leave it."""
    out = np.zeros((size, size, *values.shape[2:]), values.dtype)
    x, y = at
    h, w = values.shape[:2]
    y0, x0, y1, x1 = max(0, y), max(0, x), min(size, y + h), min(size, x + w)
    if y1 > y0 and x1 > x0:
        out[y0:y1, x0:x1] = values[y0 - y : y1 - y, x0 - x : x1 - x]
    return out


EXTENSIONS = ("base", "legs", "longer", "handle", "top")


def extension(
    rng: np.random.Generator,
    kind: str,
    sprite: Sprite,
    at: tuple[int, int],
    stand: Stand,
    reach: float,
    size: int,
) -> tuple[Array, Array]:
    """A part that the product does not have, in its own colours: its colour (S,S,3) and coverage (S,S) in
    [0,1].

    reach: px by which it goes beyond the product's box. It begins inside of the contour, so that it is fused
    to it.
    """
    if kind == "longer":
        return _stretched(sprite, at, reach, size)
    mask = np.zeros((size, size), np.uint8)
    if kind == "base":
        _base(rng, mask, stand, reach)
    elif kind == "legs":
        _legs(rng, mask, stand, reach)
    elif kind == "handle":
        _handle(rng, mask, sprite, at, stand, reach)
    else:
        _top(rng, mask, sprite, at, stand, reach)
    colour = _own_colour(rng, sprite, "top" if kind == "top" else "side" if kind == "handle" else "bottom")
    return _shaded(rng, colour, stand, size), mask.astype(np.float32) / np.float32(255)


def _inside(stand: Stand) -> float:
    """px by which an added part begins inside of the contour."""
    return max(2.0, (stand.y1 - stand.y0) / 8)


def _base(rng: np.random.Generator, mask: NDArray[np.uint8], stand: Stand, reach: float) -> None:
    b0, b1 = stand.base_x0, stand.base_x1
    flare = rng.uniform(-0.1, 0.25) * (b1 - b0)
    drop = stand.foot * 0.35
    corners = [
        (b0, stand.y1 - _inside(stand)),
        (b1, stand.y1 - _inside(stand)),
        (b1 + flare, stand.y1 + reach - drop),
        ((b0 + b1) / 2, stand.y1 + reach),
        (b0 - flare, stand.y1 + reach - drop),
    ]
    _fill(mask, corners)


def _legs(rng: np.random.Generator, mask: NDArray[np.uint8], stand: Stand, reach: float) -> None:
    thick = rng.uniform(1.6, 2.8) * max(len(mask) / 64, reach / 8)
    xs = np.linspace(stand.base_x0 + thick, stand.base_x1 - thick, int(rng.integers(2, 5)))
    above = stand.y1 - 1.5 * _inside(stand)
    for k, x in enumerate(xs):
        foot = stand.y1 + reach - (k % 2) * 0.2 * reach
        left, right = x - thick / 2, x + thick / 2
        _fill(mask, [(left, above), (right, above), (right, foot), (left, foot)])


def _handle(
    rng: np.random.Generator,
    mask: NDArray[np.uint8],
    sprite: Sprite,
    at: tuple[int, int],
    stand: Stand,
    reach: float,
) -> None:
    side, middle = rng.choice([-1, 1]), stand.y0 + (stand.y1 - stand.y0) * rng.uniform(0.35, 0.6)
    row = sprite.solid[int(np.clip(middle - at[1], 0, sprite.alpha.shape[0] - 1))]
    xs = np.flatnonzero(row) + at[0] if row.any() else np.array([stand.x0, stand.x1])
    edge = float(xs.min() if side < 0 else xs.max())
    axes = (reach * 0.9, reach * rng.uniform(0.8, 1.3))
    thick = max(2, round(2.2 * len(mask) / 64))
    cv2.ellipse(mask, _point((edge, middle)), _point(axes), 0, 0, 360, 255, thick, cv2.LINE_AA)


def _top(
    rng: np.random.Generator,
    mask: NDArray[np.uint8],
    sprite: Sprite,
    at: tuple[int, int],
    stand: Stand,
    reach: float,
) -> None:
    unit = len(mask) / 64
    t0, t1 = _top_span(sprite, at)
    grow = rng.uniform(-0.25, 0.1) * (t1 - t0)
    if t1 - t0 < 5 * unit:
        grow = 1.5 * unit
    y = stand.y0 + 2 * unit
    corners = [
        (t0 - grow, y),
        (t1 + grow, y),
        (t1 + grow, stand.y0 - reach * 0.7),
        ((t0 + t1) / 2 + 0.25 * (t1 - t0), stand.y0 - reach),
        ((t0 + t1) / 2 - 0.25 * (t1 - t0), stand.y0 - reach),
        (t0 - grow, stand.y0 - reach * 0.7),
    ]
    _fill(mask, corners)


def _shaded(rng: np.random.Generator, colour: Array, stand: Stand, size: int) -> Array:
    """(S,S,3): the colour, lit from one side across the product, with a little grain."""
    width = stand.x1 - stand.x0
    across = np.linspace(rng.uniform(1.0, 1.2), rng.uniform(0.7, 0.9), size, dtype=np.float32)
    if rng.random() < 0.5:
        across = across[::-1]
    centred = np.interp(
        np.arange(size), np.linspace(stand.x0 - 0.2 * width, stand.x1 + 0.2 * width, size), across
    )
    grain = 1 + 0.03 * rng.standard_normal((size, size)).astype(np.float32)
    shaded = colour * (centred[None] * grain)[..., None]
    return np.clip(shaded, 0, 1).astype(np.float32)


def _fill(mask: NDArray[np.uint8], corners: list[tuple[float, float]]) -> None:
    cv2.fillPoly(mask, [np.rint(np.array(corners)).astype(np.int32)], 255, cv2.LINE_AA)


def _top_span(sprite: Sprite, at: tuple[int, int]) -> tuple[float, float]:
    _, y0, _, y1 = sprite.box
    xs = np.flatnonzero(sprite.solid[y0 : y0 + max(2, (y1 - y0) // 8)].any(0)) + at[0]
    return float(xs[0]), float(xs[-1] + 1)


def _own_colour(rng: np.random.Generator, sprite: Sprite, where: str) -> Array:
    _, y0, _, y1 = sprite.box
    band = max(2, (y1 - y0) // 5)
    rows = {"bottom": slice(y1 - band, y1), "top": slice(y0, y0 + band), "side": slice(y0, y1)}[where]
    colours = sprite.colour[rows][sprite.solid[rows]]
    if len(colours) == 0:
        colours = sprite.colour[sprite.solid]
    return np.asarray(colours[rng.integers(len(colours))] * rng.uniform(0.88, 1.1), np.float32)


def _stretched(sprite: Sprite, at: tuple[int, int], reach: float, size: int) -> tuple[Array, Array]:
    """The lowest quarter once more, pulled down by reach: the product looks longer than it is."""
    x0, y0, x1, y1 = sprite.box
    band = max(3, (y1 - y0) // 4)
    tall = band + int(round(reach))
    premultiplied = sprite.colour * sprite.alpha[..., None]
    piece = np.dstack([premultiplied, sprite.alpha])[y1 - band : y1, x0:x1]
    longer = cv2.resize(piece, (x1 - x0, tall), interpolation=cv2.INTER_LINEAR)
    where = (at[0] + x0, at[1] + y1 - band)
    placed = framed(longer, where, size)
    alpha = placed[..., 3]
    colour = placed[..., :3] / np.maximum(alpha, np.float32(1e-3))[..., None]
    return np.asarray(colour, np.float32), alpha
