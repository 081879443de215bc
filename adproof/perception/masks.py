"""Alpha from what U2-Net found, and a person's corrections of it: numpy, Pillow and OpenCV alone.

U2-Net runs once, in a worker; its confidence map is kept, so that another threshold is plain arithmetic.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adproof.perception.pictures import Pixels, depth_to_png, png_to_depth

Floats = NDArray[np.float32]

INSTEAD = (
    "Use a picture of one product on a plain background with a margin around it, "
    "or a PNG or WebP with a transparent background."
)
THRESHOLD, SOFTNESS = 0.5, 0.4
LEAST_SHARE, MOST_SHARE = 0.002, 0.95
_SPECK_SHARE = 0.05
_LEAST_SOFTNESS = 0.02


class MaskError(ValueError):
    """A mask that cuts nothing out, or does not belong to the picture; the sentence says what to do."""


def confidence_to_png(found: Floats) -> bytes:
    """Keep a confidence map, (h, w) float in [0, 1], as 16-bit grey PNG."""
    return depth_to_png((np.clip(found, 0, 1) * 65535).round().astype(np.uint16))


def png_to_confidence(data: bytes) -> Floats:
    """Read what `confidence_to_png` wrote: (h, w) float32 in [0, 1]. Raises PictureError."""
    return png_to_depth(data).astype(np.float32) / np.float32(65535)


def alpha_of(
    found: Floats, width: int, height: int, *, threshold: float = THRESHOLD, softness: float = SOFTNESS
) -> Pixels:
    """Turn a confidence map into an alpha channel.

    Args:
        found: (h, w) float in [0, 1].
        width, height: of the picture, in pixels.
        threshold: confidence that becomes half-transparent, in (0, 1).
        softness: width of the ramp around it, in (0, 1]; small = hard edge.
    Returns: (height, width) uint8; islands under a twentieth of the largest are dropped.
    """
    half = max(softness, _LEAST_SOFTNESS) / 2
    edge = np.clip((found - (threshold - half)) / (2 * half), 0, 1)
    return without_specks(resized(edge, width, height))


def check_share(alpha: Pixels) -> None:
    """Raises MaskError where next to nothing, or nearly everything, is left."""
    share = float((alpha > 127).mean())
    if share < LEAST_SHARE:
        raise MaskError(f"no object found: what stands out covers {share:.2%} of the picture. {INSTEAD}")
    if share > MOST_SHARE:
        raise MaskError(f"no object found: {share:.0%} of the picture stands out, not one thing. {INSTEAD}")


def alpha_from_upload(pixels: Pixels, width: int, height: int) -> Pixels:
    """Read an alpha from a mask or a cut-out that somebody gave.

    Args:
        pixels: (h, w, 4): its alpha counts; (h, w, 3): white = kept, black = cut away.
        width, height: of the picture it belongs to.
    Returns: (height, width) uint8.
    Raises: MaskError: another shape than the picture's.
    """
    h, w = pixels.shape[:2]
    if abs(w * height - h * width) > 0.01 * w * height:
        raise MaskError(
            f"This mask is {w} x {h} pixels and the picture {width} x {height}: save it in the picture's own shape."
        )
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
    else:
        alpha = pixels.astype(np.float32).mean(axis=2).round().astype(np.uint8)
    if (w, h) == (width, height):
        return np.ascontiguousarray(alpha)
    return np.array(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


def with_strokes(alpha: Pixels, strokes: Pixels) -> Pixels:
    """Lay a brush's work over an alpha.

    Args:
        alpha: (H, W) uint8.
        strokes: (h, w, 4) uint8, its alpha says how much: green restores, any other colour erases. Of any size.
    Returns: (H, W) uint8; untouched pixels as they were.
    """
    height, width = alpha.shape
    scaled = np.asarray(Image.fromarray(strokes).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    much = scaled[..., 3] / 255
    wanted = np.where(scaled[..., 1] > 127, np.float32(255), np.float32(0))
    return (alpha * (1 - much) + wanted * much).round().astype(np.uint8)


def without_specks(alpha: Pixels) -> Pixels:
    """Drop islands under a twentieth of the largest: reflections and dirt, not a second product."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats((alpha > 12).astype(np.uint8), connectivity=8)
    if n <= 2:
        return alpha
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = areas >= _SPECK_SHARE * areas[1:].max()
    kept[0] = False
    return np.where(kept[parts], alpha, 0).astype(np.uint8)


def resized(found: NDArray[np.floating], width: int, height: int) -> Pixels:
    """A map in [0, 1] as (height, width) uint8."""
    image = Image.fromarray((found * 255).round().astype(np.uint8))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)
