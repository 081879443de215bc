"""Finished tasks on which people still differ: those made before the project asked on."""

from __future__ import annotations

from collections import Counter, defaultdict

from django.db import connection, transaction

from annotation.models import Annotation, Consensus, Project, Slot, Task

COUNT_AT_MOST = 10_000
_CHUNK = 500

# One row a finished task of a project that asks on, while its candidate's most frequent label has too few votes.
_DISPUTED = """
    SELECT t.id FROM annotation_task t
    JOIN annotation_project project ON project.id = t.project_id
    JOIN generation_candidate c ON c.id = t.candidate_id
    JOIN generation_product p ON p.id = c.product_id
    WHERE t.project_id = %(project)s AND NOT t.is_open AND NOT t.is_gold AND project.agree_at_least > 0
      AND NOT p.unsuitable AND t.overlap < project.overlap_most AND t.id > %(after)s
      AND NOT EXISTS (
        SELECT 1 FROM annotation_consensus decided
        WHERE decided.candidate_id = t.candidate_id AND decided.method = 'review'
      ) AND (
        SELECT max(votes) FROM (
            SELECT count(*) AS votes FROM annotation_annotation a
            WHERE a.candidate_id = t.candidate_id AND a.state = 'standing' GROUP BY a.label
        ) by_label
      ) < project.agree_at_least
    ORDER BY t.id LIMIT %(most)s"""


def find(project: Project, most: int, after: int = 0) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_DISPUTED, {"project": project.pk, "after": after, "most": most})
        return [task for (task,) in cursor.fetchall()]


def count(project: Project) -> int:
    """Counted up to COUNT_AT_MOST."""
    return len(find(project, COUNT_AT_MOST)) if project.agree_at_least else 0


def ask_on(project: Project) -> int:
    """Give each of them one more place; returns how many got one. A task that is open again gets no second one."""
    reopened, after = 0, 0
    while ids := find(project, _CHUNK, after):
        after = ids[-1]
        reopened += _reopen(project.pk, ids)
    return reopened


@transaction.atomic
def _reopen(project_id: int, ids: list[int]) -> int:
    project = Project.objects.get(pk=project_id)
    tasks = _locked(ids)
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    answers = Annotation.objects.standing().filter(candidate__in=[task.candidate_id for task in tasks])
    for candidate, label in answers.values_list("candidate_id", "label"):
        votes[candidate][label] += 1
    candidates = [task.candidate_id for task in tasks]
    decided = set(Consensus.objects.filter(candidate__in=candidates, method="review").values_list("candidate", flat=True))
    # Asked again now that nobody can answer beside us: somebody may have settled it meanwhile.
    disputed = [
        task for task in tasks
        if not task.is_open and not task.is_gold and task.candidate_id not in decided and task.overlap < project.overlap_most
        and max(votes[task.candidate_id].values(), default=project.agree_at_least) < project.agree_at_least
    ]  # fmt: skip
    for task in disputed:
        task.overlap, task.is_open = task.overlap + 1, True
    Task.objects.bulk_update(disputed, ["overlap", "is_open"])
    Slot.objects.bulk_create([Slot(task=task, number=task.overlap - 1) for task in disputed])
    Consensus.objects.filter(candidate__in=[task.candidate_id for task in disputed]).update(is_complete=False)
    return len(disputed)


def _locked(ids: list[int]) -> list[Task]:
    """Candidates by id, as statements.py asks; then the tasks as they are once the locks are held."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id FROM generation_candidate c WHERE c.id IN"
            " (SELECT candidate_id FROM annotation_task WHERE id = ANY(%s)) ORDER BY c.id FOR NO KEY UPDATE",
            [ids],
        )
    return list(Task.objects.filter(pk__in=ids).order_by("pk"))
