"""How a version is cut into shards, known before the first row is written, so that many workers can write at
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adproof.shards.schema import FULL, SPLITS, WEBDATASET

SHARD_BYTES = 500_000_000


@dataclass(frozen=True)
class SplitSize:
    """rows: how many samples the split has. bytes: of all their pictures together (an estimate will do)."""

    split: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class ShardSpec:
    """Shard `index` of `count` of a split holds its rows start..stop-1, in the version's order."""

    split: str
    index: int
    count: int
    start: int
    stop: int
    ending: str = "parquet"

    @property
    def name(self) -> str:
        return f"data/{self.split}-{self.index:05d}-of-{self.count:05d}.{self.ending}"

    @property
    def n_rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class ShardPlan:
    """All shards in the order of the rows: train, validation, test."""

    shards: tuple[ShardSpec, ...]

    @property
    def n_rows(self) -> int:
        return sum(shard.n_rows for shard in self.shards)

    def rows_of(self, split: str) -> int:
        return sum(shard.n_rows for shard in self.shards if shard.split == split)


def plan_shards(sizes: Sequence[SplitSize], shard_bytes: int = SHARD_BYTES, variant: str = FULL) -> ShardPlan:
    """Shards of nearly equal numbers of rows, of at most about shard_bytes; the same sizes give the same
    plan.

    Args: sizes: at most one per split; a split without rows gets no shard. variant: decides the files' ending.
    Raises: ValueError: an unknown or repeated split, negative numbers, or no row at all.
    """
    by_split = {size.split: size for size in sizes}
    if len(by_split) != len(sizes) or not set(by_split) <= set(SPLITS):
        raise ValueError(f"sizes must name splits of {SPLITS} once each, not {[s.split for s in sizes]}")
    if any(size.rows < 0 or size.bytes < 0 for size in sizes) or sum(size.rows for size in sizes) == 0:
        raise ValueError("a version needs at least one row, and no split can have fewer than none")
    shards = []
    ending = "tar" if variant == WEBDATASET else "parquet"
    for split in SPLITS:
        size = by_split.get(split, SplitSize(split, 0, 0))
        count = min(size.bytes // shard_bytes + 1, size.rows)
        for index in range(count):
            start, stop = size.rows * index // count, size.rows * (index + 1) // count
            shards.append(ShardSpec(split, index, count, start, stop, ending))
    return ShardPlan(tuple(shards))
