"""Figures that are counted over a whole platform, kept in the database for all processes.

    @counted("candidates-by-generator")
    def candidates_by_generator() -> list[list[int]]: ...   # anything that JSON can say

Calling it gives what the function says. A quick one is counted anew each time. A slow one costs at most MOST_COST of the
time: it is kept twenty times as long as it took, and when it is older the last value is shown while a thread counts anew.
The workers' clock counts what no page has asked for yet, so that nobody waits, not even the first after a restart.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from runs.clock import regularly
from runs.models import KeptFigure

MOST_COST = 0.05
WORTH_KEEPING_S = 0.05
SLOW_S = 0.15  # from here on a page shows the last value and does not wait
PATIENCE_S = 0.25  # for one that was quick the last time
OLD = timedelta(minutes=15)
CLAIM_S = 600
log = logging.getLogger("runs.counted")
_figures: dict[str, Figure] = {}

_CLAIM = """
    INSERT INTO runs_keptfigure (key, cost_s, claimed_until) VALUES (%(key)s, 0, now() + %(claim)s)
    ON CONFLICT (key) DO UPDATE SET claimed_until = excluded.claimed_until
    WHERE (runs_keptfigure.claimed_until IS NULL OR runs_keptfigure.claimed_until < now())
        AND (runs_keptfigure.counted_at IS NULL OR runs_keptfigure.counted_at <= %(since)s)
    RETURNING key"""


def counted(
    name: str, *, each: Callable[[], Iterable[Any]] | None = None, least_age_s: float = 0
) -> Callable[[Callable[..., Any]], Figure]:
    """each: the arguments that the clock keeps a figure of, where it takes one. least_age_s: keep even a quick one so long."""

    def declare(count: Callable[..., Any]) -> Figure:
        _figures[name] = Figure(name, count, each, least_age_s)
        return _figures[name]

    return declare


def names() -> list[str]:
    return sorted(_figures)


@dataclass(frozen=True)
class Figure:
    name: str
    count: Callable[..., Any]
    each: Callable[[], Iterable[Any]] | None
    least_age_s: float

    def __call__(self, *args: Any) -> Any:
        kept = KeptFigure.objects.filter(pk=self.key(*args), counted_at__isnull=False).first()
        if kept is None:
            return self.recount(*args)
        if kept.due_at > timezone.now():
            return kept.value
        if kept.cost_s < SLOW_S:
            found = within(PATIENCE_S, lambda: [self.recount(*args)])
            if found is not None:
                return found[0]
        self.recount_soon(*args)
        return kept.value

    def several(self, each: Sequence[Any], seconds: float) -> dict[Any, Any]:
        """By argument what it says of each, all together within about so many seconds. What is not counted by then is as it
        was counted last, or None; the first of these is counted in a thread, for whoever asks again."""
        keys = {one: self.key(one) for one in each}
        kept = KeptFigure.objects.filter(counted_at__isnull=False).in_bulk(list(keys.values()))
        end, left = time.monotonic() + seconds, []
        found: dict[Any, Any] = {}
        for one, key in keys.items():
            row = kept.get(key)
            found[one] = row.value if row else None
            if row and row.due_at > timezone.now():
                continue
            patience = end - time.monotonic()
            counted_now = within(patience, partial(self._alone, one)) if patience > 0.01 else None
            if counted_now is None:
                left.append(one)
            else:
                found[one] = counted_now[0]
        if left:
            self.recount_soon(left[0])
        return found

    def _alone(self, *args: Any) -> list[Any]:
        return [self.recount(*args)]

    def key(self, *args: Any) -> str:
        return "/".join((self.name, *map(str, args)))

    def recount(self, *args: Any) -> Any:
        """What it is now; kept if that is worth it."""
        value, cost_s, age_s = self._counted(*args)
        if age_s:
            self._keep(self.key(*args), value, cost_s, age_s)
        return value

    def _counted(self, *args: Any) -> tuple[Any, float, float]:
        started = time.monotonic()
        value = json.loads(json.dumps(self.count(*args)))
        cost_s = time.monotonic() - started
        return value, cost_s, max(self.least_age_s, cost_s / MOST_COST if cost_s >= WORTH_KEEPING_S else 0)

    def recount_soon(self, *args: Any) -> None:
        """In a thread of its own; by one process at a time."""
        told = {"since": timezone.now()}
        threading.Thread(
            target=self.recount_once, args=args, kwargs=told, daemon=True, name=f"count {self.name}"
        ).start()

    def recount_once(self, *args: Any, since: datetime | None = None) -> None:
        """Unless somebody is at it, or has done it since then (None: now); kept in any case. A failure is logged."""
        key = self.key(*args)
        try:
            if _claimed(key, since or timezone.now()):
                self._keep(key, *self._counted(*args))
        except Exception:  # noqa: BLE001 - the page has a value; who repairs it needs the log
            log.exception("%s could not be counted", key)
        finally:
            connection.close()

    def _keep(self, key: str, value: Any, cost_s: float, age_s: float) -> None:
        now = timezone.now()
        told = {"value": value, "cost_s": cost_s, "counted_at": now, "due_at": now + timedelta(seconds=age_s)}
        KeptFigure.objects.update_or_create(key=key, defaults=told | {"claimed_until": None})


def _claimed(key: str, since: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"key": key, "claim": timedelta(seconds=CLAIM_S), "since": since})
        return cursor.fetchone() is not None


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What the work finds; None if the database took longer for one of its statements."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")
            cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            found = work()
            cursor.execute("SET LOCAL statement_timeout = 0")
            return found
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "57014":
            raise
        return None


@regularly(seconds=30)
def count_what_is_missing() -> None:
    """In a thread: the keeper that calls this has more urgent things to do."""
    if not any(thread.name == "count what is missing" for thread in threading.enumerate()):
        threading.Thread(target=count_missing, daemon=True, name="count what is missing").start()


def count_missing() -> None:
    """All figures that nobody has counted yet, or not for OLD."""
    try:
        now = timezone.now()
        # One that takes minutes is kept for longer than OLD.
        is_fresh = Q(counted_at__gt=now - OLD) | Q(due_at__gt=now)
        fresh = set(KeptFigure.objects.filter(is_fresh).values_list("key", flat=True))
        for figure in list(_figures.values()):
            for args in [()] if figure.each is None else [(one,) for one in figure.each()]:
                if figure.key(*args) not in fresh:
                    figure.recount_once(*args, since=now)  # other processes go over the same list
    finally:
        connection.close()
