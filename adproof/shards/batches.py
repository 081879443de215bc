"""Rows as batches of tensors, sent from a DataLoader's workers in memory that is used again.

Torch sends each batch in fresh shared memory, which the system must find, clear and map page by page: for pictures a
fifth of the time that decoding takes. Here a worker writes into memory that the training process has done with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

Row = dict[str, Any]
Array = NDArray[Any]
# Where a column lies in shared memory: its place in bytes, its shape, its dtype.
Place = tuple[int, tuple[int, ...], str]

_ALIGN = 64
_SPARE = 4  # free pieces of memory that a worker keeps
_KINDS: dict[type, type] = {bool: np.bool_, int: np.int64, float: np.float32}


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows as a batch, for DataLoader(collate_fn=collate): numbers and pictures of one size become tensors.

    What cannot be one (texts, times, annotations, pictures of several sizes, columns with a missing value) stays a
    list. A tensor is its holder's own: its memory is used again only when it and all views of it are gone.
    """
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {name: found for name, cells in columns.items() if (found := _arrays(cells))}
    if get_worker_info() is None:
        return {name: torch.from_numpy(np.stack(arrays[name])) if name in arrays else columns[name] for name in columns}
    return _MEMORY.filled(columns, arrays)  # type: ignore[return-value]  # becomes a dict on its way


def _arrays(cells: list[Any]) -> list[Array] | None:
    """The cells as arrays of one shape and type; None where they are not."""
    first = cells[0]
    if isinstance(first, np.ndarray):
        alike = all(isinstance(cell, np.ndarray) and cell.shape == first.shape for cell in cells)
        return cells if alike and all(cell.dtype == first.dtype for cell in cells) else None
    if type(first) in _KINDS:
        kind = _KINDS[type(first)]
        return [np.asarray(cell, kind) for cell in cells] if all(type(cell) is type(first) for cell in cells) else None
    if isinstance(first, list) and first and all(isinstance(cell, list) and len(cell) == len(first) for cell in cells):
        is_plain = all(type(number) is float for cell in cells for number in cell)
        return [np.asarray(cell, np.float32) for cell in cells] if is_plain else None
    return None


class _Memory:
    """A worker's pieces of shared memory. The first byte of a piece is 1 while the training process uses it."""

    def __init__(self) -> None:
        self.pieces: list[torch.Tensor] = []

    def filled(self, columns: Row, arrays: dict[str, list[Array]]) -> _Batch:
        places: dict[str, Place] = {}
        end = _ALIGN
        for name, cells in arrays.items():
            places[name] = (end, (len(cells), *cells[0].shape), cells[0].dtype.str)
            end += -(-len(cells) * cells[0].nbytes // _ALIGN) * _ALIGN
        piece = self._free(end)
        memory = piece.numpy()
        memory[0] = 1
        for name, cells in arrays.items():
            np.stack(cells, out=_view(memory, places[name]))
        return _Batch(piece, places, {name: None if name in places else columns[name] for name in columns})

    def _free(self, n_bytes: int) -> torch.Tensor:
        spare = [piece for piece in self.pieces if not piece[0]]
        for piece in spare:
            if n_bytes <= piece.numel() <= 2 * n_bytes:
                return piece
        if len(spare) >= _SPARE:
            self.pieces = [piece for piece in self.pieces if piece is not spare[0]]
        fresh: torch.Tensor = torch.empty(n_bytes, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        self.pieces.append(fresh)
        return fresh


_MEMORY = _Memory()


class _Batch:
    """On its way to the training process, where it arrives as a dict of tensors."""

    def __init__(self, piece: torch.Tensor, places: dict[str, Place], others: Row) -> None:
        self.parts = (piece, places, others)

    def __reduce__(self) -> tuple[Callable[..., Row], tuple[Any, ...]]:
        return _arrived, self.parts


class _Use:
    """Memory in use: when nothing looks at it any more, the worker may write into it again."""

    def __init__(self, piece: torch.Tensor) -> None:
        self.memory = piece.numpy()
        self.__array_interface__ = self.memory.__array_interface__

    def __del__(self) -> None:
        self.memory[0] = 0


def _arrived(piece: torch.Tensor, places: dict[str, Place], others: Row) -> Row:
    memory = np.asarray(_Use(piece))  # each tensor keeps this array, this array the use
    return {
        name: torch.from_numpy(_view(memory, places[name])) if name in places else cells
        for name, cells in others.items()
    }


def _view(memory: Array, place: Place) -> Array:
    start, shape, dtype = place
    kind = np.dtype(dtype)
    return memory[start : start + math.prod(shape) * kind.itemsize].view(kind).reshape(shape)
