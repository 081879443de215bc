"""Labels of single pictures: stored, sent again, taken back. The busiest code of the desk (docs/decisions/0007).

Everything of a batch is read under locks in one round trip, judged in Python, and written in one statement.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from annotation import assist, prepared, statements
from annotation.actions import SENT_BACK_DAYS, Refused, hold_again, lock_task
from annotation.consensus import Vote, consensus_columns, known_label, tally
from annotation.models import Annotation, Consensus, SentBack, Slot, Task

STANDING, SURPLUS, UNDONE = Annotation.State.STANDING, Annotation.State.SURPLUS, Annotation.State.UNDONE


@dataclass(frozen=True)
class Answer:
    """One label as the browser sent it."""

    id: UUID
    task: int
    label: int
    seconds: float
    view: str = "generated"
    details: dict[str, Any] = field(default_factory=dict)
    guidelines: int | None = None  # the version that the annotator saw; None: the one in force
    verdict: int | None = None  # the checkpoint whose verdict stood beside the picture


@dataclass(frozen=True)
class Outcome:
    """What became of one answer: saved, surplus (the task was full), undone (meanwhile), or refused."""

    id: UUID
    task: int
    status: str
    message: str = ""


@dataclass
class _Desk:
    """What the tables say about the tasks of one batch, read under locks; altered as the batch is judged."""

    tasks: dict[int, Any]
    known: dict[UUID, tuple[int, int, int, float, str]]  # id -> task, annotator, label, seconds, state
    answered: set[int]  # tasks on which this person has an answer that stands, or came too late
    votes: dict[int, list[Vote]]  # candidate -> who gave which label, of those that stand
    standing: dict[int, int]  # task -> answers that stand
    own_slot: dict[int, int]
    free_slots: dict[int, list[int]]
    handed: set[int] = field(default_factory=set)


@dataclass
class _Writes:
    answers: list[tuple[Answer, str]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    closing: list[int] = field(default_factory=list)
    raising: list[int] = field(default_factory=list)  # disputed: one more slot each
    touched: set[int] = field(default_factory=set)  # tasks whose candidate's consensus changes


class Unproven(Exception):
    """The caller's proof does not hold; nothing was stored."""


@dataclass(frozen=True)
class Proof:
    """Something that must hold, asked in the same round trip that takes the locks."""

    statement: str
    values: dict[str, Any]
    holds: Callable[[prepared.Rows], bool]


def save_annotations(
    user: Any,
    answers: Sequence[Answer],
    *,
    project_id: int | None = None,
    now: datetime | None = None,
    proof: Proof | None = None,
) -> list[Outcome]:
    """Store labels; one outcome per answer, in order. An answer sent again gives the same outcome.

    Refused: an id used for another answer, a task that does not exist, is of another project or was never
    handed to this person, a second answer to one task. After the lease lapsed an answer is taken if a slot is
    still free, else kept as surplus. Raises Unproven.
    """
    now = now or timezone.now()
    try:
        return _save(user, answers, project_id, now, proof)
    except IntegrityError:
        # Somebody used one of these ids between our look and our write: now it can be seen.
        return _save(user, answers, project_id, now, proof)


def _save(
    user: Any, answers: Sequence[Answer], project_id: int | None, now: datetime, proof: Proof | None
) -> list[Outcome]:
    with prepared.trips() as trip:
        desk = _read_desk(trip, user.pk, answers, now, proof)
        writes = _Writes()
        outcomes = [_judge(user.pk, answer, desk, writes, project_id) for answer in answers]
        if writes.answers:
            _write(trip, user.pk, desk, writes, now)
    return outcomes


