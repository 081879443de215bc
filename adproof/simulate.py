"""Annotators made of numbers: for demonstrations, load tests and studies. They answer as people do: late and
wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adproof.labels import N_LABELS, Label

# The median of 747 people who labelled CIFAR-10N was 4.2 s per picture.
_SECONDS_MEAN = 4.2
_SECONDS_LEAST = 0.3


@dataclass
class SimulatedAnnotator:
    """One annotator.

    Attributes:
        confusion: (5, 5) float64, confusion[truth, answer]; rows sum to 1.
        seconds_mean, seconds_sd: of the time per answer, in seconds; log-normal, never under 0.3 s.
        rng: the source of this annotator's answers; the same state gives the same answers.
    Raises: ValueError: the confusion is not (5, 5) with rows of probabilities, or the times are not positive.
    """

    name: str
    confusion: NDArray[np.float64]
    seconds_mean: float
    seconds_sd: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        rows = np.asarray(self.confusion, dtype=np.float64)
        if rows.shape != (N_LABELS, N_LABELS) or (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1):
            raise ValueError(f"confusion must be ({N_LABELS}, {N_LABELS}) with rows that sum to 1")
        if self.seconds_mean <= 0 or self.seconds_sd < 0:
            raise ValueError(f"{self.seconds_mean} s with a spread of {self.seconds_sd} s is no time")
        self.confusion = rows

    def label(self, truth: int | ArrayLike) -> tuple[Label, float]:
        """Answer one candidate.

        Args: truth: the true label's id, or (5,) probabilities of it (a candidate on which people may
            differ).
        Returns: the answer, and the seconds it took.
        Raises: ValueError: truth is no label id and no (5,) probabilities.
        """
        answer = self.rng.choice(N_LABELS, p=self._true_probabilities(truth) @ self.confusion)
        return Label(int(answer)), self._seconds()

    def _true_probabilities(self, truth: int | ArrayLike) -> NDArray[np.float64]:
        given = np.asarray(truth)
        if given.ndim == 0 and np.issubdtype(given.dtype, np.integer):
            one_hot: NDArray[np.float64] = np.eye(N_LABELS)[Label(int(given))]
            return one_hot
        probabilities = given.astype(np.float64)
        if probabilities.shape != (N_LABELS,) or (probabilities < 0).any() or not probabilities.sum() > 0:
            raise ValueError(f"truth must be a label id or ({N_LABELS},) probabilities, not {truth!r}")
        shares: NDArray[np.float64] = probabilities / probabilities.sum()
        return shares

    def _seconds(self) -> float:
        variance = np.log1p((self.seconds_sd / self.seconds_mean) ** 2)
        drawn = self.rng.lognormal(np.log(self.seconds_mean) - variance / 2, np.sqrt(variance))
        return float(max(drawn, _SECONDS_LEAST))


def confusion_of(accuracy: float, bias: ArrayLike | None = None) -> NDArray[np.float64]:
    """(5, 5) of an annotator who is right with this probability and else answers by the bias.

    Args:
        accuracy: 0..1. bias: (5,) how wrong answers are shared among labels; even when None. Bias to the
            true label itself raises the chance to be right.
    """
    wrong = np.full(N_LABELS, 1.0) if bias is None else np.asarray(bias, dtype=np.float64)
    rows = np.tile(wrong / wrong.sum(), (N_LABELS, 1))
    if bias is None:
        np.fill_diagonal(rows, 0.0)
        rows /= rows.sum(axis=1, keepdims=True)
    confusion: NDArray[np.float64] = accuracy * np.eye(N_LABELS) + (1 - accuracy) * rows
    return confusion


def crowd(
    n: int,
    rng: np.random.Generator,
    *,
    skill: tuple[float, float] = (16.0, 4.0),
    sloppy_share: float = 0.2,
    biased_share: float = 0.2,
    spammer_share: float = 0.0,
) -> list[SimulatedAnnotator]:
    """A varied crowd: good ones, hasty sloppy ones, some who let too much pass as available, spammers if
    asked.

    Args:
        skill: (a, b) of the Beta distribution from which the good ones' accuracy is drawn (mean a / (a + b)).
        sloppy_share, biased_share, spammer_share: parts of the crowd, rounded; the rest is good.
    Returns: n annotators named after their kind, in random order, each with an rng of its own.
    Raises: ValueError: the shares do not fit into 1.
    """
    kinds = _kinds(n, {"sloppy": sloppy_share, "biased": biased_share, "spammer": spammer_share})
    order = rng.permutation(n)
    return [
        _annotator(f"{kinds[place]}-{number:02d}", kinds[place], skill, child)
        for number, (place, child) in enumerate(zip(order, rng.spawn(n), strict=True), start=1)
    ]


def _kinds(n: int, shares: dict[str, float]) -> Sequence[str]:
    if min(shares.values()) < 0 or sum(shares.values()) > 1:
        raise ValueError(f"shares must be 0 or more and sum to 1 at most: {shares}")
    kinds = [kind for kind, share in shares.items() for _ in range(round(share * n))][:n]
    return kinds + ["good"] * (n - len(kinds))


def _annotator(
    name: str, kind: str, skill: tuple[float, float], rng: np.random.Generator
) -> SimulatedAnnotator:
    accuracy = float(rng.beta(*skill))
    seconds = float(_SECONDS_MEAN * rng.uniform(0.7, 1.5))
    if kind == "sloppy":
        accuracy, seconds = accuracy * 0.7, seconds * 0.6
    if kind == "spammer":
        accuracy, seconds = 0.0, 1.0
    bias = None
    if kind in ("biased", "spammer"):
        to_available = 0.9 if kind == "biased" else 0.6
        bias = np.full(N_LABELS, (1 - to_available) / (N_LABELS - 1))
        bias[Label.AVAILABLE] = to_available
    return SimulatedAnnotator(name, confusion_of(accuracy, bias), seconds, seconds * 0.6, rng)
