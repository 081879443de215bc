"""Which candidates people should see next.

Part of every batch is drawn at random, and every pick carries the probability with which the rule would have
picked it: only so can honest figures about the whole pool be made from labels that were chosen for being
doubtful (Farquhar et al., "On Statistical Bias In Active Learning", arXiv:2101.11665).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["margin", "entropy", "least_confidence", "random"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Picked:
    """The picks, most urgent first.

    Attributes:
        index: (n,) int64 places in the pool, each once.
        score: (n,) float64 in [0, 1], the doubt about the candidate (1 = no idea); 0 where nothing is known.
        reason: n words, "margin" | "entropy" | "least_confidence" | "random" | "cover".
        inclusion_probability: (n,) float64 in (0, 1], given the order in which ties fell.
    """

    index: Ints
    score: Floats
    reason: tuple[str, ...]
    inclusion_probability: Floats


def pick(
    probs: NDArray[np.floating] | None,
    product_ids: NDArray[np.generic],
    n: int,
    rng: np.random.Generator,
    random_share: float = 0.1,
    per_product_cap: int | None = 3,
    strategy: Strategy = "margin",
) -> Picked:
    """Choose n candidates of a pool for annotation. The same rng state gives the same picks.

    With probs: the most doubtful ones, at most per_product_cap of a product, and a plain random sample of
        all the
    rest (ceil(random_share * n), uncapped: a cap there would leave some candidates no chance at all).
    Without probs, before any model (round 0): as many products as can be, one candidate of each before a
    second.

    Args:
        probs: (N, C) calibrated probabilities, rows sum to 1; None before there is a model.
        product_ids: (N,) any ids that can be sorted. n: how many; fewer come back if pool or cap gives no
            more.
        per_product_cap: None = no cap.
    Raises: ValueError: shapes differ, rows are no probabilities, or a setting is out of range.
    """
    if n < 0 or not 0 <= random_share <= 1 or (per_product_cap is not None and per_product_cap < 1):
        raise ValueError(f"out of range: {n=}, {random_share=}, {per_product_cap=}")
    if strategy not in get_args(Strategy):
        raise ValueError(f"{strategy!r} is not a strategy; allowed: {', '.join(get_args(Strategy))}")
    products, product = np.unique(np.asarray(product_ids), return_inverse=True)
    if probs is None:
        return _cover(product.reshape(-1), products.size, n, rng, per_product_cap)
    scores = doubt(probs, strategy)
    if scores.shape != product.shape:
        raise ValueError(f"{len(scores)} rows of probabilities for {product.size} product ids")
    n = min(n, scores.size)
    n_random = n if strategy == "random" else int(np.ceil(random_share * n))
    doubtful = _most_doubtful(scores, product, n - n_random, rng, per_product_cap)
    rest = np.setdiff1d(np.arange(scores.size), doubtful)
    drawn = rng.choice(rest, size=n_random, replace=False)
    index = np.concatenate([doubtful, drawn])
    return Picked(
        index=index,
        score=scores[index],
        reason=(strategy,) * doubtful.size + ("random",) * drawn.size,
        inclusion_probability=np.concatenate([
            np.ones(doubtful.size), np.full(drawn.size, n_random / max(rest.size, 1))
        ]),
    )


def doubt(probs: NDArray[np.floating], strategy: Strategy) -> Floats:
    """(N,) float64 in [0, 1]: how little the probabilities (N, C) commit themselves.

    margin: 1 - (first - second). entropy: H / log C. least_confidence: 1 - first, scaled to [0, 1].
    random: the margin, kept for the record only.
    Raises: ValueError: a row is not finite, negative, or does not sum to 1 (within 1e-3).
    """
    p = np.asarray(probs, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise ValueError(f"probabilities must be (N, C) with C of 2 or more, not {p.shape}")
    if not (np.isfinite(p).all() and (p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("every row of probabilities must be finite, not negative, and sum to 1")
    n_classes = p.shape[1]
    if strategy == "entropy":
        nats = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
        doubts: Floats = nats / np.log(n_classes)
    else:
        top = np.partition(p, n_classes - 2, axis=1)
        if strategy == "least_confidence":
            doubts = (1 - top[:, -1]) * n_classes / (n_classes - 1)
        else:
            doubts = 1 - (top[:, -1] - top[:, -2])
    return doubts.clip(0, 1)


def _most_doubtful(
    scores: Floats, product: Ints, n: int, rng: np.random.Generator, per_product_cap: int | None
) -> Ints:
    """Places of the n highest scores, at most per_product_cap of a product, ties in random order."""
    order = np.lexsort((rng.random(scores.size), -scores))
    if per_product_cap is not None:
        order = order[_rank_within(product[order]) < per_product_cap]
    return order[:n]


def _cover(product: Ints, n_products: int, n: int, rng: np.random.Generator, cap: int | None) -> Picked:
    """Round 0: level by level, each product once per level; the last, partial level takes products at
    random."""
    order = rng.permutation(product.size)
    level = np.empty(product.size, dtype=np.int64)
    level[order] = _rank_within(product[order])
    shuffled_products = rng.permutation(n_products)
    by_level = np.lexsort((shuffled_products[product], level))
    if cap is not None:
        by_level = by_level[level[by_level] < cap]
    index = by_level[:n]

    available = np.bincount(product, minlength=n_products)
    taken_levels = int(level[index[-1]]) if index.size else 0  # levels that are complete for certain
    n_last = int((level[index] == taken_levels).sum())
    in_last = available > taken_levels
    expected = np.minimum(available, taken_levels) + in_last * (n_last / max(int(in_last.sum()), 1))
    return Picked(
        index=index,
        score=np.zeros(index.size),
        reason=("cover",) * index.size,
        inclusion_probability=(expected / np.maximum(available, 1))[product[index]],
    )


def _rank_within(group: Ints) -> Ints:
    """(N,) for each place how many earlier places are of the same group."""
    by_group = np.argsort(group, kind="stable")
    in_order = group[by_group]
    start = np.searchsorted(in_order, in_order, side="left")
    rank = np.empty(group.size, dtype=np.int64)
    rank[by_group] = np.arange(group.size) - start
    return rank
