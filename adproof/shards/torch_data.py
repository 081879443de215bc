"""A dataset version as a torch dataset that streams. (Rows by number need no wrapper: `Rows` is one
already.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from adproof.shards.batches import collate
from adproof.shards.reading import Rows

__all__ = ["RowStream", "collate"]

Row = dict[str, Any]


class RowStream(IterableDataset[Row]):
    """All rows once per pass, shared out over the ranks of a training and their DataLoader's workers.

    Args:
        seed: None = in order; else the order follows from (seed, epoch) alone: call `set_epoch` before each pass, as
            with torch's DistributedSampler. Row groups are mixed, and rows within a buffer.
        buffer: how many encoded rows wait in the buffer of each worker: more mixes better and takes more memory.
        rank, n_ranks: None = as torch.distributed says, or the only one.
        even: every rank gets equally many rows (and batches); the fewer than n_ranks rows that are left over are left
            out of this pass. Without it ranks differ by one row at most, and none is left out.
        transform: applied to each row after decoding, in the worker; must be picklable where workers are spawned.
    """

    def __init__(
        self,
        rows: Rows,
        seed: int | None = None,
        buffer: int = 200,
        rank: int | None = None,
        n_ranks: int | None = None,
        *,
        even: bool = False,
        transform: Callable[[Row], Any] | None = None,
    ) -> None:
        has_peers = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if has_peers else 0
        self.n_ranks = n_ranks if n_ranks is not None else torch.distributed.get_world_size() if has_peers else 1
        if not 0 <= self.rank < self.n_ranks:
            raise ValueError(f"rank {self.rank} is not in 0..{self.n_ranks - 1}")
        self.rows = rows
        self.seed = seed
        self.buffer = buffer
        self.even = even
        self.transform = transform
        # Shared memory: workers that live on between passes see it, too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, number: int) -> None:
        """Which pass comes next."""
        self._epoch.fill_(number)

    def __len__(self) -> int:
        """Rows of this pass: of the rank, and in a DataLoader's worker of that worker.

        So len(DataLoader(...)) is the rank's rows by the batch size. Each worker makes batches of its own, so that with
        several of them some more may come, of which the last of each worker are smaller; drop_last=True drops those.
        """
        part, parts, seed, epoch, options = self._share()
        return self.rows.part_rows(part, parts, seed, epoch, **options)

    def __iter__(self) -> Iterator[Any]:
        part, parts, seed, epoch, options = self._share()
        buffer = 0 if seed is None else self.buffer
        rows = self.rows.stream(part, parts, seed, epoch, buffer, **options)
        return rows if self.transform is None else map(self.transform, rows)

    def _share(self) -> tuple[int, int, int | None, int, dict[str, Any]]:
        """(part, of how many, seed, epoch, options) of whoever asks."""
        worker = get_worker_info()
        n_workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        options = {"even": self.n_ranks if self.even else 1, "whole_groups": self.n_ranks == 1}
        return self.rank * n_workers + number, self.n_ranks * n_workers, self.seed, self.epoch, options
