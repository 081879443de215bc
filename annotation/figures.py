"""The numbers of the quality page: each is one query over an index, or comes from the last fit."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from adproof.labels import TITLES, Label
from annotation.models import Annotation, AnnotatorQuality, Consensus, Project, Task

HOURS = 24


def progress() -> list[dict[str, Any]]:
    counts = {
        row["project"]: row
        for row in Task.objects.values("project").annotate(total=Count("id"), open=Count("id", filter=Q(is_open=True)))
    }
    none = {"total": 0, "open": 0}
    rows = []
    for project in Project.objects.order_by("id"):
        row = counts.get(project.pk, none)
        rows.append({"project": project, "total": row["total"], "done": row["total"] - row["open"], **_share(row)})
    return rows


def progress_of(project: Project) -> dict[str, Any]:
    row = project.tasks.aggregate(total=Count("id"), open=Count("id", filter=Q(is_open=True)))
    return {"total": row["total"], "done": row["total"] - row["open"], **_share(row)}


def _share(row: dict[str, int]) -> dict[str, float]:
    return {"share": (row["total"] - row["open"]) / row["total"] if row["total"] else 0.0}


def throughput() -> list[dict[str, Any]]:
    """Answers that stand, by the hour they were given, for the last day; hours without any are there too."""
    now = timezone.now()
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    counts = dict(
        Annotation.objects.standing()
        .filter(created_at__gte=first)
        .annotate(hour=TruncHour("created_at"))
        .values_list("hour")
        .annotate(n=Count("id"))
    )
    return [
        {"hour": hour, "count": counts.get(hour, 0)}
        for hour in (first + timedelta(hours=number) for number in range(HOURS))
    ]


def label_mix() -> list[dict[str, Any]]:
    counts = dict(Consensus.objects.values_list("label").annotate(n=Count("id")))
    total = sum(counts.values())
    return [
        {
            "number": int(label),
            "title": TITLES[label],
            "count": counts.get(label, 0),
            "share": counts.get(label, 0) / total if total else 0.0,
        }
        for label in Label
    ]


def annotators() -> list[AnnotatorQuality]:
    return list(AnnotatorQuality.objects.select_related("annotator").order_by("-annotation_count"))


def disputed(most: int = 12, after: tuple[float, int] | None = None) -> list[Consensus]:
    """Candidates on which people differ, the most disputed first; each with `.votes`, who said what."""
    rows = Consensus.objects.filter(annotation_count__gte=2, agreement__lt=1)
    if after:
        agreement, pk = after
        rows = rows.filter(Q(agreement__gt=agreement) | Q(agreement=agreement, pk__lt=pk))
    found = list(rows.select_related("candidate__product").order_by("agreement", F("pk").desc())[:most])
    votes = defaultdict(list)
    answers = Annotation.objects.standing().filter(candidate__in=[row.candidate_id for row in found])
    for answer in answers.select_related("annotator").order_by("created_at"):
        votes[answer.candidate_id].append(answer)
    for row in found:
        row.votes = votes[row.candidate_id]
    return found


def bars(rows: list[dict[str, Any]], width: int = 720, height: int = 140) -> dict[str, Any]:
    """Where the bars of an hourly plot stand, in the units of its viewBox; ticks at round numbers."""
    most = max((row["count"] for row in rows), default=0)
    top = _round_up(most)
    step = width / max(1, len(rows))
    return {
        "width": width,
        "height": height,
        "bars": [
            {
                **row,
                "x": round(number * step + 0.12 * step, 1),
                "width": round(0.76 * step, 1),
                "height": round(height * row["count"] / top, 1),
                "y": round(height - height * row["count"] / top, 1),
                "tick": row["hour"].hour % 6 == 0,
                "middle": round((number + 0.5) * step, 1),
            }
            for number, row in enumerate(rows)
        ],
        "ticks": [{"value": value, "y": round(height - height * value / top, 1)} for value in (top // 2, top)],
    }


def _round_up(value: int) -> int:
    """The next number that looks round and halves without a rest."""
    size = 10
    while True:
        for factor in (1, 2, 4, 6, 8):
            if factor * size // 10 * 2 >= max(value, 2):
                return factor * size // 10 * 2
        size *= 10
