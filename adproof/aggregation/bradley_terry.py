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
    return _fit(*_counted(first, second, outcome, n), n, prior_sd, tolerance)


def fit_counts(
    first: ArrayLike, second: ArrayLike, counts: ArrayLike, n: int, *, prior_sd: float = 3.0, tolerance: float = 1e-9
) -> Strengths:
    """The same from counts: first, second (p,) integers; counts (p, 3), how often each of FIRST, SECOND, TIE was.

    The same two things may stand in several rows, in either order. Costs nothing for more comparisons of the same.
    Raises ValueError as fit does, and for counts that are negative or of another shape.
    """
    a, b = _things(first, second, n)
    given = np.asarray(counts, dtype=np.float64)
    if given.shape != (len(a), 3) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError("counts must be (p, 3) numbers of 0 or more, one row for each of first and second.")
    return _fit(a, b, given, n, prior_sd, tolerance)


def leave_one_out(
    first: ArrayLike, second: ArrayLike, counts: ArrayLike, n: int, *, prior_sd: float = 3.0
) -> Floats:
    """(G, n) strengths, each fitted without one of G groups of comparisons: for `grouped_error`.

    counts: (g, p, 3), as in fit_counts but by group; groups without a comparison are left out. Answers about one product
    hang together; whoever groups by product gets errors that know it, as those of a single fit do not.
    Raises ValueError: see fit_counts.
    """
    given = np.asarray(counts, dtype=np.float64)
    if given.ndim != 3:
        raise ValueError("counts must be (g, p, 3).")
    total = given.sum(axis=0)
    without = [total - group for group in given if group.any()]
    rows = [fit_counts(first, second, rest, n, prior_sd=prior_sd).strength for rest in without]
    return np.stack(rows) if rows else np.zeros((0, n))


def grouped_error(left_out: Floats, contrast: ArrayLike) -> float:
    """Standard error of contrast @ strength by the delete-a-group jackknife; nan with fewer than two groups.

    left_out: what leave_one_out gives. contrast: (n,).
    """
    values = left_out @ np.asarray(contrast, dtype=np.float64)
    groups = len(values)
    if groups < 2:
        return float("nan")
    return float(np.sqrt((groups - 1) / groups * ((values - values.mean()) ** 2).sum()))


def _fit(a: Ints, b: Ints, counts: Floats, n: int, prior_sd: float, tolerance: float) -> Strengths:
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
    a, b = _things(first, second, n)
    column = np.asarray(outcome)
    if column.shape != a.shape:
        raise ValueError("first, second and outcome must be of one dimension and equally long.")
    if len(column) and column.dtype.kind not in "iu":
        raise ValueError("first, second and outcome must be integers.")
    said = column.astype(np.int64)
    if np.any((said < FIRST) | (said > TIE)):
        raise ValueError("outcome must be 0 (first), 1 (second) or 2 (tie).")
    turned = (a > b) & (said != TIE)
    said = np.where(turned, 1 - said, said)
    pair, place = np.unique(np.minimum(a, b) * n + np.maximum(a, b), return_inverse=True)
    counts = np.bincount(place.ravel() * 3 + said, minlength=3 * len(pair)).reshape(-1, 3).astype(np.float64)
    return pair // n, pair % n, counts


def _things(first: ArrayLike, second: ArrayLike, n: int) -> tuple[Ints, Ints]:
    if n < 1:
        raise ValueError("n must be at least 1.")
    columns = [np.asarray(column) for column in (first, second)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        raise ValueError("first and second must be of one dimension and equally long.")
    if len(columns[0]) and any(column.dtype.kind not in "iu" for column in columns):
        raise ValueError("first and second must be integers.")
    a, b = (column.astype(np.int64) for column in columns)
    if np.any((a < 0) | (a >= n) | (b < 0) | (b >= n)):
        raise ValueError(f"first and second must be from 0 to {n - 1}.")
    if np.any(a == b):
        raise ValueError("A thing can't be compared with itself.")
    return a, b


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
