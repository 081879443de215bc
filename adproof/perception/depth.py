"""Depth maps by DPT: as 16-bit maps for the data, as a differentiable layer for fine-tuning.

Two kinds of checkpoints are read. Published ones (Intel/dpt-large ...) give inverse depth on an unknown
scale: their map is stretched within each picture and turned round. Ours say `"depth_kind": "distance"` in
their config.json and give distance in [0, 1] straight away.

Source: Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021, arXiv:2103.13413.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import BitConfig, DPTConfig, DPTForDepthEstimation

from adproof.perception.pictures import Map16, Pixels
from adproof.perception.precision import chosen_precision

DISTANCE = "distance"
Floats = NDArray[np.float32]
_BATCH, _SMALL_PX = 16, 256
_PATCH_PX = 16


def mini_config(size_px: int = 128) -> DPTConfig:
    """The shipped net's shape: DPT-hybrid in small (convolutions, then a transformer), under 1 M parameters.

    Args:
        size_px: side of the square pictures it works on, a multiple of 32.
    Raises: ValueError: another size.
    """
    if size_px % 32:
        raise ValueError(f"the depth net needs a size that is a multiple of 32, got {size_px}")
    widths = [32, 64, 96]
    backbone = BitConfig(
        global_padding="same",
        layer_type="bottleneck",
        depths=[2, 2, 2],
        embedding_size=32,
        hidden_sizes=widths,
        num_groups=8,
        out_features=["stage1", "stage2", "stage3"],
        embedding_dynamic_padding=True,
    )
    return DPTConfig(
        is_hybrid=True,
        backbone_config=backbone,
        backbone_featmap_shape=[1, widths[-1], size_px // _PATCH_PX, size_px // _PATCH_PX],
        image_size=size_px,
        patch_size=_PATCH_PX,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[widths[0], widths[1], 64, 96],
        neck_ignore_stages=[0, 1],
        reassemble_factors=[1, 1, 1, 0.5],
        fusion_hidden_size=40,
        head_in_index=-1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        depth_kind=DISTANCE,
    )


class TorchDepth(nn.Module):
    """DPT from a folder, distance out, differentiable.

    Args:
        folder: config.json and model.safetensors as transformers writes them; a hub id works where its files
            are in the local cache. Nothing is fetched.
    Raises: OSError: no such model.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__()
        self.network: nn.Module = DPTForDepthEstimation.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        self.size_px, self.gives_distance = _settings(self.network.config)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Say how far away everything is.

        Args:
            x: (B, 3, h, w) float in [0, 1], any size; scaled to the net's own.
        Returns: (B, 1, h, w) float in [0, 1], 0 = nearest, 1 = farthest.
        """
        small = functional.interpolate(
            x, size=(self.size_px, self.size_px), mode="bilinear", align_corners=False, antialias=True
        )
        distance = predicted_distance(self.network, small, self.gives_distance)
        return functional.interpolate(distance, size=x.shape[2:], mode="bilinear", align_corners=False)


def predicted_distance(network: nn.Module, x: Tensor, gives_distance: bool) -> Tensor:
    """Run a DPT at its own size.

    Args:
        network: DPTForDepthEstimation.
        x: (B, 3, s, s) float in [0, 1].
        gives_distance: False for published checkpoints, which give inverse depth.
    Returns: (B, 1, s, s) float, 0 = nearest, 1 = farthest; inverse depth is stretched within each picture.
    """
    # Published DPT and ours alike were trained on pictures in [-1, 1].
    found: Tensor = network(pixel_values=x * 2 - 1).predicted_depth[:, None]
    if gives_distance:
        return found.clamp(0, 1)
    low = found.amin(dim=(2, 3), keepdim=True)
    high = found.amax(dim=(2, 3), keepdim=True)
    return (high - found) / (high - low).clamp_min(1e-6)


class Depth:
    """Write depth maps for pictures.

    Args:
        folder: see `TorchDepth`.
        device: where torch runs it.
        precision: "fp32"; "bf16" all but its last layer, whose rounding would leave steps in the map; or "auto":
            bf16 where the machine is made for it.
        batch: pictures in the net at once, which bounds its memory.
    Raises: OSError: no such model. ValueError: another precision.
    """

    def __init__(
        self, folder: Path | str, device: str = "cpu", precision: str = "fp32", batch: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self.precision = chosen_precision(precision, device)
        self.model = TorchDepth(folder).to(self.device)
        if self.precision == "bf16":
            _keep_last_layer_exact(self.model.network)
        self.batch = batch or (_BATCH if self.model.size_px <= _SMALL_PX or self.device.type != "cpu" else 2)

    def __call__(self, images: Sequence[Pixels]) -> list[Map16]:
        """Say how far away everything is.

        Args:
            images: any number of (H, W, 3) uint8, sizes may differ.
        Returns: as many (H, W) uint16 at the pictures' own sizes, 0 = nearest, 65535 = farthest.
        Raises: ValueError: another shape or type.
        """
        for image in images:
            _check(image)
        found: list[Map16] = []
        for start in range(0, len(images), self.batch):
            some = images[start : start + self.batch]
            maps = self.run([self.prepared(image) for image in some])
            found += [self.finished(one, i.shape[1], i.shape[0]) for one, i in zip(maps, some, strict=True)]
        return found

    def prepared(self, image: Pixels) -> Pixels:
        """One picture as the net takes it: (s, s, 3) uint8. Raises ValueError: no (H, W, 3) uint8."""
        _check(image)
        return _scaled(image, self.model.size_px)

    def run(self, prepared: Sequence[Pixels]) -> list[Floats]:
        """The net's maps, (s, s) float32 each, 0 = nearest. May be called by many threads at once."""
        maps: list[Floats] = []
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), half:
            for start in range(0, len(prepared), self.batch):
                small = np.stack(prepared[start : start + self.batch]).astype(np.float32) / 255
                x = torch.from_numpy(small).permute(0, 3, 1, 2).to(self.device)
                distance = predicted_distance(self.model.network, x, self.model.gives_distance)
                maps += list(distance[:, 0].float().cpu().numpy())
        return maps

    def finished(self, found: Floats, width: int, height: int) -> Map16:
        """One of `run`'s maps as it is stored: (height, width) uint16."""
        return _enlarged(found, width, height)


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {image.shape} {image.dtype}")


class _Exact(nn.Module):
    """A layer that computes in float32 under autocast as well."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            found: Tensor = self.layer(x.float())
            return found


def _keep_last_layer_exact(network: Any) -> None:
    """The last convolution of DPT's head: the map it makes is to have 16 bits."""
    layers = network.head.head
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
    layers[last] = _Exact(layers[last])


def _scaled(image: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def _enlarged(distance: np.ndarray, width: int, height: int) -> Map16:
    large = Image.fromarray(distance).resize((width, height), Image.Resampling.BILINEAR)
    return (np.asarray(large).clip(0, 1) * 65535).round().astype(np.uint16)


def _settings(config: DPTConfig) -> tuple[int, bool]:
    size = config.image_size
    size_px = int(size if isinstance(size, int) else size[0])
    return size_px, getattr(config, "depth_kind", None) == DISTANCE
