"""Bradley-Terry with ties (Davidson 1970): strengths of things from which of two people preferred.

With strengths s (log scale) and a tie parameter t, of a pair (i, j):
    first : second : tie  =  exp(s_i) : exp(s_j) : exp(t + (s_i + s_j) / 2).
A logit that is linear in (s, t), so the log-likelihood is concave. A normal prior on each parameter makes it strictly
so: there is one answer even for what never lost, or was never compared with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIRST, SECOND, TIE = 0, 1, 2
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Strengths:
    """What a fit found; log scale, mean 0: exp(s_i - s_j) is how often i is preferred for each time j is."""

    strength: Floats  # (n,)
    standard_error: Floats  # (n,), of the difference to the mean of all
    covariance: Floats  # (n, n), of the same
    tie: float  # t: 0 means that two equals tie in one of three
    compared: Ints  # (n,) comparisons of each
    group: Ints  # (n,) things with different numbers were never compared, not even through others

    def interval(self, z: float = 1.96) -> tuple[Floats, Floats]:
        """Lower and upper ends, each (n,)."""
        return self.strength - z * self.standard_error, self.strength + z * self.standard_error


def fit(
    first: ArrayLike, second: ArrayLike, outcome: ArrayLike, n: int, *, prior_sd: float = 3.0, tolerance: float = 1e-9
) -> Strengths:
    """Strengths of things 0..n-1 from comparisons, by Newton's method.

    first, second, outcome: (m,) integers; outcome is FIRST, SECOND or TIE. prior_sd: of the normal prior (mean 0) on
    every strength and on t; the larger, the weaker. Holds a few (n, n) float64 arrays: meant for n up to some thousands.
    Raises ValueError for shapes, numbers or outcomes that make no sense.
    """
    a, b, counts = _counted(first, second, outcome, n)
    if not (np.isfinite(prior_sd) and prior_sd > 0):
        raise ValueError("prior_sd must be a positive number.")
    precision = prior_sd**-2
    values = np.zeros(n + 1)
    current = _log_posterior(values, a, b, counts, precision)
    for _ in range(200):
        gradient, hessian = _slopes(values, a, b, counts, precision)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (found := _log_posterior(values + scale * step, a, b, counts, precision)) < current and scale > 1e-8:
            scale /= 2
        values, current = values + scale * step, max(found, current)
        if np.abs(step).max() < tolerance:
            break
    _, hessian = _slopes(values, a, b, counts, precision)
    covariance = np.linalg.inv(hessian)[:n, :n]
    # How far all could move together says nothing about who is better.
    covariance = covariance - covariance.mean(axis=0) - covariance.mean(axis=1)[:, None] + covariance.mean()
    compared = np.bincount(np.concatenate([a, b]), np.tile(counts.sum(axis=1), 2), minlength=n).astype(np.int64)
    return Strengths(
        strength=values[:n] - values[:n].mean(),
        standard_error=np.sqrt(np.maximum(np.diag(covariance), 0)),
        covariance=covariance,
        tie=float(values[n]),
        compared=compared,
        group=_groups(a, b, n),
    )


def _counted(first: ArrayLike, second: ArrayLike, outcome: ArrayLike, n: int) -> tuple[Ints, Ints, Floats]:
    """Each pair once, smaller number first, with how often each outcome was: (p,), (p,), (p, 3)."""
    if n < 1:
        raise ValueError("n must be at least 1.")
    columns = [np.asarray(column) for column in (first, second, outcome)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        raise ValueError("first, second and outcome must be of one dimension and equally long.")
    if len(columns[0]) and any(column.dtype.kind not in "iu" for column in columns):
        raise ValueError("first, second and outcome must be integers.")
    a, b, said = (column.astype(np.int64) for column in columns)
    if np.any((a < 0) | (a >= n) | (b < 0) | (b >= n)):
        raise ValueError(f"first and second must be from 0 to {n - 1}.")
    if np.any(a == b):
        raise ValueError("A thing can't be compared with itself.")
    if np.any((said < FIRST) | (said > TIE)):
        raise ValueError("outcome must be 0 (first), 1 (second) or 2 (tie).")
    turned = (a > b) & (said != TIE)
    said = np.where(turned, 1 - said, said)
    pair, place = np.unique(np.minimum(a, b) * n + np.maximum(a, b), return_inverse=True)
    counts = np.bincount(place.ravel() * 3 + said, minlength=3 * len(pair)).reshape(-1, 3).astype(np.float64)
    return pair // n, pair % n, counts


def _log_shares(values: Floats, a: Ints, b: Ints) -> Floats:
    s, t = values[:-1], values[-1]
    logits = np.stack([s[a], s[b], t + (s[a] + s[b]) / 2], axis=1)
    top = logits.max(axis=1, keepdims=True)
    shares: Floats = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return shares


def _log_posterior(values: Floats, a: Ints, b: Ints, counts: Floats, precision: float) -> float:
    return float((counts * _log_shares(values, a, b)).sum() - precision * (values**2).sum() / 2)


# What each outcome adds to (s_first, s_second, t).
_PARTS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]])


def _slopes(values: Floats, a: Ints, b: Ints, counts: Floats, precision: float) -> tuple[Floats, Floats]:
    """The gradient of the log-posterior and its negative Hessian."""
    size = len(values)
    shares = np.exp(_log_shares(values, a, b))
    total = counts.sum(axis=1)
    slope = (counts - total[:, None] * shares) @ _PARTS
    mean = shares @ _PARTS
    second = np.einsum("po,ox,oy->pxy", shares, _PARTS, _PARTS) - mean[:, :, None] * mean[:, None, :]
    second *= total[:, None, None]
    places = np.stack([a, b, np.full_like(a, size - 1)], axis=1)
    gradient = np.bincount(places.ravel(), slope.ravel(), minlength=size) - precision * values
    hessian = np.eye(size) * precision
    np.add.at(hessian, (places[:, :, None], places[:, None, :]), second)
    return gradient, hessian


def _groups(a: Ints, b: Ints, n: int) -> Ints:
    """The smallest number that each thing is connected with."""
    group = np.arange(n)
    while True:
        least = group.copy()
        np.minimum.at(least, a, group[b])
        np.minimum.at(least, b, group[a])
        least = least[least]
        if np.array_equal(least, group):
            return group
        group = least
