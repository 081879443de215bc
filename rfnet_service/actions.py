"""Promote checkpoints, score candidates."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from annotation import assist
from generation.models import Candidate
from rfnet_service.models import Checkpoint, Verdict
from runs.actions import start_in_parts
from runs.models import Run

PART_SIZE = 128


class CannotScore(ValueError):
    """The message says what to do first."""


def promoted() -> Checkpoint | None:
    return Checkpoint.objects.filter(is_promoted=True).first()


def promote(checkpoint: Checkpoint) -> None:
    """Put this RFNet in use instead of the one that is. The earlier one stays, and can be promoted again."""
    with transaction.atomic():
        list(Checkpoint.objects.select_for_update().filter(is_promoted=True))
        Checkpoint.objects.filter(is_promoted=True).update(is_promoted=False)
        Checkpoint.objects.filter(pk=checkpoint.pk).update(is_promoted=True, promoted_at=timezone.now())
    checkpoint.refresh_from_db()


def verdicts_for_the_desk(
    candidates: Collection[int], checkpoints: Collection[int] | None
) -> dict[tuple[int, int], assist.Verdict]:
    rows = Verdict.objects.filter(candidate_id__in=candidates)
    chosen = (
        rows.filter(checkpoint__is_promoted=True) if checkpoints is None else rows.filter(checkpoint_id__in=checkpoints)
    )
    return {
        (candidate, checkpoint): {"checkpoint": checkpoint, "label": label, "probs": probs}
        for candidate, checkpoint, label, probs in chosen.values_list("candidate", "checkpoint", "label", "probs")
    }


def unscored(checkpoint: Checkpoint) -> QuerySet[Candidate]:
    # NOT EXISTS joins; NOT IN over a million verdicts looks through all of them for each candidate.
    judged = Verdict.objects.filter(checkpoint=checkpoint, candidate=OuterRef("pk"))
    return Candidate.objects.perceived().usable().filter(~Exists(judged))


def start_scoring(checkpoint: Checkpoint, *, user: Any = None, then: list[list[Any]] | None = None) -> Run:
    """Verdicts of this checkpoint on all candidates that lack one."""
    ids = list(unscored(checkpoint).order_by("pk").values_list("pk", flat=True))
    if not ids:
        raise CannotScore("Every candidate has this checkpoint's verdict already.")
    parts = [
        {"checkpoint": checkpoint.pk, "candidates": ids[at : at + PART_SIZE]} for at in range(0, len(ids), PART_SIZE)
    ]
    return start_in_parts(
        "score", "score_part", parts, params={"checkpoint": checkpoint.pk, "then": then or []},
        sizes=[len(part["candidates"]) for part in parts],
        title=f"{checkpoint.name} judges {len(ids)} candidates", user=user, key=f"score/{checkpoint.pk}",
    )  # fmt: skip
