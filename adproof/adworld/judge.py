"""An independent judge of availability, for demonstrations and studies.

Generated pictures have no scene graph that would tell their label. Where no people are at hand, this network
stands in for them: its probabilities go through a simulated annotator's confusion, and its mean verdict is
the independent measure beside RFNet's own. It shares nothing with RFNet but the classes: early fusion of
product and picture in one convolutional network instead of four streams, hashed words that scale and shift
its features (FiLM) instead of RoBERTa and attention, no depth and no saliency; other scenes in kind
(World(kind="judge")) and other seeds. Its own accuracy on rendered truth lies in its folder's metrics.json
and MODEL_CARD.md.

Source of FiLM: Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.labels import LABELS, N_LABELS
from adproof.rfnet import checkpoint as files
from adproof.rfnet.calibration import softmax
from adproof.rfnet.preprocess import product_on_canvas, square

SIZE_PX = 128
PRODUCT_SCALE = 0.5  # for a product that is not found in its picture
N_BUCKETS = 4096
MAX_WORDS = 24
_EMPTY = 0  # bucket of "no word here"
_BATCH = 64
_PLACE_CHANNELS, _PLACE_GRID = 24, 4


def hashed_words(captions: Sequence[str]) -> NDArray[np.int64]:
    """Words and pairs of neighbouring words as buckets.

    Args:
        captions: N texts; the first 24 words of each are read.
    Returns: (N, 48) int64 in 0..4095; 0 = none.
    """
    buckets = np.zeros((len(captions), 2 * MAX_WORDS), np.int64)
    for row, caption in enumerate(captions):
        words = re.findall(r"[a-z]+|\d+(?:\.\d+)?", caption.lower())[:MAX_WORDS]
        texts = words + [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]
        buckets[row, : len(texts)] = [1 + zlib.crc32(t.encode()) % (N_BUCKETS - 1) for t in texts]
    return buckets


class FilmBlock(nn.Module):
    """Two convolutions with a residual; the caption scales and shifts what lies between them."""

    def __init__(self, channels: int, caption_width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.film = nn.Linear(caption_width, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, caption: Tensor) -> Tensor:
        scale, shift = self.film(caption)[:, :, None, None].chunk(2, 1)
        y = F.relu(self.first_norm(self.first(x)) * (1 + scale) + shift)
        return F.relu(x + self.second_norm(self.second(y)))


def _down(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class JudgeNet(nn.Module):
    """Product and picture, one over the other, through one network.

    Args:
        channels: of the maps at 1/2, 1/4, 1/8 and 1/16 of the side.
        caption_width: of the caption's vector.
    """

    def __init__(self, channels: Sequence[int] = (24, 48, 96, 160), caption_width: int = 64) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = channels
        self.words = nn.EmbeddingBag(N_BUCKETS, 48, mode="sum", padding_idx=_EMPTY)
        self.caption = nn.Sequential(nn.Linear(48, caption_width), nn.ReLU(), nn.Linear(caption_width, caption_width))
        self.stem = nn.Sequential(_down(9, half, 4), _down(half, quarter), _down(quarter, eighth))
        self.middle = FilmBlock(eighth, caption_width)
        self.last = _down(eighth, sixteenth)
        self.blocks = nn.ModuleList([FilmBlock(sixteenth, caption_width) for _ in range(2)])
        self.out_channels = sixteenth
        self.places = nn.Conv2d(sixteenth, _PLACE_CHANNELS, 1)
        self.vector_width = 2 * sixteenth + caption_width + _PLACE_CHANNELS * _PLACE_GRID**2
        self.head = nn.Sequential(
            nn.Linear(self.vector_width, 160), nn.ReLU(), nn.Dropout(0.1), nn.Linear(160, N_LABELS)
        )

    def features(self, product: Tensor, image: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """The last map (B, C, S/16, S/16) and the vector (B, vector_width) before the head."""
        alpha = product[:, 3:]
        # Where things are decides what supports them: the network is told each pixel's row and column.
        line = torch.linspace(0, 1, image.shape[-1])
        rows, columns = (g.expand(len(image), 1, -1, -1) for g in torch.meshgrid(line, line, indexing="ij"))
        x = torch.cat([product[:, :3] * alpha, alpha, image, rows, columns], 1) * 2 - 1
        caption = self.caption(self.words(words))
        x = self.middle(self.stem(x.contiguous(memory_format=torch.channels_last)), caption)
        x = self.last(x)
        for block in self.blocks:
            x = block(x, caption)
        places = F.adaptive_avg_pool2d(self.places(x), _PLACE_GRID).flatten(1)
        return x, torch.cat([x.mean((2, 3)), x.amax((2, 3)), caption, places], 1)

    def forward(self, product: Tensor, image: Tensor, words: Tensor) -> Tensor:
        """Logits.

        Args:
            product: (B, 4, S, S) float in [0, 1], straight alpha, where the picture has it.
            image: (B, 3, S, S) float in [0, 1].
            words: (B, 48) int64 of hashed_words.
        Returns: (B, 5) float32.
        """
        _, vector = self.features(product, image, words)
        logits: Tensor = self.head(vector)
        return logits.float()


class Judge:
    """The trained judge: calibrated probabilities for generated pictures.

    Args:
        folder: with model.safetensors, config.json, SHA256SUMS; None = the one that comes with the package.
    Raises:
        FileNotFoundError: a file is missing. ValueError: a sum differs, or it is another network's folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = files.shipped("judge") if folder is None else Path(folder)
        files.refuse_pickles(folder)
        files.check_sums(folder)
        config = json.loads((folder / files.CONFIG_FILE).read_text())
        if config.get("kind") != "judge" or config.get("labels") != list(LABELS):
            raise ValueError(f"{folder} does not hold a judge of these labels")
        self.temperature = float(config["temperature"])
        self.bias = np.array(config["bias"], np.float32)
        self.network = JudgeNet()
        self.network.load_state_dict(files.read_weights(folder / files.WEIGHTS_FILE))
        self.network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def __call__(
        self,
        products: Sequence[NDArray[np.uint8]],
        images: Sequence[NDArray[np.uint8]],
        captions: Sequence[str],
    ) -> NDArray[np.float32]:
        """Probabilities of the five labels.

        Args:
            products: N of (H, W, 4) uint8: canvases that fit their image pixel by pixel, or cut-outs of any
                size, which are looked for in the middle of their image.
            images: N of (H, W, 3) uint8, any size; read at 128 px.
            captions: N texts.
        Returns: (N, 5) float32, rows sum to 1, in the order of adproof.labels.
        Raises: ValueError: the numbers differ, or a picture has a wrong shape.
        """
        if not len(products) == len(images) == len(captions):
            raise ValueError(f"{len(products)} products, {len(images)} images, {len(captions)} captions")
        parts = [np.empty((0, N_LABELS), np.float32)]
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            parts.append(self._logits(products[part], images[part], captions[part]))
        return softmax(np.concatenate(parts) + self.bias, self.temperature)

    def _logits(
        self,
        products: Sequence[NDArray[np.uint8]],
        images: Sequence[NDArray[np.uint8]],
        captions: Sequence[str],
    ) -> NDArray[np.float32]:
        placed = [product_on_canvas(p, i, SIZE_PX, PRODUCT_SCALE) for p, i in zip(products, images, strict=True)]
        with torch.no_grad():
            logits = self.network(
                _tensor(placed),
                _tensor([square(i, SIZE_PX) for i in images]),
                torch.from_numpy(hashed_words(captions)),
            )
        result: NDArray[np.float32] = logits.numpy()
        return result


def _tensor(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def save_judge(
    folder: Path, network: JudgeNet, temperature: float, bias: NDArray[np.float32], about: dict[str, Any]
) -> None:
    """Write the judge's folder, fp16; `about` goes into metrics.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files.SUMS_FILE).unlink(missing_ok=True)
    files.write_weights(folder / files.WEIGHTS_FILE, network.state_dict(), torch.float16)
    config = {
        "kind": "judge",
        "labels": list(LABELS),
        "temperature": temperature,
        "bias": [round(float(b), 6) for b in bias],
    }
    files.write_json(folder / files.CONFIG_FILE, config)
    files.write_json(folder / files.METRICS_FILE, about)
    files.write_sums(folder, [files.WEIGHTS_FILE, files.CONFIG_FILE, files.METRICS_FILE])
