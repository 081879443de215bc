"""Annotators made of numbers: for demonstrations, load tests and studies. They answer as people do: late and
wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adproof.labels import N_LABELS, Label, parse_label

Doing = Literal["label", "skip", "flag"]

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
        skips, flags: shares of what they see that they pass on, or whose product they call unsuitable.
    Raises: ValueError: the confusion is not (5, 5) with rows of probabilities, the times are not positive,
        or the shares are no shares.
    """

    name: str
    confusion: NDArray[np.float64]
    seconds_mean: float
    seconds_sd: float
    rng: np.random.Generator
    skips: float = 0.0
    flags: float = 0.0

    def __post_init__(self) -> None:
        rows = np.asarray(self.confusion, dtype=np.float64)
        if rows.shape != (N_LABELS, N_LABELS) or (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1):
            raise ValueError(f"confusion must be ({N_LABELS}, {N_LABELS}) with rows that sum to 1")
        if self.seconds_mean <= 0 or self.seconds_sd < 0:
            raise ValueError(f"{self.seconds_mean} s with a spread of {self.seconds_sd} s is no time")
        if min(self.skips, self.flags) < 0 or self.skips + self.flags > 1:
            raise ValueError(f"skips {self.skips} and flags {self.flags} must be shares that sum to 1 at most")
        self.confusion = rows

    def does(self) -> Doing:
        """What they do with the next candidate."""
        if not self.skips and not self.flags:
            return "label"
        drawn = self.rng.random()
        return "skip" if drawn < self.skips else "flag" if drawn < self.skips + self.flags else "label"

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


# --- a crowd from a file

_MOST_PEOPLE = 1000
_KNOWN = {"name", "accuracy", "bias", "confusion", "seconds", "spread", "skips", "flags"}


class BadCrowd(ValueError):
    """The file describes no crowd; the message says who and what."""


def read_crowd(path: Path, rng: np.random.Generator) -> list[SimulatedAnnotator]:
    """People as a JSON list describes them.

    Each: {"name": "ann", "accuracy": 0.9, "bias": {"available": 3}, "seconds": 4.2, "spread": 2, "skips": 0.02,
    "flags": 0.01}; all but the name may be missing. "confusion", a row of five for each true label, stands
    instead of accuracy and bias (of how wrong answers are shared among labels).

    Raises: BadCrowd: it can't be read, or somebody in it can't be.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadCrowd(f"{path} can't be read as JSON: {str(error)[:200]}") from error
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_PEOPLE:
        raise BadCrowd(f"{path}: a list of 1 to {_MOST_PEOPLE} people is wanted.")
    people = [_described(row, number, child) for number, (row, child) in enumerate(
        zip(rows, rng.spawn(len(rows)), strict=True), start=1)]  # fmt: skip
    names = [person.name for person in people]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadCrowd(f"{twice!r} is there twice.")
    return people


def with_habits(people: Sequence[SimulatedAnnotator], skips: float, flags: float) -> list[SimulatedAnnotator]:
    """The same people, who pass on and flag so often. Raises ValueError."""
    return [replace(person, skips=skips, flags=flags) for person in people]


def _described(row: Any, number: int, rng: np.random.Generator) -> SimulatedAnnotator:
    who = f"Person {number}"
    if not isinstance(row, dict) or not set(row) <= _KNOWN:
        raise BadCrowd(f"{who}: an object with some of {', '.join(sorted(_KNOWN))} is wanted.")
    name = row.get("name")
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 100:
        raise BadCrowd(f"{who}: a name of letters, digits, - and _ is wanted.")
    who = f"{who} ({name})"
    if "confusion" in row and ("accuracy" in row or "bias" in row):
        raise BadCrowd(f"{who}: give either a confusion, or accuracy and bias.")
    seconds = _amount(row, "seconds", _SECONDS_MEAN, who)
    spread = _amount(row, "spread", 0.6 * seconds, who)
    try:
        confusion = row["confusion"] if "confusion" in row else _accuracy_and_bias(row, who)
        return SimulatedAnnotator(
            name, confusion, seconds, spread, rng, _amount(row, "skips", 0.0, who), _amount(row, "flags", 0.0, who)
        )
    except BadCrowd:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise BadCrowd(f"{who}: {error}.") from None


def _accuracy_and_bias(row: Mapping[str, Any], who: str) -> NDArray[np.float64]:
    accuracy = _amount(row, "accuracy", 0.85, who)
    if accuracy > 1:
        raise BadCrowd(f"{who}: accuracy is {accuracy}, more than 1.")
    given = row.get("bias")
    if given is None:
        return confusion_of(accuracy)
    if not isinstance(given, dict) or not given:
        raise BadCrowd(f"{who}: bias is no object of labels and how much each is favoured.")
    bias = np.zeros(N_LABELS)
    for label in given:
        bias[parse_label(label)] = _amount(given, label, 0.0, who)
    if not bias.sum():
        raise BadCrowd(f"{who}: bias favours no label.")
    return confusion_of(accuracy, bias)


def _amount(row: Mapping[str, Any], key: str, default: float, who: str) -> float:
    value = row.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise BadCrowd(f"{who}: {key} is {str(value)[:40]}; a number of 0 or more is wanted.")
    return float(value)
