"""Everything that changes leases of pairs and preferences, as annotation.actions does for tasks.

What must hold whatever happens (no pair over its overlap, nobody twice) are constraints of the tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from annotation import pair_statements, statements
from annotation.actions import COUNT_AT_MOST, Refused
from annotation.models import Pair, PairHandout, PairSlot, Preference, Project

LEFT, RIGHT, TIE = "left", "right", "tie"
CHOICES = (LEFT, RIGHT, TIE)
_NONE_WITH_ID = "You have no preference with this id."
_ANSWERED = "You have answered this pair already: undo that answer first."


@dataclass(frozen=True)
class Choice:
    """One preference as the browser sent it."""

    id: UUID
    pair: int
    choice: str  # one of CHOICES, as the person saw them
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of one preference: saved, surplus (the pair was full), undone (meanwhile), or refused."""

    id: UUID
    pair: int
    status: str
    message: str = ""


# --- leases


def lease(
    user: Any, project: Project, count: int, now: datetime | None = None, held: Sequence[int] | None = None
) -> list[PairSlot]:
    """Up to `count` pairs this person has not judged, held for the project's lease time.

    Each slot comes with its pair, candidates and product loaded, and `first_is_left`. Empty when the project is
    paused or nothing is left; then, for who says what they `held` already, what else is held for them.
    """
    if project.is_paused or count < 1:
        return []
    now = now or timezone.now()
    values = {
        "lock": statements.PERSON_LOCK, "person": user.pk, "project": project.pk, "now": now, "count": count,
        "until": now + timedelta(minutes=project.lease_minutes),
    }  # fmt: skip
    ids: list[int] = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.LOCK_PERSON, values)
        # Others may be taking the head of the queue at this moment: then look further down.
        for window in (count + 64, 8 * count + 512, 64 * count + 4096):
            cursor.execute(pair_statements.LEASE, {**values, "window": window})
            seen, ids = cursor.fetchone()
            if ids or not seen:
                break
        if held is not None and not ids:
            cursor.execute(pair_statements.LEASE_AGAIN, {**values, "pairs": list(held)})
            [ids] = cursor.fetchone()
    if not ids:
        return []
    rows = PairSlot.objects.filter(pk__in=ids).select_related("pair__first__product", "pair__second")
    slots = list(rows.order_by("pair__tie"))
    handed = PairHandout.objects.filter(annotator=user, pair__in=[slot.pair_id for slot in slots])
    order = dict(handed.values_list("pair_id", "first_is_left"))
    for slot in slots:
        slot.first_is_left = order[slot.pair_id]
    return slots


def count_left(user: Any, project: Project, now: datetime | None = None) -> int:
    """Pairs this person could still take, counted up to COUNT_AT_MOST."""
    values = {"person": user.pk, "project": project.pk, "now": now or timezone.now(), "window": COUNT_AT_MOST}
    with connection.cursor() as cursor:
        cursor.execute(pair_statements.COUNT_LEFT, values)
        return cursor.fetchone()[0]


def renew(user: Any, pair_ids: Sequence[int], now: datetime | None = None) -> list[int]:
    """Hold these leases for longer; returns the pairs still held (not those that went to others)."""
    values = {"person": user.pk, "pairs": list(pair_ids), "now": now or timezone.now()}
    with connection.cursor() as cursor:
        cursor.execute(pair_statements.RENEW, values)
        return [pair for (pair,) in cursor.fetchall()]


def release(user: Any, pair_ids: Sequence[int]) -> int:
    """Give leases back, for others to take at once; returns how many were held."""
    slots = PairSlot.objects.filter(annotator=user, pair_id__in=pair_ids, is_filled=False)
    return slots.update(annotator=None, lease_until=None)


# --- preferences


@dataclass(frozen=True)
class _PairRow:
    id: int
    project: int
    overlap: int
    first_is_left: bool | None  # None: never handed to this person


@dataclass
class _Desk:
    """What the tables say about the pairs of one batch, read under locks; altered as the batch is judged."""

    pairs: dict[int, _PairRow]
    known: dict[UUID, Preference] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    standing: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    own_slot: dict[int, int] = field(default_factory=dict)
    free_slots: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    written: list[Preference] = field(default_factory=list)
    closing: list[int] = field(default_factory=list)


