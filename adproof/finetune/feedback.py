"""RFNet's opinion of a half-finished image, with a gradient to its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

Feedback = Callable[[Tensor, Tensor, Sequence[str]], Tensor]
"""(product RGBA (B,4,h,w), image (B,3,h,w), captions), both in [0,1] -> logits (B,5)."""

Judge = Callable[[Tensor, Tensor, Tensor, Tensor, Sequence[str]], Tensor]
"""(product RGBA (B,4,h,w), image (B,3,h,w), depth (B,1,h,w), saliency (B,1,h,w), captions) -> logits (B,5)."""

Perception = Callable[[Tensor], Tensor]
"""image (B,3,h,w) in [0,1] -> map (B,1,h,w) in [0,1]."""


def rfnet_feedback(
    judge: Judge,
    depth: Perception,
    saliency: Perception,
    depth_gradient: bool = True,
    saliency_gradient: bool = True,
    saliency_size: int | None = None,
) -> Feedback:
    """Judge x0_hat with the depth and the saliency OF x0_hat.

    depth_gradient, saliency_gradient: whether the feedback also flows through these nets to the pixels; off = their
    maps are taken as given. saliency_size: side in px at which saliency looks (None: the image's own).
    """

    def perceive(net: Perception, image: Tensor, with_gradient: bool, size: int | None) -> Tensor:
        side = image.shape[-1]
        with nullcontext() if with_gradient else torch.no_grad():
            seen = image if size in (None, side) else _resized(image, int(size or side))
            found = net(seen)
            return found if found.shape[-1] == side else _resized(found, side)

    def feedback(product: Tensor, image: Tensor, captions: Sequence[str]) -> Tensor:
        depths = perceive(depth, image, depth_gradient, None)
        saliencies = perceive(saliency, image, saliency_gradient, saliency_size)
        return judge(product, image, depths, saliencies, captions)

    return feedback


def _resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
