"""Saliency maps and cut-outs by U2-Net in onnxruntime: the path that builds data.

No gradient here; fine-tuning uses `adproof.perception.u2netp.TorchU2NetP`, the same weights in torch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from adproof.perception.masks import INSTEAD, alpha_of, check_share, resized
from adproof.perception.pictures import Pixels

Floats = NDArray[np.float32]
T = TypeVar("T")

SIDE_PX = 320
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

# Below 0.5 the net itself says "background" everywhere.
_LEAST_CONFIDENCE = 0.5


class Saliency:
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

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Say what stands out in each picture.

        Args:
            images: any number of (H, W, 3) uint8, sizes may differ.
        Returns: as many (H, W) uint8 at the pictures' own sizes, stretched so that the least salient pixel of
            a picture is 0 and the most salient 255, as rembg has it.
        Raises: ValueError: another shape or type.
        """
        return self._each(images, self._stretched)

    def confidence(self, images: Sequence[Pixels]) -> list[Floats]:
        """Give the net's own maps, before they are stretched: near 0 everywhere where nothing stands out.

        Args:
            images: any number of (H, W, 3) uint8, sizes may differ.
        Returns: as many (320, 320) float32 in [0, 1].
        Raises: ValueError: another shape or type.
        """
        return self._each(images, self._found)

    def _each(self, images: Sequence[Pixels], work: Callable[[Pixels], T]) -> list[T]:
        for image in images:
            _check(image)
        if self._threads == 1:
            return [work(image) for image in images]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(work, images))

    def _found(self, image: Pixels) -> Floats:
        small = np.asarray(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
        scaled = small.astype(np.float32) / max(int(small.max()), 1)
        batch = ((scaled - _MEAN) / _STD).transpose(2, 0, 1)[None]
        (found,) = self._session.run([self._output], {self._input: np.ascontiguousarray(batch)})
        return np.array(found[0, 0], dtype=np.float32)

    def _stretched(self, image: Pixels) -> Pixels:
        found = self._found(image)
        low, high = float(found.min()), float(found.max())
        stretched = (found - low) / max(high - low, 1e-6)
        return resized(stretched, image.shape[1], image.shape[0])


def cut_out(image: Pixels, saliency: Saliency) -> Pixels:
    """Cut the product out of a picture that has no transparency.

    Args:
        image: (H, W, 3) uint8.
        saliency: the net that finds it.
    Returns: (H, W, 4) uint8, the picture's own colours with the found alpha, not premultiplied.
    Raises: ValueError: nothing stands out, everything does, or another shape or type; says what to do.
    """
    return cut_out_found(image, saliency)[0]


def cut_out_found(image: Pixels, saliency: Saliency) -> tuple[Pixels, Floats]:
    """As `cut_out`, with the confidence map that it was cut by: (320, 320) float32 in [0, 1]."""
    (found,) = saliency.confidence([image])
    return _cut_by(image, found)


def cut_out_all(images: Sequence[Pixels], saliency: Saliency) -> list[tuple[Pixels, Floats] | ValueError]:
    """As `cut_out_found`, of any number of pictures; what it would raise of one stands in that one's place."""
    cut: list[tuple[Pixels, Floats] | ValueError] = []
    for image, found in zip(images, saliency.confidence(images), strict=True):
        try:
            cut.append(_cut_by(image, found))
        except ValueError as error:
            cut.append(error)
    return cut


def _cut_by(image: Pixels, found: Floats) -> tuple[Pixels, Floats]:
    if float(found.max()) < _LEAST_CONFIDENCE:
        raise ValueError(f"no object found: nothing in the picture stands out. {INSTEAD}")
    alpha = alpha_of(found, image.shape[1], image.shape[0])
    check_share(alpha)
    return np.dstack([image, alpha]), found


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {image.shape} {image.dtype}")
