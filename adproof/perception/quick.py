"""Saliency at a glance: U2-Net-p at less than half its size, for pictures that are looked at once and may be thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from adproof.perception.pictures import Pixels
from adproof.perception.u2netp import TorchU2NetP

# A fourth of the cost of the net's own 320; RFNet's small one looks at 128 px.
SIDE_PX = 128


class QuickSaliency:
    """U2-Net-p in torch at `side` px.

    Args:
        weights: u2netp.safetensors.
    Raises: FileNotFoundError: no such file.
    """

    def __init__(self, weights: Path, side: int = SIDE_PX) -> None:
        if not weights.is_file():
            raise FileNotFoundError(f"no saliency weights at {weights}")
        self.model, self.side = TorchU2NetP(weights).eval(), side

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """(H, W, 3) uint8 each -> (H, W) uint8, 255 = stands out most; stretched within each picture, as Saliency does."""
        if not len(images):
            return []
        small = [cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA) for image in images]
        with torch.inference_mode():
            x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float().div_(255)
            found = self.model(x)[:, 0].numpy()
        return [_like(one, image) for one, image in zip(found, images, strict=True)]


def _like(saliency: NDArray[np.float32], image: Pixels) -> Pixels:
    large = cv2.resize(saliency * 255, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(large), np.uint8)
