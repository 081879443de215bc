"""Figures that are counted over a whole platform: quick ones anew each time, slow ones kept for a while.

A figure that takes a second on a large platform costs at most MOST_COST of the time: it is kept twenty times as long as
it took. Of a very slow one the last value is shown while a thread counts anew, so that nobody waits for it twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache
from django.db import connection

T = TypeVar("T")
MOST_COST = 0.05
WORTH_KEEPING_S = 0.05
SLOW_S = 1.0
_A_DAY_S = 86_400


def counted(key: str, count: Callable[[], T], least_age_s: float = 0) -> T:
    """What count() says now, or said not long ago. least_age_s: keep even a quick one so long."""
    kept: tuple[T, float] | None = cache.get(key)
    if kept is None:
        return _count(key, count, least_age_s)
    value, until = kept
    if time.time() >= until and cache.add(f"{key}/again", True, 600):
        threading.Thread(target=_count_again, args=(key, count, least_age_s), daemon=True).start()
    return value


def _count(key: str, count: Callable[[], T], least_age_s: float) -> T:
    started = time.monotonic()
    value = count()
    cost_s = time.monotonic() - started
    age_s = max(least_age_s, cost_s / MOST_COST)
    if cost_s >= SLOW_S:
        cache.set(key, (value, time.time() + age_s), _A_DAY_S)
    elif least_age_s or cost_s >= WORTH_KEEPING_S:
        cache.set(key, (value, time.time() + age_s), age_s)
    return value


def _count_again(key: str, count: Callable[[], Any], least_age_s: float) -> None:
    try:
        _count(key, count, least_age_s)
    finally:
        cache.delete(f"{key}/again")
        connection.close()
