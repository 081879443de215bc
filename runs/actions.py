"""Start, stop and resume runs. Every message goes through an outbox row, so none is lost between commit and send."""

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from runs.kinds import kind_of
from runs.models import Outbox, Run, settle_parent

# Of many messages so many are sent at once.
SENT_AT_ONCE = 32
# Asked for once more by the same words within so long, it is the impatient hand, or a client whose answer was lost.
SAME_WITHIN = timedelta(seconds=60)
NEWEST_LOOKED_AT = 200


def start_run(kind: str, params: dict[str, Any], *, title: str = "", user: Any = None, key: str = "", total: int = 0,
              parent: Run | None = None) -> Run:  # fmt: skip
    """A queued run. With `key`, the unfinished run of that key is returned instead of a second one."""
    spec = kind_of(kind)
    with transaction.atomic():
        if key and (unfinished := _unfinished(key)) is not None:
            return unfinished
        run = Run.objects.create(
            kind=kind, title=title or spec.title, params=params, key=key, total=total, parent=parent,
            created_by=user if user is not None and user.is_authenticated else None, max_attempts=spec.max_attempts,
        )  # fmt: skip
        send(run)
    return run


def _unfinished(key: str) -> Run | None:
    """The run of this key that has not ended. Whoever asks in the same moment waits for our transaction, and then finds it."""
    _wait_for(key)
    return Run.objects.unfinished().filter(key=key).first()


def _wait_for(word: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [word])


