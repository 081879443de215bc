"""Majority vote: the label most annotators gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adproof.aggregation.votes import Floats, Ints, Votes


@dataclass(frozen=True)
class Majority:
    """What the votes add up to, one place per item that has any.

    Attributes:
        item_ids: (N,) int64, sorted. label: (N,) int64. n_votes: (N,) int64.
        share: (N,) float64 in (0, 1], the part of its votes that the label has.
        posterior: (N, C) float64, rows sum to 1: the shares of all labels (smoothed if asked).
        tied: (N,) bool, another label has as many votes; such an item is worth one more annotation.
    """

    item_ids: Ints
    label: Ints
    n_votes: Ints
    share: Floats
    posterior: Floats
    tied: np.ndarray[tuple[int], np.dtype[np.bool_]]


def majority(
    items: ArrayLike,
    annotators: ArrayLike,
    labels: ArrayLike,
    n_classes: int,
    *,
    smoothing: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Majority:
    """Count the votes of each item.

    Args:
        items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
        smoothing: pseudo-votes added to every label of the posterior (not of the share).
        rng: breaks ties at random; without it the lowest label id wins, as in crowd-kit.
    Raises: ValueError: see Votes.of; or smoothing is negative.
    """
    if smoothing < 0:
        raise ValueError(f"smoothing must be 0 or more, not {smoothing}")
    votes = Votes.of(items, annotators, labels, n_classes)
    counts = votes.counts
    n_votes = counts.sum(axis=1)
    most = counts.max(axis=1, initial=0)
    leaders = counts == most[:, None]
    label = counts.argmax(axis=1) if rng is None else (leaders * rng.random(counts.shape)).argmax(axis=1)
    return Majority(
        item_ids=votes.item_ids,
        label=label.astype(np.int64, copy=False),
        n_votes=n_votes,
        share=most / np.maximum(n_votes, 1),
        posterior=(counts + smoothing) / (n_votes + n_classes * smoothing)[:, None],
        tied=leaders.sum(axis=1) > 1,
    )
