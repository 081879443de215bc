"""Long pieces of work. The row is the truth; messages only say which row to look at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, Count, F, Q, Sum, When
from django.utils import timezone

LEASE = timedelta(seconds=10)


class RunQuerySet(models.QuerySet):
    def unfinished(self) -> RunQuerySet:
        return self.filter(state__in=Run.UNFINISHED)

    def lapsed(self) -> RunQuerySet:
        """Running by the row, but its worker has not been heard of for longer than a lease."""
        return self.filter(state=Run.State.RUNNING, lease_until__lt=timezone.now())

    def top_level(self) -> RunQuerySet:
        return self.filter(parent=None)

    def light(self) -> RunQuerySet:
        """Without what may be long, and with what a chip needs of it."""
        known = {"known_images": F("result__images"), "known_failed": F("result__failed")}
        return self.defer("params", "result").annotate(**known)


class Run(models.Model):
    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        WAITING = "waiting", "Working in parts"
        PAUSED = "paused", "Paused"  # its parts wait; those at work finish the step in hand and wait as well
        STOPPED = "stopped", "Stopped"
        SPENT = "spent", "Budget used up"  # what it made stays; with a larger budget it goes on
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"

    UNFINISHED = [State.QUEUED, State.RUNNING, State.WAITING, State.PAUSED]
    # At rest, and can be resumed.
    RESUMABLE = [State.STOPPED, State.FAILED, State.SPENT]

    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    # A second run with the key of an unfinished one is not made: an impatient click changes nothing.
    key = models.CharField(max_length=200, blank=True, default="")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="parts")

    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    # Raised by every claim; a process that holds an older number can write nothing any more.
    fence = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    stop_requested = models.BooleanField(default=False)

    stage = models.CharField(max_length=200, blank=True, default="")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True, default="")

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["state", "lease_until"], name="run_state_lease"),
            models.Index(fields=["kind", "-id"], name="run_kind_newest"),
            models.Index(fields=["parent", "state"], name="run_parent_state"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                condition=~Q(key="") & Q(state__in=["queued", "running", "waiting", "paused"]),
                name="run_one_unfinished_per_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} (run {self.pk})"

    @property
    def is_finished(self) -> bool:
        return self.state not in self.UNFINISHED

    @property
    def has_all_failed(self) -> bool:
        """It came to its end, and everything in it failed: what it could not make is listed, its state is no failure."""
        return bool(self.failed_pieces) and self._told("images") == 0

    @property
    def failed_pieces(self) -> int:
        """How many of its pieces failed, of a run that came to its end; without those that were tried again and are there."""
        failed = self._told("failed")
        if self.state != self.State.SUCCEEDED or not isinstance(failed, int):
            return 0
        return failed if self.parent_id is not None else max(0, min(failed, self.total - self.done))

    def _told(self, name: str) -> Any:
        """Of its result, which may not have been read (`light`)."""
        known = f"known_{name}"
        return self.__dict__[known] if known in self.__dict__ else (self.result or {}).get(name)

    @property
    def state_words(self) -> str:
        """What people read of its state."""
        if self.has_all_failed:
            return "All failed"
        words = "Running" if self.state == self.State.WAITING else self.get_state_display()
        return f"{words}, {self.failed_pieces:,} failed" if self.failed_pieces else words

    @property
    def share_done(self) -> float:
        if self.state == self.State.SUCCEEDED and not self.failed_pieces:
            return 1.0
        if self.parent_id is not None and self.failed_pieces:  # its total is what could be made
            return self.done / (self.done + self.failed_pieces)
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds(self) -> float | None:
        if not self.started_at:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    def claim(self, worker: str) -> bool:
        """queued -> running for this worker; False if somebody else was first, or it is a part of a paused run.

        Raises the fence.
        """
        now = timezone.now()
        waiting = Run.objects.filter(pk=self.pk, state=self.State.QUEUED)
        if self.parent_id is not None:
            waiting = waiting.exclude(parent__state=self.State.PAUSED)
        claimed = waiting.update(
            state=self.State.RUNNING,
            worker=worker,
            fence=F("fence") + 1,
            attempt=F("attempt") + 1,
            lease_until=now + LEASE,
            started_at=models.functions.Coalesce("started_at", models.Value(now)),
        )
        if claimed:
            self.refresh_from_db()
        return claimed == 1 and self.worker == worker

    def held(self) -> RunQuerySet:
        """This row as long as our fence is the newest: the filter of every write of a worker."""
        return Run.objects.filter(pk=self.pk, fence=self.fence, state=self.State.RUNNING)

    def renew(self) -> bool:
        return self.held().update(lease_until=timezone.now() + LEASE) == 1

    def request_stop(self) -> None:
        """Stop at the next step. A run that has not begun is stopped at once."""
        now = timezone.now()
        with transaction.atomic():
            # Whoever gives it further parts holds this lock: they are there now, or see that it is being stopped. no_key:
            # a part that notes something at it (a foreign key) holds its own row, which is locked next, and must not wait.
            Run.objects.select_for_update(no_key=True).get(pk=self.pk)
            rows = Run.objects.filter(Q(pk=self.pk) | Q(parent=self))
            rows.filter(state=self.State.QUEUED).update(state=self.State.STOPPED, finished_at=now, stop_requested=True)
            rows.filter(state__in=[self.State.RUNNING, self.State.WAITING, self.State.PAUSED]).update(
                stop_requested=True
            )
        if self.parent_id is None:
            settle_parent(self.pk)

    def log(self, message: str, level: str = "info") -> None:
        RunEvent.objects.create(run=self, message=message[:4000], level=level)


def settle_parent(parent_id: int | None) -> None:
    """Sum up the parts of a run that works in parts; when none is unfinished, finish it. Safe to call at any time."""
    if parent_id is None:
        return
    from runs.actions import start_followers

    with transaction.atomic():
        parent = Run.objects.select_for_update().filter(pk=parent_id).first()
        if parent is None or parent.state not in {Run.State.WAITING, Run.State.RUNNING, Run.State.PAUSED}:
            return
        states = _count_parts(parent)
        if parent.state == Run.State.RUNNING:  # it works along and ends by itself (runs.parts)
            parent.save(update_fields=["done", "total"])
            return
        if not states & set(Run.UNFINISHED):
            _finish(parent, states)
        parent.save(update_fields=["state", "done", "total", "error", "result", "finished_at"])
        if parent.state == Run.State.SUCCEEDED:
            start_followers(parent)


def _count_parts(parent: Run) -> set[str]:
    """Its `done` and `total` from its parts, which may be a thousand; returns the states they are in."""
    done = Sum(Case(When(state=Run.State.SUCCEEDED, then=F("total")), default=F("done")))
    rows = list(parent.parts.order_by().values("state").annotate(n=Count("pk"), all=Sum("total"), ready=done))
    parent.done = sum(row["ready"] or 0 for row in rows)
    parent.total = max(parent.total, sum(row["all"] or 0 for row in rows))
    return {row["state"] for row in rows}


def _finish(parent: Run, states: set[str]) -> None:
    from runs.kinds import kind_of

    if Run.State.FAILED in states:
        parent.state = Run.State.FAILED
        failed = parent.parts.filter(state=Run.State.FAILED).order_by("pk")
        parent.error = f"{failed.count()} of {parent.parts.count()} parts failed. The first: {failed[0].error}"
    elif Run.State.STOPPED in states:
        parent.state = Run.State.STOPPED
    elif Run.State.SPENT in states:
        parent.state = Run.State.SPENT
    else:
        parent.state = Run.State.SUCCEEDED
    parent.finished_at = timezone.now()
    kind = kind_of(parent.kind)
    if kind.gather:
        parent.result = kind.gather(list(parent.parts.order_by("pk").values_list("result", flat=True)))


class RunEvent(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    level = models.CharField(max_length=10, default="info")
    message = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["run", "id"], name="runevent_run")]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.message}"


class RunMetric(models.Model):
    """One row per reported step; values = {"loss": 1.2, "lr": ...}. Curves are drawn from these."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    values = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["run", "step"], name="runmetric_run_step")]

    def __str__(self) -> str:
        return f"run {self.run_id} step {self.step}: {self.values}"


class Outbox(models.Model):
    """A message that must be sent: written in the transaction that wants it, deleted when the broker has it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    delay_ms = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"advance run {self.run_id}"


class KeptFigure(models.Model):
    """A figure over the whole platform that takes long to count (runs.counted)."""

    key = models.CharField(max_length=200, primary_key=True)
    value = models.JSONField(null=True)
    cost_s = models.FloatField(default=0)
    # None: somebody counts it for the first time.
    counted_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key
