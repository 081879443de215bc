"""The numbers of the quality pages: what the last fit counted, and the answers that came since.

No request counts all answers. A fit is some minutes old at most while people work, so what came since is little; more
than MOST_NEWS of it is left to the next fit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q
from django.db.models.fields.tuple_lookups import TupleGreaterThan
from django.utils import timezone

from adproof.labels import N_LABELS, TITLES, Label
from annotation import quality
from annotation.models import Consensus, Project, Task
from annotation.review_queue import with_answers
from runs.counted import counted
from runs.models import Run

HOURS, DAYS = 48, 30
MOST_NEWS = 100_000
MOST_ROWS = 20_000


@dataclass(frozen=True)
class News:
    """Answers since the fit that have the same hour, annotator, project and label."""

    hour: int  # since 1970, UTC
    annotator: int
    project: int
    label: int
    count: int


_NEWS = """
    SELECT floor(extract(epoch FROM a.created_at) / 3600)::int, a.annotator_id, t.project_id, a.label, count(*)
    FROM (
        SELECT created_at, annotator_id, task_id, label FROM annotation_annotation
        WHERE state = 'standing' AND created_at > %(after)s ORDER BY created_at DESC LIMIT %(most)s
    ) a JOIN annotation_task t ON t.id = a.task_id
    GROUP BY 1, 2, 3, 4"""


@dataclass(frozen=True)
class Facts:
    """What the pages say: the last fit's result ({} before the first), and the answers since."""

    fit: Run | None
    result: dict[str, Any]
    news: list[News]
    kept: dict[str, Any] = field(default_factory=dict)  # what was worked out of it already

    @property
    def people(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result.get("people", {})
        return found


def facts() -> Facts:
    fit = quality.last_fit()
    result = fit.result if fit else {}
    # A microsecond more: the time went through a float.
    after = datetime.fromtimestamp(result["last_at"] + 2e-6 if result.get("last_at") else 0, UTC)
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, {"after": after, "most": MOST_NEWS})
        return Facts(fit, result, [News(*row) for row in cursor.fetchall()])


def this_hour() -> int:
    return int(timezone.now().timestamp()) // 3600


# --- progress


def progress() -> list[dict[str, Any]]:
    counts = {project: {"total": total, "open": still_open} for project, total, still_open in tasks_by_project()}
    none = {"total": 0, "open": 0}
    rows = []
    for project in Project.objects.order_by("id"):
        row = counts.get(project.pk, none)
        rows.append({"project": project, "total": row["total"], "done": row["total"] - row["open"], **_share(row)})
    return rows


@counted("tasks-by-project")
def tasks_by_project() -> list[tuple[int, int, int]]:
    """(project, tasks, open ones)"""
    rows = Task.objects.values_list("project").annotate(total=Count("id"), open=Count("id", filter=Q(is_open=True)))
    return list(rows.order_by())


def progress_of(project: Project) -> dict[str, Any]:
    [(total, still_open)] = [row[1:] for row in tasks_by_project() if row[0] == project.pk] or [(0, 0)]
    return {"total": total, "done": total - still_open, **_share({"total": total, "open": still_open})}


def _share(row: dict[str, int]) -> dict[str, float]:
    return {"share": (row["total"] - row["open"]) / row["total"] if row["total"] else 0.0}


def answers_by_project(now: Facts) -> dict[int, int]:
    """Answers of this hour and the 23 before it."""
    first, counts = this_hour() - 23, Counter[int]()
    for news in now.news:
        counts[news.project] += news.count * (news.hour >= first)
    for project, row in now.result.get("projects", {}).items():
        counts[int(project)] += sum(n for hour, n in row["hours"].items() if int(hour) >= first)
    return counts


# --- throughput and labels


def by_hour(now: Facts, hours: int = HOURS) -> list[tuple[datetime, int]]:
    """Answers that stand, by the hour they were given (UTC); hours without any are there too."""
    return _by(now, 1, hours)


def by_day(now: Facts, days: int = DAYS) -> list[tuple[datetime, int]]:
    return _by(now, 24, days)


