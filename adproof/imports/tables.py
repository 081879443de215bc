"""Rows of CSV, TSV, JSONL and Parquet files, a few at a time, whatever is in the file."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from adproof.imports.problems import BadImport, LeftOut

MAX_ROWS = 10_000_000
MAX_COLUMNS = 200
MAX_TEXT_CHARS = 5000
MAX_LINE_BYTES = 1_000_000
MAX_FOOTER_BYTES = 16 * 2**20
MAX_GROUP_BYTES = 2**30
BATCH = 64
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


class Row(NamedTuple):  # made by the million: a dataclass takes twice as long
    """where: "line 12" or "row 12". values: by column name in lower case; text, numbers, or {"bytes", "path"}."""

    where: str
    values: dict[str, Any]

    def text(self, *names: str, limit: int = MAX_TEXT_CHARS) -> str:
        """The first of these columns that says something; "" if none does. Raises ValueError: too long."""
        for name in names:
            value = self.values.get(name)
            if value not in (None, "") and not isinstance(value, (dict, list)):
                text = str(value).replace("\x00", "").strip()
                if len(text) > limit:
                    raise ValueError(f"its {name} is longer than {limit:,} characters.")
                if text:
                    return text
        return ""


def rows_of(path: Path, wanted: Sequence[str] = ()) -> Iterator[Row | LeftOut]:
    """The rows of a table told by the ending of its name.

    wanted: columns that are read of a Parquet file, where it has them; empty: all.
    Raises: BadImport: the table as a whole can't be read.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            yield from _parquet(path, wanted)
            return
        with path.open("rb") as file:
            if ending == ".jsonl":
                yield from _jsonl(file, path.name)
            elif ending in (".csv", ".tsv", ".txt"):
                yield from _csv(file, path.name)
            else:
                raise BadImport(f"{path.name} is no table: give a .csv, .tsv, .jsonl or .parquet file.")
    except OSError as error:
        raise BadImport(f"{path.name} can't be read: {error.strerror or error}.") from error


def text_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Lines of a UTF-8 text, with their ends. Raises BadImport: another encoding, zero bytes, or no text at all."""
    number = 0
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            if data.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise BadImport(f"{name} is in UTF-16: save it as UTF-8 (in a spreadsheet: 'CSV UTF-8').")
            data = data.removeprefix(b"\xef\xbb\xbf")
        if len(data) > MAX_LINE_BYTES:
            raise BadImport(f"line {number} of {name} is longer than {MAX_LINE_BYTES:,} bytes: this is no table.")
        if b"\x00" in data:
            raise BadImport(f"{name} holds zero bytes: it is in UTF-16, or no text file. Save it as 'CSV UTF-8'.")
        try:
            yield data.decode()
        except UnicodeDecodeError as error:
            raise BadImport(
                f"{name} is not in UTF-8 (line {number}, byte {error.start + 1}): save it as UTF-8 "
                "(in a spreadsheet: 'CSV UTF-8')."
            ) from error


def separator_of(line: str) -> str:
    return max(",;\t|", key=line.count)


def _columns(names: Sequence[str | None], table: str) -> list[str]:
    if len(names) > MAX_COLUMNS:
        raise BadImport(f"{table} has {len(names):,} columns; at most {MAX_COLUMNS} are read. Keep those that are needed.")
    found = [(name or "").strip().lower() for name in names]
    twice = {name for name in found if name and found.count(name) > 1}
    if twice:
        raise BadImport(f"{table} has the column {sorted(twice)[0][:80]!r} twice: rename one.")
    return found


def _csv(file: BinaryIO, name: str) -> Iterator[Row | LeftOut]:
    lines = text_lines(file, name)
    first = next(lines, "")
    if not first.strip():
        raise BadImport(f"{name} is empty: its first line must name its columns.")
    reader = csv.reader(_with(first, lines), delimiter=separator_of(first), strict=True)
    try:
        header = _columns(next(reader), name)
        for cells in reader:
            where = f"line {reader.line_num}"
            if reader.line_num > MAX_ROWS:
                raise BadImport(f"{name} has more than {MAX_ROWS:,} lines: split it.")
            if not any(cells):
                continue
            if len(cells) > len(header):
                text = f"it has {len(cells)} cells, the header names {len(header)}: put texts with commas in quotes."
                yield LeftOut(where, "too many cells", text)
            else:
                yield Row(where, {key: cell.strip() for key, cell in zip(header, cells, strict=False) if key})
    except csv.Error as error:
        raise BadImport(f"{name} can't be read near line {reader.line_num} ({error}): save it again as 'CSV UTF-8'.") from error


def _with(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _jsonl(file: BinaryIO, name: str) -> Iterator[Row | LeftOut]:
    for number, line in enumerate(text_lines(file, name), start=1):
        where = f"line {number}"
        if number > MAX_ROWS:
            raise BadImport(f"{name} has more than {MAX_ROWS:,} lines: split it.")
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield LeftOut(where, "not JSON", f"it is not JSON ({str(error)[:120]}).")
            continue
        if not isinstance(values, dict) or len(values) > MAX_COLUMNS:
            yield LeftOut(where, "not JSON", f"it is no JSON object of at most {MAX_COLUMNS} names.")
            continue
        yield Row(where, {str(key).strip().lower(): value for key, value in values.items()})


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[Row | LeftOut]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_footer(path)
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            names = file.schema_arrow.names
            _columns(names, path.name)
            if file.metadata.num_columns > 4 * MAX_COLUMNS:
                raise BadImport(f"{path.name} has {file.metadata.num_columns:,} columns inside of columns: keep fewer.")
            if file.metadata.num_rows > MAX_ROWS:
                raise BadImport(f"{path.name} has more than {MAX_ROWS:,} rows: split it.")
            columns = [name for name in names if not wanted or name.strip().lower() in wanted]
            for group in range(file.metadata.num_row_groups):
                size = _group_bytes(file.metadata.row_group(group), set(columns))
                if size > MAX_GROUP_BYTES:
                    raise BadImport(f"a row group of {path.name} unpacks to {size / 2**30:.1f} GB: write groups of 100 rows.")
            number = 0
            for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"row {number}", {name.strip().lower(): value for name, value in values.items()})
    except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, BadImport):
            raise
        raise BadImport(f"{path.name} can't be read as Parquet ({str(error)[:150]}): write it again.") from error


def _check_footer(path: Path) -> None:
    """The list of columns and groups is read at once: its size must be sane."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 8))
        tail = file.read(8)
    if len(tail) < 8 or tail[4:] != b"PAR1":
        raise BadImport(f"{path.name} is no Parquet file, or cut short: write it again.")
    (footer,) = struct.unpack("<I", tail[:4])
    if footer > min(MAX_FOOTER_BYTES, size):
        raise BadImport(f"{path.name} describes far too many columns or row groups: keep those that are needed.")


def _group_bytes(group: Any, columns: set[str]) -> int:
    sizes = (group.column(number) for number in range(group.num_columns))
    return sum(int(c.total_uncompressed_size) for c in sizes if c.path_in_schema.split(".")[0] in columns)