def save_preferences(
    user: Any, choices: Sequence[Choice], *, project_id: int | None = None, now: datetime | None = None
) -> list[Outcome]:
    """Store preferences; one outcome each, in order. One that is sent again gives the same outcome.

    Refused: an id used for another answer, a pair that does not exist, is of another project or was never handed to
    this person, a second answer to one pair. After the lease lapsed it is taken if a slot is still free, else kept
    as surplus.
    """
    now = now or timezone.now()
    try:
        return _save(user, choices, project_id, now)
    except IntegrityError:
        # Somebody used one of these ids between our look and our write: now it can be seen.
        return _save(user, choices, project_id, now)


def _save(user: Any, choices: Sequence[Choice], project_id: int | None, now: datetime) -> list[Outcome]:
    with transaction.atomic(), connection.cursor() as cursor:
        desk = _read_desk(cursor, user.pk, choices, now)
        outcomes = [_judge(user.pk, choice, desk, project_id) for choice in choices]
        if desk.written:
            _write(cursor, user.pk, desk, now)
    return outcomes


def _read_desk(cursor: Any, person: int, choices: Sequence[Choice], now: datetime) -> _Desk:
    values = {
        "lock": statements.PERSON_LOCK, "person": person, "now": now, "ids": [choice.id for choice in choices],
        "pairs": list({choice.pair for choice in choices}),
    }  # fmt: skip
    cursor.execute(pair_statements.LOCK_PAIRS, values)
    desk = _Desk({row[0]: _PairRow(*row) for row in cursor.fetchall()})
    # A new statement, so that it sees what others committed before we got the locks.
    cursor.execute(pair_statements.READ_PREFERENCES, values)
    columns = ("id", "pair_id", "annotator_id", "choice", "first_was_left", "seconds", "is_undone", "is_surplus")
    for row in cursor.fetchall():
        preference = Preference(**dict(zip(columns, row, strict=True)))
        desk.known[preference.pk] = preference
        if preference.is_undone:
            continue
        if preference.annotator_id == person:
            desk.answered.add(preference.pair_id)
        if not preference.is_surplus:
            desk.standing[preference.pair_id] += 1
    cursor.execute(pair_statements.LOCK_SLOTS, values)
    for slot, pair, annotator in cursor.fetchall():
        if annotator == person:
            desk.own_slot[pair] = slot
        else:
            desk.free_slots[pair].append(slot)
    return desk


def _judge(person: int, given: Choice, desk: _Desk, project_id: int | None) -> Outcome:
    known, pair = desk.known.get(given.id), desk.pairs.get(given.pair)
    if known is not None:
        return _answer_again(person, given, known)
    if pair is None or (project_id is not None and pair.project != project_id):
        return _refuse(given, "There is no such pair in this project.")
    if given.pair in desk.answered:
        return _refuse(given, _ANSWERED)
    if pair.first_is_left is None:
        return _refuse(given, "This pair was not handed to you.")
    slot = desk.own_slot.pop(given.pair, None)
    if slot is None and desk.free_slots[given.pair]:
        slot = desk.free_slots[given.pair].pop(0)
    preference = Preference(
        id=given.id, pair_id=given.pair, annotator_id=person, choice=_as_stored(given.choice, pair.first_is_left),
        first_was_left=pair.first_is_left, seconds=given.seconds, slot_id=slot, is_surplus=slot is None,
    )  # fmt: skip
    desk.written.append(preference)
    desk.known[given.id] = preference
    desk.answered.add(given.pair)
    if slot is not None:
        desk.standing[given.pair] += 1
        if desk.standing[given.pair] >= pair.overlap:
            desk.closing.append(given.pair)
    return _outcome(given, preference)


def _as_stored(choice: str, first_is_left: bool) -> str:
    if choice == TIE:
        return Preference.Choice.TIE
    return Preference.Choice.FIRST if (choice == LEFT) == first_is_left else Preference.Choice.SECOND


def _answer_again(person: int, given: Choice, known: Preference) -> Outcome:
    same = (known.pair_id, known.annotator_id) == (given.pair, person) and abs(known.seconds - given.seconds) < 1e-6
    if not same or known.choice != _as_stored(given.choice, known.first_was_left):
        return _refuse(given, "This id belongs to another answer: make a new one.")
    return _outcome(given, known)


