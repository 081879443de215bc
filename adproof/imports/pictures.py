"""Pictures in the form in which they are kept: their own pixels, and nothing beside them.

A file can be a good picture and something else as well: a script in a comment, a ZIP after the last byte. So the
container is written anew from the parts that make the picture; what is encoded in them is not touched, which keeps a
JPEG a JPEG and gives the same bytes on every machine. WebP, and anything unusual, becomes PNG.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image

from adproof.perception.pictures import PictureError, check_header, open_picture, picture_to_png

PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_JPEG_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_JPEG_PARTS = {0xDB, 0xC4, 0xDD, 0xEE, *(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC})}
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_TURNED = 0x0112  # EXIF's orientation


@dataclass(frozen=True)
class Kept:
    """data: PNG or JPEG. has_alpha: any pixel is transparent; None where no pixel was looked at."""

    data: bytes
    width: int
    height: int
    has_alpha: bool | None


def kept(data: bytes, *, decode: bool = True) -> Kept:
    """The picture as it is to be stored.

    Args:
        data: a whole PNG, JPEG or WebP file, from anywhere.
        decode: read it to its last pixel. Without, only its header is looked at, which is fast.
    Raises: PictureError: see adproof.perception.pictures.open_picture.
    """
    header = check_header(data)
    plain = plain_png(data) if header.kind == "PNG" else plain_jpeg(data) if header.kind == "JPEG" else None
    if plain is not None and header.kind == "JPEG" and _is_turned(data):
        plain = None
    if plain is not None and not decode:
        return Kept(plain, header.width, header.height, None if header.may_have_alpha else False)
    pixels = open_picture(data)
    has_alpha = pixels.shape[2] == 4
    if plain is None:
        plain = picture_to_png(pixels)
    else:
        open_picture(plain)  # the parts that are left must make a picture by themselves
    return Kept(plain, pixels.shape[1], pixels.shape[0], has_alpha)


def is_plain(data: bytes) -> bool:
    """Nothing but a picture: a PNG or JPEG that `kept` would keep byte by byte."""
    return plain_png(data) == data or plain_jpeg(data) == data


def plain_png(data: bytes) -> bytes | None:
    """The chunks that make the picture; None where they hold more than that, or are no whole PNG."""
    if not data.startswith(PNG_START):
        return None
    parts, packed, at = [PNG_START], [], len(PNG_START)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            return None
        if name in _PNG_PARTS:
            parts.append(data[at:end])
            if name == b"IDAT":
                packed.append(data[at + 8 : end - 4])
        at = end
        if name == b"IEND":
            return b"".join(parts) if _ends_cleanly(packed) else None
    return None


def _ends_cleanly(packed: list[bytes]) -> bool:
    """Nothing hides in the pixel chunks after the packed pixels. Unpacks a little at a time, keeping nothing."""
    unpack = zlib.decompressobj()
    try:
        for piece in packed:
            unpack.decompress(piece, 1 << 16)
            while unpack.unconsumed_tail:
                unpack.decompress(unpack.unconsumed_tail, 1 << 16)
    except zlib.error:
        return False
    return unpack.eof and not unpack.unused_data


def plain_jpeg(data: bytes) -> bytes | None:
    """Tables, frames and scans, up to the end of the picture; None where it is no whole JPEG."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    parts, at = [b"\xff\xd8", _JFIF], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xD9:
            return b"".join([*parts, b"\xff\xd9"])
        if marker in _JPEG_ALONE:
            return None
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == 0xDA:
            end = _end_of_scan(data, end)
            parts.append(data[at:end])
        elif marker in _JPEG_PARTS and (marker != 0xEE or data[at + 4 : at + 9] == b"Adobe"):
            parts.append(data[at:end])
        at = end
    return b"".join([*parts, b"\xff\xd9"]) if data[at:] == b"\xff\xd9" else None


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the next marker begins: in packed pixels 0xFF is followed by 0 or a restart marker."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
        else:
            return at


def _is_turned(data: bytes) -> bool:
    try:
        return int(Image.open(io.BytesIO(data), formats=("JPEG",)).getexif().get(_TURNED, 1)) != 1
    except Exception:  # noqa: BLE001 - broken camera notes turn nothing
        return False


__all__ = ["Kept", "PictureError", "is_plain", "kept"]
