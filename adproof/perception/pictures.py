"""Pictures from outside, opened with care; and our own maps as PNG.

Uses numpy and Pillow alone: the web process opens uploads with it.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Map16 = NDArray[np.uint16]
T = TypeVar("T")

MAX_PX = 16_000_000
MAX_SIDE_PX = 16_384
MIN_SIDE_PX = 16
MAX_BYTES = 64_000_000

_RLE = 3  # one of zlib's strategies
_UP = 2  # one of PNG's filters
_WANTED = "a PNG, JPEG or WebP picture"
_FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises over damaged or hostile files; the warning too, where a test turns warnings into errors.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class PictureError(ValueError):
    """A file that we do not take as a picture; its text names the reason, the limit and what to do."""


def open_picture(
    data: bytes,
    *,
    max_px: int = MAX_PX,
    max_side_px: int = MAX_SIDE_PX,
    min_side_px: int = MIN_SIDE_PX,
    max_bytes: int = MAX_BYTES,
) -> Pixels:
    """Decode a picture that somebody gave us.

    The size is read from the header and checked before a pixel is decoded. The camera's orientation (EXIF) is
    applied; colour profiles are ignored, all colours are taken as sRGB. Of a JPEG with previews in it (MPO)
    the main picture counts.

    Args:
        data: a whole PNG, JPEG or WebP file.
        max_px: most pixels (width x height).
        max_side_px, min_side_px: longest and shortest allowed side, in pixels.
        max_bytes: largest file.
    Returns: (H, W, 3) uint8 RGB; (H, W, 4) uint8 RGBA, not premultiplied, where any pixel is transparent.
    Raises: PictureError: anything else; the sentence is meant for the person who gave the file.
    """
    if not data:
        raise PictureError(f"This file is empty. Choose {_WANTED}.")
    if len(data) > max_bytes:
        raise PictureError(
            f"This file has {len(data) / 1e6:,.1f} MB; at most {max_bytes / 1e6:,.1f} MB are taken. "
            "Save it smaller, or as JPEG or WebP."
        )
    image = _opened(data)
    _check_size(image, max_px, max_side_px, min_side_px)
    _check_still(image)
    return _decoded(lambda: _as_pixels(_turned(image)))


@dataclass(frozen=True)
class Header:
    """kind: "PNG", "JPEG" or "WEBP". may_have_alpha: its form allows transparent pixels."""

    kind: str
    width: int
    height: int
    may_have_alpha: bool


def check_header(data: bytes) -> Header:
    """What `open_picture` checks before it decodes a pixel, and no more: fast.

    Raises: PictureError: as open_picture, for what its header shows.
    """
    if not data:
        raise PictureError(f"This file is empty. Choose {_WANTED}.")
    if len(data) > MAX_BYTES:
        raise PictureError(f"This file has {len(data) / 1e6:,.1f} MB; at most {MAX_BYTES / 1e6:,.1f} MB are taken.")
    image = _opened(data)
    _check_size(image, MAX_PX, MAX_SIDE_PX, MIN_SIDE_PX)
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return Header(kind, image.width, image.height, image.has_transparency_data)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(
            "This picture unpacks to far more pixels than are taken. Scale it down and try again."
        ) from error
    except _DAMAGE as error:
        kind = _kind(data)
        if kind in _FORMATS:
            raise PictureError(
                f"This {kind} file is damaged and cannot be read. Save it again as {_WANTED}."
            ) from error
        raise PictureError(f"This file is {kind}. Choose {_WANTED}.") from error


def _check_size(image: Image.Image, max_px: int, max_side_px: int, min_side_px: int) -> None:
    width, height = image.size
    told = f"This picture is {width:,} x {height:,} pixels"
    if max(width, height) > max_side_px:
        raise PictureError(f"{told}; no side may be over {max_side_px:,} pixels. Scale it down and try again.")
    if width * height > max_px:
        raise PictureError(
            f"{told}; at most {max_px / 1e6:,.1f} million pixels are taken. Scale it down and try again."
        )
    if min(width, height) < min_side_px:
        raise PictureError(f"{told}; each side must have at least {min_side_px:,} pixels. Choose a larger one.")


def _check_still(image: Image.Image) -> None:
    # A JPEG with previews has several frames as well, but is a still picture.
    n_frames = 1 if image.format == "MPO" else _decoded(lambda: int(getattr(image, "n_frames", 1)))
    if n_frames > 1:
        raise PictureError(f"This picture is animated ({n_frames} frames). Save one frame of it as {_WANTED}.")


def _decoded(decode: Callable[[], T]) -> T:
    try:
        return decode()
    except _DAMAGE as error:
        raise PictureError(
            f"This picture is damaged or cut short and cannot be read to its end. Save it again as {_WANTED}."
        ) from error


def _turned(image: Image.Image) -> Image.Image:
    image.load()
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        turn = _TURNS.get(orientation)
    except _DAMAGE:  # broken camera notes are no reason to refuse good pixels
        return image
    return image if turn is None else image.transpose(turn)


def _as_pixels(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips in place of scaling
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"), dtype=np.uint8)
    pixels = np.array(image.convert("RGBA"), dtype=np.uint8)
    # Many programs write an alpha channel that hides nothing: such a picture still has its background.
    return pixels if pixels[..., 3].min() < 255 else np.ascontiguousarray(pixels[..., :3])


def _kind(data: bytes) -> str:
    """Name what a file is by its first bytes, with its article, or as one of `_FORMATS`."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data.startswith(b"\x89PNG"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if b"<svg" in head or (head.startswith(b"<?xml") and b"svg" in data[:4096].lower()):
        return "an SVG drawing, which is not taken because it can carry scripts"
    starts = {
        b"GIF8": "a GIF",
        b"BM": "a BMP picture",
        b"II*\0": "a TIFF picture",
        b"MM\0*": "a TIFF picture",
        b"8BPS": "a Photoshop file",
        b"%PDF": "a PDF document",
        b"PK\x03\x04": "a ZIP archive or office document",
        b"\0\0\1\0": "an icon file",
    }
    for start, name in starts.items():
        if data.startswith(start):
            return name
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    if head.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "no picture of a known kind"


