"""Products from files that people give us. Pure checks here; rows are made by generation.actions.

Every file is hostile until checked. What is wrong with one file is said in a sentence and leaves the others alone.
"""

import csv
import io
import lzma
import re
import unicodedata
import zipfile
import zlib
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
MOST_CHARS = {"sku": 80, "title": 300, "category": 80, "source": 80, "license": 200}
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
    """A SKU made from a file name: letters and digits of any script with their marks (vowels, accents), and hyphens."""
    stem = unicodedata.normalize("NFC", PurePosixPath(name).stem).lower()
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" else "-" for char in stem)
    return re.sub("-+", "-", kept).strip("-")[:80]


def title_of(name: str) -> str:
    return re.sub(r"[-_]+", " ", PurePosixPath(name).stem).strip().capitalize()[:300]


def from_pictures(
    files: Iterable[tuple[str, bytes]], values: dict[str, Any] | None = None
) -> Iterator[ProductFile | Problem]:
    """One product a picture; SKU and title from its file name. Two names that give one SKU are not two products."""
    seen: dict[str, str] = {}
    for name, data in files:
        sku = sku_of(name)
        if sku in seen and sku:
            yield Problem(name, f"its SKU would be {sku}, as that of {seen[sku]}: give one of the files another name.")
            continue
        seen[sku] = name
        yield read_picture(name, data, sku, title_of(name), values)


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
    _check_rows(text, delimiter)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in reader.fieldnames or [] if name]
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise BadImport(
            f"the CSV has no column {', '.join(missing)}. Wanted: {', '.join(REQUIRED_COLUMNS)}; "
            f"allowed besides: {', '.join(OPTIONAL_COLUMNS)}. Found: {', '.join(header)[:200] or 'nothing'}."
        )
    seen: dict[str, int] = {}
    number = 1
    for number, raw in enumerate(reader, start=2):
        row = {
            (key or "").strip().lower(): (value or "").strip() for key, value in raw.items() if isinstance(value, str)
        }
        yield _from_row(f"line {number}", row, pictures, seen, number)
    if number == 1:
        raise BadImport("the CSV has a header and no row below it: write one line for each product.")


def _check_rows(text: str, delimiter: str) -> None:
    """To the end before the first is stored: a CSV that is refused must have changed nothing."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        if sum(1 for _ in reader) > MAX_ROWS + 1:
            raise BadImport(f"the CSV has more than {MAX_ROWS:,} rows: split it.")
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
    if sku in seen:
        return Problem(where, f"sku {sku} stands already in line {seen[sku]}: each product needs its own.")
    if not row.get("title"):
        return Problem(where, "the title is empty: write what a shop would call the product.")
    if long := next((key for key, most in MOST_CHARS.items() if len(row.get(key, "")) > most), ""):
        return Problem(where, f"the {long} is longer than {MOST_CHARS[long]} characters.")
    if any(len(value) > MAX_TEXT_CHARS for value in row.values()):
        return Problem(where, f"a text is longer than {MAX_TEXT_CHARS:,} characters.")
    seen[sku] = number
    try:
        data = _picture_named(name, pictures)
    except PictureError as problem:
        return Problem(where, str(problem))
    if data is None:
        return Problem(where, f"the picture {name or '(none named)'} is not among the files given.")
    values: dict[str, Any] = {key: row[key] for key in ("category", "source") if row.get(key)}
    values["description"] = row.get("description", "")
    values["license"] = row.get("license", "")
    try:
        values |= size_of(row)
    except ValueError as error:
        return Problem(where, str(error))
    return read_picture(f"{where} ({name})", data, sku, row["title"], values)


def _picture_named(name: str, pictures: Mapping[str, bytes]) -> bytes | None:
    """By its whole name, or else by the last part of it."""
    data = pictures.get(name)
    return pictures.get(PurePosixPath(name).name) if data is None else data


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
    """The pictures of a zip by name, read one at a time. Names never become paths, so nothing can be written outside.

    A picture is found by its path in the zip, and by its file name where no other has the same.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise BadImport(f"the zip can't be read ({error}): make it again.") from error
        if sum(info.file_size for info in infos) > MAX_ZIP_BYTES:
            raise BadImport("the zip unpacks to more than 2 GB: split it.")
        if any(info.flag_bits & 1 for info in infos):
            raise BadImport("the zip asks for a password: make it again without one.")
        self._paths = {_slashes(info.filename): info for info in infos}
        self._named: dict[str, list[zipfile.ZipInfo]] = {}
        for path, info in self._paths.items():
            self._named.setdefault(PurePosixPath(path).name, []).append(info)

    def __getitem__(self, name: str) -> bytes:
        """Raises KeyError: there is none; PictureError: which one is not clear, or it can't be read."""
        path = _slashes(name)
        found = [self._paths[path]] if path in self._paths else self._named[PurePosixPath(path).name]
        if len(found) > 1:
            raise PictureError(
                f"the zip holds {len(found)} pictures called {name}: write the folder too, as in {found[0].filename}."
            )
        try:
            with self._zip.open(found[0]) as file:
                return file.read(64_000_001)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as error:
            raise PictureError(f"the picture {name} is damaged in the zip ({error}): make the zip again.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def _slashes(name: str) -> str:
    """As in a zip made by Windows, or by a Mac, which takes accents apart."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").strip("/")


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
