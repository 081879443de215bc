"""Which labels are probably wrong: confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021), as cleanlab does it.

A class's threshold is the mean probability that a classifier gives it on the samples that people gave it. A sample
whose probability of some other class reaches that class's threshold is counted off the diagonal of the confident joint.
The probabilities must be out of sample: of a classifier that never learnt from these labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SLACK = 1e-6  # rounding never decides


@dataclass(frozen=True)
class LabelErrors:
    """rows: places of the suspected samples, the least self-confident first; guesses: what they may be instead.

    thresholds: (K,), NaN for a class that no sample has. joint: (K, K), estimated number of samples with given label
    i (row) and true label j (column); each row adds up to how many have label i.
    """

    rows: Ints
    guesses: Ints
    self_confidence: Floats
    thresholds: Floats
    joint: Floats

    @property
    def estimated(self) -> float:
        """How many labels are wrong by the joint: more or fewer than `rows`."""
        return float(self.joint.sum() - np.trace(self.joint))


def find_label_errors(labels: Ints, probs: Floats) -> LabelErrors:
    """labels: (N,) ints in [0, K). probs: (N, K), rows that add up to 1. Raises ValueError for other shapes or values."""
    labels, probs = np.asarray(labels), np.asarray(probs, dtype=np.float64)
    _check(labels, probs)
    n_classes = probs.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    own = probs[np.arange(labels.size), labels]
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(labels, weights=own, minlength=n_classes) / counts
    confident = probs >= np.where(counts > 0, thresholds - _SLACK, np.inf)
    n_confident = confident.sum(axis=1)
    guesses = np.where(n_confident > 1, probs.argmax(axis=1), confident.argmax(axis=1))
    sure = n_confident > 0
    joint = _calibrated(labels[sure], guesses[sure], counts)
    # One whose label the classifier would give, too, is no suspect, whatever the thresholds say.
    [rows] = np.nonzero(sure & (guesses != labels) & (probs.argmax(axis=1) != labels))
    rows = rows[np.argsort(own[rows], kind="stable")]
    return LabelErrors(rows, guesses[rows], own[rows], thresholds, joint)


def _calibrated(labels: Ints, guesses: Ints, counts: Ints) -> Floats:
    """The confident joint with rows scaled to how many samples have each label."""
    k = counts.size
    joint = np.bincount(labels * k + guesses, minlength=k * k).reshape(k, k).astype(np.float64)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    scaled: Floats = joint * (counts / joint.sum(axis=1))[:, None]
    return scaled


def _check(labels: Ints, probs: Floats) -> None:
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise ValueError(f"labels of shape {labels.shape} and probs of shape {probs.shape} don't belong together")
    if not np.isfinite(probs).all() or (labels.size and (probs.min() < 0 or abs(probs.sum(axis=1) - 1).max() > 1e-3)):
        raise ValueError("probs must be probabilities: from 0 to 1, each row adding up to 1")
    if labels.size and (not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= probs.shape[1]):
        raise ValueError(f"labels must be whole numbers from 0 to {probs.shape[1] - 1}")
