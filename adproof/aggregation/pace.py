"""How annotators work: how fast, how evenly, how long they give one and the same label. What is odd is for people to
judge: these are reasons to look, no proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adproof.aggregation.votes import Floats, Ints, codes

Bools = NDArray[np.bool_]

MIN_ANSWERS = 30
FAST_SHARE = 0.4  # of everybody's median
FAST_NEEDS_PEOPLE = 3
RUN_AT_LEAST = 10
RUN_CHANCE = 1e-3
REGULAR_SPREAD = 0.15
REGULAR_NEEDS_GAPS = 50
BREAK_SECONDS = 120.0  # a longer gap is a pause, not pace


@dataclass(frozen=True)
class Pace:
    """One place per annotator.

    Attributes:
        annotator_ids: (A,) int64, sorted. n_answers: (A,) int64. median_seconds: (A,) float64.
        everybody: the median of the annotators' medians.
        longest_run: (A,) int64, answers in a row with one label. run_label: (A,) int64, that label.
        run_chance: (A,) float64, how many runs of that length one would expect by chance, at most 1.
        gap_spread: (A,) float64, standard deviation by mean of the gaps between answers; nan with too few gaps.
        is_fast, is_monotonous, is_regular: (A,) bool, see `pace`.
    """

    annotator_ids: Ints
    n_answers: Ints
    median_seconds: Floats
    everybody: float
    longest_run: Ints
    run_label: Ints
    run_chance: Floats
    gap_spread: Floats
    is_fast: Bools
    is_monotonous: Bools
    is_regular: Bools


def pace(annotators: ArrayLike, labels: ArrayLike, seconds: ArrayLike, at: ArrayLike, n_classes: int) -> Pace:
    """Read off how each annotator works, and flag what is odd. Nobody with fewer than MIN_ANSWERS is flagged.

    Fast: a median under FAST_SHARE of everybody's, where three people or more can be compared.
    Monotonous: a run of RUN_AT_LEAST or more answers with one label, of which fewer than RUN_CHANCE are to be expected
        among so many answers when each has that label as often as all people together gave it.
    Regular: gaps between answers (breaks left out) whose spread is under REGULAR_SPREAD of their mean.

    Args:
        annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1. seconds: (V,) spent on each.
        at: (V,) when each was given, in seconds since any moment.
    Raises: ValueError: lengths differ, there are no answers, or labels are out of range.
    """
    ids, label = np.asarray(annotators, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    spent, moment = np.asarray(seconds, dtype=np.float64), np.asarray(at, dtype=np.float64)
    if not ids.shape == label.shape == spent.shape == moment.shape or ids.ndim != 1:
        raise ValueError("annotators, labels, seconds and at must be flat, of one length")
    if not ids.size:
        raise ValueError("there are no answers")
    if label.min() < 0 or label.max() >= n_classes:
        raise ValueError(f"labels must lie in 0..{n_classes - 1}")
    annotator_ids, person = codes(ids)
    order = np.lexsort((moment, person))
    n = np.bincount(person)
    bounds = np.concatenate([[0], np.cumsum(n)])
    shares = np.bincount(label, minlength=n_classes) / label.size

    median, spread, chance = np.empty(n.size), np.full(n.size, np.nan), np.empty(n.size)
    longest, run_label = np.empty(n.size, dtype=np.int64), np.empty(n.size, dtype=np.int64)
    for a in range(n.size):
        own = order[bounds[a] : bounds[a + 1]]
        median[a] = np.median(spent[own])
        longest[a], run_label[a] = longest_run(label[own])
        share = float(shares[run_label[a]])
        # Runs of a label that begin anywhere: a start (another label before it), then `longest` times this one.
        chance[a] = min(1.0, (1 + n[a] * (1 - share)) * share ** int(longest[a]))
        spread[a] = _spread(np.diff(moment[own]))
    everybody = float(np.median(median))
    enough = n >= MIN_ANSWERS
    return Pace(
        annotator_ids=annotator_ids,
        n_answers=n,
        median_seconds=median,
        everybody=everybody,
        longest_run=longest,
        run_label=run_label,
        run_chance=chance,
        gap_spread=spread,
        is_fast=enough & (n.size >= FAST_NEEDS_PEOPLE) & (median < FAST_SHARE * everybody),
        is_monotonous=enough & (longest >= RUN_AT_LEAST) & (chance < RUN_CHANCE),
        is_regular=enough & (np.nan_to_num(spread, nan=np.inf) < REGULAR_SPREAD),
    )


def longest_run(labels: Ints) -> tuple[int, int]:
    """(length, label) of the longest stretch of one label; the first of equals. Of at least one label."""
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    lengths = np.diff(np.concatenate([starts, [labels.size]]))
    best = int(lengths.argmax())
    return int(lengths[best]), int(labels[starts[best]])


def _spread(gaps: Floats) -> float:
    # Answers that a browser sent together have one time: those gaps say nothing.
    gaps = gaps[(gaps > 0.05) & (gaps < BREAK_SECONDS)]
    return float(gaps.std() / gaps.mean()) if gaps.size >= REGULAR_NEEDS_GAPS else float("nan")
