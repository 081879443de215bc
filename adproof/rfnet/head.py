"""The classifier's first weights, fitted to the labels before the whole network learns.

A new head of random weights spoils good features before it knows what to do with them, and a few hundred labels are too few
to mend that. So logistic regression on the features as the start gives them comes first, then the training of everything
(Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROUNDS = 100
_LEAST_SPREAD = 1e-6


def fit_head(classifier: nn.Linear, features: Tensor, labels: Tensor, strength: float, weights: Tensor | None) -> None:
    """Give the classifier the weights of a logistic regression with a quadratic penalty.

    Args:
        classifier: C outputs, W inputs; changed in place.
        features: (N, W) float. labels: (N,) int64 in 0..C-1.
        strength: of the penalty on the squared weights of standardised features; over 0.
        weights: (C,) of the labels in the loss, or None.
    """
    middle, spread = features.mean(0), features.std(0, correction=0).clamp_min(_LEAST_SPREAD)
    standard = (features - middle) / spread
    slope = torch.zeros(classifier.weight.shape, device=features.device, requires_grad=True)
    offset = torch.zeros(len(slope), device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([slope, offset], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(standard, slope, offset), labels, weights) + strength * slope.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        classifier.weight.copy_(slope / spread)
        classifier.bias.copy_(offset - (slope / spread) @ middle)
