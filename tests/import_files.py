"""Files to import: good pictures, hostile ones, archives of them."""

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image

from tests.build import cut_out, png


def photo(seed=0, size=64):
    """A generated picture: all pixels solid."""
    return np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)


def photo_png(seed=0, size=64):
    return png(photo(seed, size))


def product_png(seed=0):
    return png(cut_out(seed))


def photo_jpeg(seed=0, **options):
    out = io.BytesIO()
    Image.fromarray(photo(seed)).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def flood_png(width=60_000, height=60_000):
    """A few bytes that claim to be 3.6 thousand million pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def make_zip(path, files, packed=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packed) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def make_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def rf1m(folder, n=6, raw=("Available", "Unsuitable", "Space Mismatch", "Size Mismatch", "Indistinctiveness", "Shape Hallucination"),
         line="{name}\t{label}\n", archive=make_tar, ending=".tar.gz", header=""):  # fmt: skip
    """RF1M in small: generated pictures in two archives, products with alpha in a third, and label.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"sample{number:03}" for number in range(n)]
    half = n // 2
    archive(folder / f"TrainSet-1{ending}", {f"TrainSet/{name}.png": photo_png(k) for k, name in enumerate(names[:half])})
    archive(
        folder / f"TrainSet-2{ending}", {f"TrainSet/{name}.jpg": photo_jpeg(half + k) for k, name in enumerate(names[half:])}
    )
    archive(folder / f"TrainSet-Subset1{ending}", {f"alpha/{name}.png": product_png(k) for k, name in enumerate(names)})
    lines = [line.format(name=name, label=raw[number % len(raw)]) for number, name in enumerate(names)]
    (folder / "label.txt").write_text(header + "".join(lines))
    return folder
