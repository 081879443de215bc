"""Votes as flat arrays: the form in which every method here takes annotations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Votes:
    """One vote per place: annotator_ids[annotator[i]] gave item_ids[item[i]] the label label[i].

    Attributes:
        item: (V,) int64, codes in 0..N-1. annotator: (V,) int64, codes in 0..A-1. label: (V,) int64 in
            0..C-1.
        item_ids: (N,) int64, sorted. annotator_ids: (A,) int64, sorted.
        n_classes: C.
    """

    item: Ints
    annotator: Ints
    label: Ints
    item_ids: Ints
    annotator_ids: Ints
    n_classes: int

    @classmethod
    def of(cls, items: ArrayLike, annotators: ArrayLike, labels: ArrayLike, n_classes: int) -> Votes:
        """Checked votes from three flat arrays.

        Args:
            items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
        Raises: ValueError: lengths differ, ids are not integers, or a label is outside 0..n_classes-1.
        """
        item, annotator, label = (_as_ints(name, values) for name, values in
                                  (("items", items), ("annotators", annotators), ("labels", labels)))
        if not item.size == annotator.size == label.size:
            raise ValueError(
                f"{item.size} items, {annotator.size} annotators, {label.size} labels: lengths must be equal"
            )
        if n_classes < 2:
            raise ValueError(f"n_classes must be 2 or more, not {n_classes}")
        if label.size and not (label.min() >= 0 and label.max() < n_classes):
            raise ValueError(f"labels must lie in 0..{n_classes - 1}, found {label.min()}..{label.max()}")
        item_ids, item = codes(item)
        annotator_ids, annotator = codes(annotator)
        return cls(item, annotator, label, item_ids, annotator_ids, n_classes)

    @property
    def n_items(self) -> int:
        return self.item_ids.size

    @property
    def n_annotators(self) -> int:
        return self.annotator_ids.size

    @cached_property
    def counts(self) -> Ints:
        """(N, C) int64: how many votes each item has for each label."""
        cells = np.bincount(self.item * self.n_classes + self.label, minlength=self.n_items * self.n_classes)
        return cells.reshape(self.n_items, self.n_classes)


def codes(ids: Ints) -> tuple[Ints, Ints]:
    """The distinct ids in order, and for each place the position of its id among them.

    Same answer as np.unique(return_inverse=True), without its sort when ids lie close together
    (row ids of a database do): 3 million places take 0.05 s instead of 0.4 s.
    """
    if not ids.size:
        return ids, ids
    low = int(ids.min())
    span = int(ids.max()) - low + 1
    if span > 8 * ids.size + 1024:
        distinct, inverse = np.unique(ids, return_inverse=True)
        return distinct, inverse.astype(np.int64, copy=False)
    present = np.zeros(span, dtype=bool)
    present[ids - low] = True
    position = np.cumsum(present) - 1
    return np.flatnonzero(present) + low, position[ids - low]


def _as_ints(name: str, values: ArrayLike) -> Ints:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a flat array of integers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)
