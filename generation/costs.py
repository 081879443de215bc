"""How fast a run draws, how long it will take, and what a picture costs. Seconds are those of the one worker that drew it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Avg, Count, Sum
from django.utils import timezone

from generation.models import Candidate, Generator, Share
from runs.counted import counted
from runs.models import Run

# The newest parts are looked at for what is shown, and for the pace.
NEWEST_PARTS = 24
PACE_OVER = 48
PACE_WITHIN_S = 300


@dataclass(frozen=True)
class Cost:
    images: int
    seconds: float
    available: int | None  # None: nothing of it is judged by the RFNet in use

    @property
    def seconds_per_image(self) -> float | None:
        return self.seconds / self.images if self.images else None

    @property
    def seconds_per_available(self) -> float | None:
        return self.seconds / self.available if self.available else None

    @property
    def money(self) -> str:
        return money(self.seconds)

    @property
    def money_per_image(self) -> str:
        return money(self.seconds_per_image)

    @property
    def money_per_available(self) -> str:
        return money(self.seconds_per_available)


def money(seconds: float | None) -> str:
    """ "0.0021 EUR" at COMPUTE_PRICE an hour; empty where no price is set."""
    if seconds is None or not settings.COMPUTE_PRICE:
        return ""
    amount = seconds / 3600 * settings.COMPUTE_PRICE
    digits = 2 if amount >= 1 else 4
    return f"{amount:,.{digits}f} {settings.COMPUTE_CURRENCY}"


def cost_of(run: Run) -> Cost:
    made = Share.objects.filter(plan__run=run).aggregate(images=Sum("images"), seconds=Sum("seconds"))
    return Cost(made["images"] or 0, made["seconds"] or 0.0, available_of_run(run.pk))


# Asked for by the pages of runs at work; the clock keeps none of it ready.
@counted("available-of-run", each=lambda: (), least_age_s=3)
def available_of_run(run: int) -> int | None:
    parts = list(Share.objects.filter(plan__run=run).values_list("part", flat=True))
    verdicts = apps.get_model("rfnet_service", "Verdict").objects.filter(checkpoint__is_promoted=True)
    rows = verdicts.filter(candidate__run__in=parts).values("label").annotate(n=Count("pk")).order_by()
    counts = {row["label"]: row["n"] for row in rows}
    return counts.get(0, 0) if counts else None


def newest_of(run: Run, count: int) -> list[Candidate]:
    parts = Share.objects.filter(plan__run=run, images__gt=0).order_by("-updated_at")[:NEWEST_PARTS]
    ids = list(parts.values_list("part", flat=True))
    rows = Candidate.objects.filter(run__in=ids).select_related("product", "consensus").order_by("-pk")
    return list(rows[:count])


def pace(run: Run, newest: list[Candidate]) -> float | None:
    """Pictures a second, all workers together, over the last ones; None when nothing came in the last minutes."""
    now = timezone.now()
    fresh = [row for row in newest[:PACE_OVER] if (now - row.created_at).total_seconds() < PACE_WITHIN_S]
    if run.is_finished or run.state == Run.State.PAUSED or len(fresh) < 2:
        return None
    span = (now - fresh[-1].created_at).total_seconds()
    return len(fresh) / span if span > 1 else None


@counted("pace-of-generators", least_age_s=30)
def pace_of_generators() -> list[tuple[int, float]]:
    """Seconds a picture of each that has drawn, over its newest."""
    found = [(row.pk, _pace_of(row)) for row in Generator.objects.order_by("pk")]
    return [(pk, pace) for pk, pace in found if pace]


def _pace_of(generator: Generator) -> float | None:
    newest = Candidate.objects.filter(generator=generator, seconds__gt=0).order_by("-pk")[:100]
    found: dict[str, Any] = Candidate.objects.filter(pk__in=newest.values("pk")).aggregate(mean=Avg("seconds"))
    return found["mean"]