def picture_to_png(image: Pixels) -> bytes:
    """Write a picture as PNG.

    Args:
        image: (H, W, 3) RGB or (H, W, 4) RGBA uint8.
    Raises: ValueError: another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(f"a picture is (H, W, 3) or (H, W, 4) uint8, got {image.shape} {image.dtype}")
    return _png(image)


def depth_to_png(depth: Map16) -> bytes:
    """Write a depth map as 16-bit grey PNG.

    Args:
        depth: (H, W) uint16, 0 = nearest, 65535 = farthest.
    Raises: ValueError: another shape or type.
    """
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise ValueError(f"a depth map is (H, W) uint16, got {depth.shape} {depth.dtype}")
    # Each byte less the one above it (PNG's filter "up"): such maps are enlarged and smooth, so what is left holds repetitions
    # that level 2 finds. Less than half of the time of choosing a filter for each row (as Pillow does), and no larger.
    height, width = depth.shape
    values = depth.astype(">u2").view(np.uint8).reshape(height, 2 * width)
    rows = np.empty((height, 1 + 2 * width), np.uint8)
    rows[:, 0], rows[0, 1:] = _UP, values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 2)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def png_to_depth(data: bytes) -> Map16:
    """Read a depth map.

    Args:
        data: a grey PNG of 16 bits, or of 8 bits, whose values are spread over 16 (x 257).
    Returns: (H, W) uint16, values as in the file.
    Raises: PictureError: no such PNG, or over `MAX_PX` pixels.
    """
    grey = _grey(data, "depth map")
    if grey.dtype == np.uint8:
        return grey.astype(np.uint16) * np.uint16(257)
    return grey.astype(np.uint16)


def saliency_to_png(saliency: Pixels) -> bytes:
    """Write a saliency map as 8-bit grey PNG.

    Args:
        saliency: (H, W) uint8, 255 = stands out most.
    Raises: ValueError: another shape or type.
    """
    if saliency.dtype != np.uint8 or saliency.ndim != 2:
        raise ValueError(f"a saliency map is (H, W) uint8, got {saliency.shape} {saliency.dtype}")
    return _png(saliency)


def png_to_saliency(data: bytes) -> Pixels:
    """Read a saliency map.

    Args:
        data: an 8-bit grey PNG.
    Returns: (H, W) uint8, values as in the file.
    Raises: PictureError: no such PNG, or over `MAX_PX` pixels.
    """
    grey = _grey(data, "saliency map")
    if grey.dtype != np.uint8:
        raise PictureError("A saliency map is a grey PNG of 8 bits; this one has 16.")
    return grey.astype(np.uint8)


def _png(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    # Fixed settings: the same pixels give the same bytes, which their sha256 relies on. Filtered rows of a picture hold
    # runs and noise, hardly a repetition: looking for runs alone takes a sixth of the time and makes files no larger.
    Image.fromarray(array).save(file, "PNG", compress_level=6, compress_type=_RLE)
    return file.getvalue()


def _grey(data: bytes, name: str) -> NDArray[Any]:
    image = _opened(data)
    _check_size(image, MAX_PX, MAX_SIDE_PX, 1)
    if image.format != "PNG" or not (image.mode == "L" or image.mode.startswith("I")):
        raise PictureError(f"A {name} is a grey PNG; this is a {image.format} picture of mode {image.mode}.")
    return _decoded(lambda: np.array(image))
