"""Tables and folders as samples: products, generated pictures with labels, Hugging Face style image folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from adproof.imports.archives import PICTURES, BadMember, Files, Member, Tar, open_files
from adproof.imports.labels import LabelMap
from adproof.imports.problems import BadImport, LeftOut
from adproof.imports.tables import ENDINGS, Row, rows_of
from datasets_app.importing.items import GivenProduct, Read, Sample
from datasets_app.importing.order import Order
from generation.importing import size_of, sku_of, title_of

IMAGE = ("image", "generated_image", "file_name", "filename", "picture", "path", "img")
PRODUCT_IMAGE = ("product_image", "original_image", "product_picture")
PRODUCT = ("product", "product_id", "sku")
LABEL = ("label", "labels", "class", "label_name")
PROMPT = ("prompt", "text", "caption")
WANTED = (
    *IMAGE, *PRODUCT_IMAGE, *PRODUCT, *LABEL, *PROMPT, "title", "description", "category", "source", "license",
    "width_cm", "depth_cm", "height_cm", "negative_prompt", "seed", "generator",
)  # fmt: skip
TABLE_NAMES = ("products", "metadata", "candidates", "table", "index", "data")


class TableSource:
    """A table, its pictures beside it: in its folder, or in the same archive."""

    total = 0

    def __init__(self, order: Order, labels: LabelMap, table: Path, files: Files | None) -> None:
        self.order, self.labels, self.table, self.files = order, labels, table, files
        self._held = 0  # bytes that the pictures of the row at hand need

    def items(self) -> Iterator[Sample | LeftOut]:
        sample = self._product if self.order.kind == "products" else self._candidate
        for row in rows_of(self.table, WANTED):
            if isinstance(row, LeftOut):
                yield row
                continue
            self._held = 0
            try:
                yield replace(sample(row), held_bytes=self._held)
            except ValueError as error:
                yield LeftOut(f"{self.table.name} {row.where}", "row not complete", str(error))

    def _where(self, row: Row, name: str) -> str:
        return f"{self.table.name} {row.where}" + (f" ({name[:80]})" if name else "")

    def _product(self, row: Row) -> Sample:
        sku = row.text("sku", "product", "product_id")
        name, read = self._picture(row, IMAGE)
        sku = _sku(sku or sku_of(name))
        title = row.text("title", limit=300) or title_of(name)
        if not title:
            raise ValueError("its title is empty: write what a shop would call the product.")
        if read is None:
            raise ValueError("it names no picture: give it in a column image.")
        return Sample(self._where(row, name), GivenProduct(sku, title, self._values(row), read))

    def _candidate(self, row: Row) -> Sample:
        name, read = self._picture(row, IMAGE)
        if read is None:
            raise ValueError("it names no picture: give it in a column image.")
        _, product_read = self._picture(row, PRODUCT_IMAGE)
        sku = row.text(*PRODUCT) or f"{self.order.source}-{sku_of(name) or row.where.replace(' ', '-')}"
        sku = _sku(sku)
        return Sample(
            self._where(row, name),
            GivenProduct(sku, row.text("title", limit=300) or title_of(sku), self._values(row), product_read),
            read=read, raw_label=_raw(row), prompt=row.text(*PROMPT), negative=row.text("negative_prompt"),
            generator=row.text("generator", limit=100), seed=_seed(row),
        )  # fmt: skip

    def _values(self, row: Row) -> dict[str, Any]:
        values = {
            "description": row.text("description"),
            "category": row.text("category", limit=80) or self.order.category,
            "source": row.text("source", limit=80) or self.order.source,
            "license": row.text("license", limit=200),
        }
        return values | size_of(row.values)

    def _picture(self, row: Row, names: tuple[str, ...]) -> tuple[str, Read | None]:
        """The name of a row's picture and how it is read: from the cell itself (Parquet), or from a file."""
        for name in names:
            cell = row.values.get(name)
            if isinstance(cell, dict):
                data = cell.get("bytes")
                path = str(cell.get("path") or "")
                if isinstance(data, bytes):
                    self._held += 8 * len(data)
                    return path, _known(data)
                if path:
                    return path, self._reader(path)
            elif isinstance(cell, bytes):
                return "", _known(cell)
            elif isinstance(cell, str) and cell.strip():
                return cell.strip(), self._reader(cell.strip())
        return "", None

    def _reader(self, name: str) -> Read:
        member = self.files.find(name) if self.files is not None else None
        if member is None:
            return _gone(name)
        self._held += _unpacked(member)
        return member.read


def _gone(name: str) -> Read:
    def read() -> bytes:
        raise BadMember(f"the picture {name[:80]} is not among the files given.")

    return read


def _unpacked(member: Member) -> int:
    """About how large it is as PNG."""
    return member.size * (1 if member.name.lower().endswith(".png") else 8)


def _known(data: bytes) -> Read:
    return lambda: data


