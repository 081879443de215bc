"""Recurrent Generation: one attempt of a batch, the look in its middle, and what a part of a run did."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from generation.drawing import EarlyLook, Item, product_rgba
from generation.models import Generator
from generation.working import Work
from rfnet_service.judging import judge
from rfnet_service.models import Checkpoint
from runs.context import BadInput, RunContext


@dataclass
class Tally:
    """What was drawn, and at which attempt each draw became available."""

    attempts: int
    looked_after: int | None = None  # step of early stop: so many passes through the net
    images: int = 0
    abandoned: int = 0
    seconds: float = 0.0
    available_at: list[int] = field(default_factory=list)
    # The attempt that each draw has come to. Where a budget ended the part, only those that have a picture are told of.
    begun: dict[UUID, int] = field(default_factory=dict)

    def result(self, passes: int, failed: Set[UUID] = frozenset()) -> dict[str, Any]:
        """Sums only, so that parts add up; see generation.tasks.gather_drawn for the shares.

        Draws that failed under way are counted by the part that goes on with them.
        """
        told = [attempt for draw, attempt in self.begun.items() if draw not in failed]
        found: dict[str, Any] = {
            "draws": len(told),
            "attempts_drawn": sum(told),
            "images": self.images,
            "available": len(self.available_at),
            "seconds": round(self.seconds, 2),
        }
        for attempt in range(1, self.attempts + 1):
            found[f"available_by_{attempt}"] = sum(at <= attempt for at in self.available_at)
        if self.looked_after is not None:
            found |= {
                "abandoned": self.abandoned,
                "passes": self.images * passes,
                "passes_saved": self.abandoned * max(0, passes - self.looked_after),
            }
        return found


def passes_of(generator: Generator) -> int:
    """Passes through the net of a finished picture; a scheduler may take more than one a step."""
    from generation import runtime

    return runtime.drawer_of(generator).passes


def early_look(checkpoint: Checkpoint, generator: Generator, values: dict[str, Any] | None) -> EarlyLook | None:
    """Early stop as a run asks for it. Raises BadInput where its step is not in the middle of a draw."""
    if not values:
        return None
    passes = passes_of(generator)
    if not 1 <= values["step"] < passes:
        raise BadInput(
            f"Early stop looks after step {values['step']}, but {generator} draws in {passes}: name an earlier step."
        )

    def chances(
        items: Sequence[Item],
        pictures: Sequence[np.ndarray],
        depths: Sequence[np.ndarray],
        saliencies: Sequence[np.ndarray],
    ) -> np.ndarray:
        from adproof.labels import Label
        from adproof.rfnet.scoring import RFNetSample
        from rfnet_service import runtime

        samples = [
            RFNetSample(product=product_rgba(item.product), generated=picture, depth=depth, saliency=saliency,
                        caption=item.product.caption)
            for item, picture, depth, saliency in zip(items, pictures, depths, saliencies, strict=True)
        ]  # fmt: skip
        return runtime.scorer(checkpoint.folder, checkpoint.sha256)(samples)[:, Label.AVAILABLE]

    return EarlyLook(values["step"], values["threshold"], chances)


def draw_and_judge(
    ctx: RunContext,
    checkpoint: Checkpoint,
    work: Work,
    waiting: list[Item],
    tally: Tally,
) -> list[Item]:
    """One attempt of these items; returns those that are not available (without those that could not be drawn)."""
    drawn = work.draw(waiting)
    candidates = [candidate for _, candidate in drawn]
    verdicts = judge(ctx, checkpoint, candidates)
    tally.images += len(candidates)
    tally.begun |= {item.draw: item.attempt for item, _ in drawn}
    tally.seconds += sum(candidate.seconds for candidate in candidates)
    left = []
    for (item, candidate), verdict in zip(drawn, verdicts, strict=True):
        tally.abandoned += candidate.abandoned_at_step is not None
        if candidate.abandoned_at_step is None and verdict.label == 0:
            tally.available_at.append(item.attempt)
        else:
            left.append(item)
    return left
