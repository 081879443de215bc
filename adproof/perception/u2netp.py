"""U2-Net-p in torch: the small net of Qin et al. 2020, with batch normalisation folded into its convolutions.

Same weights and same output as the published ONNX file, but differentiable and free in its input's size:
reward-feedback fine-tuning needs the gradient of the saliency map, which onnxruntime cannot give.

| paper | here |
|---|---|
| RSU-L | `ResidualUBlock(height=L, ...)` |
| RSU-4F | `DilatedUBlock` |
| Sup1..6 | `side1`..`side6` |
| Sfuse | `outconv`, the one map that is used |

Source: Qin et al., "U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection", Pattern
Recognition 2020, arXiv:2005.09007, figures 2 and 5.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_WIDTH = 64
_INNER = 16


class ConvRelu(nn.Module):
    def __init__(self, n_in: int, n_out: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu_(self.conv(x))  # in place: these maps are what its memory and time go to


def _half(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


def _like(x: Tensor, other: Tensor) -> Tensor:
    return functional.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=False)


class ResidualUBlock(nn.Module):
    """RSU-L: a U-Net of `height` levels added to its own first convolution."""

    def __init__(self, height: int, n_in: int, n_inner: int, n_out: int) -> None:
        super().__init__()
        self.first = ConvRelu(n_in, n_out)
        self.down = nn.ModuleList(ConvRelu(n_out if level == 0 else n_inner, n_inner) for level in range(height - 1))
        self.bottom = ConvRelu(n_inner, n_inner, dilation=2)
        self.up = nn.ModuleList(
            ConvRelu(2 * n_inner, n_out if level == 0 else n_inner) for level in reversed(range(height - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.first(x)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else _half(x))
            kept.append(x)
        x = self.bottom(x)
        for block in self.up:
            skip = kept.pop()
            x = block(torch.cat([_like(x, skip), skip], dim=1))
        return torch.add(x, first)


class DilatedUBlock(nn.Module):
    """RSU-4F: the same idea at one resolution, with dilated convolutions in place of pooling."""

    def __init__(self, n_in: int, n_inner: int, n_out: int) -> None:
        super().__init__()
        self.first = ConvRelu(n_in, n_out)
        self.down = nn.ModuleList(
            ConvRelu(n_out if dilation == 1 else n_inner, n_inner, dilation) for dilation in (1, 2, 4)
        )
        self.bottom = ConvRelu(n_inner, n_inner, dilation=8)
        self.up = nn.ModuleList(
            ConvRelu(2 * n_inner, n_out if dilation == 1 else n_inner, dilation) for dilation in (4, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.first(x)
        kept: list[Tensor] = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        x = self.bottom(x)
        for block in self.up:
            x = block(torch.cat([x, kept.pop()], dim=1))
        return torch.add(x, first)


class U2NetP(nn.Module):
    """The bare network.

    Modules are registered in the order in which they run: the conversion relies on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            [
                ResidualUBlock(7, 3, _INNER, _WIDTH),
                ResidualUBlock(6, _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(5, _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(4, _WIDTH, _INNER, _WIDTH),
                DilatedUBlock(_WIDTH, _INNER, _WIDTH),
                DilatedUBlock(_WIDTH, _INNER, _WIDTH),
            ]
        )
        self.decoder = nn.ModuleList(
            [
                DilatedUBlock(2 * _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(4, 2 * _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(5, 2 * _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(6, 2 * _WIDTH, _INNER, _WIDTH),
                ResidualUBlock(7, 2 * _WIDTH, _INNER, _WIDTH),
            ]
        )
        self.side = nn.ModuleList(nn.Conv2d(_WIDTH, 1, 3, padding=1) for _ in range(6))
        self.outconv = nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Find what stands out.

        Args:
            x: (B, 3, h, w) float, normalised by ImageNet's mean and deviation.
        Returns: (B, 1, h, w) float in (0, 1), the fused map (Sfuse), not stretched.
        """
        kept: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else _half(x))
            kept.append(x)
        x = kept.pop()
        maps = [x]
        for block in self.decoder:
            skip = kept.pop()
            x = block(torch.cat([_like(x, skip), skip], dim=1))
            maps.append(x)
        sides = [conv(found) for conv, found in zip(self.side, reversed(maps), strict=True)]
        together = torch.cat([_like(one, sides[0]) for one in sides], dim=1)
        # In its weights' own type, which stays float32 where the rest is bfloat16 (`halved`).
        fused: Tensor = self.outconv(together.to(self.outconv.weight.dtype))
        return torch.sigmoid(fused)

    def halved(self) -> "U2NetP":
        """Bring this network to bfloat16, all but its last layer, whose rounding would be seen in the map."""
        self.to(torch.bfloat16)
        self.outconv.to(torch.float32)
        return self


class TorchU2NetP(nn.Module):
    """U2-Net-p as `Saliency` runs it (normalisation in, min-max out), in torch and differentiable.

    Args:
        weights: u2netp.safetensors, as `convert_u2netp` writes it; None for fresh random weights.
    Raises:
        FileNotFoundError: no such file.
        RuntimeError: the file holds other tensors.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.network = U2NetP()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        if weights is not None:
            self.network.load_state_dict(load_file(weights))
        self.eval()

    def confidence(self, x: Tensor) -> Tensor:
        """Give the net's own map, before it is stretched.

        Args:
            x: (B, 3, h, w) float in [0, 1], h and w multiples of 32.
        Returns: (B, 1, h, w) float in (0, 1).
        Raises: ValueError: another shape.
        """
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 32 or x.shape[3] % 32:
            raise ValueError(f"saliency needs (B, 3, h, w), h and w multiples of 32, got {tuple(x.shape)}")
        brightest = x.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
        found: Tensor = self.network((x / brightest - self.mean) / self.std)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Give the map that RFNet sees: stretched over [0, 1] within each picture, gradients kept.

        Args:
            x: (B, 3, h, w) float in [0, 1], h and w multiples of 32; 320 is what the net was trained at.
        Returns: (B, 1, h, w) float in [0, 1].
        Raises: ValueError: another shape.
        """
        found = self.confidence(x)
        low = found.amin(dim=(1, 2, 3), keepdim=True)
        high = found.amax(dim=(1, 2, 3), keepdim=True)
        return (found - low) / (high - low).clamp_min(1e-6)
