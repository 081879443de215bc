"""Read a dataset version: one row by its number without reading its shard, or all rows in a stream."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from adproof.shards.manifest import MANIFEST, Manifest
from adproof.shards.schema import COLUMNS, IMAGE_COLUMNS, SPLITS
from adproof.shards.store import Folder

_NAMES = tuple(name for name, _, _ in COLUMNS)


class DatasetVersion:
    """A version that is open for reading. Raises FileNotFoundError when there is no manifest: then it is
    none."""

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        self.folder = Folder(path, filesystem)
        if self.folder.size(MANIFEST) is None:
            raise FileNotFoundError(f"{self.folder.root} has no {MANIFEST}: an unfinished version, or none")
        self.manifest = Manifest.of(self.folder.read(MANIFEST))

    def shard_names(self, split: str) -> list[str]:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return sorted(name for name in self.manifest.files if name.startswith(f"data/{split}-"))

    def rows(self, split: str, columns: Sequence[str] | None = None, decode: bool = True) -> Rows:
        """The split's rows by number, fit for a torch DataLoader. See Rows."""
        return Rows(self, split, columns, decode)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all splits, with a column "split" last. Meant for columns without pictures."""
        parts = []
        for split in SPLITS:
            for name in self.shard_names(split):
                with self.folder.open(name) as file:
                    part = pq.read_table(file, columns=list(columns))
                parts.append(part.append_column("split", pa.array([split] * len(part), pa.string())))
        return pa.concat_tables(parts).replace_schema_metadata(None)


class Rows:
    """Rows of one split: `rows[i]` is a dict, `len(rows)`, iteration, and `rows.stream(...)` for training.

    decode: pictures become arrays as they were stored: uint8 (H, W, 3) RGB, uint8 (H, W, 4) with alpha,
        uint16 (H, W) of 16-bit depth, uint8 (H, W) grey. Without it they are encoded bytes. A missing one is
        None.
    columns: only these are read and decoded; None = all.
    Holds one row group in memory. Can be sent to worker processes; each opens the files for itself.
    Raises: ValueError: an unknown split or column. IndexError: an unknown row.
    """

    def __init__(
        self, version: DatasetVersion, split: str, columns: Sequence[str] | None = None, decode: bool = True
    ) -> None:
        unknown = set(columns or ()) - set(_NAMES)
        if unknown:
            raise ValueError(f"unknown columns {sorted(unknown)}; there are {', '.join(_NAMES)}")
        self.folder = version.folder
        self.names = version.shard_names(split)
        self.columns = tuple(columns) if columns is not None else _NAMES
        self.decode = decode
        self.groups: list[tuple[int, int]] = []  # (shard, row group in it)
        sizes: list[int] = []
        for shard, name in enumerate(self.names):
            with self.folder.open(name) as file:
                metadata = pq.read_metadata(file)
            for group in range(metadata.num_row_groups):
                self.groups.append((shard, group))
                sizes.append(metadata.row_group(group).num_rows)
        self.ends = list(accumulate(sizes))
        self._held: tuple[int, pa.Table] | None = None
        self._open: tuple[int, pq.ParquetFile] | None = None

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        group = bisect_right(self.ends, place)
        start = self.ends[group - 1] if group else 0
        return self._decoded(self._row(self._group(group), place - start))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.stream()

    def stream(
        self, part: int = 0, parts: int = 1, rng: np.random.Generator | None = None, buffer: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Every row once, each row group read once.

        Args:
            part, parts: of `parts` readers this one gets every parts-th row group; all must use the same rng
                state.
            rng: shuffles the row groups, and the rows through the buffer; None = in order.
            buffer: how many encoded rows wait in it.
        """
        order = np.arange(len(self.groups)) if rng is None else rng.permutation(len(self.groups))
        # Rows, not places in tables: each place would keep its whole row group in memory.
        waiting: list[dict[str, Any]] = []
        for group in order[part::parts]:
            table = self._group(int(group))
            places = np.arange(len(table)) if rng is None else rng.permutation(len(table))
            for place in places:
                waiting.append(self._row(table, int(place)))
                if len(waiting) > buffer:
                    last = 0 if rng is None else int(rng.integers(len(waiting)))
                    waiting[last], waiting[-1] = waiting[-1], waiting[last]
                    yield self._decoded(waiting.pop())
        for row in waiting:
            yield self._decoded(row)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_held": None, "_open": None}

    def _group(self, group: int) -> pa.Table:
        if self._held is None or self._held[0] != group:
            shard, inside = self.groups[group]
            self._held = None  # let go of the old one first: two would be twice the memory
            self._held = (group, self._file(shard).read_row_group(inside, columns=list(self.columns)))
        return self._held[1]

    def _file(self, shard: int) -> pq.ParquetFile:
        if self._open is None or self._open[0] != shard:
            # No read-ahead: it would hold a whole column chunk of pictures a second time.
            self._open = (shard, pq.ParquetFile(self.folder.open(self.names[shard]), pre_buffer=False))
        return self._open[1]

    def _row(self, table: pa.Table, place: int) -> dict[str, Any]:
        row = {name: table[name][place].as_py() for name in self.columns}
        for name in IMAGE_COLUMNS:
            if row.get(name) is not None:
                row[name] = row[name]["bytes"]
        return row

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.decode:
            for name in IMAGE_COLUMNS:
                if row.get(name) is not None:
                    row[name] = decode_picture(row[name])
        return row


def decode_picture(content: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """An encoded picture as an array, in the mode it was stored in: nothing is converted to 8-bit RGB.

    Returns: uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W) of a 16-bit picture; palettes become
        RGB(A).
    """
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode.startswith("I"):
            return np.asarray(picture).astype(np.uint16)
        if picture.mode in ("L", "RGB", "RGBA"):
            return np.asarray(picture)
        return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def open_version(path: str | os.PathLike[str], filesystem: Any = None) -> DatasetVersion:
    """Open NAME/VERSION, a local folder or a URI. Raises FileNotFoundError when it is no (finished)
    version."""
    return DatasetVersion(path, filesystem)
