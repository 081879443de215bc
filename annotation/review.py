"""What reviewers decide about candidates. Every decision is kept; only the last one counts.

Locks: the candidate's row, as every answer on it takes it (statements.py). Filled slots and open tasks change under
that lock only, so no person is locked: sending back waits for an answer, an undo or another reviewer, and they for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from adproof.labels import N_LABELS, TITLES, Label
from annotation import statements
from annotation.actions import SENT_BACK_DAYS, Refused
from annotation.consensus import consensus_columns, known_label, tally
from annotation.models import Annotation, Consensus, Decision, Look, SentBack, Slot, Task
from generation.models import Candidate

Action = Decision.Action
MADE_IN = ("review", "grid", "api")
COMMENT_AT_MOST = 1000
OWN_WORK = "You have labelled this candidate yourself: somebody else has to review it."
_OWN = [state for state in Annotation.State if state != Annotation.State.UNDONE]


@dataclass(frozen=True)
class Wish:
    """One decision as it was asked for."""

    id: UUID
    candidate: int
    action: str
    label: int | None = None
    comment: str = ""
    annotators: tuple[int, ...] | None = None
    made_in: str = "review"
    # When the reviewer looked. Given: refused if somebody answered or decided since.
    seen_at: datetime | None = None


def decide(
    reviewer: Any,
    id: UUID,
    candidate_id: int,
    action: str,
    label: int | None = None,
    comment: str = "",
    annotators: Iterable[int] | None = None,
    made_in: str = "review",
    seen_at: datetime | None = None,
    now: datetime | None = None,
) -> Decision:
    """Store one decision and do what it says; the same id again gives the same decision and does nothing.

    confirmed: the consensus stands, whatever comes. changed: this label does. sent_back: these annotators (those who
    differ from the consensus, if none are named) are asked again, with a comment. withdrawn: the annotators' consensus
    counts again. Raises Refused.
    """
    chosen = None if annotators is None else tuple(sorted(set(annotators)))
    wish = Wish(id, candidate_id, action, label, comment.strip(), chosen, made_in, seen_at)
    _check(wish)
    try:
        return _decide(reviewer, wish, now)
    except IntegrityError:
        # Somebody used this id between our look and our write: now it can be seen.
        return _decide(reviewer, wish, now)


def _check(wish: Wish) -> None:
    if wish.action not in Action.values:
        raise Refused(f"Unknown action. Known: {', '.join(Action.values)}.")
    if wish.made_in not in MADE_IN:
        raise Refused(f"A decision is made in one of: {', '.join(MADE_IN)}.")
    if wish.label is not None and not 0 <= wish.label < N_LABELS:
        raise Refused("There is no such label.")
    if len(wish.comment) > COMMENT_AT_MOST or "\x00" in wish.comment:
        raise Refused(f"A comment has at most {COMMENT_AT_MOST:,} letters.")
    if wish.action == Action.CHANGED and wish.label is None:
        raise Refused("Say which label it gets.")
    if wish.action in (Action.SENT_BACK, Action.WITHDRAWN) and wish.label is not None:
        raise Refused("Sending back and withdrawing give no label.")
    if wish.action == Action.SENT_BACK and not wish.comment:
        raise Refused("Say what to look at: whoever gets it back reads your comment.")
    if wish.action != Action.SENT_BACK and wish.annotators is not None:
        raise Refused("Annotators are named only when sending back.")


@transaction.atomic
def _decide(reviewer: Any, wish: Wish, now: datetime | None) -> Decision:
    if not _lock(wish.candidate):
        raise Refused("There is no such candidate.")
    now = now or timezone.now()  # under the lock, so that the history is in order
    known = Decision.objects.filter(pk=wish.id).first()
    if known is not None:
        if not _is_same(known, reviewer, wish):
            raise Refused("This id belongs to another decision: make a new one.")
        return known
    if is_own_work(reviewer, wish.candidate):
        raise Refused(OWN_WORK)
    if wish.seen_at is not None and _changed_since(wish.candidate, wish.seen_at):
        raise Refused("Somebody answered or decided since you looked: look again.")
    consensus = Consensus.objects.filter(candidate_id=wish.candidate).first()
    answers = list(
        Annotation.objects.standing()
        .filter(candidate_id=wish.candidate)
        .select_related("annotator", "task")
        .order_by("created_at", "pk")
    )
    before = _state(consensus, answers)
    label = wish.label
    if wish.action in (Action.CONFIRMED, Action.CHANGED):
        label = _fix(wish, consensus, answers, now)
    elif wish.action == Action.WITHDRAWN:
        _withdraw(wish.candidate, consensus, now)
    sent = _choose(wish, consensus, answers) if wish.action == Action.SENT_BACK else []
    if sent:
        before["sent_to"] = sorted(answer.annotator_id for answer in sent)
    decision = Decision.objects.create(
        id=wish.id, candidate_id=wish.candidate, reviewer=reviewer, action=wish.action, label=label,
        comment=wish.comment, made_in=wish.made_in, before=before, created_at=now,
    )  # fmt: skip
    if sent:
        _send_back(decision, sent, now)
    Look.objects.filter(candidate=wish.candidate).delete()
    return decision


def _lock(candidate_id: int) -> bool:
    return (
        Candidate.objects.select_for_update(no_key=True).filter(pk=candidate_id).values_list("pk").first() is not None
    )


def is_own_work(reviewer: Any, candidate_id: int) -> bool:
    return Annotation.objects.filter(candidate_id=candidate_id, annotator=reviewer, state__in=_OWN).exists()


def own_work(reviewer: Any) -> Any:
    """Candidates that this person has labelled, for filters."""
    return Annotation.objects.filter(annotator=reviewer, state__in=_OWN).values("candidate")


def _is_same(known: Decision, reviewer: Any, wish: Wish) -> bool:
    return (
        (known.candidate_id, known.reviewer_id) == (wish.candidate, reviewer.pk)
        and (known.action, known.comment, known.made_in) == (wish.action, wish.comment, wish.made_in)
        and wish.label in (None, known.label)
        and (wish.annotators is None or list(wish.annotators) == known.before.get("sent_to"))
    )


def _changed_since(candidate_id: int, seen_at: datetime) -> bool:
    return bool(changed_since([candidate_id], seen_at))


def changed_since(candidates: Iterable[int], moment: datetime) -> set[int]:
    """Those on which somebody answered, took an answer back or decided after this moment."""
    candidates = list(candidates)
    answers = Annotation.objects.filter(candidate__in=candidates)
    return {
        *answers.filter(created_at__gt=moment).values_list("candidate", flat=True),
        *answers.filter(undone_at__gt=moment).values_list("candidate", flat=True),
        *Decision.objects.filter(candidate__in=candidates, created_at__gt=moment).values_list("candidate", flat=True),
    }


def _state(consensus: Consensus | None, answers: list[Annotation]) -> dict[str, Any]:
    return {
        "consensus": consensus and {
            "label": consensus.label, "posterior": consensus.posterior, "method": consensus.method,
            "agreement": consensus.agreement, "annotation_count": consensus.annotation_count,
            "is_complete": consensus.is_complete,
        },
        "answers": [
            {
                "annotation": str(answer.pk), "annotator": answer.annotator_id, "name": answer.annotator.username,
                "label": answer.label, "seconds": answer.seconds,
            }
            for answer in answers
        ],
    }  # fmt: skip


# --- what each action does; all want the candidate locked


def _fix(wish: Wish, consensus: Consensus | None, answers: list[Annotation], now: datetime) -> int:
    """The label that stands from now on."""
    if consensus is None:
        raise Refused("Nobody's answer stands here: there is nothing to decide yet.")
    if wish.action == Action.CONFIRMED and wish.label not in (None, consensus.label):
        raise Refused(f"The consensus is “{TITLES[Label(consensus.label)]}” by now: look again.")
    label = consensus.label if wish.label is None else wish.label
    count = len(answers)
    Consensus.objects.filter(pk=consensus.pk).update(
        label=label,
        posterior=[float(number == label) for number in range(N_LABELS)],
        method="review",
        annotation_count=count,
        agreement=sum(answer.label == label for answer in answers) / count if count else 1.0,
        is_complete=True,
        updated_at=now,
    )
    Task.objects.filter(candidate_id=wish.candidate, is_open=True).update(is_open=False)
    return label


def _withdraw(candidate_id: int, consensus: Consensus | None, now: datetime) -> None:
    if consensus is None or consensus.method != "review":
        raise Refused("No decision stands here: there is nothing to withdraw.")
    _recount(candidate_id, now)
    # Tasks that a decision closed with places left.
    waiting = Slot.objects.filter(task__candidate=candidate_id, is_filled=False).values("task")
    Task.objects.filter(pk__in=waiting, is_gold=False).update(is_open=True)


def _choose(wish: Wish, consensus: Consensus | None, answers: list[Annotation]) -> list[Annotation]:
    """The answers to send back."""
    if wish.annotators is None:
        chosen = [answer for answer in answers if consensus is not None and answer.label != consensus.label]
        if not chosen:
            raise Refused("Nobody differs from the consensus: choose whose answers to send back.")
    else:
        chosen = [answer for answer in answers if answer.annotator_id in wish.annotators]
        if not chosen or len({answer.annotator_id for answer in chosen}) < len(wish.annotators):
            raise Refused("Choose people whose answers stand here.")
    if any(answer.task.is_gold for answer in chosen):
        raise Refused("This is gold, it measures people: it can't be sent back.")
    return chosen


def _send_back(decision: Decision, sent: list[Annotation], now: datetime) -> None:
    Annotation.objects.filter(pk__in=[answer.pk for answer in sent]).update(state=Annotation.State.SENT_BACK)
    SentBack.objects.bulk_create(
        SentBack(
            annotation=answer, task_id=answer.task_id, annotator_id=answer.annotator_id, decision=decision,
            comment=decision.comment,
        )
        for answer in sent
    )  # fmt: skip
    places = {(answer.task_id, answer.annotator_id) for answer in sent}
    slots = Slot.objects.select_for_update().filter(task__in={task for task, _ in places}, is_filled=True)
    held = [slot.pk for slot in slots.order_by("pk") if (slot.task_id, slot.annotator_id) in places]
    Slot.objects.filter(pk__in=held).update(is_filled=False, lease_until=now + timedelta(days=SENT_BACK_DAYS))
    Task.objects.filter(pk__in={task for task, _ in places}).update(is_open=True)
    _recount(decision.candidate_id, now)


def _recount(candidate_id: int, now: datetime) -> None:
    """The consensus of the answers that stand; none if none does. An earlier decision ends with it."""
    answers = Annotation.objects.standing().filter(candidate_id=candidate_id)
    votes = list(answers.values_list("annotator_id", "label"))
    rows = Consensus.objects.filter(candidate_id=candidate_id)
    if not votes:
        rows.delete()
        return
    rows.update(method="majority")  # the statement below leaves reviewed ones alone
    tasks = Task.objects.filter(candidate_id=candidate_id, is_gold=False)
    needed = max(tasks.values_list("overlap", flat=True), default=1)
    columns = consensus_columns([tally(candidate_id, votes, needed, known=known_label(candidate_id))])
    with connection.cursor() as cursor:
        cursor.execute(statements.UPSERT_CONSENSUS, {**columns, "now": now})
