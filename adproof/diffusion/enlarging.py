"""A small background brought to the finished picture's size."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from adproof.diffusion.conditions import Uint8Array


def enlarge(background: Uint8Array, alpha: Uint8Array, size: int) -> Uint8Array:
    """A small background (S, S, 3) brought to (size, size, 3).

    What the product covers (alpha (S, S)), and the pixel around it, is first filled from its surroundings, so that
    its blurred copy in the small picture leaves no rim around the sharp product that is laid over it.
    """
    covered = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    filled = _filled(background.astype(np.float32), (covered == 0).astype(np.float32))
    large = cv2.resize(filled, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(np.clip(large, 0, 255)), np.uint8)


def _filled(picture: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """picture (H, W, 3) where known (H, W) is 1, elsewhere smoothly continued from there (push-pull pyramid)."""
    height, width = known.shape
    if known.min() == 1 or min(height, width) == 1:
        return picture
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(picture * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = _filled(colour / np.maximum(weight, 1e-6)[..., None], (weight > 0).astype(np.float32))
    behind = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(known[..., None] > 0, picture, behind), np.float32)
