import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from adproof.perception.pictures import (
    PictureError,
    depth_to_png,
    open_picture,
    picture_to_png,
    png_to_depth,
    png_to_saliency,
    saliency_to_png,
)

RED = (200, 30, 40)


def scene(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Red above, blue below, a green left upper corner."""
    image = Image.new("RGB", (width, height), RED)
    image.paste((20, 40, 200), (0, height // 2, width, height))
    image.paste((10, 200, 30), (0, 0, width // 4, height // 4))
    return image.convert(mode)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_that_says(width: int, height: int, rows: bytes = b"\0" * 64) -> bytes:
    """A small PNG whose header promises width x height grey pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_it_opens_png_jpeg_and_webp_as_rgb(kind: str) -> None:
    pixels = open_picture(saved(scene(), kind, quality=95))
    assert pixels.shape == (32, 48, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels[12, 40].astype(int) - RED).max() < 25


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_it_keeps_transparency(kind: str) -> None:
    image = scene(mode="RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    pixels = open_picture(saved(image, kind, lossless=True))
    assert pixels.shape == (32, 48, 4)
    assert np.array_equal(pixels[..., 3], np.asarray(image)[..., 3])


def test_an_alpha_channel_that_hides_nothing_is_dropped() -> None:
    assert open_picture(saved(scene(mode="RGBA"))).shape == (32, 48, 3)


def test_a_palette_with_a_transparent_colour_becomes_rgba() -> None:
    image = scene().quantize(4)
    pixels = open_picture(saved(image, transparency=image.getpixel((0, 0))))
    assert pixels.shape == (32, 48, 4)
    assert pixels[0, 0, 3] == 0 and pixels[20, 20, 3] == 255


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    pixels = open_picture(saved(scene(mode=mode), "JPEG" if mode == "CMYK" else "PNG"))
    assert pixels.shape == (32, 48, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((20, 20), 0x8000, dtype=np.uint16))
    assert open_picture(saved(image))[0, 0].tolist() == [128, 128, 128]


# Where the green corner of the scene must come to lie, for each value of the camera's orientation.
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize(("orientation", "corner"), CORNERS.items())
def test_the_cameras_orientation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = open_picture(saved(scene(), "PNG", exif=exif))
    assert pixels.shape[:2] == ((32, 48) if orientation < 5 else (48, 32))
    assert pixels[corner].tolist() == [10, 200, 30]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_camera_notes_do_not_lose_the_picture() -> None:
    for notes in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"):
        assert open_picture(saved(scene(), "JPEG", exif=notes)).shape == (32, 48, 3)


def test_a_strange_orientation_is_no_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert open_picture(saved(scene(), "PNG", exif=exif)).shape == (32, 48, 3)


def test_a_broken_colour_profile_is_ignored() -> None:
    assert open_picture(saved(scene(), icc_profile=b"no profile at all")).shape == (32, 48, 3)


def test_a_camera_jpeg_with_previews_gives_its_main_picture() -> None:
    file = io.BytesIO()
    scene().save(file, "MPO", save_all=True, append_images=[scene(24, 16)])
    assert open_picture(file.getvalue()).shape == (32, 48, 3)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NOT_PICTURES = {
    "nothing": (b"", "empty"),
    "text": (b"hello there", "no picture of a known kind"),
    "zeros": (bytes(1000), "no picture of a known kind"),
    "svg": (SVG, "SVG.*scripts"),
    "svg after a byte-order mark": (b"\xef\xbb\xbf\n " + SVG, "SVG"),
    "svg in xml": (b'<?xml version="1.0"?>\n<!-- x -->' + SVG, "SVG"),
    "html": (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "zip": (b"PK\x03\x04" + bytes(50), "ZIP"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC"),
    "gif": (saved(scene(), "GIF"), "GIF"),
    "bmp": (saved(scene(), "BMP"), "BMP"),
    "tiff": (saved(scene(), "TIFF"), "TIFF"),
    "ico": (saved(scene(), "ICO"), "icon"),
    "ppm": (saved(scene(), "PPM"), "no picture of a known kind"),
    "eps": (saved(scene(), "EPS"), "no picture of a known kind"),
    "png magic alone": (b"\x89PNG\r\n\x1a\n", "PNG file is damaged"),
    "jpeg magic alone": (b"\xff\xd8\xff\xe0", "JPEG file is damaged"),
    "webp magic alone": (b"RIFF\x10\0\0\0WEBP", "WEBP file is damaged"),
    "half a png": (saved(scene(400, 400))[:-400], "damaged or cut short"),
    "half a jpeg": (saved(scene(400, 400), "JPEG")[:1500], "damaged or cut short"),
    "a png with flipped bytes": (saved(scene())[:60] + b"\xff" * 20 + saved(scene())[80:], "damaged"),
    "animated gif": (saved(scene(), "GIF", save_all=True, append_images=[scene(mode="L")]), "GIF"),
    "animated png": (
        saved(scene(), save_all=True, append_images=[scene(mode="L")]),
        r"animated \(2 frames\)",
    ),
    "animated webp": (
        saved(scene(), "WEBP", save_all=True, append_images=[scene(mode="L")]),
        r"animated \(2 frames\)",
    ),
    "too small": (saved(scene(100, 8)), "100 x 8 pixels; each side must have at least 16"),
    "a side of 40,000": (
        saved(Image.new("1", (40_000, 20))),
        "40,000 x 20 pixels; no side may be over 16,384",
    ),
    "too many pixels": (saved(Image.new("1", (5000, 4000))), "5,000 x 4,000 pixels; at most 16.0 million"),
    "bomb": (png_that_says(60_000, 60_000), "(far more pixels|no side may be over)"),
    "largest bomb": (png_that_says(2**31 - 1, 2**31 - 1), "(far more pixels|no side may be over)"),
    "no width": (png_that_says(0, 100), "(damaged|at least 16)"),
    "pixels missing": (png_that_says(3000, 3000), "damaged or cut short"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", NOT_PICTURES)
def test_it_refuses_and_says_why(name: str) -> None:
    data, reason = NOT_PICTURES[name]
    with pytest.raises(PictureError, match=reason) as refusal:
        open_picture(data)
    assert str(refusal.value).endswith(".")


def test_a_text_bomb_in_a_png_is_refused_or_skipped_without_unpacking_it() -> None:
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    data = saved(scene())
    with pytest.raises(PictureError):
        open_picture(data[:33] + bomb + data[33:])


def test_the_limits_can_be_set() -> None:
    data = saved(scene(100, 50))
    assert open_picture(data, max_px=5000).shape == (50, 100, 3)
    with pytest.raises(PictureError, match="at most 0.0 million"):
        open_picture(data, max_px=4999)
    with pytest.raises(PictureError, match="no side may be over 99"):
        open_picture(data, max_side_px=99)
    with pytest.raises(PictureError, match="at least 64"):
        open_picture(data, min_side_px=64)
    with pytest.raises(PictureError, match="at most 0.0 MB"):
        open_picture(data, max_bytes=100)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_random_damage_is_refused_or_read_but_never_another_error(kind: str) -> None:
    whole = saved(scene(64, 64), kind)
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        cut = int(rng.integers(len(data) // 2, len(data) + 1))
        try:
            pixels = open_picture(bytes(data[:cut]))
        except PictureError:
            continue
        assert pixels.dtype == np.uint8 and pixels.ndim == 3


def test_pictures_survive_their_png() -> None:
    for channels in (3, 4):
        pixels = np.random.default_rng(0).integers(0, 255, (20, 30, channels)).astype(np.uint8)
        assert np.array_equal(open_picture(picture_to_png(pixels)), pixels)
        assert picture_to_png(pixels) == picture_to_png(pixels.copy())


def test_depth_survives_its_png_in_all_sixteen_bits() -> None:
    depth = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    again = png_to_depth(depth_to_png(depth))
    assert again.dtype == np.uint16 and np.array_equal(again, depth)
    for odd in (depth[:1, :1], depth[3:80, 100:107], depth[::-1, ::3]):
        assert np.array_equal(png_to_depth(depth_to_png(odd)), odd) and depth_to_png(odd) == depth_to_png(odd.copy())


def test_an_eight_bit_depth_map_is_spread_over_sixteen() -> None:
    grey = np.array([[0, 1, 255]], dtype=np.uint8)
    assert png_to_depth(saliency_to_png(grey)).tolist() == [[0, 257, 65535]]


def test_saliency_survives_its_png() -> None:
    saliency = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(png_to_saliency(saliency_to_png(saliency)), saliency)


def test_maps_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(PictureError, match="grey PNG"):
        png_to_depth(saved(scene()))
    with pytest.raises(PictureError, match="grey PNG"):
        png_to_saliency(saved(scene(mode="L"), "JPEG"))
    with pytest.raises(PictureError, match="16"):
        png_to_saliency(depth_to_png(np.zeros((4, 4), np.uint16)))
    for write, wrong in ((depth_to_png, np.uint8), (saliency_to_png, np.uint16), (picture_to_png, np.uint8)):
        with pytest.raises(ValueError, match="uint"):
            write(np.zeros((4, 4), wrong))


def test_opening_pictures_does_not_load_torch() -> None:
    code = "import sys, adproof.perception.pictures; sys.exit(bool({'torch', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