def digest_of(user: Any, *words: Any) -> str:
    """What somebody asks for, for `asked_just_now`."""
    told = json.dumps([user.pk if user is not None else None, *words], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def asked_just_now(kind: str, asked: str, *, ended_too: bool = True) -> Run | None:
    """The run whose params["asked"] is this digest, begun less than SAME_WITHIN ago and not stopped or failed since.

    ended_too: also where it has come to its end; not so where what it did may have been undone by then.
    Call it in the transaction that would start another: whoever asks for the same in the same moment waits for its end.
    """
    _wait_for(f"{kind}/{asked}")
    newest = Run.objects.filter(kind=kind).order_by("-pk").values("pk")[:NEWEST_LOOKED_AT]
    fresh = Run.objects.filter(pk__in=newest, created_at__gte=timezone.now() - SAME_WITHIN, stop_requested=False)
    fresh = fresh.exclude(state__in=[Run.State.STOPPED, Run.State.FAILED]) if ended_too else fresh.unfinished()
    return fresh.filter(params__asked=asked).order_by("-pk").first()


def start_in_parts(kind: str, part_kind: str, parts: Iterable[dict[str, Any]], *, params: dict[str, Any],
                   title: str = "", user: Any = None, sizes: Iterable[int] = (), key: str = "",
                   asked: str = "") -> Run:  # fmt: skip
    """A run that only waits for its parts: one queued run per element of `parts`.

    With `key`, the unfinished run of that key is returned instead of a second one; with `asked`, one that was asked for just
    now in the same words and has not ended.
    """
    parts, sizes = list(parts), list(sizes)
    if not parts:
        raise ValueError("nothing to do: there is not one part")
    spec = kind_of(kind)
    with transaction.atomic():
        existing = _unfinished(key) if key else None
        if asked and existing is None:
            existing, params = asked_just_now(kind, asked, ended_too=False), {**params, "asked": asked}
        if existing is not None:
            return existing
        run = Run.objects.create(
            kind=kind, title=title or spec.title, params=params, state=Run.State.WAITING, key=key, total=sum(sizes),
            started_at=timezone.now(), created_by=user if user is not None and user.is_authenticated else None,
        )  # fmt: skip
        add_parts(run, part_kind, zip(parts, sizes or [0] * len(parts), strict=True))
    return run


def send(run: Run, delay_ms: int = 0) -> None:
    """Tell a worker to look at this run, once the transaction around us is committed."""
    outbox = Outbox.objects.create(run=run, delay_ms=delay_ms)
    transaction.on_commit(partial(deliver, outbox.pk))


def deliver(outbox_id: int) -> bool:
    """Hand one outbox row to the broker. If the broker is down the row stays, and the keeper tries again."""
    from runs.tasks import ACTORS

    with transaction.atomic():
        row = Outbox.objects.select_for_update(skip_locked=True).select_related("run").filter(pk=outbox_id).first()
        if row is None:
            return False
        actor = ACTORS[kind_of(row.run.kind).queue]
        try:
            actor.send_with_options(args=(row.run_id,), delay=row.delay_ms or None)
        except Exception:  # noqa: BLE001 - each broker has its own errors; the row is kept for the keeper
            return False
        Run.objects.filter(pk=row.run_id).update(sent_at=timezone.now())
        row.delete()
    return True


def start_followers(run: Run) -> None:
    """Start what the run's own row says comes next: params["then"] = [[kind, params], ...].

    Called in the transaction that finishes the run, so a follower is started once. Each gets `after`: the run's id.
    """
    for kind, params in run.params.get("then", []):
        start_run(kind, {**params, "after": run.pk}, user=run.created_by)


def send_many(ids: Iterable[int]) -> None:
    """Tell workers to look at these runs: a handful at once, the others by the keepers, so that nobody waits for it."""
    rows = Outbox.objects.bulk_create([Outbox(run_id=pk) for pk in ids], batch_size=1000)
    for row in rows[:SENT_AT_ONCE]:
        transaction.on_commit(partial(deliver, row.pk))


def add_parts(parent: Run, part_kind: str, parts: Iterable[tuple[dict[str, Any], int]]) -> int:
    """Further parts, in bulk, for a run that works in parts: (params, total) of each. Returns how many."""
    spec, there = kind_of(part_kind), parent.parts.count()
    rows = [
        Run(
            kind=part_kind, title=f"{parent.title}, part {number:,}"[-200:], params=params, parent=parent, total=total,
            created_by=parent.created_by, max_attempts=spec.max_attempts,
        )
        for number, (params, total) in enumerate(parts, there + 1)
    ]  # fmt: skip
    with transaction.atomic():
        made = Run.objects.bulk_create(rows, batch_size=1000)
        send_many(row.pk for row in made)
    return len(made)


def pause_run(run: Run) -> bool:
    """Its parts wait until it is resumed; those at work finish the step in hand. False if it does not work in parts."""
    if kind_of(run.kind).handler is not None:
        return False
    return (
        Run.objects.filter(pk=run.pk, state=Run.State.WAITING, stop_requested=False).update(state=Run.State.PAUSED) == 1
    )


def rest_waiting_parts(parent_id: int | None, state: str) -> None:
    """What has not begun of this run need not begin; those that somebody is just taking find out for themselves."""
    if parent_id is None:
        return
    with transaction.atomic():
        waiting = Run.objects.filter(parent=parent_id, state=Run.State.QUEUED)
        # Several parts may end alike in the same moment, and must not wait for each other.
        ids = list(waiting.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
        Run.objects.filter(pk__in=ids).update(state=state, finished_at=timezone.now())


def stop_run(run: Run) -> bool:
    """It stops at its next step, and what is done stays. False if it had already ended."""
    if run.is_finished:
        return False
    run.request_stop()
    return True


def part_paused(part: Run) -> None:
    """A worker puts its part back, as the whole run is paused. If it goes on again by now, so does the part."""
    with transaction.atomic():
        parent = Run.objects.select_for_update().get(pk=part.parent_id)
        locked = part.held().select_for_update().first()
        if locked is None:
            return
        locked.attempt = max(0, locked.attempt - 1)
        locked.state, locked.worker, locked.lease_until = Run.State.QUEUED, "", None
        if locked.stop_requested:
            locked.state, locked.finished_at = Run.State.STOPPED, timezone.now()
        locked.save(update_fields=["state", "worker", "lease_until", "attempt", "finished_at"])
        if locked.state == Run.State.QUEUED and parent.state != Run.State.PAUSED:
            send(locked)
    settle_parent(part.parent_id)


def resume_run(run: Run) -> bool:
    """paused, stopped, failed or out of budget -> at work again, from what is already there.

    False if it was not at rest, or another run of its key is at work by now.
    """
    with transaction.atomic():
        locked = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        if locked.key and locked.is_finished and _unfinished(locked.key) is not None:
            return False
        if locked.state == Run.State.PAUSED:
            Run.objects.filter(pk=run.pk).update(state=Run.State.WAITING)
            send_many(run.parts.filter(state=Run.State.QUEUED).order_by("pk").values_list("pk", flat=True))
            return True
        works_itself = kind_of(run.kind).handler is not None  # then it sees to its own parts (runs.parts)
        if not works_itself and Run.objects.filter(parent=run).exists():
            return _resume_parts(run)
        if locked.state not in Run.RESUMABLE:
            return False
        requeue(locked, reset_attempts=True)
    return True


def _resume_parts(run: Run) -> bool:
    at_rest = run.parts.filter(state__in=Run.RESUMABLE).select_for_update().order_by("pk")
    again = list(at_rest.values_list("pk", flat=True))
    if not again:
        return False
    Run.objects.filter(pk=run.pk).update(
        state=Run.State.WAITING, stop_requested=False, error="", finished_at=None
    )  # fmt: skip
    # Some may not have come to their stop yet.
    run.parts.unfinished().filter(stop_requested=True).update(stop_requested=False)
    Run.objects.filter(pk__in=again).update(
        state=Run.State.QUEUED, worker="", lease_until=None, finished_at=None, error="", stop_requested=False, attempt=0
    )
    send_many(again)
    return True


def requeue(run: Run, *, reset_attempts: bool = False, delay_ms: int = 0) -> None:
    """Back into the queue; call it with the row locked, or as the only one who may."""
    run.state = Run.State.QUEUED
    run.worker, run.lease_until, run.finished_at, run.error = "", None, None, ""
    run.stop_requested = False if reset_attempts else run.stop_requested
    run.attempt = 0 if reset_attempts else run.attempt
    run.save(update_fields=["state", "worker", "lease_until", "finished_at", "error", "stop_requested", "attempt"])
    send(run, delay_ms)


def hand_back(run_id: int, fence: int) -> None:
    """A worker that was told to end puts its run back; that is no failed attempt."""
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=run_id, fence=fence, state=Run.State.RUNNING).first()
        if run is not None:
            run.attempt = max(0, run.attempt - 1)
            run.log("The worker was told to end; the run goes on with another one.")
            requeue(run)


def worker_lost(run_id: int, fence: int, reason: str) -> None:
    """The process of this run died or fell silent: queue the run again, or fail it when it keeps dying."""
    parent_id = None
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=run_id, fence=fence, state=Run.State.RUNNING).first()
        if run is None:
            return
        parent_id = run.parent_id
        if run.stop_requested:
            run.state, run.finished_at = Run.State.STOPPED, timezone.now()
            run.save(update_fields=["state", "finished_at"])
        elif run.attempt >= run.max_attempts:
            run.state, run.finished_at = Run.State.FAILED, timezone.now()
            run.error = f"Gave up after {run.attempt} attempts. The last: {reason}"
            run.save(update_fields=["state", "finished_at", "error"])
            run.log(run.error, "error")
        else:
            run.log(f"Attempt {run.attempt} ended early ({reason}); starting again from what is there.", "warning")
            requeue(run, delay_ms=500 * 2**run.attempt)
    settle_parent(parent_id)
