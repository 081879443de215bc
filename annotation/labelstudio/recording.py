"""Answers that people gave somewhere else, written here by the rules of the desk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from annotation import actions, statements
from annotation.actions import Pick
from annotation.answers import Answer, save_annotations
from annotation.labelstudio.people import People
from annotation.labelstudio.reading import OUR_NAMES, Found, Names, Problem, Skipped, answers_of
from annotation.labelstudio.shape import number_of
from annotation.models import Annotation, Handout, Project, Task
from generation.models import Candidate

VIEW = "label studio"  # what annotations say they were looked at in
AT_ONCE = 200
LISTED_AT_MOST = 1000
ALIKE_S = 0.001  # one answer keeps its time to the millisecond on its way there and back
STANDING, SURPLUS = Annotation.State.STANDING, Annotation.State.SURPLUS


@dataclass
class Report:
    """What became of the answers; every one is counted once."""

    tasks: int = 0
    made: int = 0  # tasks made for candidates that had none
    saved: int = 0
    surplus: int = 0
    known: int = 0  # brought here before
    skipped: int = 0
    left_out: int = 0
    labels: Counter[int] = field(default_factory=Counter)  # of those saved
    per_person: Counter[str] = field(default_factory=Counter)  # of those saved, by user name
    strangers: Counter[str] = field(default_factory=Counter)  # why nobody here could be found -> answers left out
    problems: list[Problem] = field(default_factory=list)  # the first LISTED_AT_MOST others
    surplus_tasks: list[int] = field(default_factory=list)

    def leave_out(self, problem: Problem) -> None:
        self.left_out += 1
        if len(self.problems) < LISTED_AT_MOST:
            self.problems.append(problem)

    def leave_out_stranger(self, why: str) -> None:
        self.left_out += 1
        self.strangers[why] += 1

    @property
    def unlisted(self) -> int:
        return self.left_out - len(self.problems) - self.strangers.total()


@dataclass(frozen=True)
class Way:
    """How answers are brought here."""

    address: str
    people: People
    names: Names = OUR_NAMES
    adds_tasks: bool = False
    only_looks: bool = False  # everything is done and taken back again: the report says what would happen


def record(project: Project, rows: Iterable[Any], way: Way) -> Report:
    """Bring the answers of these tasks (of a JSON export) here. What can't be taken is listed, never fatal."""
    report = Report()
    for batch in _in_batches(_answers(rows, way, report), AT_ONCE):
        _record_batch(project, batch, way, report)
    return report


def _answers(rows: Iterable[Any], way: Way, report: Report) -> Iterator[list[Found]]:
    """Those of each task together."""
    for position, row in enumerate(rows, 1):
        report.tasks += 1
        found = []
        for one in answers_of(row, way.address, position, way.names):
            if isinstance(one, Problem):
                report.leave_out(one)
            elif isinstance(one, Skipped):
                report.skipped += 1
            else:
                found.append(one)
        yield found


def _in_batches(of_tasks: Iterator[list[Found]], size: int) -> Iterator[list[Found]]:
    batch: list[Found] = []
    for found in of_tasks:
        batch += found
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _record_batch(project: Project, batch: Sequence[Found], way: Way, report: Report) -> None:
    with transaction.atomic():
        tasks = _tasks(project, batch, way, report)
        ours = _ours(batch, tasks)
        fresh: dict[Any, list[tuple[Found, int]]] = defaultdict(list)
        for found in batch:
            task = tasks.get(found.candidate)
            if task is None:
                report.leave_out(Problem(found.where, f"The project {project.name} has no task of this candidate."))
                continue
            if (label := ours.get((task, found.imported))) is not None:
                _tell_ours(found, label, report)
                continue
            person = way.people.find(found.person)
            if isinstance(person, str):
                report.leave_out_stranger(person)
            else:
                fresh[person].append((found, task))
        if fresh:
            _record_of_all(project, fresh, report)
        if way.only_looks:
            transaction.set_rollback(True)
    if way.only_looks:
        way.people.forget()


def _ours(batch: Sequence[Found], tasks: dict[str, int]) -> dict[tuple[int, int | None], int]:
    """Labels of answers that may have gone from here to Label Studio in a file, by their task and number there.

    All that is left of one there is its number: its time is that of the import, its person whoever imported it.
    """
    imported = {tasks[one.candidate] for one in batch if one.imported and one.candidate in tasks}
    rows = Annotation.objects.filter(task__in=imported).values_list("task", "pk", "label") if imported else ()
    return {(task, number_of(pk)): label for task, pk, label in rows}


def _tell_ours(found: Found, label: int, report: Report) -> None:
    if found.label == label:
        report.known += 1
    else:
        why = "It went from here to Label Studio and was changed there: what stands here was left as it is."
        report.leave_out(Problem(found.where, why))


def _tasks(project: Project, batch: Sequence[Found], way: Way, report: Report) -> dict[str, int]:
    """Task numbers by the candidate's key, and by its picture's SHA-256 where only one candidate has it."""
    keys = {found.candidate for found in batch}
    found = _tasks_there(project, keys)
    if way.adds_tasks and (without := keys - found.keys()):
        of_key = Candidate.objects.filter(key__in=without, product__unsuitable=False)
        picks = [Pick(pk, reason="label studio") for pk in of_key.values_list("pk", flat=True).order_by("pk")]
        report.made += actions.add_tasks(project, picks)
        found |= _tasks_there(project, without)
    return found


