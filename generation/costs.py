"""How fast a run draws, how long it will take, and what a picture costs. Seconds are those of the one worker that drew it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Avg, Count, F, FilteredRelation, IntegerField, Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Greatest
from django.utils import timezone

from adproof.labels import Label
from generation.gallery import with_labels
from generation.models import Candidate, Generator, Share
from runs.counted import counted
from runs.models import Run

# The newest parts are looked at for what is shown, and for the pace.
NEWEST_PARTS = 24
PACE_OVER = 48
PACE_WITHIN_S = 300
LOOK_S = 0.3


@dataclass(frozen=True)
class Cost:
    images: int
    seconds: float
    available: int | None  # None: nothing of it is judged by the RFNet in use
    # What those that are judged took, and those that were given up for them.
    judged_seconds: float = 0.0
    # Of what it was to make, pictures that were drawn before: taken as they are, and neither made nor paid again.
    already_there: int = 0

    @property
    def seconds_per_image(self) -> float | None:
        return self.seconds / self.images if self.images else None

    @property
    def seconds_per_available(self) -> float | None:
        """Of a run that is judged in part, by that part."""
        return self.judged_seconds / self.available if self.available else None

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
    shares = Share.objects.filter(plan__run=run)
    images, seconds = made_by(shares)
    available, judged_seconds = judged_of_run(run.pk) or (None, 0.0)
    return Cost(images, seconds, available, judged_seconds, _already_there(shares).get(run.pk, 0))


def costs_of(runs: Sequence[Run]) -> dict[int, Cost]:
    """By run, as `cost_of`, in the same few queries however many these are.

    What RFNet says of a large run takes a while to count: what is not counted within LOOK_S is told as it was counted last,
    None where it never was, and the next of these is counted meanwhile for whoever asks again.
    """
    shares = Share.objects.filter(plan__run__in=runs)
    images, seconds = dict.fromkeys((run.pk for run in runs), 0), dict.fromkeys((run.pk for run in runs), 0.0)
    closed = shares.filter(is_closed=True).values_list("plan__run").annotate(Sum("images"), Sum("seconds"))
    opened = dict(shares.filter(is_closed=False).values_list("part", "plan__run"))
    counts = Candidate.objects.filter(run__in=list(opened)).order_by().values_list("run")
    rows = [*closed, *((opened[part], *made) for part, *made in counts.annotate(Count("pk"), Sum("seconds")))]
    for run, made, took in rows:
        images[run] += made or 0
        seconds[run] += took or 0
    judged = judged_of_run.several([run.pk for run in runs], LOOK_S)
    there = _already_there(shares)
    return {
        run.pk: Cost(images[run.pk], seconds[run.pk], *(judged[run.pk] or (None, 0.0)), there.get(run.pk, 0))
        for run in runs
    }


def _already_there(shares: QuerySet[Share]) -> dict[int, int]:
    """By run: what its parts that have ended came to, without what they drew."""
    came_to = Cast(KeyTextTransform("images", "part__result"), IntegerField())
    found = shares.filter(is_closed=True).order_by().values_list("plan__run")
    return dict(found.annotate(there=Sum(Greatest(came_to - F("images"), 0))))


def made_by(shares: QuerySet[Share]) -> tuple[int, float]:
    """Pictures and seconds of these parts: as they ended, or, of those at work or killed, as their rows say."""
    closed = shares.filter(is_closed=True).aggregate(images=Sum("images"), seconds=Sum("seconds"))
    opened = list(shares.filter(is_closed=False).values_list("part", flat=True))
    images, seconds = counted_rows(Candidate.objects.filter(run__in=opened)) if opened else (0, 0.0)
    return (closed["images"] or 0) + images, (closed["seconds"] or 0.0) + seconds


def counted_rows(candidates: QuerySet[Candidate]) -> tuple[int, float]:
    found = candidates.aggregate(images=Count("pk"), seconds=Sum("seconds"))
    return found["images"], found["seconds"] or 0.0


# Asked for by the pages of runs at work; the clock keeps none of it ready.
@counted("judged-of-run", each=lambda: (), least_age_s=3)
def judged_of_run(run: int) -> tuple[int, float] | None:
    """Available ones by the RFNet in use, and the seconds of all that it judged and of all that were given up. A picture
    that was given up is not available, whatever RFNet says of it: nobody will see it."""
    in_use = apps.get_model("rfnet_service", "Checkpoint").objects.filter(is_promoted=True)
    parts = list(Share.objects.filter(plan__run=run).values_list("part", flat=True))
    rows = Candidate.objects.filter(run__in=parts).annotate(
        judged=FilteredRelation(
            "verdicts", condition=Q(verdicts__checkpoint=in_use.values_list("pk", flat=True).first() or 0)
        )
    )
    is_judged, is_given_up = Q(judged__isnull=False), Q(abandoned_at_step__isnull=False)
    found = rows.aggregate(
        n_judged=Count("pk", filter=is_judged),
        n_available=Count("pk", filter=Q(judged__label=Label.AVAILABLE) & ~is_given_up),
        spent=Sum("seconds", filter=is_judged | is_given_up),
    )
    return (found["n_available"], found["spent"] or 0.0) if found["n_judged"] else None


def newest_of(run: Run, count: int) -> list[Candidate]:
    parts = Share.objects.filter(plan__run=run, images__gt=0).order_by("-updated_at")[:NEWEST_PARTS]
    ids = list(parts.values_list("part", flat=True))
    return list(with_labels(Candidate.objects.filter(run__in=ids)).order_by("-pk")[:count])


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
    found = [(row.pk, pace_of(row)) for row in Generator.objects.order_by("pk")]
    return [(pk, pace) for pk, pace in found if pace]


def pace_of(generator: Generator | None) -> float | None:
    """Seconds a picture takes, over the newest hundred of this generator."""
    newest = Candidate.objects.filter(generator=generator, seconds__gt=0).order_by("-pk")[:100]
    found: dict[str, Any] = Candidate.objects.filter(pk__in=newest.values("pk")).aggregate(mean=Avg("seconds"))
    return found["mean"]
