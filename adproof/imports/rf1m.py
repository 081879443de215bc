"""RF1M's label.txt. Its columns are not published in words: they are found by what is in them.

Separator (tab, comma, semicolon, bar, or blanks), header or none, and the order of the columns may be anything; but one
column must hold names of pictures and one must hold labels, in nearly every line, or nothing is taken.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.imports.archives import PICTURES
from adproof.imports.labels import LabelMap
from adproof.imports.problems import BadImport, LeftOut
from adproof.imports.tables import MAX_COLUMNS, text_lines

SAMPLE_LINES = 400
ENOUGH = 0.9  # share of the first lines in which a column must be what it seems
LABEL_FILES = ("label.txt", "labels.txt", "label.csv", "labels.csv", "label.tsv", "labels.tsv", "label.jsonl")
_SEPARATORS = ("\t", ",", ";", "|")
_NAMES = {
    "image": ("image", "img", "file", "filename", "file_name", "path", "name", "picture", "image_name", "img_name", "id"),
    "label": ("label", "class", "labels", "annotation", "result"),
    "prompt": ("prompt", "text_prompt"),
    "title": ("title", "caption", "product_title"),
    "description": ("description", "product_description"),
    "category": ("category", "product_category"),
    "product": ("product", "sku", "product_id"),
}


@dataclass(frozen=True)
class Shape:
    """How the lines are to be read. columns: role -> place (or key, of JSON). separator: "" for blanks."""

    separator: str
    has_header: bool
    columns: dict[str, int | str]
    split: Callable[[str], list[str]]

    def words(self) -> str:
        """For people."""
        if self.separator == "json":
            return f"one JSON object a line: {', '.join(f'{role} in {key!r}' for role, key in self.columns.items())}"
        name = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "": "blanks"}[self.separator]
        places = ", ".join(f"{role} in column {int(place) + 1}" for role, place in self.columns.items())
        return f"separated by {name}, {'with a' if self.has_header else 'no'} header; {places}"


@dataclass(frozen=True)
class Line:
    """One line of label.txt. name: of its picture, as written; stem: what pictures are matched by."""

    where: str
    name: str
    raw_label: str
    values: dict[str, str]

    @property
    def stem(self) -> str:
        return stem_of(self.name)


def stem_of(name: str) -> str:
    """The last part of a name without the ending of a picture: what the archives' files are matched by."""
    last = PurePosixPath(name.replace("\\", "/").strip()).name
    suffix = PurePosixPath(last).suffix
    return (last[: -len(suffix)] if suffix.lower() in PICTURES else last)[:200]


def stem_key(stem: str) -> int:
    """63 bits of a stem: a million of them fit in 8 MB."""
    return int.from_bytes(blake2b(stem.encode(), digest_size=8).digest(), "big") >> 1


def find_label_file(folder: Path) -> Path:
    """Raises BadImport: there is none, or there are several."""
    found = [path for path in sorted(folder.iterdir()) if path.name.lower() in LABEL_FILES and path.is_file()]
    found = [path for path in found if not path.is_symlink()]
    if len(found) != 1:
        said = "no label.txt" if not found else f"several files of labels ({', '.join(path.name for path in found)})"
        raise BadImport(f"there is {said} in {folder.name}: put exactly one beside the archives.")
    return found[0]


def shape_of(path: Path, labels: LabelMap) -> Shape:
    """Find out how label.txt is written. Raises BadImport with what it looked for."""
    with path.open("rb") as file:
        lines = []
        for line in text_lines(file, path.name):
            if line.strip():
                lines.append(line.rstrip("\r\n"))
            if len(lines) == SAMPLE_LINES:
                break
    if not lines:
        raise BadImport(f"{path.name} is empty: it must name a picture and its label in every line.")
    if lines[0].lstrip().startswith("{"):
        return _json_shape(path.name, lines, labels)
    for separator, split in _splitters():
        shape = _shape([split(line) for line in lines], separator, split, labels)
        if shape is not None:
            return shape
    raise BadImport(
        f"in {path.name} no column of labels was found beside one of picture names. Wanted in each line: the name of a "
        "picture and one of available, unsuitable, space mismatch, size mismatch, indistinctiveness, shape hallucination. "
        "If its labels are numbers or other words, say what they mean (0=available, ...). "
        f"Its first line is: {lines[0][:120]!r}."
    )


def _splitters() -> Iterator[tuple[str, Callable[[str], list[str]]]]:
    for separator in _SEPARATORS:
        yield separator, _by(separator)
    yield "", lambda line: re.split(r"\s{2,}", line.strip())
    yield "", lambda line: line.strip().split(None, 1)  # name label of two words
    yield "", lambda line: line.strip().rsplit(None, 1)


def _by(separator: str) -> Callable[[str], list[str]]:
    def split(line: str) -> list[str]:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        except (csv.Error, StopIteration):
            return line.split(separator)

    return split