def _by(now: Facts, hours: int, most: int) -> list[tuple[datetime, int]]:
    counts = Counter[int]()
    for news in now.news:
        counts[news.hour // hours] += news.count
    for hour, n in now.result.get("hours", {}).items():
        counts[int(hour) // hours] += n
    last = this_hour() // hours
    places = range(last - most + 1, last + 1)
    return [(datetime.fromtimestamp(place * hours * 3600, UTC), counts[place]) for place in places]


def label_mix(now: Facts) -> list[dict[str, Any]]:
    """What people answered, and what it adds up to."""
    answered, agreed = now.result.get("answered", [0] * N_LABELS), now.result.get("labels")
    news = Counter[int]()
    for row in now.news:
        news[row.label] += row.count
    if agreed is None:
        counts = Counter(Consensus.objects.order_by("-id").values_list("label", flat=True)[:MOST_ROWS])
        agreed = [counts[int(label)] for label in Label]
    n_answers, n_agreed = sum(answered) + sum(news.values()), sum(agreed)
    return [
        {
            "number": int(label),
            "title": TITLES[label],
            "answers": answered[label] + news[label],
            "answers_share": (answered[label] + news[label]) / n_answers if n_answers else 0.0,
            "count": agreed[label],
            "share": agreed[label] / n_agreed if n_agreed else 0.0,
        }
        for label in Label
    ]


# --- agreement

GOOD, TENTATIVE = 0.8, 0.667  # Krippendorff's own thresholds


def alpha_in_words(result: dict[str, Any]) -> tuple[str, str]:
    """("good" | "warn" | "bad", a sentence) for Krippendorff's alpha; ("", "") where there is none."""
    alpha, low = result.get("alpha"), result.get("alpha_low")
    if alpha is None:
        return "", ""
    if alpha >= GOOD:
        if low is not None and low < GOOD:
            return "good", (
                f"Good, but not yet for sure: it may be as low as {low:.2f}. More candidates that two people judge "
                "make the interval narrower."
            )
        return "good", "People give the same label far more often than chance would: the labels can be relied on."
    if alpha >= TENTATIVE:
        return "warn", (
            "Enough for tentative conclusions. Look at which labels people mix up, and make the guidelines sharper there."
        )
    if alpha > 0.1:
        return "bad", (
            "Too low to rely on single labels. Raise the overlap, settle what is disputed in the review, and make the "
            "guidelines sharper before more is labelled."
        )
    return "bad", "People agree hardly more than chance would. Stop, and find out what they understand differently."


def method_in_words(result: dict[str, Any]) -> list[str]:
    """How the consensus is made now, and why not otherwise."""
    if not result.get("method"):
        return ["Majority of the answers, until the first fit."]
    if result["method"] == "crowdlab":
        said = [
            f"CROWDLAB: people's answers and the verdicts of {result['judge']}, each weighed by how reliable it is, on "
            f"{result['weighed']:,} candidates that it was not trained on. Dawid-Skene on the others."
        ]
    else:
        said = ["Dawid-Skene: every answer weighed by how its annotator labels, which the fit finds out by itself."]
        if result.get("why_not_crowdlab"):
            said.append(f"Not CROWDLAB: {result['why_not_crowdlab']}")
    said.append("Gold keeps its known label, and what a reviewer decided stays.")
    return said


# --- candidates


def disputed(most: int, after: tuple[float, int] | None = None) -> list[Consensus]:
    """Candidates on which people differ, the most disputed first; each with `.votes`, who said what."""
    rows = Consensus.objects.filter(annotation_count__gte=2, agreement__lt=1)
    if after:
        rows = rows.filter(TupleGreaterThan((F("agreement"), F("candidate_id")), after))
    return with_answers(rows.select_related("candidate__product").order_by("agreement", "candidate_id")[:most])


def worth_one_more(now: Facts, most: int = 5) -> list[Consensus]:
    """Finished candidates that the fit found most worth one more label, and that are still finished."""
    ids = now.result.get("unsure", [])
    rows = Consensus.objects.filter(candidate__in=ids, is_complete=True, activelab_score__isnull=False)
    return with_answers(rows.select_related("candidate__product").order_by("activelab_score", "candidate_id")[:most])
