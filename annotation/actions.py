"""Everything that changes tasks, leases and answers. Pages, API, commands and the loop call these.

The rules that must hold whatever happens (no task over its overlap, nobody twice) are constraints of
the tables; the locks here (statements.py) only keep people from running into them.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import assist, prepared, statements
from annotation.consensus import Tally, Vote, known_label, tally
from annotation.models import Annotation, Consensus, Flag, Project, QueuePlace, SentBack, Skip, Slot, Task
from generation.actions import flag_unsuitable
from generation.models import Product

STANDING, SURPLUS, UNDONE = Annotation.State.STANDING, Annotation.State.SURPLUS, Annotation.State.UNDONE
FLAGGED = "Flagged at the desk"
SENT_BACK_DAYS = 7  # how long a task that was sent back waits for its annotator
COUNT_AT_MOST = 50  # of what is left for somebody: more is "50+"
# How many takeable tasks of the queue's head are looked at: enough to count what is left behind a lease; where others
# hold all of them at this moment, further and further.
WINDOWS = (COUNT_AT_MOST + 10, COUNT_AT_MOST + 50, 1000, 10_000)
PLACE_KEPT = timedelta(minutes=5)
_FROM_THE_HEAD = (-math.inf, -1.0)
_CHUNK = 1000


class Refused(Exception):
    """It can't be done for this person; the message says why."""


@dataclass(frozen=True)
class Pick:
    """A candidate that people should look at, and why."""

    candidate_id: int
    priority: float = 0.0
    reason: str = ""
    score: float | None = None
    inclusion_probability: float | None = None


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


# --- tasks


def add_tasks(project: Project, picks: Iterable[Pick], round_number: int = 0) -> int:
    """Make tasks of candidates that have none in this project yet; returns how many were made."""
    picks, made = list(picks), 0
    for start in range(0, len(picks), _CHUNK):
        chunk = picks[start : start + _CHUNK]
        tasks = [
            Task(
                project=project, candidate_id=pick.candidate_id, overlap=project.overlap,
                priority=pick.priority, reason=pick.reason[:60], acquisition_score=pick.score,
                inclusion_probability=pick.inclusion_probability, round_number=round_number,
            )
            for pick in chunk
        ]  # fmt: skip
        ids = [pick.candidate_id for pick in chunk]
        with transaction.atomic():
            before = Task.objects.filter(project=project, candidate_id__in=ids).count()
            Task.objects.bulk_create(tasks, ignore_conflicts=True)
            with connection.cursor() as cursor:
                cursor.execute(statements.ADD_SLOTS, [project.pk, ids])
            made += Task.objects.filter(project=project, candidate_id__in=ids).count() - before
    return made


# --- leases


@dataclass(frozen=True)
class Leased:
    """A task held for somebody, with what their desk shows."""

    slot_id: int
    task_id: int
    candidate_id: int
    lease_until: datetime
    image_sha256: str
    depth_sha256: str
    saliency_sha256: str
    image_scale: float
    prompt_text: str
    product_id: int
    product_title: str
    product_description: str
    product_sha256: str
    comment: str | None  # of the reviewer who sent it back to them


@dataclass(frozen=True)
class Taken:
    tasks: list[Leased]
    left: int  # how many more they could take, counted up to COUNT_AT_MOST


def lease(user: Any, project: Project, count: int, now: datetime | None = None) -> list[Leased]:
    """As `take`, without what is left."""
    return take(user, project, count, now).tasks


def take(user: Any, project: Project, count: int, now: datetime | None = None) -> Taken:
    """Up to `count` tasks this person has not judged, held for them for the project's lease time.

    First what reviewers sent back to them (`comment` says what about), then the queue in its order with gold mixed in
    at random places. None when the project is paused or nothing is left.
    """
    if project.is_paused or count < 1:
        return Taken([], 0)
    now = now or timezone.now()
    values = {
        "lock": statements.PERSON_LOCK, "person": user.pk, "project": project.pk, "now": now,
        "until": now + timedelta(minutes=project.lease_minutes), "fresh": now - PLACE_KEPT,
    }  # fmt: skip
    with prepared.trips() as trip:
        _, sent_back, known = trip.run(
            statements.LOCK_PERSON, statements.LEASE_SENT_BACK, statements.READ_PLACE, values={**values, "count": count}
        )
        back, place = sent_back[0][0], (known or [None])[0]
        wanted = count - len(back)
        gold_wanted = sum(random.random() * 100 < project.gold_percent for _ in range(wanted))
        queued, left = _lease_queued(trip, values, wanted - gold_wanted, place)
        gold: list[int] = []
        # Where the queue has nothing else, it would be known as gold.
        if gold_wanted and (queued or left):
            [[(gold,)]] = trip.run(statements.LEASE_GOLD, values={**values, "count": gold_wanted})
            if len(gold) < gold_wanted and left:
                more, left = _lease_queued(trip, values, gold_wanted - len(gold), place)
                queued += more
        [rows] = trip.run(statements.READ_LEASED, values={**values, "slots": [*back, *gold, *queued]}, last=True)
    tasks = [Leased(*row) for row in rows]
    first = [task for task in tasks if task.slot_id in back]
    mixed = [task for task in tasks if task.slot_id not in back and task.slot_id not in gold]
    for task in tasks:
        if task.slot_id in gold:
            mixed.insert(random.randint(0, len(mixed)), task)
    return Taken(first + mixed, left)


