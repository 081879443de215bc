"""Pictures of a sample to the tensors RFNet reads.

A sample's four pictures become one uint8 array (9, S, S), S = RFNetConfig.image_size, planes in this order:
product R G B A, generated R G B, depth, saliency. Depth keeps 256 of its 65,536 levels.

The product should lie where the generated image has it. A product picture that fits the generated one pixel
by pixel (generation pastes the product's own pixels back, so this can be seen) is taken as it is. Any other
is cut to its alpha box and put centred, as generation does, in the size at which its pixels fit the image's;
if none fits, with its longest side `product_scale` of the square.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adproof.rfnet.config import RFNetConfig

N_PLANES = 9
GREY = 0.5  # what stands behind a cut-out product
_SAME_PIXELS = 6.0  # mean difference of 8-bit values that JPEG may cause
_FITS = 24.0  # the same, where both pictures were shrunk to 64 px
_ALPHA_EDGE = 8  # fainter alpha counts as empty when the box is measured


@dataclass(frozen=True)
class RFNetSample:
    """What RFNet judges.

    Attributes:
        product: (H, W, 4) uint8, straight (not premultiplied) alpha.
        generated: (H, W, 3) uint8.
        depth: (H, W) uint16, 0 = nearest, 65535 = farthest.
        saliency: (H, W) uint8.
        caption: the product's title and description.
        label: 0..4, or None when nobody has said.
    """

    product: NDArray[np.uint8]
    generated: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    saliency: NDArray[np.uint8]
    caption: str
    label: int | None = None


def square(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) uint8 to (size, size[, C]) by area averaging; unequal sides are stretched."""
    if picture.shape[:2] == (size, size):
        return picture
    resample = Image.Resampling.BOX if min(picture.shape[:2]) >= size else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((size, size), resample))


