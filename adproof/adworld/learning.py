"""Learning from drawn scenes: their truth as tensors, helping losses, batches and a resumable loop.

Used by RFNet's pretraining and by the judge's training; the two share no network and no scene.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.adworld.catalogue import products, references
from adproof.adworld.drawn import DrawnScenes, Truth
from adproof.adworld.words import KINDS
from adproof.labels import N_LABELS
from adproof.rfnet import checkpoint as files
from adproof.rfnet.data import caption_of
from adproof.rfnet.preprocess import mirrored, unpack
from adproof.rfnet.train import autocast, step_seed

CAUSES = (
    "",
    "float",
    "hover",
    "front_edge",
    "side_edge",
    "podium_edge",
    "too_big",
    "too_small",
    "camouflage",
    "clutter",
    "truncation",
    "base",
    "legs",
    "longer",
    "handle",
    "top",
)
_BATCH = 32
_EVALUATION_BATCH = 64
_SAVE_STEPS = 200
_SIZE_STEP = 0.7  # natural log; editions differ by log 4 = 1.39


@dataclass(frozen=True)
class Targets:
    """What is known of N scenes.

    label, cause, kind, product: (N,) int64. horizon: (N,) float32, share of the side.
    present: (N, R) float32, 1 where reference r stands there.
    height: (N, R) float32, its box's height as a share of the side.
    told, drawn: (N,) float32, log of the product's height in cm by caption and by the things beside it.
    relation: (N,) int64, 0 drawn smaller than told, 1 the same, 2 bigger; -1 when nothing stands beside it.
    """

    label: Tensor
    cause: Tensor
    kind: Tensor
    product: Tensor
    horizon: Tensor
    present: Tensor
    height: Tensor
    told: Tensor
    drawn: Tensor
    relation: Tensor

    def of(self, rows: NDArray[np.int64]) -> Targets:
        """Those of these rows (B,), in this order."""
        return Targets(**{name: value[rows] for name, value in vars(self).items()})


def reference_names() -> tuple[str, ...]:
    """Names of the things of known size, sorted."""
    return tuple(sorted({str(r.name) for r in references()}))


def targets_of(truths: list[Truth], size: int) -> tuple[Targets, int]:
    """The truths as tensors, and how many products there are."""
    names = {name: k for k, name in enumerate(reference_names())}
    skus = {sku: k for k, sku in enumerate(sorted({t.sku for t in truths}))}
    present = np.zeros((len(truths), len(names)), np.float32)
    height = np.zeros_like(present)
    for row, truth in enumerate(truths):
        for name, _, (_, top, _, bottom) in truth.references:
            present[row, names[name]] = 1
            height[row, names[name]] = (bottom - top) / size
    told = np.log(np.array([t.told_cm for t in truths], np.float32))
    drawn = np.log(np.array([t.drawn_cm for t in truths], np.float32))
    relation = np.where(drawn - told > _SIZE_STEP, 2, np.where(told - drawn > _SIZE_STEP, 0, 1))
    relation[present.sum(1) == 0] = -1

    def whole(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64)

    return Targets(
        label=whole([t.label for t in truths]),
        cause=whole([CAUSES.index(t.cause) if t.cause in CAUSES else -1 for t in truths]),
        kind=whole([KINDS.index(t.kind) for t in truths]),
        product=whole([skus[t.sku] for t in truths]),
        horizon=torch.tensor([t.horizon for t in truths], dtype=torch.float32),
        present=torch.from_numpy(present),
        height=torch.from_numpy(height),
        told=torch.from_numpy(told),
        drawn=torch.from_numpy(drawn),
        relation=torch.from_numpy(relation.astype(np.int64)),
    ), len(skus)


def described_captions(truths: Sequence[Truth]) -> list[str]:
    """Title and description of each scene's product; the scene's own caption for editions of another size."""
    texts = {p.sku: caption_of(p.title, p.description) for p in products()}
    return [t.caption if " edition of " in t.caption else texts.get(t.sku, t.caption) for t in truths]


def reference_mask(depth: NDArray[np.uint8], boxes: list[Any]) -> NDArray[np.uint8]:
    """Where the things beside the product are, (S, S) uint8 0 or 255: each lies at one depth."""
    mask = np.zeros_like(depth)
    for _, _, (x0, y0, x1, y1) in boxes:
        window = np.s_[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
        inside = depth[window]
        if inside.size:
            mask[window] |= np.where(inside == np.bincount(inside.ravel()).argmax(), 255, 0).astype(np.uint8)
    return mask


class PictureHeads(nn.Module):
    """What a trunk's map (B, C, g, g) of a scene should tell."""

    def __init__(self, channels: int, grid: int, n_references: int) -> None:
        super().__init__()
        self.sizes = {
            "label": N_LABELS,
            "cause": len(CAUSES),
            "kind": len(KINDS),
            "horizon": 1,
            "drawn": 1,
            "present": n_references,
            "height": n_references,
        }
        self.out = nn.Linear(channels * grid * grid, sum(self.sizes.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """features: (B, ...) floats, flattened. Returns: of each head (B, its size) float32."""
        out = self.out(features.flatten(1)).float()
        return dict(zip(self.sizes, out.split(list(self.sizes.values()), 1), strict=True))


def picture_loss(heads: dict[str, Tensor], truth: Targets, with_label: bool) -> Tensor:
    """() float32: sum of the heads' losses, means over what is known. heads: as PictureHeads gives them."""
    any_reference = truth.present.sum(1).clamp(max=1)
    loss = F.binary_cross_entropy_with_logits(heads["present"], truth.present) * 4
    loss = loss + ((heads["height"] - truth.height).abs() * truth.present).sum() / truth.present.sum().clamp_min(1) * 3
    loss = loss + (heads["horizon"][:, 0] - truth.horizon).clamp(-1, 1).abs().mean()
    loss = loss + (
        F.smooth_l1_loss(heads["drawn"][:, 0] + 4, truth.drawn, reduction="none") * any_reference
    ).sum() / any_reference.sum().clamp_min(1)
    loss = loss + 0.3 * F.cross_entropy(heads["kind"], truth.kind)
    if with_label:
        loss = loss + F.cross_entropy(heads["label"], truth.label)
        loss = loss + 0.5 * F.cross_entropy(heads["cause"], truth.cause, ignore_index=-1)
    return loss


Pictures = dict[str, Tensor]


class Scenes:
    """Batches of drawn scenes with their truth.

    Args:
        drawn: the scenes.
        encode: captions to (N, L) int64.
        augment: makes a training batch's pictures (preprocess.unpack) worse; its second argument is
            (B, 1, S, S) float in [0, 1], where the things beside the product are.
        described: read every product of regular size by its title and description, as the catalogue has them;
            else by the scene's own caption. A training batch has half of each.
    """

    def __init__(
        self,
        drawn: DrawnScenes,
        encode: Callable[[Sequence[str]], NDArray[np.int64]],
        augment: Callable[[Pictures, Tensor], Pictures],
        described: bool = False,
    ) -> None:
        self.drawn = drawn
        self.augment = augment
        self.targets, self.n_products = targets_of(drawn.truths, drawn.size)
        self.described = described
        self.ids = torch.from_numpy(encode([t.caption for t in drawn.truths]))
        self.described_ids = torch.from_numpy(encode(described_captions(drawn.truths)))

    def batch(self, rows: NDArray[np.int64], train: bool) -> tuple[Pictures, Tensor, Targets]:
        """The scenes of these rows (B,): pictures in [0, 1], their captions' words (B, L) int64, and the truth.

        train: augmented, and half of them mirrored, by torch's own random stream.
        """
        planes = self.drawn.planes(rows)
        tensors = torch.from_numpy(planes)
        beside = torch.from_numpy(
            np.stack([reference_mask(p[7], self.drawn.truths[r].references) for p, r in zip(planes, rows, strict=True)])
        )
        packed = torch.cat([tensors, beside[:, None]], 1)
        if train:
            chosen = torch.rand(len(packed)) < 0.5
            packed[chosen] = mirrored(packed[chosen])
        pictures = unpack(packed[:, :9])
        if train:
            pictures = self.augment(pictures, packed[:, 9:].float() / 255)
        if train:
            return pictures, self._either_caption(rows), self.targets.of(rows)
        return pictures, (self.described_ids if self.described else self.ids)[rows], self.targets.of(rows)

    def _either_caption(self, rows: NDArray[np.int64]) -> Tensor:
        chosen = torch.rand(len(rows), 1) < 0.5
        return torch.where(chosen, self.described_ids[rows], self.ids[rows])

    def order(self, seed: int) -> Iterator[NDArray[np.int64]]:
        """Rows (B,) of batches without end, every pass in a new order."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.drawn))
            yield from (order[i : i + _BATCH] for i in range(0, len(order) - _BATCH + 1, _BATCH))


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warm-up over 100 steps, then a cosine to 2 % of the peak."""
    warm = min(1.0, (step + 1) / 100)
    return peak * warm * float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1.0, step / steps))))