def _shape(
    rows: list[list[str]], separator: str, split: Callable[[str], list[str]], labels: LabelMap
) -> Shape | None:
    width = max(len(row) for row in rows)
    if width < 2 or width > MAX_COLUMNS:
        return None
    header = _header(rows[0], labels)
    body = rows[1:] if header else rows
    if not body:
        return None
    columns = [[row[place] if place < len(row) else "" for row in body] for place in range(width)]
    named = {name: place for place, name in enumerate(header or [])}
    label = _best(columns, lambda cell: labels.look(cell) is not None, _named(named, "label"))
    if label is None:
        return None
    image = _best(columns, _is_picture, _named(named, "image"), but=label)
    if image is None:
        image = _best_names(columns, label, _named(named, "image"))
    if image is None:
        return None
    found: dict[str, int | str] = {"image": image, "label": label}
    for role in ("prompt", "title", "description", "category", "product"):
        place = _named(named, role)
        if place is not None and place not in (image, label):
            found[role] = place
    return Shape(separator, header is not None, found, split)


def _header(cells: Sequence[str], labels: LabelMap) -> list[str] | None:
    names = [cell.strip().strip("#").strip().lower() for cell in cells]
    known = {name for role in _NAMES.values() for name in role}
    if any(labels.look(cell) is not None or _is_picture(cell) for cell in cells):
        return None
    return names if sum(name in known for name in names) >= min(2, len(names)) else None


def _named(header: dict[str, int], role: str) -> int | None:
    return next((header[name] for name in _NAMES[role] if name in header), None)


def _is_picture(cell: str) -> bool:
    return PurePosixPath(cell).suffix.lower() in PICTURES


def _best(
    columns: list[list[str]], fits: Callable[[str], bool], named: int | None, but: int | None = None
) -> int | None:
    shares = [sum(map(fits, column)) / len(column) for column in columns]
    if named is not None and named != but and shares[named] > 0.5:
        return named
    good = [place for place, share in enumerate(shares) if share >= ENOUGH and place != but]
    return good[0] if good else None


def _best_names(columns: list[list[str]], label: int, named: int | None) -> int | None:
    """Names without an ending: the column whose cells are single words and all different."""
    if named is not None and named != label:
        return named
    for place, column in enumerate(columns):
        words = [cell for cell in column if cell and " " not in cell]
        if place != label and len(words) >= ENOUGH * len(column) and len(set(words)) >= ENOUGH * len(words):
            return place
    return None


def _json_shape(name: str, lines: list[str], labels: LabelMap) -> Shape:
    try:
        first = {str(key).lower(): key for key in json.loads(lines[0])}
    except (ValueError, TypeError, RecursionError) as error:
        raise BadImport(f"{name} begins like JSON, but its first line is none ({str(error)[:80]}).") from error
    found: dict[str, int | str] = {}
    for role, names in _NAMES.items():
        key = next((first[one] for one in names if one in first), None)
        if key is not None:
            found[role] = key
    if "image" not in found or "label" not in found:
        raise BadImport(f"{name} has no image and label in its first line; it has {', '.join(map(str, first))[:120]}.")
    return Shape("json", False, found, lambda line: [line])


def lines_of(path: Path, shape: Shape) -> Iterator[Line | LeftOut]:
    """Every line, in order. What is no picture name and label is a LeftOut."""
    with path.open("rb") as file:
        for number, text in enumerate(text_lines(file, path.name), start=1):
            if not text.strip() or (number == 1 and shape.has_header):
                continue
            where = f"{path.name} line {number}"
            values = _values(text.rstrip("\r\n"), shape)
            name, raw = values.pop("image", ""), values.pop("label", "")
            if not name or not raw:
                yield LeftOut(where, "line without name or label", f"it has no picture name or no label: {text[:80]!r}.")
            else:
                yield Line(where, name[:300], raw, values)


def _values(text: str, shape: Shape) -> dict[str, str]:
    if shape.separator == "json":
        try:
            given: Any = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        cells = given if isinstance(given, dict) else {}
        return {role: str(cells.get(key, "") or "").strip()[:5000] for role, key in shape.columns.items()}
    row = shape.split(text)
    return {role: row[int(at)].strip()[:5000] for role, at in shape.columns.items() if int(at) < len(row)}


@dataclass(frozen=True)
class Repeated:
    """Names that stand in label.txt more than once. clashing: with different labels; none of their lines is taken."""

    clashing: frozenset[int]
    same: frozenset[int]


def survey(path: Path, shape: Shape, labels: LabelMap) -> tuple[NDArray[np.int64], Repeated]:
    """Read label.txt once: the sorted keys (stem_key) of all names with a known label, and those met twice.

    Needs 20 bytes a line.
    """
    keys, said = [], []
    codes: dict[str, int] = {}
    block_keys: list[NDArray[np.int64]] = []
    block_said: list[NDArray[np.int8]] = []
    for line in lines_of(path, shape):
        meaning = labels.look(line.raw_label) if isinstance(line, Line) else None
        if meaning is None or not isinstance(line, Line):
            continue
        keys.append(stem_key(line.stem))
        said.append(codes.setdefault(str(meaning), len(codes)))
        if len(keys) == 65_536:
            block_keys.append(np.array(keys, np.int64))
            block_said.append(np.array(said, np.int8))
            keys, said = [], []
    all_keys = np.concatenate([*block_keys, np.array(keys, np.int64)])
    all_said = np.concatenate([*block_said, np.array(said, np.int8)])
    order = np.argsort(all_keys, kind="stable")
    all_keys, all_said = all_keys[order], all_said[order]
    equal = all_keys[1:] == all_keys[:-1]
    repeated = set(all_keys[1:][equal].tolist())
    clashing = set(all_keys[1:][equal & (all_said[1:] != all_said[:-1])].tolist())
    return all_keys, Repeated(frozenset(clashing), frozenset(repeated - clashing))