def place_product(rgba: NDArray[np.uint8], size: int, scale: float) -> NDArray[np.uint8]:
    """The product on a transparent square.

    Args:
        rgba: (H, W, 4) uint8.
        size: side of the result, px.
        scale: longest side of the product's alpha box as a share of `size`; 0 = only resize the picture.
    Returns: (size, size, 4) uint8.
    Raises: ValueError: the shape is wrong, or the alpha is empty.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4:
        raise ValueError(f"a product picture is (H, W, 4) RGBA, not {rgba.shape}")
    if scale <= 0:
        return square(rgba, size)
    rows = np.flatnonzero((rgba[..., 3] >= _ALPHA_EDGE).any(1))
    columns = np.flatnonzero((rgba[..., 3] >= _ALPHA_EDGE).any(0))
    if not len(rows):
        raise ValueError("the product picture is empty: its alpha is 0 everywhere; cut the product out first")
    box = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = scale * size / max(box.shape[:2])
    height, width = (max(1, round(side * factor)) for side in box.shape[:2])
    # Resize premultiplied, else colours hidden under alpha 0 bleed into the contour.
    resized = (
        Image.fromarray(box)
        .convert("RGBa")
        .resize((width, height), Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR)
        .convert("RGBA")
    )
    canvas = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    canvas[top : top + height, left : left + width] = np.asarray(resized)
    return canvas


def is_placed(product: NDArray[np.uint8], generated: NDArray[np.uint8]) -> bool:
    """Whether the product's opaque pixels are the generated image's own, at the same places.

    Args:
        product: (H, W, 4) uint8. generated: (h, w, 3) uint8.
    """
    if product.shape[:2] != generated.shape[:2]:
        return False
    opaque = product[..., 3] >= 250
    if not opaque.any():
        return False
    difference = product[..., :3][opaque].astype(np.int16) - generated[opaque]
    return float(np.abs(difference).mean()) < _SAME_PIXELS


def found_scale(product: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float | None:
    """The share of the canvas that the product's longest side has in the generated image.

    Tries sizes from 0.2 to 0.96 of the canvas at 64 px, then finer ones at 128 px; of those that fit about
    equally well it takes the largest, because a plain product's picture fits inside of itself.

    Args:
        product: (H, W, 4) uint8. generated: (h, w, 3) uint8.
    Returns: None where no size fits.
    """

    reduced = place_product(product, 128, 1.0)

    def misfits(scales: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        image = square(generated, size).astype(np.int16)
        out = np.empty(len(scales))
        for k, scale in enumerate(scales):
            placed = place_product(reduced, size, float(scale))
            opaque = placed[..., 3] >= 250
            out[k] = np.abs(placed[..., :3][opaque].astype(np.int16) - image[opaque]).mean() if opaque.any() else 255
        return out

    coarse = np.arange(0.2, 0.97, 0.02)
    values = misfits(coarse, 64)
    if values.min() > _FITS:
        return None
    middle = coarse[np.flatnonzero(values <= 1.15 * values.min() + 0.6)[-1]]
    fine = middle + np.array([-0.015, -0.01, -0.005, 0.0, 0.005, 0.01, 0.015])
    values = misfits(fine, 128)
    return float(fine[np.flatnonzero(values <= 1.05 * values.min() + 0.2)[-1]])


def product_on_canvas(
    product: NDArray[np.uint8], generated: NDArray[np.uint8], size: int, otherwise: float
) -> NDArray[np.uint8]:
    """The product where the generated image has it (see the module's docstring), (size, size, 4) uint8.

    Args:
        product: (H, W, 4) uint8. generated: (h, w, 3) uint8.
        otherwise: share of the canvas for a product that is not found in the image.
    Raises: ValueError: the product is empty or no RGBA picture.
    """
    if is_placed(product, generated):
        return place_product(product, size, 0.0)
    return place_product(product, size, found_scale(product, generated) or otherwise)


def depth_to_uint8(depth: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(H, W) uint16 to uint8 by dropping the low byte; uint8 comes back unchanged.

    Raises: ValueError: another dtype or shape.
    """
    if depth.ndim != 2 or depth.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a depth map is (H, W) uint16 (or uint8), not {depth.shape} {depth.dtype}")
    return depth.astype(np.uint8) if depth.dtype == np.uint8 else (depth >> 8).astype(np.uint8)


def pack(sample: RFNetSample, config: RFNetConfig) -> NDArray[np.uint8]:
    """The sample's pictures as one (9, S, S) uint8 array (see the module's docstring).

    Raises: ValueError: a picture has the wrong shape, or the product is empty.
    """
    size = config.image_size
    if sample.generated.ndim != 3 or sample.generated.shape[2] != 3:
        raise ValueError(f"a generated image is (H, W, 3) RGB, not {sample.generated.shape}")
    if sample.saliency.ndim != 2:
        raise ValueError(f"a saliency map is (H, W), not {sample.saliency.shape}")
    planes = np.empty((N_PLANES, size, size), np.uint8)
    if config.product_scale:
        product = product_on_canvas(sample.product, sample.generated, size, config.product_scale)
    else:
        product = place_product(sample.product, size, 0.0)
    planes[:4] = product.transpose(2, 0, 1)
    planes[4:7] = square(sample.generated, size).transpose(2, 0, 1)
    planes[7] = square(depth_to_uint8(sample.depth), size)
    planes[8] = square(sample.saliency, size)
    return planes


def mirrored(planes: Tensor) -> Tensor:
    """All pictures of a batch (B, 9, S, S) mirrored left to right."""
    return planes.flip(-1)


def unpack(planes: Tensor) -> dict[str, Tensor]:
    """Packed pictures to the network's inputs.

    Args:
        planes: (B, 9, S, S) uint8.
    Returns: float32 in [0, 1]: product (B, 4, S, S) RGBA, generated (B, 3, S, S), depth and saliency
        (B, 1, S, S).
    """
    x = planes.float() / 255
    return {"product": x[:, :4], "generated": x[:, 4:7], "depth": x[:, 7:8], "saliency": x[:, 8:9]}


def decode_rgba(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 4) uint8; a picture without alpha is opaque."""
    return np.asarray(_open(data).convert("RGBA"))


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8."""
    return np.asarray(_open(data).convert("RGB"))


def decode_depth(data: bytes) -> NDArray[np.uint16]:
    """An encoded depth map as (H, W) uint16; 8-bit ones are spread over the range."""
    image = _open(data)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image.convert("L")).astype(np.uint16) * 257


def decode_grey(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as (H, W) uint8."""
    return np.asarray(_open(data).convert("L"))


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a readable picture ({len(data)} bytes): {error}") from error
    return image