class Stage(nn.Module, ABC):
    """What run_stage trains: a module that gives the loss and the label's logits of a batch."""

    @abstractmethod
    def loss(self, pictures: Pictures, ids: Tensor, truth: Targets) -> tuple[Tensor, Tensor]:
        """() loss to minimise, and (B, 5) logits to watch."""


def run_stage(
    stage: Stage,
    scenes: Scenes,
    steps: int,
    seed: int,
    path: Path,
    log: Callable[[str], None],
    rate: float = 1.5e-3,
) -> None:
    """Train a stage for `steps` steps, peak learning rate `rate`; goes on from `path` if it is there."""
    stage.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learnt = [p for p in stage.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-3, weight_decay=0.02)
    first = int(files.read_state(path, stage, optimizer)["step"]) if path.is_file() else 0
    stage.train()
    order = scenes.order(seed)
    started, right, seen, total = time.perf_counter(), 0, 0, 0.0
    for step in range(steps):
        rows = next(order)
        if step < first:
            continue
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, rate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(seed, step))
            pictures, ids, truth = scenes.batch(rows, True)
            with autocast("bf16", "cpu"):
                loss, logits = stage.loss(pictures, ids, truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learnt, 2.0)
        optimizer.step()
        total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
        right += int((logits.argmax(1) == truth.label).sum())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            ms = 1000 * (time.perf_counter() - started) / seen
            figures = f"loss {total / seen:.3f}  accuracy {right / seen:.3f}  {ms:.1f} ms/sample"
            log(f"step {step + 1}/{steps}  {figures}")
            started, right, seen, total = time.perf_counter(), 0, 0, 0.0
        if (step + 1) % _SAVE_STEPS == 0 or step + 1 == steps:
            files.write_state(path, stage, optimizer, {"step": step + 1})


def logits_of(
    network: Callable[[Pictures, Tensor], Tensor], scenes: Scenes, batch: int = _EVALUATION_BATCH
) -> NDArray[np.float32]:
    """(N, 5) logits of drawn scenes as they are."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(scenes.drawn), batch):
            rows = np.arange(start, min(start + batch, len(scenes.drawn)))
            pictures, ids, _ = scenes.batch(rows, False)
            parts.append(network(pictures, ids).float().numpy())
    return np.concatenate(parts)
