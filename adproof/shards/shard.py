"""One shard, open for reading: a row group's columns, or one picture of one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adproof.shards import pages
from adproof.shards.schema import IMAGE_COLUMNS
from adproof.shards.store import Folder

_TAIL = 64 * 1024  # read at once from the end; a larger footer takes a second read
_MAGIC = b"PAR1"


class Shard:
    """Raises ValueError, naming the file, when it is no whole Parquet file; FileNotFoundError when it is missing."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.name = name
        self._file = folder.open(name)
        try:
            footer = _footer(self._file)
            self.metadata = pq.read_metadata(pa.BufferReader(footer))
        except (pa.ArrowInvalid, ValueError) as error:
            raise ValueError(
                f"{name} cannot be read: {error}. Verify this version, and write or copy it again."
            ) from error
        self.group_rows = [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]
        self.columns = tuple(self.metadata.schema.to_arrow_schema().names)
        self._footer: bytes | None = footer[:-8]
        self._places: dict[tuple[int, str], tuple[int, int]] = {}
        self._pages: dict[tuple[int, str], list[pages.Page]] = {}
        # Read-ahead holds a whole column chunk of pictures a second time; for text it saves a request a column.
        self._pictures = pq.ParquetFile(self._file, metadata=self.metadata, pre_buffer=False)
        self._text = pq.ParquetFile(self._file, metadata=self.metadata, pre_buffer=True)

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """These columns of a row group, and no others."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise ValueError(f"{self.name} has no column {', '.join(missing)}; it has {', '.join(self.columns)}")
        has_pictures = any(name in IMAGE_COLUMNS for name in columns)
        file = self._pictures if has_pictures else self._text
        try:
            return file.read_row_group(group, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name}, row group {group}, cannot be read: {error}") from error

    def picture(self, group: int, column: str, row: int) -> bytes | None:
        """One encoded picture by its row in the group: only its page is read, where the page index tells it."""
        try:
            page, level = self._page(group, f"{column}.bytes", row)
        except LookupError:
            found: bytes | None = values(self.read(group, [column])[column])[row]
            return found
        try:
            with_header = self._page_at(page, group, f"{column}.bytes")
            return pages.value_in(with_header, row - page.first_row, level, self.group_rows[group])
        except ValueError as error:
            raise ValueError(f"{self.name}, row group {group}, row {row}, {column}: {error}") from error

    def _page_at(self, page: pages.Page, group: int, leaf: str) -> bytes:
        """Raises ValueError: it is larger than all pages of its column together; nobody makes room for it then."""
        chunk = self._chunk(group, leaf)
        begin, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
        if not (begin <= page.offset and page.size > 0 and page.offset + page.size <= min(end, self._file.size())):
            raise ValueError(
                f"the page index is damaged: a page of {page.size} bytes at {page.offset} is more than its column has,"
                f" {begin} to {end}"
            )
        return bytes(self._file.read_at(page.size, page.offset))

    def _chunk(self, group: int, leaf: str) -> pq.ColumnChunkMetaData:
        chunks = self.metadata.row_group(group)
        return next(chunk for chunk in map(chunks.column, range(chunks.num_columns)) if chunk.path_in_schema == leaf)

    def _page(self, group: int, leaf: str, row: int) -> tuple[pages.Page, int]:
        """The page, and the level at which its values are present. LookupError: the shard does not tell."""
        if self._footer is not None:
            self._places = pages.page_index_places(self._footer)
            self._footer = None
        found = self._pages.get((group, leaf))
        if found is None:
            offset, size = self._places[group, leaf]
            chunk = self._chunk(group, leaf)
            if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
                raise LookupError(leaf)
            found = self._pages[group, leaf] = pages.pages_of(self._file.read_at(size, offset))
        return pages.page_with(found, row), _max_level(self.metadata, leaf)


def values(column: pa.ChunkedArray) -> list[Any]:
    """A column's cells as Python values; of a picture its encoded bytes."""
    if not pa.types.is_struct(column.type):
        return list(column.to_pylist())
    cells: list[bytes | None] = []
    for chunk in column.chunks:
        contents = chunk.flatten()[0]  # a missing struct is a missing picture
        _, ends, data = contents.buffers()
        places = np.frombuffer(ends, np.int32)[contents.offset : contents.offset + len(contents) + 1].tolist()
        here = memoryview(data) if data is not None else memoryview(b"")
        valid = contents.is_valid().to_pylist()
        cells += [
            bytes(here[start:stop]) if there else None
            for start, stop, there in zip(places, places[1:], valid, strict=False)
        ]
    return cells


def _footer(file: pa.NativeFile) -> bytes:
    """FileMetaData with the eight bytes behind it."""
    size = file.size()
    tail = bytes(file.read_at(min(_TAIL, size), max(0, size - _TAIL)))
    if tail[-4:] != _MAGIC:
        raise ValueError("it does not end like a Parquet file; it may be cut short")
    needed = int.from_bytes(tail[-8:-4], "little") + 8
    if needed > size:
        raise ValueError("its footer is longer than the file")
    return tail[-needed:] if needed <= len(tail) else bytes(file.read_at(needed, size - needed))


def _max_level(metadata: pq.FileMetaData, leaf: str) -> int:
    found = next(c for c in map(metadata.schema.column, range(metadata.num_columns)) if c.path == leaf)
    if found.max_repetition_level:
        raise LookupError(leaf)
    return int(found.max_definition_level)
