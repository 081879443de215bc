"""Temperature scaling: one number that makes probabilities mean what they say. Numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.rfnet.metrics import negative_log_likelihood

_GOLDEN = (5**0.5 - 1) / 2
_RANGE = (0.2, 5.0)  # a few hundred validation samples say nothing beyond this


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float32]:
    """softmax(logits / temperature) along the last axis, float32."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    shares: NDArray[np.float32] = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    return shares


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood, found by golden-section search.

    Args:
        logits: (N, C) float of a held-out split.
        labels: (N,) int64.
    Returns: in [0.2, 5]; 1.0 when there is no sample to fit on.
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. The loss is convex in
        1 / temperature, so it has one minimum.
    """
    if not len(labels):
        return 1.0

    def loss(inverse: float) -> float:
        return negative_log_likelihood(softmax(logits, 1 / inverse), labels)

    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return 2 / (low + high)