def _lease_queued(
    trip: prepared.Trips, values: dict[str, Any], count: int, place: tuple[float, float] | None
) -> tuple[list[int], int]:
    """Slots of the queue, in its order, and how many tasks are left behind them."""
    rank, tie = place or _FROM_THE_HEAD
    # Others may be taking the head of the queue at this moment: then look further down.
    windows = WINDOWS[0 if count <= 10 else 1 :]
    for window in windows:
        [[found]] = trip.run(statements.lease(window), values={**values, "count": count, "rank": rank, "tie": tie})
        seen, slots, first_rank, first_tie, passed = found
        if slots or not seen or not count:
            break
    if place and seen < windows[0]:
        # Near the end: what was passed before this place may be free again.
        QueuePlace.objects.filter(annotator=values["person"], project=values["project"]).delete()
        more, left = _lease_queued(trip, values, count - len(slots), None)
        return slots + more, left
    if passed >= statements.PASSED_AT_MOST:
        trip.run(statements.KEEP_PLACE, values={**values, "rank": first_rank, "tie": first_tie})
    return slots, min(seen - len(slots), COUNT_AT_MOST)


def forget_places(project_id: int | None = None) -> None:
    """The order of a queue (or of all) has changed, or tasks came back to it: everybody begins at its head again."""
    places = QueuePlace.objects.all()
    (places if project_id is None else places.filter(project=project_id)).delete()


def renew(user: Any, task_ids: Sequence[int], now: datetime | None = None) -> list[int]:
    """Hold these leases for longer; returns the tasks still held (not those that went to others)."""
    now = now or timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        values = {"person": user.pk, "tasks": list(task_ids), "now": now}
        cursor.execute(statements.RENEW, values)
        held = [task for (task,) in cursor.fetchall()]
        cursor.execute(statements.RENEW_SENT_BACK, values)
    return held


def release(user: Any, task_ids: Sequence[int]) -> int:
    """Give leases back, for others to take at once; returns how many were held.

    What a reviewer sent back stays this person's, and is shown to them again.
    """
    with transaction.atomic():
        QueuePlace.objects.filter(annotator=user).delete()
        back = SentBack.objects.filter(annotator=user, task_id__in=task_ids, answered_at=None)
        kept = list(back.values_list("task_id", flat=True))
        if kept:
            back.update(shown_until=None)
        slots = Slot.objects.filter(annotator=user, task_id__in=task_ids, is_filled=False)
        freed = slots.exclude(task_id__in=kept).update(annotator=None, lease_until=None)
    return freed + len(kept)


def _give_up(user: Any, task: Task, now: datetime) -> None:
    """Skipped or flagged: whoever sent it back to this person will not hear from them."""
    SentBack.objects.filter(annotator=user, task=task, answered_at=None).update(answered_at=now)
    release(user, [task.pk])


def count_left(user: Any, project: Project, most: int = COUNT_AT_MOST, now: datetime | None = None) -> int:
    """Tasks this person could still take, counted up to `most`."""
    values = {"person": user.pk, "project": project.pk, "now": now or timezone.now()}
    with connection.cursor() as cursor:
        cursor.execute(statements.count_left(most), values)
        return cursor.fetchone()[0]


