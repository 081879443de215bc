"""Depth and saliency in bulk: pictures in, PNG out, resident nets, and nothing waits for anything but the nets.

Decoding, scaling and PNG coding run in threads beside the nets (their C code lets other threads run). The order of the
pictures is kept, only so many are under way at once, and a bad picture is an error of that picture alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from adproof.perception.depth import Depth
from adproof.perception.pictures import Pixels, depth_to_png, open_picture, saliency_to_png
from adproof.perception.saliency import SaliencyNet


@dataclass(frozen=True)
class Maps:
    """What was seen in a picture, at its own size: a 16-bit and an 8-bit grey PNG."""

    depth_png: bytes
    saliency_png: bytes


@dataclass(frozen=True)
class Unseen:
    """A picture that could not be read; `why` is a sentence for a person."""

    why: str


@dataclass(frozen=True)
class _Ready:
    for_depth: Pixels
    for_saliency: Any
    width: int
    height: int


class Perceiver:
    """Both nets, ready for any number of pictures.

    Args:
        depth, saliency: the nets.
        lanes: batches in the nets at once. On a CPU one for each core that may be used, each on one thread: faster than
            one batch on many threads. On a GPU one.
        helpers: threads that decode and encode; None: one for every lane.
        batch: pictures that go through the nets together.
    """

    def __init__(
        self, depth: Depth, saliency: SaliencyNet, lanes: int = 1, helpers: int | None = None, batch: int = 4
    ) -> None:
        self.depth, self.saliency, self.batch = depth, saliency, batch
        # In every lane a batch is in the nets and one is ready; finished ones wait for those before them.
        self._most_under_way = 2 * lanes + 1
        if lanes > 1:
            torch.set_num_threads(1)
        self._lanes = ThreadPoolExecutor(lanes, "perceive")
        self._helpers = ThreadPoolExecutor(helpers or lanes, "perceive-png")

    def __call__(self, pictures: Iterable[bytes | Pixels]) -> Iterator[Maps | Unseen]:
        """Depth and saliency of each picture, in their order, as soon as they are there.

        Args:
            pictures: files (PNG, JPEG, WebP), or (H, W, 3) uint8; taken as they are needed.
        Yields: for each its maps, or why there are none.
        Raises: what the nets themselves raise.
        """
        source, under_way = iter(pictures), deque[Future[list[Future[Maps] | Unseen]]]()
        while batch := list(islice(source, self.batch)):
            prepared = [self._helpers.submit(self._prepare, picture) for picture in batch]
            under_way.append(self._lanes.submit(self._see, prepared))
            if len(under_way) == self._most_under_way:
                yield from _in_order(under_way.popleft())
        while under_way:
            yield from _in_order(under_way.popleft())

    def close(self) -> None:
        self._lanes.shutdown(cancel_futures=True)
        self._helpers.shutdown(cancel_futures=True)

    def _prepare(self, picture: bytes | Pixels) -> _Ready | Unseen:
        try:
            image = open_picture(picture)[..., :3] if isinstance(picture, bytes) else picture
            return _Ready(
                self.depth.prepared(image), self.saliency.prepared(image), image.shape[1], image.shape[0]
            )
        except ValueError as error:  # PictureError is one
            return Unseen(str(error))

    def _see(self, prepared: Sequence[Future[_Ready | Unseen]]) -> list[Future[Maps] | Unseen]:
        """In a lane: the nets. What is left to do with their maps goes back to the helpers, which wait for nobody."""
        waited = [each.result() for each in prepared]
        ready = [each for each in waited if isinstance(each, _Ready)]
        depths = iter(self.depth.run([each.for_depth for each in ready]))
        saliencies = iter(self.saliency.run([each.for_saliency for each in ready]))
        return [
            each if isinstance(each, Unseen) else self._helpers.submit(self._finish, each, next(depths), next(saliencies))
            for each in waited
        ]

    def _finish(self, ready: _Ready, depth: Any, saliency: Any) -> Maps:
        return Maps(
            depth_to_png(self.depth.finished(depth, ready.width, ready.height)),
            saliency_to_png(self.saliency.finished(saliency, ready.width, ready.height)),
        )


def _in_order(seen: Future[list[Future[Maps] | Unseen]]) -> Iterator[Maps | Unseen]:
    for each in seen.result():
        yield each if isinstance(each, Unseen) else each.result()


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
