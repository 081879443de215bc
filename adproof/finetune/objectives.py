"""What fine-tuning a generator on feedback minimises: pure functions of small tensors (arXiv 2408.00418, section 4).

Notation: eps noise predictions (B, ...), abar the cumulative alpha of the step, "null" the empty prompt, "tuned" and
"reference" the ControlNet in training and its frozen copy; both see the same latents.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from adproof.labels import Label

Reduction = Literal["norm", "mean"]


def f_ac(logits: Tensor) -> Tensor:
    """Feedback: cross-entropy of "available" under RFNet's logits (B, 5), mean over the batch; scalar."""
    wanted = torch.full((len(logits),), int(Label.AVAILABLE), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits.float(), wanted)


def guided(eps_prompt: Tensor, eps_null: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: eps_null + w (eps_prompt - eps_null), all (B, C, h, w)."""
    return eps_null + guidance * (eps_prompt - eps_null)


def noise_of(output: Tensor, z_t: Tensor, abar: Tensor | float, prediction_type: str) -> Tensor:
    """A U-Net's output (B, C, h, w) as eps, for "epsilon" and "v_prediction" nets. Raises ValueError for other kinds."""
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":
        abar = torch.as_tensor(abar)
        return abar.sqrt() * output + (1 - abar).sqrt() * z_t
    raise ValueError(f"a net that predicts {prediction_type!r} cannot be tuned here; epsilon and v_prediction can")


def clean_latents(z_t: Tensor, eps: Tensor, abar: Tensor | float) -> Tensor:
    """z0_hat = (z_t - sqrt(1 - abar) eps) / sqrt(abar), for 0 < abar <= 1: a number, or one that spreads over (B, C, h, w)."""
    abar = torch.as_tensor(abar)
    return (z_t - (1 - abar).sqrt() * eps) * abar.rsqrt()


def condition_direction(eps_prompt: Tensor, eps_null: Tensor, abar: Tensor | float, scaled: bool = True) -> Tensor:
    """d = -(1 - abar)^(-1/2) (eps_prompt - eps_null), the gradient of log p(c | z_t, y); (B, ...).

    scaled=False leaves the factor out, which weighs all steps alike.
    """
    difference = eps_null - eps_prompt
    return difference * (1 - torch.as_tensor(abar)).rsqrt() if scaled else difference


def consistent_condition_loss(d_tuned: Tensor, d_reference: Tensor, reduction: Reduction = "mean") -> Tensor:
    """L_CC = || d_tuned - stopgrad(d_reference) ||_2; scalar.

    "norm": the Euclidean norm of each sample's difference, mean over the batch (the formula as printed).
    "mean": that norm over the square root of the sample's size (root mean square), so that beta does not depend on
    the latents' size. Zero, with zero gradient, where both are equal.
    """
    difference = (d_tuned - d_reference.detach()).flatten(1)
    norms: Tensor = torch.linalg.vector_norm(difference.float(), dim=1)
    return (norms if reduction == "norm" else norms / difference.shape[1] ** 0.5).mean()


def kl_loss(eps_tuned: Tensor, eps_reference: Tensor, reduction: Reduction = "mean") -> Tensor:
    """The rival regulariser, || eps_tuned - stopgrad(eps_reference) ||^2; scalar.

    "norm": the sum of squares of each sample, mean over the batch; "mean": the mean of squares.
    """
    squares = (eps_tuned - eps_reference.detach()).flatten(1).float() ** 2
    return (squares.sum(1) if reduction == "norm" else squares.mean(1)).mean()


def refl_loss(reward: Tensor, weight: float = 1e-3, ceiling: float = 2.0) -> Tensor:
    """ReFL's reward term, weight x mean ReLU(ceiling - r) over rewards (B,); scalar (ImageReward, arXiv 2304.05977)."""
    return weight * F.relu(ceiling - reward).mean()
