"""Tasks whose label is known: mixed into the queue unseen (actions.lease), they measure annotators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from annotation import statements
from annotation.consensus import Vote, consensus_columns, known_label, tally
from annotation.models import Annotation, Gold, Project, Task

_LOCK = """
    SELECT c.id FROM generation_candidate c WHERE c.id = ANY(%s) ORDER BY c.id FOR NO KEY UPDATE"""


@dataclass(frozen=True)
class Known:
    """The label of a candidate, and why it is that one (for the manager; annotators never see it)."""

    label: int
    reason: str = ""


def make_gold(project: Project, known: Mapping[int, Known], author: Any) -> int:
    """Make these candidates (by id) gold of the project; returns how many were not gold before.

    A candidate without a task there gets one; a task that people work on leaves the queue, and its answers so far
    count for their annotators. Gold that exists already gets the new label and reason, and is handed out again.
    """
    ids = sorted(known)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [ids])
        before = set(Gold.objects.filter(task__project=project, task__candidate__in=ids).values_list("task", flat=True))
        Task.objects.bulk_create(
            [Task(project=project, candidate_id=pk, overlap=1, reason="gold", is_open=False) for pk in ids],
            ignore_conflicts=True,
        )
        tasks = Task.objects.filter(project=project, candidate_id__in=ids)
        tasks.update(is_gold=True, is_open=False)
        rows = [
            Gold(task=task, label=known[task.candidate_id].label, reason=known[task.candidate_id].reason, author=author)
            for task in tasks
        ]
        Gold.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["task"],
            update_fields=["label", "reason", "author", "is_retired"],
        )
        _settle(ids)
    return sum(row.task_id not in before for row in rows)


def _settle(candidates: list[int]) -> None:
    """From now on the known label is the consensus, however people answered; wants the candidates locked."""
    votes: dict[int, list[Vote]] = defaultdict(list)
    answers = Annotation.objects.standing().filter(candidate__in=candidates)
    for candidate, annotator, label in answers.values_list("candidate_id", "annotator_id", "label"):
        votes[candidate].append((annotator, label))
    if votes:
        tallies = [tally(candidate, given, 1, known=known_label(candidate)) for candidate, given in votes.items()]
        with connection.cursor() as cursor:
            cursor.execute(statements.UPSERT_CONSENSUS, {**consensus_columns(tallies), "now": timezone.now()})


def retire_gold(gold: Gold) -> None:
    """Hand it out no more. Answers given, and those still on somebody's desk, go on counting."""
    Gold.objects.filter(pk=gold.pk).update(is_retired=True)


def reinstate_gold(gold: Gold) -> None:
    Gold.objects.filter(pk=gold.pk).update(is_retired=False)
