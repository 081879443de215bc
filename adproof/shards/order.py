"""The order in which a pass goes over the rows of a split, and who of its readers reads what.

It follows from seed and epoch, and is the same for all readers without a word between them. How many rows each shard has
is known from the manifest; how they are grouped says its footer only, which is read when its turn comes: a pass over
a thousand shards begins as soon as one over ten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import numpy as np

# So many shards are mixed with each other, row group by row group; shards are mixed all together.
WINDOW = 8


class Order:
    """Args: lengths: rows of each shard. group_rows: given some shards, the rows of each row group of each."""

    def __init__(self, lengths: Sequence[int], group_rows: Callable[[Sequence[int]], list[list[int]]]) -> None:
        self._lengths = lengths
        self._group_rows = group_rows

    def pieces(
        self, part: int, parts: int, seed: int | None, epoch: int, *, even: int = 1, whole_groups: bool = False
    ) -> Iterator[tuple[tuple[int, int], list[int]]]:
        """((shard, row group), rows in it in the order they come) of one reader. Args: see Rows.stream."""
        start, stop = self.borders(part, parts, seed, epoch, even=even, whole_groups=whole_groups)
        windows, ends = self._windows(seed, epoch)
        for number, end in enumerate(ends):
            first = ends[number - 1] if number else 0
            if end <= start or first >= stop:
                continue
            for place, rows in self._groups(windows[number], number, seed, epoch):
                # Two readers that share a row group must agree on its order.
                own = _mixed(rows, None if seed is None else [seed, epoch, 2, *place])
                taken = own[max(start - first, 0) : max(stop - first, 0)]
                if taken:
                    yield place, taken
                first += rows

    def borders(
        self, part: int, parts: int, seed: int | None, epoch: int, *, even: int = 1, whole_groups: bool = False
    ) -> tuple[int, int]:
        """Where in the order of rows this part begins, and where it ends."""
        total = sum(self._lengths)
        total -= total % even
        exact = [total * place // parts for place in (part, part + 1)]
        if not whole_groups:
            return exact[0], exact[1]
        start, stop = (self._group_border(place, parts, seed, epoch) if 0 < place < total else place for place in exact)
        return start, stop

    def _group_border(self, exact: int, parts: int, seed: int | None, epoch: int) -> int:
        """The end of a row group nearest to it, where row groups are small beside what a reader gets."""
        windows, ends = self._windows(seed, epoch)
        number = bisect_right(ends, exact)
        begin = ends[number - 1] if number else 0
        groups = [rows for _, rows in self._groups(windows[number], number, seed, epoch)]
        if max(groups) * parts * 4 > ends[-1]:
            return exact
        return min(accumulate(groups, initial=begin), key=lambda end: abs(end - exact))

    def _windows(self, seed: int | None, epoch: int) -> tuple[list[list[int]], list[int]]:
        """The shards in their order, some at a time, and the number of rows up to the end of each of these."""
        order = _mixed(len(self._lengths), None if seed is None else [seed, epoch, 0])
        size = 1 if seed is None else WINDOW
        windows = [order[at : at + size] for at in range(0, len(order), size)]
        return windows, list(accumulate(sum(self._lengths[shard] for shard in window) for window in windows))

    def _groups(
        self, window: Sequence[int], number: int, seed: int | None, epoch: int
    ) -> list[tuple[tuple[int, int], int]]:
        """((shard, row group), its rows) of one window, in their order."""
        found = zip(window, self._group_rows(window), strict=True)
        groups = [((shard, group), rows) for shard, sizes in found for group, rows in enumerate(sizes)]
        return [groups[place] for place in _mixed(len(groups), None if seed is None else [seed, epoch, 1, number])]


def _mixed(n: int, seed: Sequence[int] | None) -> list[int]:
    return list(range(n)) if seed is None else np.random.default_rng(seed).permutation(n).tolist()