def _read_desk(
    trip: prepared.Trips, person: int, answers: Sequence[Answer], now: datetime, proof: Proof | None
) -> _Desk:
    values = {
        "lock": statements.PERSON_LOCK, "person": person, "now": now,
        "tasks": list({answer.task for answer in answers}), "ids": [answer.id for answer in answers],
    }  # fmt: skip
    # Each statement sees what others committed before it, and so before we got the locks.
    locked, given, slots, handed, *proven = trip.run(
        statements.LOCK_TASKS, statements.READ_ANNOTATIONS, statements.LOCK_SLOTS, statements.READ_HANDED,
        *([proof.statement] if proof else []), values={**values, **(proof.values if proof else {})},
    )  # fmt: skip
    if proof and not proof.holds(*proven):
        raise Unproven
    tasks = {row[0]: _TaskRow(*row) for row in locked}
    desk = _Desk(tasks, {}, set(), defaultdict(list), defaultdict(int), {}, defaultdict(list))
    for annotation, task, candidate, annotator, label, seconds, state in given:
        desk.known[annotation] = (task, annotator, label, seconds, state)
        if annotator == person and state in (STANDING, SURPLUS):
            desk.answered.add(task)
        if state == STANDING:
            desk.votes[candidate].append((annotator, label))
            desk.standing[task] += 1
    for slot, task, annotator in slots:
        if annotator == person:
            desk.own_slot[task] = slot
        else:
            desk.free_slots[task].append(slot)
    desk.handed = {task for (task,) in handed}
    return desk


@dataclass(frozen=True)
class _TaskRow:
    id: int
    project: int
    candidate: int
    overlap: int
    guidelines_version: int
    shows_prompt: bool
    agree_at_least: int
    overlap_most: int
    is_gold: bool
    known: int | None  # the candidate's gold label
    asks_details: bool

    def wants_one_more(self, votes: Sequence[Vote]) -> bool:
        """Full, but its people disagree, and the project asks on."""
        if not self.agree_at_least or self.overlap >= self.overlap_most:
            return False
        return max(Counter(label for _, label in votes).values()) < self.agree_at_least


def _judge(person: int, answer: Answer, desk: _Desk, writes: _Writes, project_id: int | None) -> Outcome:
    known, task = desk.known.get(answer.id), desk.tasks.get(answer.task)
    if known is not None:
        return _answer_again(person, answer, known)
    if task is None or (project_id is not None and task.project != project_id):
        return _refuse(answer, "There is no such task in this project.")
    if answer.task in desk.answered:
        return _refuse(answer, "You have answered this task already: undo that answer first.")
    if answer.details and not task.asks_details:
        return _refuse(answer, "This project asks for a label only: send it without details.")
    if answer.guidelines is not None and answer.guidelines > task.guidelines_version:
        return _refuse(answer, f"The guidelines have no version {answer.guidelines} yet.")
    slot = desk.own_slot.pop(answer.task, None)
    if slot is None and answer.task not in desk.handed:
        return _refuse(answer, "This task was not handed to you.")
    if slot is None and desk.free_slots[answer.task]:
        slot = desk.free_slots[answer.task].pop(0)
    state = SURPLUS if slot is None else STANDING
    writes.answers.append((answer, state))
    desk.known[answer.id] = (answer.task, person, answer.label, answer.seconds, state)
    desk.answered.add(answer.task)
    if slot is not None:
        writes.slots.append(slot)
        writes.touched.add(answer.task)
        desk.votes[task.candidate].append((person, answer.label))
        desk.standing[answer.task] += 1
        # Gold is asked of everybody, and never in the queue.
        if desk.standing[answer.task] >= task.overlap and not task.is_gold:
            if task.wants_one_more(desk.votes[task.candidate]):
                writes.raising.append(answer.task)
                desk.tasks[answer.task] = replace(task, overlap=task.overlap + 1)
            else:
                writes.closing.append(answer.task)
    return _outcome(answer, state)


def _answer_again(person: int, answer: Answer, known: tuple[int, int, int, float, str]) -> Outcome:
    task, annotator, label, seconds, state = known
    same = (task, annotator, label) == (answer.task, person, answer.label)
    if not same or abs(seconds - answer.seconds) > 1e-6:
        return _refuse(answer, "This id belongs to another answer: make a new one.")
    return _outcome(answer, state)


def _outcome(answer: Answer, state: str) -> Outcome:
    if state == SURPLUS:
        return Outcome(
            answer.id, answer.task, "surplus",
            "Your lease had lapsed and others finished this task: your answer is kept, but does not count.",
        )  # fmt: skip
    return Outcome(answer.id, answer.task, "undone" if state == UNDONE else "saved")


