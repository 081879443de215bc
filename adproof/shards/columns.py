"""Rows as Arrow tables, for those who have very many: what SampleRows are to the writer, without an object a row.

A table has the columns of a labels-only version: all of a row but its pictures, with the sha256 of each in its place; only
its agreement is not rounded yet. The same rows make the same shards, to the byte, as SampleRows do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from adproof.blobs import BlobStore
from adproof.labels import N_LABELS
from adproof.shards.pictures import Loading, PictureReader
from adproof.shards.schema import IMAGE_COLUMNS, LABELS_ONLY, columns_of, picture_column, schema, votes_of
from adproof.shards.tally import Tally

_WRITTEN = schema(LABELS_ONLY)
ROWS = pa.schema([(name, pa.float64() if name == "agreement" else kind) for name, kind, _ in columns_of(LABELS_ONLY)])
HASH_COLUMNS = tuple(f"{name}_sha256" for name in IMAGE_COLUMNS)


@dataclass(frozen=True)
class Columns:
    """tables: the rows of a shard in order, cut anywhere. store: where the pictures lie; labels-only needs none."""

    tables: Iterable[pa.Table]
    store: BlobStore | None = None


@dataclass(frozen=True, slots=True)
class TableGroup:
    """A row group that came as a table. sizes: (rows, 4) bytes of its pictures; None where none are written."""

    rows: pa.Table
    sizes: NDArray[np.int64] | None = None
    pictures: Loading | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def table(self) -> pa.Table:
        """What is written: with its pictures, as soon as all of them have come."""
        if self.pictures is None:
            return self.rows.cast(_WRITTEN)
        columns = dict(zip(ROWS.names, self.rows.cast(_WRITTEN).columns, strict=True))
        for name, contents in zip(IMAGE_COLUMNS, self.pictures.arrays(), strict=True):
            hashes = columns[f"{name}_sha256"].chunk(0)
            columns[f"{name}_sha256"] = picture_column(contents, pc.binary_join_element_wise(hashes, pa.scalar(".png"), ""))
        return pa.Table.from_arrays(list(columns.values()), schema=schema())

    def add_to(self, tally: Tally, split: str) -> None:
        tally.add_table(self.rows, split, 0 if self.sizes is None else int(self.sizes.sum()))


def labels_groups(columns: Columns, most: int) -> Iterator[TableGroup]:
    """Row groups of a labels-only version."""
    for rows, _ in _regrouped(((table, np.zeros((len(table), 0), np.int64)) for table in columns.tables), most, 0):
        yield TableGroup(rows)


def full_groups(columns: Columns, most: int, most_bytes: int) -> Iterator[TableGroup]:
    """Row groups with their pictures: the next one's are read while one is written. Raises ValueError, see Loading."""
    assert columns.store is not None
    reader = PictureReader(columns.store)
    try:
        measured = ((table, reader.sizes(*_names(table))) for table in columns.tables)
        before = None
        for rows, sizes in _regrouped(measured, most, most_bytes):
            group = TableGroup(rows, sizes, reader.start(*_names(rows), sizes))
            if before is not None:
                yield before
            before = group
        if before is not None:
            yield before
    finally:
        reader.end()


def _names(rows: pa.Table) -> tuple[list[str], list[list[str | None]]]:
    return rows["sample_id"].to_pylist(), [rows[name].to_pylist() for name in HASH_COLUMNS]


def _regrouped(
    tables: Iterable[tuple[pa.Table, NDArray[np.int64]]], most: int, most_bytes: int
) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
    """Cut again into row groups: of so many rows, or as many as have so many bytes."""
    rest = ROWS.empty_table()
    sizes = np.zeros((0, 0), np.int64)
    for table, more in tables:
        check_table(table)
        rest, sizes = (pa.concat_tables([rest, table]), np.concatenate([sizes, more])) if len(rest) else (table, more)
        while n := _first_group(sizes, most, most_bytes):
            yield rest.slice(0, n).combine_chunks(), sizes[:n]
            rest, sizes = rest.slice(n), sizes[n:]
    while len(rest):
        n = _first_group(sizes, most, most_bytes) or len(rest)
        yield rest.slice(0, n).combine_chunks(), sizes[:n]
        rest, sizes = rest.slice(n), sizes[n:]


def _first_group(sizes: NDArray[np.int64], most: int, most_bytes: int) -> int:
    """Rows of the first row group; 0 when rows to come may still belong to it."""
    together = np.cumsum(sizes[: most + 1].sum(axis=1))
    fitting = max(1, int(np.searchsorted(together, most_bytes, side="right")))
    if fitting < min(len(sizes), most):
        return fitting
    return most if len(sizes) >= most else 0


def check_table(rows: pa.Table) -> None:
    """As schema.check_row does. Raises ValueError, naming the sample."""
    if not rows.schema.equals(ROWS):
        raise ValueError(f"a table of rows has the columns {ROWS.names}, not {rows.schema.names}")
    _refuse(rows, ~_in_range(rows["label"].to_numpy()), f"its label is not in 0..{N_LABELS - 1}")
    for name in ("label_probs", "rfnet_probs"):
        probs = rows[name].combine_chunks()
        flat = probs.flatten().to_numpy(zero_copy_only=False)
        owners = np.repeat(np.flatnonzero(probs.is_valid().to_numpy(zero_copy_only=False)), N_LABELS)
        _refuse(rows, _marked(len(rows), owners[~np.isfinite(flat)]), f"{name} must be {N_LABELS} finite numbers")
    owners, labels = votes_of(rows)
    _refuse(rows, _marked(len(rows), owners[~_in_range(labels)]), f"an annotation's label is not in 0..{N_LABELS - 1}")


def _in_range(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    return (labels >= 0) & (labels < N_LABELS)


def _marked(n_rows: int, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    return np.bincount(rows, minlength=n_rows) > 0


def _refuse(rows: pa.Table, bad: NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise ValueError(f"sample {rows['sample_id'][int(bad.argmax())].as_py()!r}: {what}")
