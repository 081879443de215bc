"""Saliency maps and cut-outs by U2-Net: the path that builds data.

In onnxruntime from the published file, or in torch where that is faster. No gradient here; fine-tuning uses
`adproof.perception.u2netp.TorchU2NetP`, the same weights.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from adproof.perception.masks import INSTEAD, THRESHOLD, MaskError, alpha_of, check_share, resized
from adproof.perception.pictures import Pixels
from adproof.perception.precision import check_precision, chosen_precision
from adproof.perception.u2netp import MEAN, STD, TorchU2NetP
from adproof.perception.u2netp_fused import FusedU2NetP, can_fuse

Floats = NDArray[np.float32]
T = TypeVar("T")

SIDE_PX = 320
_MEAN, _STD = np.array(MEAN, np.float32), np.array(STD, np.float32)

# Below 0.5 the net itself says "background" everywhere.
_LEAST_CONFIDENCE = 0.5


class NothingFound(MaskError):
    """U2-Net finds no one thing; the sentence says what to do. `found` is its confidence, (320, 320) float32."""

    def __init__(self, sentence: str, found: Floats) -> None:
        super().__init__(sentence)
        self.found = found


class SaliencyNet:
    """What both U2-Nets have in common; they differ in `run`."""

    precision = "fp32"

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Say what stands out in each picture.

        Args:
            images: any number of (H, W, 3) uint8, sizes may differ.
        Returns: as many (H, W) uint8 at the pictures' own sizes, stretched so that the least salient pixel of
            a picture is 0 and the most salient 255, as rembg has it.
        Raises: ValueError: another shape or type.
        """
        found = self.confidence(images)
        return [self.finished(one, image.shape[1], image.shape[0]) for one, image in zip(found, images, strict=True)]

    def confidence(self, images: Sequence[Pixels]) -> list[Floats]:
        """Give the net's own maps, before they are stretched: near 0 everywhere where nothing stands out.

        Args:
            images: any number of (H, W, 3) uint8, sizes may differ.
        Returns: as many (320, 320) float32 in [0, 1].
        Raises: ValueError: another shape or type.
        """
        for image in images:
            _check(image)
        return self.each(images, lambda image: self.run([self.prepared(image)])[0])

    def each(self, images: Sequence[Pixels], work: Callable[[Pixels], T]) -> list[T]:
        return [work(image) for image in images]

    def prepared(self, image: Pixels) -> Floats:
        """One picture as the net takes it: (3, 320, 320) float32, scaled by Lanczos as rembg does.

        Raises: ValueError: no (H, W, 3) uint8.
        """
        _check(image)
        small = np.asarray(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
        # What each of the 256 values becomes is computed once and looked up: a quarter of the time, the same numbers.
        scaled = np.arange(256).astype(np.float32)[:, None] / max(int(small.max()), 1)
        becomes = ((scaled - _MEAN) / _STD).T
        return np.stack([np.take(becomes[channel], small[..., channel]) for channel in range(3)])

    def run(self, prepared: Sequence[Floats]) -> list[Floats]:
        """The net's own maps, (320, 320) float32 in [0, 1] each, of what `prepare` made of the pictures.

        May be called by many threads at once.
        """
        raise NotImplementedError

    def finished(self, found: Floats, width: int, height: int) -> Pixels:
        """One of `run`'s maps as it is stored: stretched, (height, width) uint8."""
        low, high = float(found.min()), float(found.max())
        return resized((found - low) / max(high - low, 1e-6), width, height)


class Saliency(SaliencyNet):
    """Run U2-Net (or U2-Net-p) from an ONNX file.

    The published file takes one picture at a time; with `threads` > 1 that many pictures run side by side,
    each on one thread, which is faster on small nets than many threads in one picture.

    Args:
        onnx: u2netp.onnx or u2net.onnx.
        threads: pictures in work at once.
    Raises: FileNotFoundError: no such file.
    """

    def __init__(self, onnx: Path, threads: int = 1) -> None:
        if not Path(onnx).is_file():
            raise FileNotFoundError(f"no saliency model at {onnx}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self._threads = threads

    def each(self, images: Sequence[Pixels], work: Callable[[Pixels], T]) -> list[T]:
        if self._threads == 1:
            return super().each(images, work)
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(work, images))

    def run(self, prepared: Sequence[Floats]) -> list[Floats]:
        maps = [self._session.run([self._output], {self._input: each[None]})[0] for each in prepared]
        return [np.array(found[0, 0], dtype=np.float32) for found in maps]


class TorchSaliency(SaliencyNet):
    """Run U2-Net-p in torch, where that is faster: in bfloat16 on processors that compute with it, and on GPUs.

    Args:
        weights: u2netp.safetensors.
        precision: "fp32" or "bf16"; the maps of the two differ by about a grey level in the mean, more in cluttered scenes.
        device: where torch runs it.
    Raises: FileNotFoundError: no such file. ValueError: another precision.
    """

    def __init__(self, weights: Path, precision: str = "bf16", device: str = "cpu") -> None:
        if not Path(weights).is_file():
            raise FileNotFoundError(f"no saliency model at {weights}")
        check_precision(precision)
        network = TorchU2NetP(weights).network
        self._device, self.precision = torch.device(device), precision
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        self._fused: FusedU2NetP | None = None
        if self._device.type == "cpu" and can_fuse(self._type):
            self._fused = FusedU2NetP(network, self._type, SIDE_PX)
            return
        network = network.halved() if precision == "bf16" else network
        self._network: nn.Module = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._batch = 1 if self._device.type == "cpu" else 16

    def run(self, prepared: Sequence[Floats]) -> list[Floats]:
        if self._fused is not None:
            return [self._fused(torch.from_numpy(each)[None]).numpy() for each in prepared]
        maps: list[Floats] = []
        with torch.inference_mode():
            for at in range(0, len(prepared), self._batch):
                x = torch.from_numpy(np.stack(prepared[at : at + self._batch]))
                x = x.to(self._device, self._type, memory_format=torch.channels_last)
                maps += list(self._network(x)[:, 0].float().cpu().numpy())
        return maps


def open_saliency(onnx: Path, precision: str = "auto", device: str = "cpu") -> SaliencyNet:
    """The saliency net of a model set, the fastest way that this machine has.

    Args:
        onnx: U2-Net as published; torch runs U2-Net-p from the .safetensors beside it, if there is one.
        precision: "fp32", "bf16", or "auto": bf16 where the processor computes with it or torch has a GPU.
        device: where torch runs it.
    Raises: FileNotFoundError: nothing there. ValueError: no such precision, or one that needs the missing file.
    """
    chosen, weights = chosen_precision(precision, device), Path(onnx).with_suffix(".safetensors")
    if chosen == "bf16" or device != "cpu":
        if weights.is_file():
            return TorchSaliency(weights, chosen, device)
        if precision == "bf16":
            raise ValueError(f"{onnx} runs in fp32 on the CPU: choose fp32, or put its {weights.name} beside it")
    return Saliency(onnx)


def cut_out(image: Pixels, saliency: SaliencyNet) -> Pixels:
    """Cut the product out of a picture that has no transparency.

    Args:
        image: (H, W, 3) uint8.
        saliency: the net that finds it.
    Returns: (H, W, 4) uint8, the picture's own colours with the found alpha, not premultiplied.
    Raises: NothingFound: nothing stands out, or everything does. ValueError: another shape or type. They say what to do.
    """
    return cut_out_found(image, saliency)[0]


def cut_out_found(image: Pixels, saliency: SaliencyNet) -> tuple[Pixels, Floats]:
    """As `cut_out`, with the confidence map that it was cut by: (320, 320) float32 in [0, 1]."""
    (found,) = saliency.confidence([image])
    return _cut_by(image, found)


def cut_out_all(
    images: Sequence[Pixels], saliency: SaliencyNet, threshold: float = THRESHOLD
) -> list[tuple[Pixels, Floats] | ValueError]:
    """As `cut_out_found`, of any number of pictures; what it would raise of one stands in that one's place.

    threshold: confidence that becomes half-transparent, in (0, 1).
    """
    cut: list[tuple[Pixels, Floats] | ValueError] = []
    for image, found in zip(images, saliency.confidence(images), strict=True):
        try:
            cut.append(_cut_by(image, found, threshold))
        except ValueError as error:
            cut.append(error)
    return cut


def _cut_by(image: Pixels, found: Floats, threshold: float = THRESHOLD) -> tuple[Pixels, Floats]:
    if float(found.max()) < _LEAST_CONFIDENCE:
        raise NothingFound(f"no object found: nothing in the picture stands out. {INSTEAD}", found)
    alpha = alpha_of(found, image.shape[1], image.shape[0], threshold=threshold)
    try:
        check_share(alpha)
    except MaskError as problem:
        raise NothingFound(str(problem), found) from problem
    return np.dstack([image, alpha]), found


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {image.shape} {image.dtype}")
