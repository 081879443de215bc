"""Walls, backdrops and supporting surfaces of the ad world, drawn straight at world size.

Pictures are (S,S,3) float32 in [0,1]; `unit` is S/64 px, so that all sizes scale with the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_TILE = 256


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> Array:
    """Smooth noise (h,w) of unit variance before smoothing, with features of about cell (rows, columns)
    px."""
    coarse = (max(2, int(shape[0] / cell[0]) + 2), max(2, int(shape[1] / cell[1]) + 2))
    field = rng.standard_normal(coarse, dtype=np.float32)
    return np.asarray(cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def _fractal(rng: np.random.Generator, cell: float, octaves: int = 4) -> Array:
    total = np.zeros((_TILE, _TILE), np.float32)
    for k in range(octaves):
        total += noise(rng, (_TILE, _TILE), (cell / 2**k, cell / 2**k)) / 1.6**k
    return total


def _planks(rng: np.random.Generator, along_depth: bool) -> Array:
    grain = noise(rng, (_TILE, _TILE), (70, 3)) * 0.55 + noise(rng, (_TILE, _TILE), (140, 9)) * 0.6
    width = int(rng.choice([24, 32, 40, 64]))
    lanes = np.arange(_TILE) // width
    tone = rng.normal(0, 0.9, lanes.max() + 1).astype(np.float32)[lanes]
    seam = np.where(np.arange(_TILE) % width < 2, -2.6, 0.0).astype(np.float32)
    plank = 0.06 * (grain + tone[None] + seam[None])
    return plank if along_depth else np.ascontiguousarray(plank.T)


def _marble(rng: np.random.Generator) -> Array:
    field = _fractal(rng, 90, 5)
    veins = np.exp(-np.abs(field) * rng.uniform(9, 16))
    return np.asarray(-0.20 * veins + 0.03 * _fractal(rng, 120, 2), np.float32)


def _concrete(rng: np.random.Generator) -> Array:
    return 0.05 * _fractal(rng, 60) + 0.02 * noise(rng, (_TILE, _TILE), (2, 2))


def _cloth(rng: np.random.Generator) -> Array:
    weave = np.sin(np.arange(_TILE) * np.pi / 2.5, dtype=np.float32)
    folds = noise(rng, (_TILE, _TILE), (80, 30))
    return np.asarray(0.02 * (weave[None] + weave[:, None]) + 0.09 * folds, np.float32)


def _grass(rng: np.random.Generator) -> Array:
    return 0.13 * noise(rng, (_TILE, _TILE), (6, 2.2)) + 0.10 * noise(rng, (_TILE, _TILE), (20, 18))


def _sand(rng: np.random.Generator) -> Array:
    ripples = np.sin(
        np.arange(_TILE, dtype=np.float32)[:, None] * 0.25 + 2.5 * noise(rng, (_TILE, _TILE), (60, 60))
    )
    return 0.035 * ripples + 0.045 * noise(rng, (_TILE, _TILE), (2, 2))


def _glass(rng: np.random.Generator) -> Array:
    return 0.12 * noise(rng, (_TILE, _TILE), (120, 120))


def _tiles(rng: np.random.Generator) -> Array:
    size = int(rng.choice([32, 64]))
    at = np.arange(_TILE) % size < max(2, size // 18)
    grout = (at[None] | at[:, None]).astype(np.float32)
    return -0.17 * grout + 0.02 * _fractal(rng, 50)


def detail_maps(material: str, rng: np.random.Generator, variants: int) -> list[Array]:
    """Relative brightness maps (256,256) around 0 of a material; tiles by mirroring."""
    makers = {
        "marble": _marble,
        "concrete": _concrete,
        "cloth": _cloth,
        "grass": _grass,
        "sand": _sand,
        "glass": _glass,
        "tile": _tiles,
    }
    word = material.split()[-1]
    if word == "wood":
        return [_planks(rng, along_depth=bool(k % 2)) for k in range(variants)]
    return [makers[word](rng) for _ in range(variants)]


def plane(
    detail: Array,
    colour: Array,
    size: int,
    back: float,
    vanish: float,
    zoom: float,
    offset: tuple[float, float],
) -> Array:
    """A ground plane (size,size,3): detail seen in a mild perspective whose lines meet `vanish` px above
    `back`.

    zoom is texture px per canvas px at the bottom row. Rows above `back` are filled too and mean nothing.
    """
    rows = np.arange(size, dtype=np.float32)
    nearness = np.maximum(rows - back + vanish, 1.0) / (size - back + vanish)
    map_x = (np.arange(size, dtype=np.float32)[None] - size / 2) * (zoom / nearness)[:, None] + offset[0]
    # A pitch of 17 degrees squeezes depth to 0.29 of its length at the bottom row.
    depth = zoom / 0.29 * (size - back + vanish) * (1 / nearness - 1)
    map_y = np.repeat(depth[:, None] + offset[1], size, axis=1).astype(np.float32)
    seen = cv2.remap(detail, map_x.astype(np.float32), map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    seen *= np.clip(nearness * 1.5, 0.35, 1.0)[:, None]
    light = np.linspace(0.93, 1.05, size, dtype=np.float32)[:, None]
    return np.asarray(colour * ((1 + seen) * light)[..., None], np.float32)


def falloff(size: int, centre: tuple[float, float], strength: float) -> Array:
    """Brightness (S,S) of a wall lit from near `centre` (x, y as fractions): 1 there, less further away."""
    axis = np.arange(size, dtype=np.float32) / size
    distance = (axis[None] - centre[0]) ** 2 + (axis[:, None] - centre[1]) ** 2
    return np.asarray(1.06 - strength * np.minimum(distance, 1.6), np.float32)


def _window_light(rng: np.random.Generator, size: int) -> Array:
    mask = np.zeros((size, size), np.float32)
    lean, x, y = rng.uniform(-0.4, 0.4), rng.uniform(0, 0.6), rng.uniform(-0.1, 0.3)
    for i in range(2):
        for j in range(2):
            a = np.array([[0, 0], [0.2, 0], [0.2, 0.25], [0, 0.25]]) + (x + 0.23 * i, y + 0.28 * j)
            a[:, 0] += lean * a[:, 1]
            cv2.fillPoly(mask, [np.rint(a * size).astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), size / 45))


WALL_STYLES = ("plain", "plaster", "boards", "tiles", "curtain", "window", "frames")


def wall(
    rng: np.random.Generator, size: int, colour: Array, light_x: float, shares: Sequence[float]
) -> Array:
    """(S, S, 3) float32 in [0, 1]: a wall with light falling off it from light_x (0 left .. 1 right).

    colour: (3,) in [0, 1]. shares: how often each of WALL_STYLES.
    """
    style = str(rng.choice(WALL_STYLES, p=shares))
    unit = size / 64
    shade = falloff(size, (light_x, rng.uniform(0.0, 0.45)), rng.uniform(0.15, 0.5))
    shade += 0.008 * noise(rng, (size, size), (2 * unit, 2 * unit))
    columns = np.arange(size, dtype=np.float32)
    if style == "plaster":
        shade += 0.022 * noise(rng, (size, size), (5 * unit, 7 * unit)) + 0.014 * noise(
            rng, (size, size), (2, 3)
        )
    elif style == "boards":
        pitch, phase = rng.uniform(6, 12) * unit, rng.uniform(0, 9)
        shade -= 0.09 * np.exp(-(((columns + phase) % pitch) ** 2) / (0.5 * unit) ** 2)[None]
    elif style == "tiles":
        pitch = rng.uniform(7, 11) * unit
        joint = np.exp(-((columns % pitch) ** 2) / (0.4 * unit) ** 2)
        shade -= 0.07 * np.maximum(joint[None], joint[:, None])
    elif style == "curtain":
        folds = noise(rng, (1, size), (1, rng.uniform(3.0, 6.0) * unit))
        shade += 0.045 * folds
    elif style == "window":
        shade += rng.uniform(0.08, 0.16) * _window_light(rng, size) - 0.04
    picture = np.asarray(colour * shade[..., None], np.float32)
    if style == "frames":
        _hang_frames(rng, picture, colour)
    return picture


def _hang_frames(rng: np.random.Generator, picture: Array, colour: Array) -> None:
    size = picture.shape[0]
    layer = picture.copy()
    for x in rng.uniform([0.02, 0.68], [0.16, 0.82]):
        if rng.random() < 0.75:
            w, h, y = rng.uniform(0.14, 0.22), rng.uniform(0.16, 0.26), rng.uniform(0.05, 0.22)
            corners = [(x, y), (x + w, y + h)]
            for inset, tone in ((0.0, 0.62), (0.02, 1.12)):
                a = (round((corners[0][0] + inset) * size), round((corners[0][1] + inset) * size))
                b = (round((corners[1][0] - inset) * size), round((corners[1][1] - inset) * size))
                cv2.rectangle(layer, a, b, tuple(np.clip(colour * tone, 0, 1).tolist()), -1)
            inner = np.clip(colour * 0.55 + rng.uniform(0.1, 0.4, 3) * 0.6, 0, 1)
            a = (round((x + 0.05) * size), round((y + 0.06) * size))
            b = (round((x + w - 0.05) * size), round((y + h - 0.06) * size))
            cv2.rectangle(layer, a, b, tuple(inner.tolist()), -1)
    picture[:] = cv2.GaussianBlur(layer, (0, 0), size / 90)


def _blobs(
    rng: np.random.Generator,
    picture: Array,
    count: int,
    radius: tuple[float, float],
    colours: Sequence[Array],
    rows: tuple[float, float],
) -> None:
    size = picture.shape[0]
    for _ in range(count):
        colour = np.clip(colours[int(rng.integers(len(colours)))] + rng.normal(0, 0.05, 3), 0, 1)
        centre = (int(rng.uniform(0, size)), int(rng.uniform(*rows) * size))
        cv2.circle(
            picture, centre, max(1, int(rng.uniform(*radius) * size)), tuple(colour.tolist()), -1, cv2.LINE_AA
        )


def backdrop(rng: np.random.Generator, size: int, name: str, blur: float) -> Array:
    """(S, S, 3) float32 in [0, 1]: an out-of-focus sky, garden, room or city. blur: sigma as a share
    of the side."""
    if name == "sky":
        return _sky(rng, size)
    picture = np.empty((size, size, 3), np.float32)
    {"garden": _garden, "city": _city, "room": _room}[name](rng, picture)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur * size), np.float32)


def _downwards(size: int) -> Array:
    """(S, 1, 1): 0 at the top, 1 at the bottom."""
    return np.linspace(0, 1, size, dtype=np.float32)[:, None, None]


def _sky(rng: np.random.Generator, size: int) -> Array:
    rows = _downwards(size)
    picture = (
        np.array([0.42, 0.64, 0.90], np.float32) * (1 - rows)
        + np.array([0.86, 0.92, 0.97], np.float32) * rows
    )
    picture = np.repeat(picture, size, axis=1)
    clouds = np.clip(noise(rng, (size, size), (size / 7, size / 4)) * 0.5 + rng.uniform(-0.25, 0.2), 0, 0.7)
    return np.asarray(picture + (0.97 - picture) * clouds[..., None], np.float32)


def _garden(rng: np.random.Generator, picture: Array) -> None:
    rows = _downwards(len(picture))
    picture[:] = (
        np.array([0.74, 0.84, 0.78], np.float32) * (1 - 0.5 * rows) + np.array([0.2, 0.3, 0.1]) * 0.5 * rows
    )
    greens = [
        np.array(c) for c in ((0.28, 0.44, 0.18), (0.42, 0.58, 0.26), (0.60, 0.72, 0.40), (0.22, 0.34, 0.16))
    ]
    _blobs(rng, picture, 34, (0.04, 0.12), greens, (0.15, 1.0))
    flowers = [np.array((0.95, 0.92, 0.7)), np.array((0.9, 0.6, 0.6))]
    _blobs(rng, picture, 5, (0.02, 0.04), flowers, (0.1, 0.8))


def _city(rng: np.random.Generator, picture: Array) -> None:
    size, rows = len(picture), _downwards(len(picture))
    picture[:] = np.array([0.16, 0.18, 0.30], np.float32) * (1 - rows) + np.array([0.42, 0.30, 0.32]) * rows
    for _ in range(7):
        x, w, top = rng.uniform(-0.1, 1), rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.5)
        tone = tuple((np.array([0.2, 0.21, 0.3]) * rng.uniform(0.6, 1.3)).tolist())
        cv2.rectangle(picture, (int(x * size), int(top * size)), (int((x + w) * size), size), tone, -1)
    lights = [np.array(c) for c in ((0.98, 0.8, 0.5), (0.95, 0.6, 0.4), (0.6, 0.75, 0.95))]
    _blobs(rng, picture, 16, (0.015, 0.035), lights, (0.2, 0.95))


def _room(rng: np.random.Generator, picture: Array) -> None:
    size = len(picture)
    warm = rng.uniform([0.6, 0.55, 0.48], [0.9, 0.85, 0.8])
    picture[:] = warm
    for _ in range(8):
        x, y = rng.uniform(-0.1, 0.9), rng.uniform(0, 0.8)
        w, h = rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.5)
        colour = np.clip(warm * rng.uniform(0.45, 1.15) + rng.normal(0, 0.05, 3), 0, 1)
        low, high = (int(x * size), int(y * size)), (int((x + w) * size), int((y + h) * size))
        cv2.rectangle(picture, low, high, tuple(colour.tolist()), -1)
    _blobs(rng, picture, 2, (0.03, 0.06), [np.array((1.0, 0.95, 0.8))], (0.05, 0.4))


def pattern(rng: np.random.Generator, size: int, colours: Sequence[Array], strength: float) -> Array:
    """(S, S, 3) float32: a loud wallpaper, checks, stripes, dots or confetti in the given colours (3,); strength 0
    leaves the first alone."""
    base = np.asarray(colours[0], np.float32)
    step = rng.uniform(3.8, 7) * size / 64
    style = str(rng.choice(["checks", "stripes", "dots", "confetti"]))
    axis = np.arange(size)
    if style == "checks":
        which = (axis[None] // step + axis[:, None] // step) % 2
    elif style == "stripes":
        which = ((axis[None] + rng.choice([-1, 0, 1]) * axis[:, None]) // (0.8 * step)) % len(colours)
    else:
        which = np.zeros((size, size))
    pixels = np.rint(np.asarray(colours) * 255).clip(0, 255).astype(np.uint8)[which.astype(int)]
    if style in ("dots", "confetti"):
        _sprinkle(rng, pixels, colours[1:], step, jitter=0.05 if style == "dots" else 0.3)
    return np.asarray(base + (pixels.astype(np.float32) / 255 - base) * strength, np.float32)


def _sprinkle(
    rng: np.random.Generator, pixels: NDArray[np.uint8], colours: Sequence[Array], step: float, jitter: float
) -> None:
    """Dots on a grid of `step` px; with much jitter, triangles among them."""
    for y in np.arange(0, pixels.shape[0] + step, step * 0.9):
        for x in np.arange(0, pixels.shape[1] + step, step * 0.9):
            colour = tuple((np.asarray(colours[int(rng.integers(len(colours)))]) * 255).clip(0, 255).tolist())
            at = np.array([x, y]) + rng.normal(0, step * jitter, 2)
            if jitter < 0.1 or rng.random() < 0.5:
                cv2.circle(
                    pixels,
                    tuple(np.rint(at).astype(int).tolist()),
                    max(1, round(step * 0.3)),
                    colour,
                    -1,
                    cv2.LINE_AA,
                )
            else:
                corners = at + rng.uniform(-0.6, 0.6, (3, 2)) * step
                cv2.fillPoly(pixels, [np.rint(corners).astype(np.int32)], colour, cv2.LINE_AA)
