"""U2-Net-p for many pictures on a CPU: the same computation as `U2NetP`, with what costs time besides its convolutions left out.

- ReLU, and the sum of the two halves of a joined input, are part of the convolution (oneDNN's post-operations): nothing is
  joined first.
- Maps lie in memory that each thread keeps. Given back and asked for again, their pages are cleared by the system for every
  picture, which takes a tenth of the time.
- Halving takes the largest of four by comparing whole rows. The six side maps are nine products a pixel and nine shifted
  sums, because a convolution to one channel is computed as one to sixteen.

No gradient. One picture at a time: a processor's caches hold the maps of one, not of many.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from adproof.perception.u2netp import DilatedUBlock, ResidualUBlock, U2NetP

_STRIDE = [1, 1]


def can_fuse(kind: torch.dtype = torch.float32) -> bool:
    """Whether this torch has oneDNN's convolutions with post-operations, and the processor can do them in these numbers."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or not hasattr(torch.ops.mkldnn, "_convolution_pointwise_"):
        return False
    return kind != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # not without AVX-512


class FusedU2NetP:
    """The network, ready for pictures of one size. May be called by many threads at once.

    Args:
        network: its weights; not changed.
        kind: torch.bfloat16 or torch.float32, the type of all maps but the last.
        side: height and width of the pictures, a multiple of 32.
    """

    def __init__(self, network: U2NetP, kind: torch.dtype, side: int) -> None:
        self._kind, self._mine = kind, threading.local()
        with torch.inference_mode():
            self._encoder = [_Block(block, kind, side >> level) for level, block in enumerate(network.encoder)]
            self._decoder = [
                _Block(block, kind, side >> (4 - n), joins=True) for n, block in enumerate(network.decoder)
            ]
            sides: list[Any] = list(network.side)
            share, last_bias = network.outconv.weight[0, :, 0, 0], cast(Tensor, network.outconv.bias)
            # The last layer is a weighted sum of the side maps: each side takes its weight, and the biases become one.
            self._sides = [_Side(conv, weight, kind) for conv, weight in zip(sides, share, strict=True)]
            biases = torch.stack([conv.bias[0] for conv in sides])
            self._bias = float(last_bias[0] + (biases * share).sum())

    def __call__(self, picture: Tensor) -> Tensor:
        """As `U2NetP`: (1, 3, side, side) float, normalised -> (side, side) float32 in (0, 1)."""
        room: _Room = self._mine.__dict__.setdefault("room", _Room(self._kind))
        with torch.inference_mode():
            x = picture.to(self._kind, memory_format=torch.channels_last)
            kept: list[Tensor] = []
            for level, block in enumerate(self._encoder):
                if level:
                    with room.halved(x) as half:
                        x = block(room, half)
                else:
                    x = block(room, x)
                kept.append(x)
            x = kept.pop()
            found = [self._sides[5](x)]
            for level, block in zip(reversed(range(5)), self._decoder, strict=True):
                skip = kept.pop()
                with room.enlarged(x) as large:
                    made = block(room, large, skip)
                room.give(x, skip)
                x = made
                found.append(self._sides[level](x))
            room.give(x)
            fused = found.pop()
            for each in found:
                fused += _enlarged(each[None, None], fused.shape)[0, 0]
            return torch.sigmoid_(fused.add_(self._bias))


