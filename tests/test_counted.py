"""Figures over a whole platform: fresh while they are quick, kept while they are slow, and nobody waits twice."""

import time

import pytest
from django.core.cache import cache

from config import counted as module
from config.counted import counted


@pytest.fixture(autouse=True)
def empty():
    cache.clear()
    yield
    cache.clear()


class Counter:
    def __init__(self, seconds=0.0):
        self.n, self.seconds = 0, seconds

    def __call__(self):
        time.sleep(self.seconds)
        self.n += 1
        return self.n


def test_a_quick_one_is_counted_each_time():
    count = Counter()
    assert [counted("x", count) for _ in range(3)] == [1, 2, 3]


def test_a_slow_one_is_kept_twenty_times_as_long_as_it_took():
    count = Counter(0.06)
    assert [counted("x", count) for _ in range(3)] == [1, 1, 1]
    time.sleep(0.06 * 20 + 0.2)
    assert counted("x", count) == 2


def test_of_a_very_slow_one_the_last_is_shown_while_it_is_counted_anew(monkeypatch, db):
    monkeypatch.setattr(module, "SLOW_S", 0.01)
    monkeypatch.setattr(module, "MOST_COST", 0.9)
    count = Counter(0.05)
    assert counted("x", count) == 1
    time.sleep(0.1)
    started = time.monotonic()
    assert counted("x", count) == 1 and counted("x", count) == 1
    assert time.monotonic() - started < 0.04, "nobody waits"
    deadline = time.monotonic() + 5
    while count.n < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert count.n == 2, "counted once, though two asked"


def test_what_fails_is_not_kept():
    with pytest.raises(ZeroDivisionError):
        counted("x", lambda: 1 // 0)
    assert counted("x", Counter(0.06)) == 1