def _sku(text: str) -> str:
    if not text:
        raise ValueError("its sku is empty: give each product a short unique code.")
    if len(text) > 80:
        raise ValueError("its sku is longer than 80 characters.")
    return text


def _raw(row: Row) -> str | None:
    return row.text(*LABEL, limit=200) or None


def _seed(row: Row) -> int:
    text = row.text("seed", limit=30) or "0"
    try:
        seed = int(float(text)) if "." in text or "e" in text.lower() else int(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"its seed {text!r} is no whole number.") from error
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"its seed {text!r} is too large a number.")
    return seed


class PictureSource:
    """Pictures without a table: one product each, or one generated picture each, its label the name of a folder."""

    def __init__(self, order: Order, labels: LabelMap, files: Files) -> None:
        self.order, self.labels, self.files, self.total = order, labels, files, 0

    def items(self) -> Iterator[Sample | LeftOut]:
        make: Callable[[Member], Sample | LeftOut] = self._product if self.order.kind == "products" else self._labelled
        for member in self.files.members():
            if isinstance(member, LeftOut):
                yield member
            elif member.is_picture:
                try:
                    yield make(member)
                except BadMember as error:
                    yield LeftOut(member.name[:300], "picture can't be read", str(error))
            elif not PurePosixPath(member.name).name.startswith("."):
                wanted = f"it is none of {', '.join(PICTURES)}."
                yield LeftOut(member.name[:300], "no picture", wanted)

    def _product(self, member: Member) -> Sample | LeftOut:
        sku = sku_of(member.name)
        if not sku:
            return LeftOut(member.name[:300], "no name", "its name has no letter or digit to make a SKU of.")
        values = {"category": self.order.category, "source": self.order.source}
        read, held = _reading(self.files, member)
        return Sample(member.name, GivenProduct(sku, title_of(member.name), values, read), held_bytes=held)

    def _labelled(self, member: Member) -> Sample | LeftOut:
        folders = PurePosixPath(member.name).parts[:-1]
        raw = next((name for name in reversed(folders) if self.labels.look(name) is not None), None)
        if raw is None:
            text = f"none of its folders ({'/'.join(folders)[:80] or 'none'}) is named as a label."
            return LeftOut(member.name[:300], "folder is no label", text)
        sku = f"{self.order.source}-{sku_of(member.name)}"[:80]
        values = {"category": self.order.category, "source": self.order.source}
        product = GivenProduct(sku, title_of(member.name) or sku, values)
        read, held = _reading(self.files, member)
        return Sample(member.name, product, read=read, raw_label=raw, held_bytes=held)


def _reading(files: Files, member: Member) -> tuple[Read, int]:
    """How a member is read, and how much memory it needs: those of a tar must be read before the next one is asked for."""
    if not isinstance(files, Tar):
        return member.read, _unpacked(member)
    return _known(member.read()), _unpacked(member)


def open_table(order: Order, labels: LabelMap, path: Path, work: Path) -> TableSource | PictureSource:
    """Whatever `path` is: a table, or a folder or archive with a table in it or without.

    work: a folder for a table that lies in an archive. Raises BadImport.
    """
    if path.is_file() and path.suffix.lower() in ENDINGS:
        return TableSource(order, labels, path, open_files(path.parent))
    if path.is_file() and path.suffix.lower() in PICTURES and order.kind == "products":
        raise BadImport("That is one picture: name the folder that it lies in, or use Products, Add products.")
    files = open_files(path)
    table = _table_in(files, path, work, order)
    if table is not None:
        return TableSource(order, labels, table, files)
    if order.kind == "candidates":
        raise BadImport(f"There is no table in {path.name}: one of {', '.join(ENDINGS)} must say what each picture is.")
    return PictureSource(order, labels, files)


def _table_in(files: Files, path: Path, work: Path, order: Order) -> Path | None:
    """The one table at the top of a folder or archive; of several the one with a usual name."""
    found = [m for m in files.members() if isinstance(m, Member) and PurePosixPath(m.name).suffix.lower() in ENDINGS]
    if not found:
        return None
    usual = [member for member in found if member.stem.lower() in TABLE_NAMES]
    chosen = usual or found
    if len(chosen) > 1:
        names = ", ".join(member.name for member in chosen[:5])
        raise BadImport(f"{path.name} holds {len(chosen)} tables ({names}): leave one, or name it metadata.csv.")
    if path.is_dir():
        return path / chosen[0].name
    member = files.find(chosen[0].name)
    assert member is not None
    try:
        data = member.read()
    except BadMember as error:
        raise BadImport(f"The table {member.name} can't be read: {error}") from error
    work.mkdir(parents=True, exist_ok=True)
    place = work / f"table{PurePosixPath(member.name).suffix.lower()}"
    draft = place.with_suffix(".new")
    draft.write_bytes(data)
    draft.replace(place)
    return place
