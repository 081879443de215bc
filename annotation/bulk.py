"""What a manager does to all candidates of a snapshot at once, in chunks; doing it again changes nothing more.

Each action says how many it was done to, and of the others how many were left out for which reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from annotation.actions import Pick, add_tasks, forget_places
from annotation.gold import Known, make_gold
from annotation.models import Consensus, Project, Slot, Snapshot, Task, Team
from generation.models import Candidate
from runs.actions import start_run
from runs.models import Run

KIND = "bulk_labels"
AT_ONCE = 2000  # more than that is a run
CHUNK = 500
MOST_ANSWERS = 9

NO_TASK = "has no task in this project"
GOLD = "is gold"
DONE = "has all its answers already"
SAME = "is so already"
DECIDED = "a reviewer has decided"
WAITS = "waits for answers already"
FULL = f"has {MOST_ANSWERS} answers, the most there can be"
UNSUITABLE = "its product's own picture is at fault"
HAS_TASK = "has a task in this project already"
UNLABELLED = "has no consensus"
GONE = "is not there any more"

_LOCK = "SELECT c.id FROM generation_candidate c WHERE c.id = ANY(%s) ORDER BY c.id FOR NO KEY UPDATE"


@dataclass
class Report:
    done: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        self.done += other.done
        self.left_out.update(other.left_out)

    def in_words(self) -> str:
        said = f"Done for {self.done:,}."
        if self.left_out:
            whys = "; ".join(f"{count:,}: {why}" for why, count in self.left_out.most_common())
            said += f" Left out {self.left_out.total():,} ({whys})."
        return said


@dataclass(frozen=True)
class Wish:
    """Everything but the candidates."""

    project: Project
    author: Any = None
    team: Team | None = None
    overlap: int = 0
    priority: float = 0.0
    reason: str = ""


def _tasks(ids: Sequence[int], project: Project, report: Report) -> list[Task]:
    """The tasks that may be altered, in their state under the lock; the others go into the report."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [list(ids)])
    tasks = list(Task.objects.filter(project=project, candidate__in=ids).order_by("pk"))
    report.left_out[NO_TASK] += len(ids) - len(tasks)
    report.left_out[GOLD] += sum(task.is_gold for task in tasks)
    return [task for task in tasks if not task.is_gold]


def _open(tasks: Sequence[Task], report: Report) -> list[Task]:
    report.left_out[DONE] += sum(not task.is_open for task in tasks)
    return [task for task in tasks if task.is_open]


def _change(tasks: Sequence[Task], name: str, value: Any, report: Report) -> Report:
    other = [task.pk for task in tasks if getattr(task, name) != value]
    report.left_out[SAME] += len(tasks) - len(other)
    report.done += Task.objects.filter(pk__in=other).update(**{name: value})
    return report


def _undecided(tasks: Sequence[Task], report: Report) -> list[Task]:
    """What a reviewer decided stands, whatever others say: nobody is asked about it."""
    candidates = [task.candidate_id for task in tasks]
    decided = set(Consensus.objects.filter(candidate__in=candidates, method="review").values_list("candidate", flat=True))
    report.left_out[DECIDED] += sum(task.candidate_id in decided for task in tasks)
    return [task for task in tasks if task.candidate_id not in decided]


def raise_overlap(ids: Sequence[int], wish: Wish) -> Report:
    """Tasks with fewer places get more, up to `overlap`; finished ones are open again."""
    report = Report()
    tasks = _undecided(_tasks(ids, wish.project, report), report)
    fewer = [task for task in tasks if task.overlap < wish.overlap]
    report.left_out[SAME] += len(tasks) - len(fewer)
    _widen(dict.fromkeys(fewer, wish.overlap), report)
    return report


def one_more(ids: Sequence[int], wish: Wish) -> Report:
    """Finished tasks get one more place each; an open one gets its answers anyway."""
    report = Report()
    tasks = _undecided(_tasks(ids, wish.project, report), report)
    report.left_out[WAITS] += sum(task.is_open for task in tasks)
    finished = [task for task in tasks if not task.is_open]
    report.left_out[FULL] += sum(task.overlap >= MOST_ANSWERS for task in finished)
    _widen({task: task.overlap + 1 for task in finished if task.overlap < MOST_ANSWERS}, report)
    return report


