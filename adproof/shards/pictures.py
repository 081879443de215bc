"""The pictures of a row group, read into one piece of memory while the row group before it is written.

Each is hashed as it comes in and compared with the sha256 that it is stored under. Nothing is copied after that: the Arrow
arrays lie in the same memory, which is used again for the row group after the next.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from adproof.blobs import BlobStore
from adproof.shards import direct

READERS = 2
_AT_ONCE = 16  # pictures that a thread reads before it takes the next ones
_AT_WORK = 2  # row groups: one is written, one is read
_MB = 1024 * 1024

Hashes = Sequence[Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    sample: str
    sha: str
    place: slice


@dataclass(frozen=True, slots=True)
class Loading:
    """A row group's pictures on their way."""

    work: Sequence[Future[None]]
    columns: Sequence[pa.Array]

    def arrays(self) -> Sequence[pa.Array]:
        """Of each column a binary array, when all have come. Good until the row group after the next one is started.

        Raises: ValueError: a picture is not there any more, or is not what was stored.
        """
        for one in self.work:
            one.result()
        return self.columns


class PictureReader:
    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(READERS, "pictures")
        self._memory = [memoryview(b"")] * _AT_WORK
        self._turn = 0

    def sizes(self, samples: Sequence[str], hashes: Hashes) -> NDArray[np.int64]:
        """(rows, columns): bytes of each picture, 0 where there is none. Raises ValueError: it is not in the store."""
        columns = [[self._size(*one) for one in zip(samples, column, strict=True)] for column in hashes]
        return np.array(columns, np.int64).reshape(len(hashes), len(samples)).T

    def start(self, samples: Sequence[str], hashes: Hashes, sizes: NDArray[np.int64]) -> Loading:
        """Args: hashes: of each column, None where there is no picture. sizes: as `sizes` found them."""
        memory = self._room(int(sizes.sum()))
        begin, columns, wanted = 0, [], []
        for column, n_bytes in zip(hashes, sizes.T, strict=True):
            ends = np.concatenate([[0], np.cumsum(n_bytes)])
            here = memory[begin : begin + int(ends[-1])]
            columns.append(_binary(here, ends, [sha is not None for sha in column]))
            places = (begin + ends).tolist()
            wanted += [
                _Wanted(sample, sha, slice(start, stop))
                for sample, sha, start, stop in zip(samples, column, places, places[1:], strict=False)
                if sha is not None
            ]
            begin += len(here)
        work = [self._threads.submit(self._read, some, memory) for some in _cut(wanted)]
        return Loading(work, columns)

    def end(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _room(self, n_bytes: int) -> memoryview:
        self._turn = (self._turn + 1) % _AT_WORK
        if len(self._memory[self._turn]) < n_bytes:
            self._memory[self._turn] = memoryview(b"")  # let go of it first
            self._memory[self._turn] = direct.memory((n_bytes + n_bytes // 8) // _MB * _MB + _MB)
        return self._memory[self._turn]

    def _size(self, sample: str, sha: str | None) -> int:
        if sha is None:
            return 0
        try:
            return os.stat(self._store.name(sha)).st_size
        except FileNotFoundError as error:
            raise missing(sample, sha) from error

    def _read(self, wanted: Sequence[_Wanted], memory: memoryview) -> None:
        for one in wanted:
            self._read_one(one, memory[one.place])

    def _read_one(self, wanted: _Wanted, memory: memoryview) -> None:
        try:
            handle = os.open(self._store.name(wanted.sha), os.O_RDONLY)
        except FileNotFoundError as error:
            raise missing(wanted.sample, wanted.sha) from error
        try:
            left = memory
            while left and (n := os.readv(handle, [left])):
                left = left[n:]
        finally:
            os.close(handle)
        if left or hashlib.sha256(memory).hexdigest() != wanted.sha:
            raise damaged(wanted.sample, wanted.sha)


def _cut(wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
    return (wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE))


def missing(sample: str, sha: str) -> ValueError:
    return ValueError(
        f"sample {sample}: its picture {sha} is not in the store any more: put it back from a backup, then resume."
    )


def damaged(sample: str, sha: str) -> ValueError:
    return ValueError(f"sample {sample}: its picture {sha} is damaged on the disk: put it back from a backup, then resume.")


def _binary(memory: memoryview, ends: NDArray[np.int64], is_there: Sequence[bool]) -> pa.Array:
    """An array over memory that is not filled yet."""
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError("pictures of more than 2 GB in one row group are not supported")
    n_missing = is_there.count(False)
    there = pa.py_buffer(np.packbits(is_there, bitorder="little")) if n_missing else None
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(is_there), [there, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(memory)], n_missing
    )
