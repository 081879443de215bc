"""Products from files that people give us. Pure checks here; rows are made by generation.actions.

Every file is hostile until checked. What is wrong with one file is said in a sentence and leaves the others alone.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from adproof.imports.problems import BadImport
from adproof.perception.pictures import PictureError, open_picture, picture_to_png

MAX_ROWS = 100_000
MAX_ZIP_BYTES = 2 * 2**30
MAX_TEXT_CHARS = 5000
PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
REQUIRED_COLUMNS = ("sku", "title", "image")
OPTIONAL_COLUMNS = ("description", "category", "source", "license", "width_cm", "depth_cm", "height_cm")
# Less than this share of solid pixels and there is nothing to advertise in the picture.
MIN_OBJECT_SHARE = 0.002


@dataclass(frozen=True)
class ProductFile:
    """One product as its file or row gave it, checked."""

    where: str
    sku: str
    title: str
    picture: bytes  # PNG, RGBA
    has_alpha: bool
    width_px: int
    height_px: int
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def read_picture(
    where: str, data: bytes, sku: str, title: str, values: dict[str, Any] | None = None
) -> ProductFile | Problem:
    """Check one picture. Its own pixels are kept; only the container is written anew (PNG, no metadata)."""
    try:
        pixels = open_picture(data)
    except PictureError as error:
        return Problem(where, str(error))
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4 and bool((pixels[..., 3] < 250).any())
    if has_alpha and (pixels[..., 3] > 127).mean() < MIN_OBJECT_SHARE:
        return Problem(
            where,
            "the picture is (almost) fully transparent: there is no object in it. Upload the product itself.",
        )
    if not has_alpha and float(np.asarray(pixels[..., :3], np.float32).std(axis=(0, 1)).max()) < 2:
        return Problem(where, "the picture shows one flat colour: there is no object in it. Upload the product itself.")
    if not sku:
        return Problem(where, "there is no SKU: give each product a short unique code.")
    return ProductFile(
        where,
        sku[:80],
        (title or sku)[:300],
        picture_to_png(pixels),
        has_alpha,
        pixels.shape[1],
        pixels.shape[0],
        values or {},
    )


def sku_of(name: str) -> str:
    """A SKU made from a file name: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(name).stem).strip("-").lower()[:80]


def title_of(name: str) -> str:
    return re.sub(r"[-_]+", " ", PurePosixPath(name).stem).strip().capitalize()[:300]


def from_pictures(
    files: Iterable[tuple[str, bytes]], values: dict[str, Any] | None = None
) -> Iterator[ProductFile | Problem]:
    """One product a picture; SKU and title from its file name."""
    for name, data in files:
        yield read_picture(name, data, sku_of(name), title_of(name), values)


def decode_csv(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadImport(
            f"the CSV is not in UTF-8 (byte {error.start} can't be read): in your spreadsheet choose 'CSV UTF-8' and save it again."
        ) from error


def from_csv(data: bytes, pictures: Mapping[str, bytes]) -> Iterator[ProductFile | Problem]:
    """One product a row; `image` names a file among `pictures`. A bad row is a Problem; a bad header is BadImport."""
    text = decode_csv(data)
    if "\x00" in text:
        raise BadImport("the CSV holds zero bytes: it is not a text file. Save it as 'CSV UTF-8'.")
    sample = text[:4000].splitlines()[0] if text.strip() else ""
    delimiter = (
        ";" if sample.count(";") > sample.count(",") else "\t" if sample.count("\t") > sample.count(",") else ","
    )
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in reader.fieldnames or [] if name]
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise BadImport(
            f"the CSV has no column {', '.join(missing)}. Wanted: {', '.join(REQUIRED_COLUMNS)}; "
            f"allowed besides: {', '.join(OPTIONAL_COLUMNS)}. Found: {', '.join(header)[:200] or 'nothing'}."
        )
    seen: dict[str, int] = {}
    try:
        for number, raw in enumerate(reader, start=2):
            if number > MAX_ROWS + 1:
                raise BadImport(f"the CSV has more than {MAX_ROWS:,} rows: split it.")
            row = {
                (key or "").strip().lower(): (value or "").strip()
                for key, value in raw.items()
                if isinstance(value, str)
            }
            yield _from_row(f"line {number}", row, pictures, seen, number)
    except csv.Error as error:
        raise BadImport(
            f"the CSV can't be read near line {reader.line_num} ({error}): save it again as 'CSV UTF-8'."
        ) from error


def _from_row(
    where: str, row: dict[str, str], pictures: Mapping[str, bytes], seen: dict[str, int], number: int
) -> ProductFile | Problem:
    sku, name = row.get("sku", ""), row.get("image", "")
    if not sku:
        return Problem(where, "the sku is empty: give each product a short unique code.")
    if len(sku) > 80:
        return Problem(where, "the sku is longer than 80 characters.")
    if sku in seen:
        return Problem(where, f"sku {sku} stands already in line {seen[sku]}: each product needs its own.")
    if not row.get("title"):
        return Problem(where, "the title is empty: write what a shop would call the product.")
    if any(len(value) > MAX_TEXT_CHARS for value in row.values()):
        return Problem(where, f"a text is longer than {MAX_TEXT_CHARS:,} characters.")
    seen[sku] = number
    data = pictures.get(name) or pictures.get(PurePosixPath(name).name)
    if data is None:
        return Problem(where, f"the picture {name or '(none named)'} is not among the files given.")
    values: dict[str, Any] = {key: row[key][:80] for key in ("category", "source") if row.get(key)}
    values["description"] = row.get("description", "")
    values["license"] = row.get("license", "")[:200]
    try:
        values |= size_of(row)
    except ValueError as error:
        return Problem(where, str(error))
    return read_picture(f"{where} ({name})", data, sku, row["title"], values)


def size_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The product's real size, if the row says one. Raises ValueError with what is wrong."""
    given = [str(row.get(key) or "") for key in ("width_cm", "depth_cm", "height_cm")]
    if not any(given):
        return {}
    try:
        sizes = [float(size.replace(",", ".")) for size in given]
    except ValueError as error:
        raise ValueError("width_cm, depth_cm and height_cm must be three numbers, or all empty.") from error
    if not all(0 < size < 10_000 for size in sizes):
        raise ValueError("a size must lie between 0 and 10,000 cm.")
    return {"size_cm": sizes}


class ZipPictures(Mapping[str, bytes]):
    """The pictures of a zip by name, read one at a time. Names never become paths, so nothing can be written outside."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, ValueError) as error:
            raise BadImport(f"the zip can't be read ({error}): make it again.") from error
        if sum(info.file_size for info in infos) > MAX_ZIP_BYTES:
            raise BadImport("the zip unpacks to more than 2 GB: split it.")
        self._infos = {PurePosixPath(info.filename).name: info for info in infos}

    def __getitem__(self, name: str) -> bytes:
        info = self._infos[name]
        with self._zip.open(info) as file:
            data = file.read(64_000_001)
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        for name in self:
            if PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS:
                yield name, self[name]


class FolderPictures(Mapping[str, bytes]):
    """The pictures of a folder by name; only plain files directly in it."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BadImport(f"{folder} is not a folder.")
        self._paths = {
            path.name: path
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.is_symlink() and path.suffix.lower() in PICTURE_ENDINGS
        }

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
