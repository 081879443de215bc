"""Backgrounds against which a product is lost: like colours, or too much going on; and their harmless near-misses."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from adproof.adworld import staging, surfaces
from adproof.adworld.sprites import Array, Sprite
from adproof.adworld.staging import Canvas


def camouflage(rng: np.random.Generator, behind: Array, sprite: Sprite, at: tuple[int, int]) -> tuple[Array, Array]:
    """A wall (S,S,3) in the product's own colours, as they lie along its contour, and a surface colour to go with it."""
    size = behind.shape[0]
    alpha = staging.framed(sprite.alpha, at, size)
    colour = staging.framed(sprite.colour, at, size) * alpha[..., None]
    rim = alpha * (1 - cv2.erode(alpha, np.ones((3, 3)), iterations=max(1, size // 40)))
    reach = rng.uniform(0.05, 0.09) * size
    weight = cv2.GaussianBlur(rim, (0, 0), reach) + 1e-4
    near = cv2.GaussianBlur(colour * (rim / np.maximum(alpha, 1e-3))[..., None], (0, 0), reach) / weight[..., None]
    mean = (colour * rim[..., None]).sum((0, 1)) / (rim * alpha).sum()
    trust = np.clip(weight / weight.max() * 3, 0, 1)[..., None] * rng.uniform(0.6, 0.95)
    picture = mean + (near - mean) * trust
    shade = behind.mean(2) / max(float(behind.mean()), 0.05)
    shade = 1 + (cv2.GaussianBlur(shade, (0, 0), size / 30) - 1) * 0.25
    picture = picture * shade[..., None] + 0.012 * surfaces.noise(rng, (size, size), (3, 3))[..., None]
    low = alpha.copy()
    rows = np.flatnonzero(alpha.any(1))
    low[: rows[0] + int(0.7 * (rows[-1] - rows[0]))] = 0
    low *= rim
    base = (staging.framed(sprite.colour, at, size) * low[..., None]).sum((0, 1)) / max(float(low.sum()), 1e-3)
    return np.clip(picture, 0, 1).astype(np.float32), np.clip(base, 0.02, 0.98).astype(np.float32)


def clutter(rng: np.random.Generator, canvas: Canvas, sprite: Sprite, at: tuple[int, int], junk: Sequence[Sprite]) -> None:
    """Fill wall and surface with a loud pattern, a heap of other things, or confetti, partly in the product's colours."""
    size, unit = canvas.size, canvas.unit
    own = sprite.colour[sprite.solid]
    style = str(rng.choice(["pattern", "heap", "confetti"]))
    colours = [own[rng.integers(len(own))], *rng.uniform(0.05, 0.95, (3, 3)).astype(np.float32)]
    if style == "pattern":
        picture = surfaces.pattern(rng, size, colours, float(rng.uniform(0.75, 1)))
        where = ~canvas.surface if rng.random() < 0.35 else np.ones_like(canvas.surface)
        canvas.picture[where] = 0.15 * canvas.picture[where] + 0.85 * picture[where]
        return
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
            colour = tuple(np.asarray(colours[rng.integers(len(colours))] * rng.uniform(0.6, 1.2)).clip(0, 1).tolist())
            corners = np.array([x, y]) + rng.uniform(-1, 1, (4, 2)) * rng.uniform(2.5, 6) * unit
            cv2.fillPoly(canvas.picture, [np.rint(cv2.convexHull(corners.astype(np.float32))).astype(np.int32)], colour, cv2.LINE_AA)


def distant_clutter(rng: np.random.Generator, canvas: Canvas, sprite: Sprite, at: tuple[int, int]) -> None:
    """A loud pattern on the wall that fades out well before it reaches the product: busy, but harmless."""
    size, unit = canvas.size, canvas.unit
    alpha = staging.framed(sprite.alpha, at, size)
    away = cv2.distanceTransform((alpha < 0.1).astype(np.uint8), cv2.DIST_L2, 3) / unit
    strength = np.clip((away - rng.uniform(4.5, 7)) / 4, 0, 1)[..., None] * ~canvas.surface[..., None]
    colours = [canvas.picture.mean((0, 1)), *rng.uniform(0.05, 0.95, (3, 3)).astype(np.float32)]
    picture = surfaces.pattern(rng, size, colours, float(rng.uniform(0.5, 0.9)))
    canvas.picture += ((picture - canvas.picture) * strength).astype(np.float32)
