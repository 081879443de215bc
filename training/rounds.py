"""What the pages say about a round: what was picked and why, how far people are, what they found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F, Prefetch, Q, QuerySet

from annotation.models import Consensus, Task
from rfnet_service.figures import Compared, compared
from rfnet_service.models import Verdict
from training.models import Round

DOUBT = ("margin", "entropy", "least_confidence")
WORDS = {
    "margin": "small margin", "entropy": "high entropy", "least_confidence": "low confidence",
    "random": "at random", "random holdout": "at random, holdout", "cover": "to cover the products",
}  # fmt: skip
EXAMPLES = 12


def tasks_of(made: Round) -> QuerySet[Task]:
    return Task.objects.filter(project_id=made.project_id, round_number=made.number)


def progress(rounds: Sequence[Round]) -> dict[int, dict[str, int]]:
    """How many tasks of each round there are, and how many have all their answers; one query."""
    numbers = [made.number for made in rounds]
    rows = (
        Task.objects.filter(round_number__in=numbers, project__in={made.project_id for made in rounds})
        .values("round_number")
        .annotate(tasks=Count("pk"), labelled=Count("pk", filter=Q(is_open=False)))
        .order_by()
    )
    found = {row["round_number"]: row for row in rows}
    return {number: found.get(number, {"tasks": 0, "labelled": 0}) for number in numbers}


def picked(made: Round) -> list[dict[str, Any]]:
    """[{words, count}], most first."""
    counts = made.summary.get("picked", {})
    return [
        {"words": WORDS.get(reason, reason), "count": count}
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def label_mixes(made: Round) -> list[dict[str, Any]]:
    """What people found, by why it was picked: were the doubtful ones worse than the random ones?"""
    rows = (
        Consensus.objects.filter(
            candidate__tasks__project_id=made.project_id,
            candidate__tasks__round_number=made.number,
            is_complete=True,
        )
        .values("label", reason=F("candidate__tasks__reason"))
        .annotate(n=Count("pk"))
        .order_by()
    )
    mixes: dict[str, list[int]] = {}
    for row in rows:
        mixes.setdefault(row["reason"], [0] * 5)[row["label"]] += row["n"]
    return [
        {
            "words": WORDS.get(reason, reason),
            "counts": counts,
            "total": sum(counts),
            "available": counts[0] / sum(counts),
        }
        for reason, counts in sorted(mixes.items(), key=lambda item: -sum(item[1]))
    ]


def most_doubtful(made: Round) -> list[dict[str, Any]]:
    """The candidates it was least sure of, with its verdict then and what people say."""
    verdicts = Verdict.objects.filter(checkpoint_id=made.picked_by_id)
    tasks = (
        tasks_of(made)
        .filter(reason__in=DOUBT)
        .select_related("candidate__product", "candidate__consensus")
        .prefetch_related(Prefetch("candidate__verdicts", queryset=verdicts, to_attr="verdicts_then"))
        .order_by(F("acquisition_score").desc(nulls_last=True), "pk")[:EXAMPLES]
    )
    return [
        {
            "candidate": task.candidate,
            "doubt": task.acquisition_score,
            "verdict": task.candidate.verdicts_then[0] if task.candidate.verdicts_then else None,
            "consensus": getattr(task.candidate, "consensus", None),
        }
        for task in tasks
    ]


def effect(made: Round) -> list[Compared]:
    """RFNet's figures before and after, on the same test samples. Empty until it was trained on the round's labels."""
    before, after = made.summary.get("before") or {}, made.summary.get("after") or {}
    return compared(before, after) if after else []


def shown(made: Round) -> dict[str, Any]:
    before = made.summary.get("before") or {}
    return {
        "round": made, "picked": picked(made), "progress": progress([made])[made.number], "mixes": label_mixes(made),
        "doubtful": most_doubtful(made), "effect": effect(made), "has_before": bool(before.get("n")),
    }  # fmt: skip
