"""Cut-outs at world size: scaling, cutting a part away, and the points just inside and outside of a
contour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adproof.adworld.catalogue import CatalogueProduct

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sprite:
    """colour (h,w,3) and alpha (h,w) float32 in [0,1], both on the 8-bit grid; colour is not premultiplied.

    contact is the ellipse (cx, cy, rx, ry) around what touches the ground, base the row of its front-most
    point, both in sprite px; px_per_cm is the scale.
    """

    colour: Array
    alpha: Array
    contact: tuple[float, float, float, float]
    base: float
    px_per_cm: float

    @property
    def solid(self) -> Mask:
        return np.asarray(self.alpha > 0.5)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of the solid part, in sprite pixels."""
        xs = np.flatnonzero(self.solid.any(0))
        ys = np.flatnonzero(self.solid.any(1))
        return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1

    def mirrored(self) -> Sprite:
        cx, cy, rx, ry = self.contact
        turned = (self.alpha.shape[1] - cx, cy, rx, ry)
        return replace(self, colour=self.colour[:, ::-1], alpha=self.alpha[:, ::-1], contact=turned)


def catalogue_sprite(product: CatalogueProduct, rgba: NDArray[np.uint8], factor: float) -> Sprite:
    """The product's picture (h,w,4) uint8 as a sprite, scaled by factor."""
    picture: Array = rgba.astype(np.float32) / np.float32(255)
    ground = product.contact
    contact = (ground.cx, ground.cy, ground.rx, ground.ry)
    return scaled(
        Sprite(picture[..., :3], picture[..., 3], contact, product.base_y, product.px_per_cm), factor
    )


def scaled(sprite: Sprite, factor: float) -> Sprite:
    """The sprite scaled by factor (area average, premultiplied, back on the 8-bit grid)."""
    height, width = sprite.alpha.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    premultiplied = np.dstack([sprite.colour * sprite.alpha[..., None], sprite.alpha])
    small = cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    alpha = small[..., 3]
    colour = small[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    cx, cy, rx, ry = sprite.contact
    return Sprite(
        colour=np.clip(np.rint(colour * 255), 0, 255).astype(np.float32) / 255,
        alpha=np.clip(np.rint(alpha * 255), 0, 255).astype(np.float32) / 255,
        contact=(cx * factor, cy * factor, rx * factor, ry * factor),
        base=sprite.base * factor,
        px_per_cm=sprite.px_per_cm * factor,
    )


class SpriteStore:
    """Cut-outs for a canvas of `size` px, each picture read once and each world size made once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pictures: dict[Path, Sprite] = {}
        self._sprites: dict[tuple[Path, int], Sprite] = {}

    def picture(self, product: CatalogueProduct) -> Sprite:
        """The product's picture at no more than twice the canvas."""
        if product.path not in self._pictures:
            picture = product.image()
            factor = min(1.0, 2 * self.size / max(picture.shape[:2]))
            self._pictures[product.path] = catalogue_sprite(product, picture, factor)
        return self._pictures[product.path]

    def sprite(self, product: CatalogueProduct, longest: int) -> Sprite:
        """The product's cut-out with its longest side of this many px."""
        key = (product.path, longest)
        if key not in self._sprites:
            picture = self.picture(product)
            self._sprites[key] = scaled(picture, longest / max(picture.alpha.shape))
        return self._sprites[key]


def _lower_hull(xs: NDArray[np.int64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """The convex chain over the points that lies lowest in the picture: the line that a flat base rests
    on."""
    chain: list[int] = []
    for i in range(len(xs)):
        while len(chain) > 1:
            a, b = chain[-2], chain[-1]
            if (ys[b] - ys[a]) * (xs[i] - xs[a]) > (ys[i] - ys[a]) * (xs[b] - xs[a]):
                break
            chain.pop()
        chain.append(i)
    return np.interp(xs, xs[chain], ys[chain])


def kept_after_cut(sprite: Sprite, part: str, fraction: float) -> Array:
    """(h,w) in [0,1]: what stays when a plane takes away the lower, upper, left or right part (fraction of
    the side).

    The plane is level: seen from above it follows the contour of the base (or of the top), so a cut drum gets
    a round edge and a cut box a cornered one. The edge is soft over one pixel.
    """
    x0, y0, x1, y1 = sprite.box
    height, width = sprite.alpha.shape
    rows, columns = (
        np.arange(height, dtype=np.float32)[:, None] + 0.5,
        np.arange(width, dtype=np.float32)[None] + 0.5,
    )
    if part in ("left", "right"):
        at = x0 + fraction * (x1 - x0) if part == "left" else x1 - fraction * (x1 - x0)
        beyond = columns - at if part == "left" else at - columns
        return np.repeat(np.clip(beyond + 0.5, 0, 1), height, axis=0)
    xs = np.flatnonzero(sprite.solid.any(0))
    solid = sprite.solid[:, xs]
    if part == "bottom":
        edge = _lower_hull(xs, (height - np.argmax(solid[::-1], axis=0)).astype(np.float64))
    else:
        edge = -_lower_hull(xs, -np.argmax(solid, axis=0).astype(np.float64))
    line = np.interp(np.arange(width), xs, edge).astype(np.float32)[None]
    shift = np.float32(fraction * (y1 - y0))
    beyond = line - shift - rows if part == "bottom" else rows - line - shift
    return np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32)


def cut(sprite: Sprite, kept: Array) -> Sprite:
    """The sprite with the cut part made transparent; the frame stays. kept: like its alpha, 1 where it stays."""
    alpha = np.rint(sprite.alpha * kept * 255) / 255
    return replace(sprite, alpha=alpha.astype(np.float32))


@dataclass(frozen=True)
class Contour:
    """Pairs of points across the contour, in sprite coordinates (may lie outside of the frame)."""

    outer: NDArray[np.int64]  # (n, 2) rows, columns, just outside
    inner: NDArray[np.int64]  # (n, 2) just inside
    far: NDArray[np.int64]  # (n, 2) further out, for the texture around


def contour(sprite: Sprite, unit: float) -> Contour:
    """Pairs about 1.2 unit outside and 1 unit inside every contour pixel; unit = canvas/64 px."""
    pad = int(np.ceil(4 * unit))
    solid = np.pad(sprite.solid, pad).astype(np.uint8)
    smooth = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 0.9 * unit)
    gy, gx = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    edge = solid - cv2.erode(solid, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(edge)
    length = np.hypot(gy[rows, columns], gx[rows, columns]) + 1e-6
    normal = -np.stack([gy[rows, columns], gx[rows, columns]], 1) / length[:, None]
    points = np.stack([rows, columns], 1)
    outer = np.rint(points + normal * 1.4 * unit).astype(np.int64)
    inner = np.rint(points - normal * 0.8 * unit).astype(np.int64)
    far = np.rint(points + normal * 3.5 * unit).astype(np.int64)
    limit = np.array(solid.shape) - 1
    outer, inner, far = (np.clip(p, 0, limit) for p in (outer, inner, far))
    good = (solid[tuple(outer.T)] == 0) & (solid[tuple(inner.T)] == 1)
    return Contour(outer[good] - pad, inner[good] - pad, far[good] - pad)