class _Room:
    """Memory for the maps of one thread, taken and given back by shape."""

    def __init__(self, kind: torch.dtype) -> None:
        self._kind = kind
        self._free: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)

    def take(self, channels: int, height: int, width: int) -> Tensor:
        free = self._free[channels, height, width]
        if free:
            return free.pop()  # the one used last, which the caches may still hold
        return torch.empty(1, channels, height, width, dtype=self._kind, memory_format=torch.channels_last)

    def give(self, *maps: Tensor) -> None:
        for each in maps:
            self._free[tuple(each.shape[1:])].append(each)

    @contextmanager
    def halved(self, x: Tensor) -> Iterator[Tensor]:
        """The largest of each 2 x 2 pixels, as `max_pool2d`."""
        channels, height, width = x.shape[1:]
        rows, half = self.take(channels, height // 2, width), self.take(channels, height // 2, width // 2)
        torch.maximum(x[:, :, 0::2], x[:, :, 1::2], out=rows)
        torch.maximum(rows[..., 0::2], rows[..., 1::2], out=half)
        yield half
        self.give(rows, half)

    @contextmanager
    def enlarged(self, x: Tensor) -> Iterator[Tensor]:
        """Twice as high and wide, as `interpolate`."""
        channels, height, width = x.shape[1:]
        large = self.take(channels, 2 * height, 2 * width)
        torch.ops.aten.upsample_bilinear2d.out(x, [2 * height, 2 * width], False, out=large)
        yield large
        self.give(large)


class _Convolution:
    """3 x 3 with ReLU. With `joins`, of two maps of equally many channels, as if they were joined."""

    def __init__(self, conv: Any, kind: torch.dtype, side: int, joins: bool = False) -> None:
        self._spacing = [int(conv.dilation[0])] * 2
        self._bias = conv.bias.to(kind)[None, :, None, None]
        parts = conv.weight.to(kind).chunk(2 if joins else 1, dim=1)
        self._weights = [self._packed(part, [1, part.shape[1], side, side]) for part in parts]
        self._channels = conv.out_channels

    def _packed(self, weight: Tensor, size: list[int]) -> Any:
        weight = weight.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._reorder_convolution_weight(weight, self._spacing, _STRIDE, self._spacing, 1, size)

    def __call__(self, room: _Room, *maps: Tensor) -> Tensor:
        out = room.take(self._channels, *maps[0].shape[2:]).copy_(self._bias)
        for number, (x, weight) in enumerate(zip(maps, self._weights, strict=True), start=1):
            then = "relu" if number == len(maps) else None
            torch.ops.mkldnn._convolution_pointwise_.binary(
                out, x, weight, None, self._spacing, _STRIDE, self._spacing, 1, "add", None, then, [], None
            )
        return out


class _Block:
    """RSU-L or RSU-4F."""

    def __init__(self, block: Any, kind: torch.dtype, side: int, joins: bool = False) -> None:
        assert isinstance(block, ResidualUBlock | DilatedUBlock)
        self._dilated = isinstance(block, DilatedUBlock)
        n = len(block.down)
        sides = [side if self._dilated else side >> level for level in range(n)]
        self._first = _Convolution(block.first.conv, kind, side, joins)
        self._down = [_Convolution(each.conv, kind, at) for each, at in zip(block.down, sides, strict=True)]
        self._bottom = _Convolution(block.bottom.conv, kind, sides[-1])
        self._up = [_Convolution(e.conv, kind, at, joins=True) for e, at in zip(block.up, reversed(sides), strict=True)]

    def __call__(self, room: _Room, *maps: Tensor) -> Tensor:
        first = x = self._first(room, *maps)
        kept: list[Tensor] = []
        for conv in self._down:
            if kept and not self._dilated:
                with room.halved(x) as half:
                    x = conv(room, half)
            else:
                x = conv(room, x)
            kept.append(x)
        x = self._bottom(room, x)
        for conv in self._up:
            skip = kept.pop()
            if skip.shape == x.shape or self._dilated:
                made = conv(room, x, skip)
            else:
                with room.enlarged(x) as large:
                    made = conv(room, large, skip)
            room.give(x, skip)
            x = made
        room.give(first)
        return x.add_(first)


class _Side:
    """A 3 x 3 convolution to one channel, times a weight, without its bias."""

    def __init__(self, conv: Any, weight: Tensor, kind: torch.dtype) -> None:
        self._taps = (conv.weight[0] * weight).permute(1, 2, 0).reshape(9, -1).to(kind)

    def __call__(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        planes = (self._taps @ x[0].permute(1, 2, 0).reshape(-1, channels).t()).view(9, height, width)
        found: Tensor = planes[4].float()  # the tap at the pixel itself
        for tap, plane in enumerate(planes):
            if tap != 4:
                (to_y, of_y), (to_x, of_x) = _shifted(tap // 3), _shifted(tap % 3)
                found[to_y, to_x] += plane[of_y, of_x]
        return found


def _shifted(tap: int) -> tuple[slice, slice]:
    """Which pixels of the sum take which of a plane: a tap before, at, or after the pixel; outside is nothing."""
    return ((slice(1, None), slice(-1)), (slice(None), slice(None)), (slice(-1), slice(1, None)))[tap]


def _enlarged(x: Tensor, size: Any) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