def _tasks_there(project: Project, keys: Iterable[str]) -> dict[str, int]:
    tasks = Task.objects.filter(project=project)
    by_key = dict(tasks.filter(candidate__key__in=keys).values_list("candidate__key", "pk"))
    by_picture: dict[str, list[int]] = defaultdict(list)
    rest = set(keys) - by_key.keys()
    for sha256, pk in tasks.filter(candidate__image_sha256__in=rest).values_list("candidate__image_sha256", "pk"):
        by_picture[sha256].append(pk)
    return {**{sha256: pks[0] for sha256, pks in by_picture.items() if len(pks) == 1}, **by_key}


def _record_of_all(project: Project, fresh: dict[Any, list[tuple[Found, int]]], report: Report) -> None:
    """The locks of statements.py in their order: all persons, then all candidates; slots come with the answers."""
    people = sorted(fresh, key=lambda user: user.pk)
    task_ids = sorted({task for found in fresh.values() for _, task in found})
    with connection.cursor() as cursor:
        for person in people:
            cursor.execute(statements.LOCK_PERSON, {"lock": statements.PERSON_LOCK, "person": person.pk})
        lock = {"lock": statements.PERSON_LOCK, "person": people[0].pk, "tasks": task_ids}
        cursor.execute(statements.LOCK_TASKS, lock)
    for person, found in _in_order_of_time(fresh):
        _record_of(project, person, found, report)


def _in_order_of_time(fresh: dict[Any, list[tuple[Found, int]]]) -> Iterator[tuple[Any, list[tuple[Found, int]]]]:
    """Who came first keeps the place in a task: its first answers of all people, then its second ones, and so on."""
    turns: dict[int, dict[Any, list[tuple[Found, int]]]] = defaultdict(lambda: defaultdict(list))
    every = [(found, task, person) for person, mine in fresh.items() for found, task in mine]
    every.sort(key=lambda one: (one[0].at is None, one[0].at and one[0].at.timestamp()))
    turn_of: Counter[int] = Counter()
    for found, task, person in every:
        turns[turn_of[task]][person].append((found, task))
        turn_of[task] += 1
    for turn in sorted(turns):
        yield from turns[turn].items()


def _record_of(project: Project, person: Any, found: list[tuple[Found, int]], report: Report) -> None:
    ids = {one.id for one, _ in found} | {one.exported for one, _ in found if one.exported}
    here = Annotation.objects.select_related("candidate").in_bulk(ids)
    mine: dict[int, list[Annotation]] = defaultdict(list)
    for row in Annotation.objects.filter(task__in=[task for _, task in found], annotator=person):
        mine[row.task_id].append(row)
    new = []
    for one, task in found:
        known = here.get(one.id) or (here.get(one.exported) if one.exported else None)
        standing = [row for row in mine[task] if row.state in (STANDING, SURPLUS)]
        if _is_known(one, known, person, task) or any(_is_the_same(one, row) for row in mine[task]):
            report.known += 1
        elif known is not None:
            why = "It was changed after it was brought here: what stands here was left as it is."
            report.leave_out(Problem(one.where, why))
        elif standing:
            report.leave_out(Problem(one.where, f"{person.username} has answered task {task} already."))
        else:
            new.append((one, task))
    if new:
        _write(project, person, new, report)


def _is_known(one: Found, known: Annotation | None, person: Any, task: int) -> bool:
    if known is None or (known.annotator_id, known.label) != (person.pk, one.label):
        return False
    of_another_project = known.id == one.exported and one.candidate in (
        known.candidate.key,
        known.candidate.image_sha256,
    )
    return known.task_id == task or of_another_project


def _is_the_same(one: Found, row: Annotation) -> bool:
    """It came by another way: written by another server, or by this one before it was sent there."""
    alike = one.at is not None and abs((row.created_at - one.at).total_seconds()) < ALIKE_S
    return alike and row.label == one.label


def _write(project: Project, person: Any, found: list[tuple[Found, int]], report: Report) -> None:
    """An answer from outside had no lease here. That it is there shows that the person saw the task: this is written
    down as a handout, and then the desk's own rules hold. A free slot is filled, in a full task the answer is surplus.
    """
    seen = [Handout(task_id=task, annotator=person, **_at("first_at", one.at)) for one, task in found]
    Handout.objects.bulk_create(seen, ignore_conflicts=True)
    answers = [Answer(one.id, task, one.label, one.seconds, VIEW) for one, task in found]
    given = []
    for (one, task), outcome in zip(
        found, save_annotations(person, answers, project_id=project.pk), strict=True
    ):
        if outcome.status in ("saved", "surplus"):
            given += [Annotation(id=one.id, **_at("created_at", one.at))] if one.at else []
        if outcome.status == "saved":
            report.saved += 1
            report.labels[one.label] += 1
            report.per_person[person.username] += 1
        elif outcome.status == "surplus":
            report.surplus += 1
            report.surplus_tasks.append(task)
        elif outcome.status == "undone":
            report.known += 1
        else:
            report.leave_out(Problem(one.where, outcome.message))
    # Nobody has seen these rows yet: this transaction wrote them.
    Annotation.objects.bulk_update(given, ["created_at"])


def _at(name: str, at: datetime | None) -> dict[str, datetime]:
    return {name: at} if at else {}
