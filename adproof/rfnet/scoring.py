"""RFNet's verdict on candidates: calibrated probabilities from a checkpoint folder."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.rfnet.calibration import softmax
from adproof.rfnet.checkpoint import WEIGHTS_FILE, load_checkpoint
from adproof.rfnet.network import RFNet
from adproof.rfnet.preprocess import RFNetSample, pack, place_product, unpack
from adproof.rfnet.train import autocast

__all__ = ["DifferentiableRFNet", "RFNetSample", "Scorer", "differentiable"]

_CACHED_PRODUCTS = 4096


class Scorer:
    """A checkpoint ready to judge.

    Products and captions come again with every attempt and every round, so what the network makes of them is
    kept (4,096 of them, the least used go first).

    Args:
        folder: a finished checkpoint folder.
        device: torch device.
        batch_size: samples at once.
        precision: "fp32", or "bf16": a third less time in the network, probabilities up to 0.03 apart.
    Raises: see load_checkpoint.
    """

    def __init__(self, folder: Path | str, device: str = "cpu", batch_size: int = 32, precision: str = "fp32") -> None:
        self.checkpoint = load_checkpoint(folder, device)
        self.key = self.checkpoint.sums[WEIGHTS_FILE]
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        self._products: OrderedDict[bytes, tuple[Tensor, Tensor | None]] = OrderedDict()

    @property
    def network(self) -> RFNet:
        return self.checkpoint.network

    def __call__(self, samples: Sequence[RFNetSample]) -> NDArray[np.float32]:
        """Calibrated probabilities of the five labels.

        Args:
            samples: N samples; their labels are not looked at.
        Returns: (N, 5) float32, rows sum to 1, in the order of adproof.labels.
        Raises: ValueError: a picture has a wrong shape.
        """
        parts = [np.empty((0, self.checkpoint.config.n_labels), np.float32)]
        for start in range(0, len(samples), self.batch_size):
            parts.append(self._logits(samples[start : start + self.batch_size]))
        return softmax(np.concatenate(parts), self.checkpoint.temperature)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """(N, L) int64 token ids for DifferentiableRFNet."""
        return torch.from_numpy(self.checkpoint.tokenizer(captions)).to(self.device)

    def products(self, pictures: Sequence[NDArray[np.uint8]], placed: bool = False) -> Tensor:
        """Product pictures for DifferentiableRFNet.

        Args:
            pictures: N of (H, W, 4) uint8.
            placed: they are canvases with the product where the generated image has it; else each is cut to
                its alpha box and put centred at the config's product_scale.
        Returns: (N, 4, S, S) float32 in [0, 1].
        """
        config = self.checkpoint.config
        scale = 0.0 if placed else config.product_scale
        squares = [place_product(p, config.image_size, scale) for p in pictures]
        return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float().div(255).to(self.device)

    def _logits(self, samples: Sequence[RFNetSample]) -> NDArray[np.float32]:
        config, network = self.checkpoint.config, self.network
        planes = torch.from_numpy(np.stack([pack(s, config) for s in samples]))
        ids = self.tokens([s.caption for s in samples])
        with torch.no_grad(), autocast(self.precision, self.device):
            kept = self._kept(planes, ids)
            pictures = unpack(planes.to(self.device))
            pictures.pop("product")
            maps = network.encode_images(pictures)
            if "product" in config.modalities:
                maps["product"] = torch.stack([k[0] for k in kept])
            captions = [k[1] for k in kept if k[1] is not None]
            logits = network.fuse(maps, torch.stack(captions) if captions else None, ids)
        result: NDArray[np.float32] = logits.cpu().numpy()
        return result

    def _kept(self, planes: Tensor, ids: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Each sample's product map and caption tokens, computed where they are not known yet."""
        keys = [
            hashlib.sha256(p[:4].numpy().tobytes() + i.cpu().numpy().tobytes()).digest()
            for p, i in zip(planes, ids, strict=True)
        ]
        new = {key: row for row, key in enumerate(keys) if key not in self._products}
        if new:
            rows = list(new.values())
            pictures = {"product": unpack(planes[rows].to(self.device))["product"]}
            has_product = "product" in self.checkpoint.config.modalities
            maps = self.network.encode_images(pictures)["product"] if has_product else ids.new_zeros(len(rows))
            captions = self.network.encode_caption(ids[rows])
            for place, key in enumerate(new):
                self._products[key] = (maps[place], None if captions is None else captions[place])
        found = [self._products[key] for key in keys]
        for key in keys:
            self._products.move_to_end(key)
        while len(self._products) > _CACHED_PRODUCTS:
            self._products.popitem(last=False)
        return found


class DifferentiableRFNet(nn.Module):
    """RFNet as a loss sees it: float pictures of any size in, calibrated logits out, with gradient.

    Its weights are frozen and it stays in eval mode.
    """

    def __init__(self, network: RFNet, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.temperature = temperature

    def train(self, mode: bool = True) -> DifferentiableRFNet:
        """Stays in eval mode: running statistics and dropout must not move while a generator learns."""
        return super().train(False)

    def forward(self, product: Tensor, generated: Tensor, depth: Tensor, saliency: Tensor, ids: Tensor) -> Tensor:
        """Logits / temperature; softmax of them are the Scorer's probabilities.

        Args:
            product: (B, 4, H, W) float in [0, 1], straight alpha, from Scorer.products.
            generated: (B, 3, H, W) float in [0, 1].
            depth: (B, 1, H, W) float, 0 = nearest, 1 = farthest.
            saliency: (B, 1, H, W) float in [0, 1].
            ids: (B, L) int64, from Scorer.tokens.
        Returns: (B, 5) float32.
        """
        size = self.network.config.image_size
        pictures = {
            "product": _resized(product, size),
            "generated": _resized(generated, size),
            "depth": _resized(depth, size),
            "saliency": _resized(saliency, size),
        }
        logits: Tensor = self.network(pictures, ids)
        return logits / self.temperature


def _resized(pictures: Tensor, size: int) -> Tensor:
    height, width = pictures.shape[-2:]
    if (height, width) == (size, size):
        return pictures
    if height % size == 0 and width % size == 0:
        return F.avg_pool2d(pictures, (height // size, width // size))  # what `square` does
    return F.interpolate(pictures, (size, size), mode="bilinear", align_corners=False, antialias=True)


def differentiable(scorer: Scorer) -> DifferentiableRFNet:
    """The scorer's network as a frozen module with gradient to its pictures (for RFFT).

    It shares the scorer's weights and freezes them.
    """
    return DifferentiableRFNet(scorer.network, scorer.checkpoint.temperature)