def _refuse(answer: Answer, message: str) -> Outcome:
    return Outcome(answer.id, answer.task, "refused", message)


def _write(trip: prepared.Trips, person: int, desk: _Desk, writes: _Writes, now: datetime) -> None:
    answers = [answer for answer, _ in writes.answers]
    tasks = [desk.tasks[answer.task] for answer in answers]
    touched = [desk.tasks[task] for task in sorted(writes.touched)]
    tallies = [tally(row.candidate, desk.votes[row.candidate], row.overlap, known=row.known) for row in touched]
    trip.run(
        statements.WRITE_ANSWERS,
        values={
            "person": person,
            "now": now,
            "ids": [answer.id for answer in answers],
            "tasks": [answer.task for answer in answers],
            "candidates": [task.candidate for task in tasks],
            "labels": [answer.label for answer in answers],
            "seconds": [answer.seconds for answer in answers],
            "states": [str(state) for _, state in writes.answers],
            "guidelines": [
                answer.guidelines or task.guidelines_version for task, answer in zip(tasks, answers, strict=True)
            ],
            "shown": _shown(tasks, answers),
            "details": [json.dumps(answer.details) for answer in answers],
            "slots": writes.slots,
            "closing": writes.closing,
            "raising": writes.raising,
            **consensus_columns(tallies),
        },
        last=True,
    )


def _shown(tasks: Sequence[_TaskRow], answers: Sequence[Answer]) -> list[str]:
    """What stood beside each picture. A verdict is read from our own tables: the browser only says that it showed it."""
    both = list(zip(tasks, answers, strict=True))
    said = assist.verdicts_shown({(task.candidate, answer.verdict) for task, answer in both if answer.verdict})
    return [
        json.dumps(
            {
                "prompt": task.shows_prompt,
                "view": answer.view,
                "verdict": said.get((task.candidate, answer.verdict)) if answer.verdict else None,
            }
        )
        for task, answer in both
    ]


def undo(user: Any, annotation_id: UUID, now: datetime | None = None) -> datetime | None:
    """Take an own answer back and hold its task for the same person; returns until when (None: it is full).

    Undoing twice changes nothing. Raises Refused for an id that is no answer of theirs, or was corrected.
    """
    now = now or timezone.now()
    with transaction.atomic():
        task = lock_task(user, Task.objects.filter(annotations__id=annotation_id, annotations__annotator=user))
        if task is None:
            raise Refused("You have no answer with this id.")
        answer = Annotation.objects.get(pk=annotation_id)
        if answer.state == Annotation.State.SUPERSEDED:
            raise Refused("A reviewer has corrected this answer: it can't be taken back any more.")
        if answer.state != UNDONE:
            stood = answer.state == STANDING
            answer.state, answer.undone_at = UNDONE, now
            answer.save(update_fields=["state", "undone_at"])
            if stood:
                Slot.objects.filter(task=task, annotator=user).update(is_filled=False)
                Task.objects.filter(pk=task.pk, is_gold=False).update(is_open=True)
                _recount(task, now)
        until = hold_again(user, task, now)
        _ask_again(user, task, answer, until, now)
        return until


def _ask_again(user: Any, task: Task, answer: Annotation, until: datetime | None, now: datetime) -> None:
    """The answer just undone was given to a reviewer's comment: that still waits for one."""
    back = SentBack.objects.filter(annotator=user, task=task, answered_at=answer.created_at)
    if until is not None and back.update(answered_at=None, shown_until=until):
        held = now + timedelta(days=SENT_BACK_DAYS)
        Slot.objects.filter(task=task, annotator=user, is_filled=False).update(lease_until=held)


def _recount(task: Task, now: datetime) -> None:
    candidate = task.candidate_id
    votes = list(Annotation.objects.standing().filter(candidate=candidate).values_list("annotator_id", "label"))
    if not votes:
        row = Consensus.objects.filter(candidate=candidate)
        row.exclude(method="review").delete()
        row.update(annotation_count=0)
        return
    columns = consensus_columns([tally(candidate, votes, task.overlap, known=known_label(candidate))])
    with connection.cursor() as cursor:
        cursor.execute(statements.UPSERT_CONSENSUS, {**columns, "now": now})
