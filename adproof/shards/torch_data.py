"""A dataset version as a torch dataset that streams. (Rows by number need no wrapper: `Rows` is one
already.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from adproof.shards.reading import Rows


class RowStream(IterableDataset[dict[str, Any]]):
    """All rows once per pass, row groups shared out over the DataLoader's workers and the ranks of a
    training.

    seed: None = in order; else each pass is shuffled by (seed, pass). A split needs a row group per reader,
    else some readers get nothing.
    """

    def __init__(
        self, rows: Rows, seed: int | None = None, buffer: int = 200, rank: int = 0, n_ranks: int = 1
    ) -> None:
        self.rows = rows
        self.seed = seed
        self.buffer = buffer
        self.rank = rank
        self.n_ranks = n_ranks
        self.n_passes = 0

    def set_pass(self, number: int) -> None:
        """Which pass comes next; call it before each one when workers are started anew for every pass."""
        self.n_passes = number

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        n_workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        rng = None if self.seed is None else np.random.default_rng([self.seed, self.n_passes])
        self.n_passes += 1
        part = self.rank * n_workers + number
        buffer = 0 if rng is None else self.buffer
        return self.rows.stream(part, self.n_ranks * n_workers, rng, buffer)