def left_to_tell(left: int, project: Project) -> int:
    """What the annotator is told is left. Where gold is mixed in, rounded up to tens, so that a count which does not
    fall with the task handed out gives no gold away."""
    return -(-left // 10) * 10 if project.gold_percent else left


def _take_back(user: Any, task: Task, now: datetime) -> datetime | None:
    """Lease this very task to this person if a slot is free; returns until when. Wants the person locked."""
    if Annotation.objects.filter(task=task, annotator=user, state__in=[STANDING, SURPLUS]).exists():
        return None
    free = Q(annotator=user) | Q(lease_until=None) | Q(lease_until__lt=now)
    slots = list(Slot.objects.select_for_update().filter(free, task=task, is_filled=False).order_by("pk"))
    slot = next((slot for slot in slots if slot.annotator_id == user.pk), slots[0] if slots else None)
    if slot is None:
        return None
    slot.annotator, slot.lease_until = user, now + timedelta(minutes=task.project.lease_minutes)
    slot.save(update_fields=["annotator", "lease_until"])
    return slot.lease_until


# --- answers


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


def consensus_columns(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Parameters of the statements that write consensus rows. Two tasks of one candidate give it one row."""
    # In order of candidates, as the fit locks them.
    rows = sorted({row.candidate_id: row for row in tallies}.values(), key=lambda row: row.candidate_id)
    return {
        "c_candidates": [row.candidate_id for row in rows],
        "c_labels": [row.label for row in rows],
        "c_posteriors": [json.dumps(row.posterior) for row in rows],
        "c_votes": [row.count for row in rows],
        "c_agreements": [row.agreement for row in rows],
        "c_complete": [row.is_complete for row in rows],
        "c_methods": [row.method for row in rows],
        "c_activelab": [row.activelab_score for row in rows],
        "c_crowdlab": [row.crowdlab_quality for row in rows],
    }


def undo(user: Any, annotation_id: UUID, now: datetime | None = None) -> datetime | None:
    """Take an own answer back and hold its task for the same person; returns until when (None: it is full).

    Undoing twice changes nothing. Raises Refused for an id that is no answer of theirs, or was corrected.
    """
    now = now or timezone.now()
    with transaction.atomic():
        task = _lock_task(user, Task.objects.filter(annotations__id=annotation_id, annotations__annotator=user))
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
        until = _take_back(user, task, now)
        _ask_again(user, task, answer, until, now)
        return until


def _ask_again(user: Any, task: Task, answer: Annotation, until: datetime | None, now: datetime) -> None:
    """The answer just undone was given to a reviewer's comment: that still waits for one."""
    back = SentBack.objects.filter(annotator=user, task=task, answered_at=answer.created_at)
    if until is not None and back.update(answered_at=None, shown_until=until):
        held = now + timedelta(days=SENT_BACK_DAYS)
        Slot.objects.filter(task=task, annotator=user, is_filled=False).update(lease_until=held)


def _lock_task(user: Any, tasks: Any) -> Task | None:
    """The one task of this query with its person and candidate locked, in the order of statements.py."""
    task = tasks.select_related("project", "candidate").first()
    if task is not None:
        with connection.cursor() as cursor:
            cursor.execute(
                statements.LOCK_TASKS,
                {"lock": statements.PERSON_LOCK, "person": user.pk, "tasks": [task.pk]},
            )
    return task


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


# --- skips and flags


def skip(user: Any, task_id: int) -> None:
    """Pass this task to others and never see it again. Skipping twice changes nothing. Raises Refused."""
    with transaction.atomic():
        task = _handed_task(user, task_id)
        if Annotation.objects.standing().filter(task=task, annotator=user).exists():
            raise Refused("You have answered this task already: undo that answer first.")
        Skip.objects.get_or_create(task=task, annotator=user)
        _give_up(user, task, timezone.now())


def take_back_skip(user: Any, task_id: int, now: datetime | None = None) -> datetime | None:
    """Hold a skipped task again; returns until when (None: others have taken it). Raises Refused."""
    with transaction.atomic():
        task = _handed_task(user, task_id)
        Skip.objects.filter(task=task, annotator=user).delete()
        return _take_back(user, task, now or timezone.now())


def flag(user: Any, task_id: int, reason: str = "") -> Product:
    """The product's own picture is at fault: none of its candidates is handed out any more. Raises Refused."""
    with transaction.atomic():
        task = _handed_task(user, task_id)
        product = Product.objects.select_for_update().get(pk=task.candidate.product_id)
        Flag.objects.get_or_create(product=product, annotator=user, defaults={"task": task, "reason": reason[:200]})
        _give_up(user, task, timezone.now())
        if not product.unsuitable:
            flag_unsuitable(product, f"{FLAGGED} by {user.username}" + (f": {reason}" if reason else ""))
    return product


def take_back_flag(user: Any, task_id: int, now: datetime | None = None) -> datetime | None:
    """Withdraw an own flag. The product is suitable again unless others flagged it too. Raises Refused."""
    with transaction.atomic():
        task = _handed_task(user, task_id)
        product = Product.objects.select_for_update().get(pk=task.candidate.product_id)
        Flag.objects.filter(product=product, annotator=user).delete()
        others = Flag.objects.filter(product=product).exists()
        if product.unsuitable and product.unsuitable_reason.startswith(FLAGGED) and not others:
            product.unsuitable, product.unsuitable_reason = False, ""
            product.save(update_fields=["unsuitable", "unsuitable_reason"])
        return _take_back(user, task, now or timezone.now())


def _handed_task(user: Any, task_id: int) -> Task:
    task = _lock_task(user, Task.objects.filter(pk=task_id, handouts__annotator=user))
    if task is None:
        raise Refused("This task was not handed to you.")
    return task
