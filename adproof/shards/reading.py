"""Read a dataset version: one row by its number without reading its shard, or all rows in a stream."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from adproof.labels import LABELS
from adproof.shards.manifest import MANIFEST, Manifest
from adproof.shards.order import WINDOW, Order
from adproof.shards.schema import IMAGE_COLUMNS, SPLITS, WEBDATASET, columns_of
from adproof.shards.shard import Shard, values
from adproof.shards.store import Folder

if TYPE_CHECKING:
    from adproof.shards.torch_data import RowStream

_OPEN_SHARDS = 2 * WINDOW
_WORTH_ALL = 8  # a row group is read whole when one row in so many is wanted


class DatasetVersion:
    """A version that is open for reading. Raises FileNotFoundError when there is no manifest: then it is
    none."""

    label_names = LABELS

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        self.folder = Folder(path, filesystem)
        if self.folder.size(MANIFEST) is None:
            raise FileNotFoundError(f"{self.folder.root} has no {MANIFEST}: an unfinished version, or none")
        self.manifest = Manifest.of(self.folder.read(MANIFEST))

    def shard_names(self, split: str) -> list[str]:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return sorted(
            name for name in self.manifest.files if name.startswith(f"data/{split}-") and name.endswith(".parquet")
        )

    def rows(self, split: str, columns: Sequence[str] | None = None, decode: bool | Sequence[str] = True) -> Rows:
        """The split's rows by number: a map-style torch dataset, which needs no torch. See Rows."""
        return Rows(self, split, columns, decode)

    def stream(
        self, split: str, columns: Sequence[str] | None = None, decode: bool | Sequence[str] = True, **options: Any
    ) -> RowStream:
        """The split's rows as an iterable torch dataset, for training. options: see torch_data.RowStream."""
        from adproof.shards.torch_data import RowStream

        return RowStream(self.rows(split, columns, decode), **options)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all splits, with a column "split" last. Meant for columns without pictures."""
        parts = []
        for split in SPLITS:
            for name in self.shard_names(split):
                shard = Shard(self.folder, name)
                part = pa.concat_tables(shard.read(group, columns) for group in range(len(shard.group_rows)))
                parts.append(part.append_column("split", pa.array([split] * len(part), pa.string())))
        return pa.concat_tables(parts).replace_schema_metadata(None)


class Rows:
    """Rows of one split: `rows[i]` is a dict, `len(rows)`, iteration, and `rows.stream(...)` for training.

    decode: pictures become arrays as they were stored: uint8 (H, W, 3) RGB, uint8 (H, W, 4) with alpha,
        uint16 (H, W) of 16-bit depth, uint8 (H, W) grey. Without it they are encoded bytes; a list of
        columns decodes these only. A missing picture is None.
    columns: only these are read; None = all that the version has.
    One row alone reads the pages that its pictures are in, not its row group; whoever comes back to a row group gets
    all of it, and it is held in memory: one at a time. Can be sent to worker processes, by fork and by spawn; each
    opens the files for itself.
    Raises: ValueError: an unknown split or column, a shard that is cut short or not as long as the manifest says.
        IndexError: an unknown row.
    """

    def __init__(
        self,
        version: DatasetVersion,
        split: str,
        columns: Sequence[str] | None = None,
        decode: bool | Sequence[str] = True,
    ) -> None:
        if version.manifest.variant == WEBDATASET:
            raise ValueError(f"{version.folder.root} consists of tars: read it with webdataset, or open the full variant")
        self.folder = version.folder
        self.names = version.shard_names(split)
        self._lengths = [version.manifest.files[name].rows for name in self.names]
        self._ends = list(accumulate(length or 0 for length in self._lengths))
        self._opened: OrderedDict[int, Shard] = OrderedDict()
        self._sizes: dict[int, list[int]] = {}
        self._process = os.getpid()
        self._held: tuple[tuple[int, int], dict[str, list[Any]]] | None = None
        self._visited: tuple[int, int] | None = None
        names = tuple(name for name, _, _ in columns_of(version.manifest.variant))
        self.columns = self._known(names, columns)
        to_decode = IMAGE_COLUMNS if decode is True else decode or ()
        self.decode = tuple(name for name in IMAGE_COLUMNS if name in to_decode and name in self.columns)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        shard, group, row = self._place(index)
        is_back, self._visited = self._visited == (shard, group), (shard, group)
        return self._decoded(self._encoded(shard, group, row, whole=is_back))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many rows, in this order; torch's DataLoader calls it. A row group that many of them are in is read once."""
        places = [self._place(index) for index in indices]
        wanted = Counter((shard, group) for shard, group, _ in places)
        found: dict[int, dict[str, Any]] = {}
        for number in sorted(range(len(places)), key=places.__getitem__):
            shard, group, row = places[number]
            whole = wanted[shard, group] * _WORTH_ALL >= self._shard(shard).group_rows[group]
            found[number] = self._encoded(shard, group, row, whole)
        return [self._decoded(found[number]) for number in range(len(places))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.stream()

    def stream(
        self,
        part: int = 0,
        parts: int = 1,
        seed: int | None = None,
        epoch: int = 0,
        buffer: int = 0,
        *,
        even: int = 1,
        whole_groups: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Every row once, over all parts together; row groups are read one after the other, and no footer before its turn.

        Args:
            part, parts: of `parts` readers this one gets as many rows as every other (or one more).
            seed: shuffles shards, row groups, and the rows through the buffer, by (seed, epoch); None = in order.
            buffer: how many encoded rows wait in it, at random places.
            even: leave out the last rows of the order, fewer than this many, so that all of them divide by it.
            whole_groups: no row group is shared by two readers where there are many row groups for each; readers then
                differ by some rows.
        """
        mixed, drawn = seed is not None, [seed or 0, epoch]
        rng = np.random.default_rng([*drawn, part])
        # Rows, not places in row groups: each place would keep its whole row group in memory.
        waiting: list[dict[str, Any]] = []
        for (shard, group), places in self._order.pieces(part, parts, seed, epoch, even=even, whole_groups=whole_groups):
            held = self._group(shard, group)
            for place in places:
                waiting.append({name: held[name][place] for name in self.columns})
                if len(waiting) > buffer:
                    last = int(rng.integers(len(waiting))) if mixed else 0
                    waiting[last], waiting[-1] = waiting[-1], waiting[last]
                    yield self._decoded(waiting.pop())
            del held
        if mixed:
            rng.shuffle(waiting)
        while waiting:  # let go of each: decoded they are many times larger
            yield self._decoded(waiting.pop())

    def part_rows(self, part: int, parts: int, seed: int | None = None, epoch: int = 0, **options: Any) -> int:
        """How many rows `stream` gives to this part."""
        start, stop = self._order.borders(part, parts, seed, epoch, **options)
        return stop - start

    @cached_property
    def _order(self) -> Order:
        return Order([length or 0 for length in self._lengths], self._group_rows)

    def _group_rows(self, shards: Sequence[int]) -> list[list[int]]:
        """Rows of each row group of these shards, whose footers are read side by side."""
        wanted = [shard for shard in shards if shard not in self._sizes]
        if wanted:
            self._shard(wanted[0])  # in a forked worker: opens the folder anew, before several threads do
            with ThreadPoolExecutor(len(wanted)) as pool:
                for shard, opened in zip(wanted[1:], pool.map(self._open, wanted[1:]), strict=True):
                    self._keep(shard, opened)
            self._sizes |= {shard: self._opened[shard].group_rows for shard in wanted}
        return [self._sizes[shard] for shard in shards]

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self) | {"_held": None, "_visited": None, "_opened": OrderedDict()}
        state.pop("_order", None)
        return state

    def _known(self, names: tuple[str, ...], columns: Sequence[str] | None) -> tuple[str, ...]:
        """Those of the columns that the shards have, given what such a version has by rights."""
        there = self._shard(0).columns if self.names else names
        missing = [name for name in columns or () if name not in there]
        if missing:
            raise ValueError(f"this version has no column {', '.join(missing)}; it has {', '.join(there)}")
        return tuple(name for name in (names if columns is None else columns) if name in there)

    def _place(self, index: int) -> tuple[int, int, int]:
        """(shard, row group in it, row in that)."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        shard = bisect_right(self._ends, place)
        row = place - (self._ends[shard - 1] if shard else 0)
        for group, n_rows in enumerate(self._shard(shard).group_rows):
            if row < n_rows:
                return shard, group, row
            row -= n_rows
        raise AssertionError("a shard's row groups add up to its rows")

    def _encoded(self, shard: int, group: int, row: int, whole: bool) -> dict[str, Any]:
        if whole or (self._held is not None and self._held[0] == (shard, group)):
            held = self._group(shard, group)
            return {name: held[name][row] for name in self.columns}
        opened = self._shard(shard)
        plain = [name for name in self.columns if name not in IMAGE_COLUMNS]
        text = opened.read(group, plain).slice(row, 1).to_pylist()[0] if plain else {}
        return {
            name: opened.picture(group, name, row) if name in IMAGE_COLUMNS else text[name] for name in self.columns
        }

    def _group(self, shard: int, group: int) -> dict[str, list[Any]]:
        """All cells of a row group by column."""
        if self._held is None or self._held[0] != (shard, group):
            self._held = None  # let go of the old one first: two would be twice the memory
            opened = self._shard(shard)
            # Column by column: never all of it as a table and as cells at once.
            cells = {name: values(opened.read(group, [name])[name]) for name in self.columns if name in IMAGE_COLUMNS}
            plain = [name for name in self.columns if name not in IMAGE_COLUMNS]
            table = opened.read(group, plain) if plain else None
            cells |= {name: table[name].to_pylist() for name in plain} if table is not None else {}
            self._held = ((shard, group), cells)
        return self._held[1]

    def _shard(self, shard: int) -> Shard:
        if self._process != os.getpid():  # a forked worker: what its parent has open is not its own
            self._process = os.getpid()
            self._opened.clear()
            self.folder = self.folder.anew()
        if shard not in self._opened:
            self._keep(shard, self._open(shard))
        self._opened.move_to_end(shard)
        return self._opened[shard]

    def _keep(self, shard: int, opened: Shard) -> None:
        self._opened[shard] = opened
        self._opened.move_to_end(shard)  # one that was open already keeps its place otherwise, and may be let go of at once
        if len(self._opened) > _OPEN_SHARDS:
            self._opened.popitem(last=False)

    def _open(self, shard: int) -> Shard:
        opened = Shard(self.folder, self.names[shard])
        if opened.metadata.num_rows != self._lengths[shard]:
            raise ValueError(
                f"{opened.name} has {opened.metadata.num_rows} rows, the manifest says {self._lengths[shard]}:"
                " verify this version"
            )
        return opened

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        for name in self.decode:
            if row[name] is not None:
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
