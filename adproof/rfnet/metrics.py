"""How good a judge of availability is: numpy only.

Precision, recall, F1 and AP are those of "available" (class 0) against the other four, as the paper's table
most likely means them (it does not say).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.labels import N_LABELS, Label

Probabilities = NDArray[np.float32] | NDArray[np.float64]


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_labels: int = N_LABELS) -> NDArray[np.int64]:
    """(C, C) int64 counts: row = true label, column = predicted one.

    Args:
        labels, predicted: (N,) int64 in 0..C-1.
    Raises: ValueError: the lengths differ, or a label is outside 0..C-1.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"{labels.shape} labels but {predicted.shape} predictions")
    for values in (labels, predicted):
        if len(values) and (values.min() < 0 or values.max() >= n_labels):
            raise ValueError(f"labels must lie in 0..{n_labels - 1}")
    counts = np.bincount(labels * n_labels + predicted, minlength=n_labels**2)
    return counts.reshape(n_labels, n_labels).astype(np.int64)


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """Area under the precision-recall curve, as a step function; equal scores are one step.

    sum over distinct thresholds of (recall_n - recall_{n-1}) * precision_n.

    Args:
        positive: (N,) bool.
        scores: (N,) float, higher = more likely positive.
    Returns: in [0, 1]; nan when there is no positive.
    """
    n_positive = int(positive.sum())
    if n_positive == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true_positives = np.cumsum(positive[order])[last_of_tie]
    precision = true_positives / (last_of_tie + 1)
    recall = true_positives / n_positive
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def expected_calibration_error(probabilities: Probabilities, labels: NDArray[np.int64], n_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy of the most likely class, over equal bins of confidence.

    Args:
        probabilities: (N, C), rows sum to 1.
        labels: (N,) int64.
    Returns: in [0, 1]; nan without samples.
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    if not len(labels):
        return float("nan")
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Mean -log p(label), nats; nan without samples."""
    if not len(labels):
        return float("nan")
    picked = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)
    return float(-np.log(picked).mean())


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split. Ratios are nan where nothing was there to divide by.

    Attributes:
        n: samples.
        precision, recall, f1: of "available" by argmax.
        average_precision: of "available" by its probability.
        accuracy: of the five classes.
        recall_per_label: (5,) each label's own recall.
        confusion: (5, 5) counts, row = true.
        ece: expected calibration error, 15 bins.
        nll: mean -log p(label), nats.
        mean_available: mean probability of "available".
        share_available: share of samples truly available.
    """

    n: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    accuracy: float
    recall_per_label: list[float]
    confusion: list[list[int]]
    ece: float
    nll: float
    mean_available: float
    share_available: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; nan becomes None, since JSON has no nan."""
        return {key: _finite(value) for key, value in asdict(self).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def evaluate(probabilities: Probabilities, labels: NDArray[np.int64]) -> Evaluation:
    """All figures of one split.

    Args:
        probabilities: (N, 5), rows sum to 1.
        labels: (N,) int64 in 0..4.
    """
    probabilities = np.asarray(probabilities, np.float64)
    counts = confusion(labels, probabilities.argmax(1).astype(np.int64), probabilities.shape[1])
    yes = int(Label.AVAILABLE)
    hits = int(counts[yes, yes])
    precision = _ratio(hits, int(counts[:, yes].sum()))
    recall = _ratio(hits, int(counts[yes].sum()))
    # From the counts: 0 (not nan) when available was there but never found.
    f1 = _ratio(2 * hits, int(counts[:, yes].sum() + counts[yes].sum()))
    n = len(labels)
    return Evaluation(
        n=n,
        precision=precision,
        recall=recall,
        f1=f1,
        average_precision=average_precision(labels == yes, probabilities[:, yes]),
        accuracy=_ratio(float(np.trace(counts)), n),
        recall_per_label=[_ratio(float(counts[c, c]), float(counts[c].sum())) for c in range(len(counts))],
        confusion=counts.tolist(),
        ece=expected_calibration_error(probabilities, labels),
        nll=negative_log_likelihood(probabilities, labels),
        mean_available=float(probabilities[:, yes].mean()) if n else float("nan"),
        share_available=_ratio(float((labels == yes).sum()), n),
    )


@dataclass(frozen=True)
class Metrics:
    """What a training reached.

    Attributes:
        validation, test: after calibration; None without such samples.
        validation_ece_before, test_ece_before: expected calibration error at temperature 1; nan if no sample.
        temperature: fitted on validation; 1.0 without it.
        n_train: labelled samples learnt from.
        n_parameters: of the network.
        seconds: spent in steps and evaluations, all resumed parts together.
        history: one dict per epoch, as given to on_epoch.
    """

    validation: Evaluation | None
    test: Evaluation | None
    validation_ece_before: float
    test_ece_before: float
    temperature: float
    n_train: int
    n_parameters: int
    seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, nan as None."""

        def finite(value: float) -> float | None:
            return value if np.isfinite(value) else None

        return {
            **asdict(self),
            "validation": self.validation and self.validation.as_dict(),
            "test": self.test and self.test.as_dict(),
            "validation_ece_before": finite(self.validation_ece_before),
            "test_ece_before": finite(self.test_ece_before),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Metrics:
        """What as_dict wrote."""

        def evaluation(figures: dict[str, Any] | None) -> Evaluation | None:
            return None if figures is None else Evaluation(**{k: _nan(v) for k, v in figures.items()})

        scalars = {k: _nan(v) for k, v in values.items() if k not in ("validation", "test", "history")}
        return cls(
            validation=evaluation(values["validation"]),
            test=evaluation(values["test"]),
            history=values["history"],
            **scalars,
        )


def _nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_nan(v) for v in value]
    return float("nan") if value is None else value
