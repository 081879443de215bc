"""Backgrounds against which a product is lost: like colours, or too much going on; and their harmless
near-misses."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from adproof.adworld import staging, surfaces
from adproof.adworld.sprites import Array, Sprite
from adproof.adworld.staging import Canvas


def camouflage(rng: np.random.Generator, behind: Array, sprite: Sprite, at: tuple[int, int]) -> Array:
    """Colours (S,S,3) for wall and surface: the product's own, as they lie along its contour."""
    size = behind.shape[0]
    alpha = staging.framed(sprite.alpha, at, size)
    colour = staging.framed(sprite.colour, at, size) * alpha[..., None]
    rim = alpha * (1 - cv2.erode(alpha, np.ones((3, 3)), iterations=max(1, size // 40)))
    reach = rng.uniform(0.05, 0.085) * size
    weight = cv2.GaussianBlur(rim, (0, 0), reach) + 1e-4
    near = cv2.GaussianBlur(colour * (rim / np.maximum(alpha, 1e-3))[..., None], (0, 0), reach) / weight[..., None]
    mean = (colour * rim[..., None]).sum((0, 1)) / (rim * alpha).sum()
    trust = np.clip(weight / weight.max() * 4, 0, 1)[..., None] * rng.uniform(0.65, 0.95)
    picture = mean + (near - mean) * trust
    shade = behind.mean(2) / max(float(behind.mean()), 0.05)
    shade = 1 + (cv2.GaussianBlur(shade, (0, 0), size / 30) - 1) * 0.25
    picture = picture * shade[..., None] + 0.012 * surfaces.noise(rng, (size, size), (3, 3))[..., None]
    return np.asarray(np.clip(picture, 0.02, 0.98), np.float32)


CLUTTER = ("pattern", "heap", "confetti")


def clutter(
    rng: np.random.Generator,
    canvas: Canvas,
    style: str,
    sprite: Sprite,
    at: tuple[int, int],
    junk: Sequence[Sprite],
) -> None:
    """Fill wall and surface with a loud pattern, a heap of other things, or confetti, partly in the
    product's colours."""
    size, unit = canvas.size, canvas.unit
    own = sprite.colour[sprite.solid]
    first = own[rng.integers(len(own))]
    # The second colour is far from the first in brightness: else the pattern is not loud.
    second = rng.uniform(0, 0.35, 3) if first.mean() > 0.5 else rng.uniform(0.65, 1.0, 3)
    colours = [first, second.astype(np.float32), *rng.uniform(0.05, 0.95, (2, 3)).astype(np.float32)]
    if style == "pattern":
        picture = surfaces.pattern(rng, size, colours, float(rng.uniform(0.8, 1)))
        where = ~canvas.surface if rng.random() < 0.25 else np.ones_like(canvas.surface)
        canvas.picture[where] = 0.15 * canvas.picture[where] + 0.85 * picture[where]
        return
    pieces = np.zeros((size, size, 3), np.uint8)
    cover = np.zeros((size, size), np.uint8)
    cx, cy = at[0] + sprite.alpha.shape[1] / 2, at[1] + sprite.alpha.shape[0] / 2
    for k in range(46 if style == "heap" else 110):
        x, y = rng.normal([cx, cy], [0.27 * size, 0.25 * size])
        if style == "heap":
            thing = junk[k % len(junk)]
            h, w = thing.alpha.shape
            staging.soft_shadow(canvas, (x, y + h / 2), (w * 0.6, 2 * unit), 0.4)
            depth = canvas.depth.copy()
            staging.paste(canvas, thing, (round(x - w / 2), round(y - h / 2)), 0.9)
            canvas.depth = depth
        else:
            colour = tuple((colours[rng.integers(len(colours))] * rng.uniform(0.6, 1.2) * 255).clip(0, 255).tolist())
            corners = np.array([x, y]) + rng.uniform(-1, 1, (4, 2)) * rng.uniform(2.5, 6) * unit
            outline = [np.rint(cv2.convexHull(corners.astype(np.float32))).astype(np.int32)]
            cv2.fillPoly(pieces, outline, colour)
            cv2.fillPoly(cover, outline, 255)
    if style == "confetti":
        # Blurred together, so that the pieces' edges take on no black from where there are none.
        weight = cv2.blur(cover, (2, 2))[..., None].astype(np.float32) / 255
        canvas.picture *= 1 - weight
        canvas.picture += cv2.blur(pieces, (2, 2)).astype(np.float32) / 255


def harmless_wall(rng: np.random.Generator, behind: Array, sprite: Sprite, at: tuple[int, int]) -> Array:
    """A wall that comes close to hiding the product: a loud pattern, but away from it; a faint pattern right
    behind it; or a wall painted on one side in the product's own colour.

    Args: behind: (S, S, 3) float32 in [0, 1]. at: (x, y) of the sprite's frame, px. Returns: like behind.
    """
    size = behind.shape[0]
    unit = size / 64
    x0, y0, x1, _ = sprite.box
    style = str(rng.choice(["far", "faint", "two_tone"]))
    shade = behind.mean(2, keepdims=True) / max(float(behind.mean()), 0.05)
    where = np.zeros((size, size, 1), np.float32)
    if style == "two_tone":
        split = at[0] + x0 + int(rng.uniform(-0.1, 0.4) * (x1 - x0))
        where[:, : max(0, split)] = 1
        own = np.asarray(sprite.colour[sprite.solid].mean(0))
        return _mirrored(rng, behind, np.asarray(own * shade, np.float32), where, at, x0 + x1)
    colours = [behind.mean((0, 1)), *rng.uniform(0.05, 0.95, (3, 3)).astype(np.float32)]
    if style == "faint":
        faint = surfaces.pattern(rng, size, colours, float(rng.uniform(0.06, 0.18)))
        return np.asarray(behind + faint - colours[0], np.float32)
    picture = surfaces.pattern(rng, size, colours, float(rng.uniform(0.4, 0.8))) * shade
    if rng.random() < 0.4:
        where[: max(0, int(at[1] + y0 - rng.uniform(4.5, 7) * unit))] = 1
    else:
        where[:, : max(0, int(at[0] + x0 - rng.uniform(4.5, 7) * unit))] = 1
    return _mirrored(rng, behind, picture.astype(np.float32), where, at, x0 + x1)


def _mirrored(
    rng: np.random.Generator, behind: Array, picture: Array, where: Array, at: tuple[int, int], span: int
) -> Array:
    """`picture` where asked, on the left of the product or as often on its right (mirrored about its
    middle)."""
    if rng.random() < 0.5:
        columns = 2 * at[0] + span - 1 - np.arange(behind.shape[1])
        inside = (columns >= 0) & (columns < behind.shape[1])
        where = np.where(inside[None, :, None], where[:, np.clip(columns, 0, behind.shape[1] - 1)], 0)
    return np.asarray(behind + (picture - behind) * where, np.float32)
