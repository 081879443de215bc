"""How far annotators agree: Krippendorff's alpha, percent agreement, Cohen's kappa.

Sources: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), nominal metric;
Cohen, "A coefficient of agreement for nominal scales" (1960).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adproof.aggregation.votes import Floats, Ints, Votes

# The resampled weights of this many cells are held at a time (8 bytes each).
_CELLS_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha.

    Attributes:
        value: 1 = perfect, 0 = as by chance, below 0 = worse; nan when fewer than two labels occur or no item
            has two votes, because then chance has nothing to disagree about.
        low, high: bootstrap interval over items; nan when not asked for or not defined.
        n_items: items with two votes or more, the only ones that count. n_votes: their votes.
    """

    value: float
    low: float
    high: float
    n_items: int
    n_votes: int


@dataclass(frozen=True)
class PairKappas:
    """Cohen's kappa of pairs of annotators who share items.

    Attributes:
        first, second: (P,) int64 annotator ids, first < second, sorted. n_shared: (P,) int64 items both
            labelled.
        agreement: (P,) float64 share of those with the same label.
        kappa: (P,) float64; nan where both always gave one and the same label.
    """

    first: Ints
    second: Ints
    n_shared: Ints
    agreement: Floats
    kappa: Floats


def krippendorff_alpha(
    items: ArrayLike,
    annotators: ArrayLike,
    labels: ArrayLike,
    n_classes: int,
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Alpha:
    """Alpha for nominal labels, any number of annotators, votes missing at will.

    Args:
        items, annotators, labels: (V,) integers, see Votes.of.
        rng: draws the bootstrap (items with replacement, percentile interval); without it there is no
            interval.
    Raises: ValueError: see Votes.of.
    """
    counts = Votes.of(items, annotators, labels, n_classes).counts
    patterns, n_items = _patterns(counts)
    return alpha_of_patterns(patterns, n_items, rng=rng, resamples=resamples, confidence=confidence)


def alpha_of_patterns(
    patterns: ArrayLike,
    n_items: ArrayLike,
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Alpha:
    """Alpha from how often each pattern of votes occurs.

    Items with the same counts are alike to alpha, and with a few votes each there are few patterns. So a
    bootstrap
    over a million items is a multinomial draw over some dozen patterns: the same distribution, in
        milliseconds.

    Args:
        patterns: (P, C) integers, votes for each label. n_items: (P,) integers, items that have this pattern.
    """
    votes = np.asarray(patterns, dtype=np.float64)
    weight = np.asarray(n_items, dtype=np.int64)
    if votes.ndim != 2 or weight.shape != votes.shape[:1]:
        raise ValueError(f"patterns {votes.shape} and n_items {weight.shape} do not belong together")
    pairable = votes.sum(axis=1) > 1
    votes, weight = votes[pairable], weight[pairable]
    total_votes = votes.sum(axis=1)
    disagreement = (total_votes**2 - (votes**2).sum(axis=1)) / np.maximum(total_votes - 1, 1)
    value = float(_alphas(weight[None].astype(np.float64), votes, disagreement)[0])
    low = high = float("nan")
    if rng is not None and not np.isnan(value):
        alphas = _bootstrap(weight, votes, disagreement, rng, resamples)
        tail = (1 - confidence) / 2
        low, high = (float(edge) for edge in np.nanquantile(alphas, [tail, 1 - tail]))
    return Alpha(value, low, high, int(weight.sum()), int((weight * total_votes).sum()))


def percent_agreement(items: ArrayLike, annotators: ArrayLike, labels: ArrayLike, n_classes: int) -> float:
    """Mean over items with two votes or more of the share of agreeing pairs among the item's pairs of votes.

    Returns: 0..1; nan when no item has two votes. Raises: ValueError: see Votes.of.
    """
    counts = Votes.of(items, annotators, labels, n_classes).counts
    n_votes = counts.sum(axis=1)
    pairable = n_votes > 1
    if not pairable.any():
        return float("nan")
    counts, n_votes = counts[pairable], n_votes[pairable]
    agreeing = (counts * (counts - 1)).sum(axis=1)
    return float((agreeing / (n_votes * (n_votes - 1))).mean())


def fleiss_kappa(items: ArrayLike, annotators: ArrayLike, labels: ArrayLike, n_classes: int) -> float:
    """Fleiss' kappa: agreement beyond chance when every item has the same number of votes, whoever gave them.

    Source: Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971), eq. 7. With
    votes of unequal number krippendorff_alpha is the measure.
    Args: items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
    Returns: -1..1; nan when there are no votes, or all are for one label.
    Raises: ValueError: items differ in their number of votes, or have only one; see also Votes.of.
    """
    counts = Votes.of(items, annotators, labels, n_classes).counts
    if not counts.size:
        return float("nan")
    n_votes = counts.sum(axis=1)
    n = int(n_votes[0])
    if n < 2 or (n_votes != n).any():
        raise ValueError(
            f"Fleiss' kappa wants the same number of votes, two or more, on every item: here {n_votes.min()} to "
            f"{n_votes.max()}. Use krippendorff_alpha."
        )
    observed = ((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean()
    expected = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return float((observed - expected) / (1 - expected)) if expected < 1 else float("nan")


def cohen_kappas(
    items: ArrayLike, annotators: ArrayLike, labels: ArrayLike, n_classes: int, *, min_shared: int = 1
) -> PairKappas:
    """Cohen's kappa of every pair of annotators who share at least min_shared items.

    An annotator who labelled one item twice makes two pairs with each other annotator of it, none with
    himself. Memory and time grow with the number of pairs of votes on one item, not with the square of
    annotators.

    Args: items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
    Raises: ValueError: see Votes.of.
    """
    votes = Votes.of(items, annotators, labels, n_classes)
    pair, confusion = _pair_confusions(votes)
    shared = confusion.sum(axis=(1, 2))
    enough = shared >= min_shared
    pair, confusion, shared = pair[enough], confusion[enough], shared[enough]
    observed = np.einsum("pcc->p", confusion) / shared
    expected = (confusion.sum(axis=2) * confusion.sum(axis=1)).sum(axis=1) / shared**2
    with np.errstate(invalid="ignore"):
        kappa = (observed - expected) / (1 - expected)
    return PairKappas(
        first=votes.annotator_ids[pair // votes.n_annotators],
        second=votes.annotator_ids[pair % votes.n_annotators],
        n_shared=shared.astype(np.int64),
        agreement=observed,
        kappa=kappa,
    )


def _patterns(counts: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of (N, C) counts, and how often each occurs."""
    base = int(counts.max(initial=0)) + 1
    if base ** counts.shape[1] >= 2**62:
        rows, n_items = np.unique(counts, axis=0, return_counts=True)
        return rows, n_items
    # One number per row: numpy sorts numbers some fifty times faster than rows.
    number = counts @ (base ** np.arange(counts.shape[1], dtype=np.int64))
    _, first, n_items = np.unique(number, return_index=True, return_counts=True)
    return counts[first], n_items


def _alphas(weights: Floats, votes: Floats, disagreement: Floats) -> Floats:
    """(B,) alphas of (B, P) pattern weights; nan where chance would never disagree."""
    marginals = weights @ votes
    n = marginals.sum(axis=1)
    observed = weights @ disagreement
    by_chance = n**2 - (marginals**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        alphas: Floats = np.where(by_chance > 0, 1 - (n - 1) * observed / by_chance, np.nan)
    return alphas


def _bootstrap(
    weight: Ints, votes: Floats, disagreement: Floats, rng: np.random.Generator, resamples: int
) -> Floats:
    n_items = int(weight.sum())
    chance = weight / n_items
    step = max(1, _CELLS_AT_A_TIME // weight.size)
    return np.concatenate([
        _alphas(rng.multinomial(n_items, chance, size=min(step, resamples - start)).astype(np.float64),
                votes, disagreement)
        for start in range(0, resamples, step)
    ])


def _pair_confusions(votes: Votes) -> tuple[Ints, Floats]:
    """(P,) codes first * A + second with first < second, and (P, C, C) counts of their labels."""
    n_annotators, n_classes = votes.n_annotators, votes.n_classes
    order = np.argsort(votes.item, kind="stable")
    item, annotator, label = votes.item[order], votes.annotator[order], votes.label[order]
    cells: list[Ints] = []
    tallies: list[Ints] = []
    for distance in range(1, int(np.bincount(item).max(initial=0))):
        here = np.flatnonzero(item[distance:] == item[:-distance])
        a, b = annotator[here], annotator[here + distance]
        swap = a > b
        la, lb = label[here], label[here + distance]
        la, lb = np.where(swap, lb, la), np.where(swap, la, lb)
        pair = np.minimum(a, b) * n_annotators + np.maximum(a, b)
        cell, tally = np.unique(((pair * n_classes + la) * n_classes + lb)[a != b], return_counts=True)
        cells.append(cell)
        tallies.append(tally)
    if not cells:
        return np.zeros(0, dtype=np.int64), np.zeros((0, n_classes, n_classes))
    cell, tally = np.concatenate(cells), np.concatenate(tallies)
    pair, place = np.unique(cell // n_classes**2, return_inverse=True)
    size = pair.size * n_classes**2
    within = place * n_classes**2 + cell % n_classes**2
    confusion = np.bincount(within, weights=tally, minlength=size).astype(np.float64, copy=False)
    return pair, confusion.reshape(pair.size, n_classes, n_classes)