def _widen(overlaps: dict[Task, int], report: Report) -> None:
    Slot.objects.bulk_create(
        [Slot(task=task, number=number) for task, most in overlaps.items() for number in range(task.overlap, most)]
    )
    for task, most in overlaps.items():
        task.overlap, task.is_open = most, True
    Task.objects.bulk_update(overlaps, ["overlap", "is_open"])
    Consensus.objects.filter(candidate__in=[task.candidate_id for task in overlaps]).update(is_complete=False)
    report.done += len(overlaps)


def reserve(ids: Sequence[int], wish: Wish) -> Report:
    """Reserved for a team, or (without one) for everybody again. Who holds a lease keeps it."""
    report = Report()
    tasks = _open(_tasks(ids, wish.project, report), report)
    return _change(tasks, "team_id", wish.team.pk if wish.team else None, report)


def set_priority(ids: Sequence[int], wish: Wish) -> Report:
    report = Report()
    return _change(_open(_tasks(ids, wish.project, report), report), "priority", wish.priority, report)


def _suitable(ids: Sequence[int], report: Report) -> list[int]:
    whole = Candidate.objects.filter(pk__in=ids, abandoned_at_step=None)  # early stop gave the others up
    known = dict(whole.values_list("pk", "product__unsuitable"))
    report.left_out[GONE] += len(ids) - len(known)
    report.left_out[UNSUITABLE] += sum(known.values())
    return [pk for pk in ids if known.get(pk) is False]


def add(ids: Sequence[int], wish: Wish) -> Report:
    report = Report()
    ids = _suitable(ids, report)
    made = add_tasks(wish.project, [Pick(pk, wish.priority, wish.reason or "chosen") for pk in ids])
    report.left_out[HAS_TASK] += len(ids) - made
    report.done += made
    return report


def gold(ids: Sequence[int], wish: Wish) -> Report:
    """Gold of the project, with the label of their consensus."""
    report = Report()
    ids = _suitable(ids, report)
    is_gold = Task.objects.filter(project=wish.project, candidate__in=ids, is_gold=True)
    already = set(is_gold.values_list("candidate", flat=True))
    labels = dict(Consensus.objects.filter(candidate__in=ids).values_list("candidate", "label"))
    report.left_out[GOLD] += len(already)
    known = {pk: Known(labels[pk], wish.reason) for pk in ids if pk in labels and pk not in already}
    report.left_out[UNLABELLED] += sum(pk not in labels and pk not in already for pk in ids)
    report.done += make_gold(wish.project, known, wish.author)
    return report


ACTIONS: dict[str, Callable[[Sequence[int], Wish], Report]] = {
    "overlap": raise_overlap,
    "one_more": one_more,
    "reserve": reserve,
    "priority": set_priority,
    "add": add,
    "gold": gold,
}


def do(action: str, ids: Sequence[int], wish: Wish) -> Report:
    """One chunk, wholly or not at all."""
    with transaction.atomic():
        report = ACTIONS[action](ids, wish)
        if report.done:
            forget_places(wish.project.pk)
    report.left_out = +report.left_out
    return report


def do_all(action: str, snapshot: Snapshot, wish: Wish) -> Report:
    report = Report()
    for start in range(0, snapshot.count, CHUNK):
        report.add(do(action, snapshot.candidates[start : start + CHUNK], wish))
    return report


def start(action: str, snapshot: Snapshot, wish: Wish, title: str) -> Run:
    """The same as a run; pressed twice while it works, the same run."""
    params = {
        "action": action, "snapshot": snapshot.pk, "project": wish.project.pk, "author": wish.author.pk,
        "team": wish.team.pk if wish.team else None, "overlap": wish.overlap, "priority": wish.priority,
        "reason": wish.reason,
    }  # fmt: skip
    key = f"{KIND}:{hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()}"
    return start_run(KIND, params, title=title[:200], user=wish.author, key=key, total=snapshot.count)
