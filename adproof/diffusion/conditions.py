"""From a product picture to what the generator is conditioned on, and back: the product's own pixels.

As the authors' public sampling code does it (arXiv 2408.00418): crop to the alpha box, scale to `image_scale` of the
canvas, centre, Canny edges of the product on black, inpaint mask = inverted alpha dilated by 20x20 at 512 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Uint8Array = npt.NDArray[np.uint8]

CANNY_LOW, CANNY_HIGH = 100, 200
DILATION_AT_512 = 20
# Cut-outs carry faint alpha noise far from the product; what is under this is no part of its box.
FAINT_ALPHA = 8


@dataclass(frozen=True)
class Conditions:
    """One product on its canvas; every array is (size, size[, channels]) uint8."""

    canvas_rgba: Uint8Array  # (S, S, 4) the product, scaled and centred, transparent elsewhere
    edges: Uint8Array  # (S, S) 0 or 255, Canny of the product on black
    inpaint_mask: Uint8Array  # (S, S) 255 where the generator may paint
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of the scaled product on the canvas, x1 and y1 exclusive

    @property
    def alpha(self) -> Uint8Array:
        """(S, S) uint8, the product's, not dilated."""
        return self.canvas_rgba[..., 3]

    @property
    def size(self) -> int:
        return int(self.canvas_rgba.shape[0])

    def on(self, colour: int) -> Uint8Array:
        """(S, S, 3): the product over a flat grey of this level."""
        return composite(np.full((self.size, self.size, 3), colour, np.uint8), self)


def prepare(product_rgba: Uint8Array, image_scale: float = 0.72, size: int = 512) -> Conditions:
    """Conditions of one product on a square canvas of `size` pixels.

    product_rgba: (H, W, 4) uint8, straight (not premultiplied) alpha, any size. The longer side of its alpha box
    becomes `image_scale` (0 < s <= 1) of the canvas.
    Raises ValueError for another shape or type, an empty alpha channel, or a scale or size out of range.
    """
    return from_canvas(*placed(product_rgba, image_scale, size))


def placed(product_rgba: Uint8Array, image_scale: float, size: int) -> tuple[Uint8Array, tuple[int, int, int, int]]:
    """The canvas of `prepare`, (size, size, 4) uint8, and the product's box on it (left, top, right, bottom): all that
    laying it over a picture takes. Raises ValueError like `prepare`."""
    if product_rgba.ndim != 3 or product_rgba.shape[2] != 4 or product_rgba.dtype != np.uint8:
        raise ValueError(
            f"a product picture is uint8 of shape (H, W, 4), not {product_rgba.dtype} {product_rgba.shape}"
        )
    if not 0.0 < image_scale <= 1.0:
        raise ValueError(f"image_scale is the product's share of the canvas, over 0 and up to 1, not {image_scale}")
    if size < 16:
        raise ValueError(f"a canvas has at least 16 pixels a side, not {size}")
    product = crop_to_alpha(product_rgba)
    height, width = product.shape[:2]
    factor = image_scale * size / max(height, width)
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    # Pillow premultiplies RGBA while resampling, so colours under transparent pixels do not bleed into the edge.
    scaled = np.asarray(Image.fromarray(product).resize((new_width, new_height), Image.Resampling.LANCZOS))
    x0, y0 = (size - new_width) // 2, (size - new_height) // 2
    box = (x0, y0, x0 + new_width, y0 + new_height)
    canvas = np.zeros((size, size, 4), np.uint8)
    canvas[box[1] : box[3], box[0] : box[2]] = scaled
    return canvas, box


def prepare_all(
    products: Sequence[Uint8Array], image_scales: Sequence[float], size: int = 512, threads: int = 1
) -> list[Conditions]:
    """Conditions of many products, in their order.

    threads: products in work at once (Pillow and OpenCV let go of the interpreter).
    Raises ValueError that names the first product that can't be placed, counted from 1; before that, for lists of
    different lengths.
    """
    if len(products) != len(image_scales):
        raise ValueError(f"one image_scale for each product, not {len(image_scales)} for {len(products)}")

    def one(number: int) -> Conditions:
        try:
            return prepare(products[number], image_scales[number], size)
        except ValueError as error:
            raise ValueError(f"product {number + 1}: {error}" if len(products) > 1 else str(error)) from error

    if threads == 1:
        return [one(number) for number in range(len(products))]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(len(products))))


def from_canvas(canvas_rgba: Uint8Array, box: tuple[int, int, int, int] | None = None) -> Conditions:
    """Conditions of a product that lies on its square canvas (S, S, 4) uint8 already (box: of its alpha, found if not
    given)."""
    alpha = canvas_rgba[..., 3]
    on_black = _over(np.zeros_like(canvas_rgba[..., :3]), canvas_rgba)
    edges = cv2.Canny(on_black, CANNY_LOW, CANNY_HIGH).astype(np.uint8)
    side = max(1, round(DILATION_AT_512 * canvas_rgba.shape[0] / 512))
    grown = cv2.dilate(255 - alpha, np.ones((side, side), np.uint8))
    mask = np.where(grown >= 128, 255, 0).astype(np.uint8)
    return Conditions(canvas_rgba, edges, mask, box or alpha_box(alpha))


def composite(background: Uint8Array, conditions: Conditions) -> Uint8Array:
    """The product's own pixels over `background` (S, S, 3) uint8, by its un-dilated alpha.

    Where alpha is 255 the result IS the canvas pixel, where it is 0 the background's, to the bit.
    Raises ValueError if the sizes differ.
    """
    if background.shape != conditions.canvas_rgba.shape[:2] + (3,) or background.dtype != np.uint8:
        raise ValueError(
            f"the background is {background.dtype} {background.shape}, the canvas uint8 ({conditions.size}, ..., 3)"
        )
    return lay_over(background, conditions.canvas_rgba)


def lay_over(background: Uint8Array, canvas_rgba: Uint8Array) -> Uint8Array:
    """`composite` with the canvas (S, S, 4) alone; the sizes must agree."""
    return _over(background, canvas_rgba)


def crop_to_alpha(rgba: Uint8Array) -> Uint8Array:
    """The part of (H, W, 4) inside its alpha box; raises ValueError where there is nothing to see."""
    x0, y0, x1, y1 = alpha_box(rgba[..., 3])
    return rgba[y0:y1, x0:x1]


def alpha_box(alpha: Uint8Array) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of what is more than faintly opaque, ends exclusive; ValueError if nothing is."""
    rows, columns = np.flatnonzero((alpha >= FAINT_ALPHA).any(1)), np.flatnonzero((alpha >= FAINT_ALPHA).any(0))
    if not len(rows):
        raise ValueError("the product picture is fully transparent: cut the product out again, keeping its alpha")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def edge_control(conditions: Conditions) -> Uint8Array:
    """(S, S, 3): the edges in every channel, as ControlNet canny v1.1 was trained."""
    return np.repeat(conditions.edges[..., None], 3, axis=2)


def product_control(conditions: Conditions) -> Uint8Array:
    """(S, S, 3): black outside, the product's colours brought to 64..255 inside, edges burnt in white.

    What the mini ControlNet sees: edges, silhouette and colours in one picture of three channels.
    """
    lifted = conditions.canvas_rgba.copy()
    lifted[..., :3] = 64 + (lifted[..., :3].astype(np.uint16) * 191 + 127) // 255
    control = _over(np.zeros_like(lifted[..., :3]), lifted)
    control[conditions.edges > 0] = 255
    return control


def _over(background: Uint8Array, rgba: Uint8Array) -> Uint8Array:
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = (rgba[..., :3] * alpha + background * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
