"""Where single pictures lie inside a shard, by the page index that every shard carries (pyarrow writes it, but reads
none).

Pictures are stored uncompressed and plain, so a page holds them as they are, each behind its length. What is not stored
so (files that others have written again) has no place here; the reader then takes the row group.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
# Parquet's numbers: page types, the plain encoding.
_LONGEST = 63  # bits of a number
_DATA_PAGE, _DATA_PAGE_V2, _PLAIN = 0, 3, 0
_DAMAGE = (IndexError, KeyError, TypeError, struct.error, RecursionError)


@dataclass(frozen=True, slots=True)
class Page:
    """offset, size: bytes in the file, header included. first_row: in its row group."""

    offset: int
    size: int
    first_row: int


def page_index_places(footer: bytes) -> dict[tuple[int, str], tuple[int, int]]:
    """(offset, bytes) of the page index of each (row group, leaf column such as "depth_map.bytes") that has one.

    Args: footer: FileMetaData as it lies in the file.
    Raises: ValueError: it is none.
    """
    places = {}
    try:
        for number, group in enumerate(_Thrift(footer).struct()[4]):
            for column in group[1]:
                if 4 in column and 5 in column:
                    leaf = ".".join(part.decode() for part in column[3][3])
                    places[number, leaf] = (column[4], column[5])
    except _DAMAGE as error:
        raise ValueError(f"the footer of this Parquet file is damaged: {error!r}") from error
    return places


def pages_of(index: bytes) -> list[Page]:
    """The pages of one column of one row group, in order. Args: index: its OffsetIndex, as in the file."""
    try:
        return [Page(place[1], place[2], place.get(3, 0)) for place in _Thrift(index).struct()[1]]
    except _DAMAGE as error:
        raise ValueError(f"the page index of this Parquet file is damaged: {error!r}") from error


def page_with(pages: list[Page], row: int) -> Page:
    """The page that holds this row of the row group."""
    return pages[bisect_right(pages, row, key=lambda page: page.first_row) - 1]


def value_in(page: bytes, row: int, max_level: int, most_rows: int) -> bytes | None:
    """The binary value at `row` (counted from the page's first); None when it is null.

    Args:
        page: header and body, uncompressed, of a column that is not repeated.
        max_level: the definition level at which a value is present.
        most_rows: that a page can have: those of its row group.
    Raises: ValueError: the page is stored in another way, or is damaged.
    """
    try:
        header = _Thrift(page)
        fields = header.struct()
        n_rows, levels, values = _parts(fields, memoryview(page)[header.at :])
        if not 0 < n_rows <= most_rows:
            raise ValueError(f"a page of this Parquet file is damaged: {n_rows} rows in a row group of {most_rows}")
        present = _present(levels, n_rows, max_level)
        if not present[row]:
            return None
        at = 0
        for _ in range(sum(present[:row])):
            at += 4 + _LENGTH.unpack_from(values, at)[0]
        size = _LENGTH.unpack_from(values, at)[0]
        found = bytes(values[at + 4 : at + 4 + size])
    except _DAMAGE as error:
        raise ValueError(f"a page of this Parquet file is damaged: {error!r}") from error
    if len(found) != size:
        raise ValueError("a page of this Parquet file is cut short")
    return found


def _parts(header: dict[int, Any], body: memoryview) -> tuple[int, memoryview, memoryview]:
    """(number of values, definition levels, values) of a data page."""
    if header[1] == _DATA_PAGE and header[5][2] == _PLAIN:
        size = _LENGTH.unpack_from(body)[0]
        return header[5][1], body[4 : 4 + size], body[4 + size :]
    if header[1] == _DATA_PAGE_V2 and header[8][4] == _PLAIN:
        size = header[8][5]
        return header[8][1], body[:size], body[size:]
    raise ValueError("pictures of this Parquet file are not stored plain")


def _present(levels: memoryview, n_rows: int, max_level: int) -> list[bool]:
    """Which rows have a value, from levels in Parquet's mix of runs and packed bits."""
    width = max_level.bit_length()
    found: list[bool] = []
    reader = _Thrift(levels)
    while len(found) < n_rows:
        head = reader.varint()
        if head & 1:
            n_bytes = min(head >> 1, n_rows) * width
            bits = int.from_bytes(levels[reader.at : reader.at + n_bytes], "little")
            mask = (1 << width) - 1
            found += [(bits >> (width * place)) & mask == max_level for place in range(n_bytes // width * 8)]
            reader.at += n_bytes
        else:
            found += [levels[reader.at] == max_level] * min(head >> 1, n_rows)
            reader.at += 1
    return found


class _Thrift:
    """Reads Thrift's compact protocol: a struct becomes {field number: value}."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.at = 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > _LONGEST:
                raise IndexError("a number without an end")

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self.data[self.at]:
            self.at += 1
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        self.at += 1
        return fields

    def _signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _value(self, kind: int) -> Any:
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 8:
            size = self.varint()
            self.at += size
            return bytes(self.data[self.at - size : self.at])
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        if kind in (1, 2, 3):  # a byte; in lists also a truth value
            self.at += 1
            return self.data[self.at - 1]
        if kind == 7:
            self.at += 8
            return _DOUBLE.unpack_from(self.data, self.at - 8)[0]
        raise TypeError(f"type {kind} is not known in Parquet")

    def _list(self) -> list[Any]:
        head = self.data[self.at]
        self.at += 1
        size = self.varint() if head >> 4 == 15 else head >> 4
        return [self._value(head & 15) for _ in range(size)]