def _outcome(given: Choice, preference: Preference) -> Outcome:
    if preference.is_undone:
        return Outcome(given.id, given.pair, "undone")
    if preference.is_surplus:
        return Outcome(
            given.id, given.pair, "surplus",
            "Your lease had lapsed and others finished this pair: your answer is kept, but does not count.",
        )  # fmt: skip
    return Outcome(given.id, given.pair, "saved")


def _refuse(given: Choice, message: str) -> Outcome:
    return Outcome(given.id, given.pair, "refused", message)


def _write(cursor: Any, person: int, desk: _Desk, now: datetime) -> None:
    rows = desk.written
    cursor.execute(
        pair_statements.WRITE,
        {
            "person": person,
            "now": now,
            "ids": [row.pk for row in rows],
            "pairs": [row.pair_id for row in rows],
            "choices": [str(row.choice) for row in rows],
            "lefts": [row.first_was_left for row in rows],
            "seconds": [row.seconds for row in rows],
            "slots": [row.slot_id for row in rows],
            "closing": desk.closing,
        },
    )


# --- taking back


def undo(user: Any, preference_id: UUID, now: datetime | None = None) -> datetime | None:
    """Take an own preference back and hold its pair for the same person; returns until when (None: it is full).

    Undoing twice changes nothing. Raises Refused for an id that is none of theirs.
    """
    now = now or timezone.now()
    with transaction.atomic():
        pair = _lock_pair(user, Pair.objects.filter(preferences__id=preference_id, preferences__annotator=user))
        if pair is None:
            raise Refused(_NONE_WITH_ID)
        preference = Preference.objects.get(pk=preference_id)
        if not preference.is_undone:
            Preference.objects.filter(pk=preference_id).update(is_undone=True)
            PairHandout.objects.filter(pair=pair, annotator=user).update(is_open=True)
            if not preference.is_surplus:
                PairSlot.objects.filter(pk=preference.slot_id).update(is_filled=False)
                Pair.objects.filter(pk=pair.pk).update(is_open=True)
        return _take_back(user, pair, now)


def skip(user: Any, pair_id: int, now: datetime | None = None) -> None:
    """Pass this pair to others and never see it again. Skipping twice changes nothing. Raises Refused."""
    with transaction.atomic():
        pair = _handed_pair(user, pair_id)
        if Preference.objects.filter(pair=pair, annotator=user, is_undone=False).exists():
            raise Refused(_ANSWERED)
        handout = PairHandout.objects.filter(pair=pair, annotator=user, skipped_at=None)
        handout.update(skipped_at=now or timezone.now(), is_open=False)
        release(user, [pair.pk])


def take_back_skip(user: Any, pair_id: int, now: datetime | None = None) -> datetime | None:
    """Hold a skipped pair again; returns until when (None: others have taken it). Raises Refused."""
    with transaction.atomic():
        pair = _handed_pair(user, pair_id)
        handout = PairHandout.objects.filter(pair=pair, annotator=user).exclude(skipped_at=None)
        handout.update(skipped_at=None, is_open=True)
        return _take_back(user, pair, now or timezone.now())


def _handed_pair(user: Any, pair_id: int) -> Pair:
    pair = _lock_pair(user, Pair.objects.filter(pk=pair_id, handouts__annotator=user))
    if pair is None:
        raise Refused("This pair was not handed to you.")
    return pair


def _lock_pair(user: Any, pairs: Any) -> Pair | None:
    pair = pairs.select_related("project").first()
    if pair is not None:
        values = {"lock": statements.PERSON_LOCK, "person": user.pk, "pairs": [pair.pk]}
        with connection.cursor() as cursor:
            cursor.execute(pair_statements.LOCK_PAIRS, values)
    return pair


def _take_back(user: Any, pair: Pair, now: datetime) -> datetime | None:
    """Lease this very pair to this person if a slot is free; returns until when. Wants person and pair locked."""
    if Preference.objects.filter(pair=pair, annotator=user, is_undone=False).exists():
        return None
    free = Q(annotator=user) | Q(lease_until=None) | Q(lease_until__lt=now)
    slots = list(PairSlot.objects.select_for_update().filter(free, pair=pair, is_filled=False).order_by("pk"))
    slot = next((slot for slot in slots if slot.annotator_id == user.pk), slots[0] if slots else None)
    if slot is None:
        return None
    slot.annotator, slot.lease_until = user, now + timedelta(minutes=pair.project.lease_minutes)
    slot.save(update_fields=["annotator", "lease_until"])
    return slot.lease_until
