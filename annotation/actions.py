"""Everything that changes tasks and leases (answers: answers.py). Pages, API, commands and the loop call these.

The rules that must hold whatever happens (no task over its overlap, nobody twice) are constraints of
the tables; the locks here (statements.py) only keep people from running into them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import prepared, statements
from annotation.models import Annotation, Flag, Project, QueuePlace, SentBack, Skip, Slot, Task
from generation.actions import flag_unsuitable
from generation.models import Candidate, Product

STANDING, SURPLUS, UNDONE = Annotation.State.STANDING, Annotation.State.SURPLUS, Annotation.State.UNDONE
FLAGGED = "Flagged at the desk"
SENT_BACK_DAYS = 7  # how long a task that was sent back waits for its annotator
COUNT_AT_MOST = 50  # of what is left for somebody: more is "50+"
# How many takeable tasks of the queue's head are looked at: enough to count what is left behind a lease; where others
# hold all of them at this moment, further and further.
WINDOWS = (COUNT_AT_MOST + 10, COUNT_AT_MOST + 50, 1000, 10_000)
PLACE_KEPT = timedelta(minutes=5)
LEFT_TOLD = timedelta(minutes=10)  # so long a project with gold tells the same count
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


# --- tasks


def add_tasks(project: Project, picks: Iterable[Pick], round_number: int = 0) -> int:
    """Make tasks of candidates that have none in this project yet; returns how many were made.

    Candidates that early stop gave up are left out: nobody finished their pictures.
    """
    picks, made = list(picks), 0
    for start in range(0, len(picks), _CHUNK):
        chunk = _finished(picks[start : start + _CHUNK])
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


def _finished(picks: list[Pick]) -> list[Pick]:
    ids = [pick.candidate_id for pick in picks]
    given_up = set(Candidate.objects.filter(pk__in=ids, abandoned_at_step__isnull=False).values_list("pk", flat=True))
    return [pick for pick in picks if pick.candidate_id not in given_up]


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


def take(
    user: Any, project: Project, count: int, now: datetime | None = None, held: Sequence[int] | None = None
) -> Taken:
    """Up to `count` tasks this person has not judged, held for them for the project's lease time.

    First what reviewers sent back to them (`comment` says what about), then the queue in its order with gold mixed in
    at random places. None when the project is paused or nothing is left; then, for who says what they `held` already,
    what else is held for them: a page that was closed too suddenly has taken it along.
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
        if held is not None and not (back or gold or queued):
            [[(queued,)]] = trip.run(statements.LEASE_AGAIN, values={**values, "count": count, "tasks": list(held)})
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


def left_to_tell(left: int, project: Project, person: int, now: datetime) -> int:
    """What the annotator is told is left. A count that does not fall with a task that is handed out, skipped or answered
    would give gold away: so where gold is mixed in it is rounded up to tens, and told anew only now and then. That
    nothing is left they see at once."""
    if not project.gold_percent or not left:
        return left
    values = {"person": person, "project": project.pk, "count": -(-left // 10) * 10, "now": now, "since": now - LEFT_TOLD}
    [[(told,)]] = prepared.run(statements.TELL_LEFT, values=values)
    return int(told)


def hold_again(user: Any, task: Task, now: datetime) -> datetime | None:
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


def lock_task(user: Any, tasks: Any) -> Task | None:
    """The one task of this query with its person and candidate locked, in the order of statements.py."""
    task = tasks.select_related("project", "candidate").first()
    if task is not None:
        with connection.cursor() as cursor:
            cursor.execute(
                statements.LOCK_TASKS,
                {"lock": statements.PERSON_LOCK, "person": user.pk, "tasks": [task.pk]},
            )
    return task


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
        return hold_again(user, task, now or timezone.now())


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
        return hold_again(user, task, now or timezone.now())


def _handed_task(user: Any, task_id: int) -> Task:
    task = lock_task(user, Task.objects.filter(pk=task_id, handouts__annotator=user))
    if task is None:
        raise Refused("This task was not handed to you.")
    return task
