"""Figures over a whole platform: fresh while they are quick, kept while they are slow, for all processes; nobody waits."""

import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from runs import counted as module
from runs.counted import Figure, count_missing, counted
from runs.models import KeptFigure
from tests.workers import wait_until

WORTH_KEEPING_S = module.WORTH_KEEPING_S


class Counter:
    """Counts its calls. Each takes so long, and none ends while it is held."""

    def __init__(self, seconds=0.0):
        self.n, self.seconds, self.free = 0, seconds, threading.Event()
        self.free.set()

    def __call__(self, *args):
        self.free.wait(60)
        if self.seconds:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [self.seconds])
        self.n += 1
        return self.n


@pytest.fixture(autouse=True)
def none_declared(monkeypatch):
    monkeypatch.setattr(module, "_figures", {})
    monkeypatch.setattr(module, "WORTH_KEEPING_S", WORTH_KEEPING_S)


@pytest.fixture
def kept_long(monkeypatch):
    """What took 60 ms is kept for a minute: however busy the machine is, the test is done by then."""
    monkeypatch.setattr(module, "MOST_COST", 0.001)


def older(seconds):
    KeptFigure.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    KeptFigure.objects.update(counted_at=timezone.now() - timedelta(seconds=seconds))


@pytest.mark.django_db
class TestKept:
    def test_a_quick_one_is_counted_each_time(self):
        figure = counted("x")(Counter())
        assert [figure() for _ in range(3)] == [1, 2, 3] and not KeptFigure.objects.exists()

    def test_a_slow_one_is_kept_twenty_times_as_long_as_it_took(self):
        figure = counted("x")(Counter(0.06))
        assert figure() == 1
        row = KeptFigure.objects.get()
        assert (row.due_at - row.counted_at).total_seconds() == pytest.approx(row.cost_s * 20, rel=0.01)

    def test_until_then_it_is_not_counted_again(self, kept_long, monkeypatch):
        monkeypatch.setattr(module, "SLOW_S", 60)  # a page waits for it,
        monkeypatch.setattr(module, "PATIENCE_S", 60)  # however busy the machine is
        figure = counted("x")(Counter(0.06))
        assert [figure() for _ in range(3)] == [1, 1, 1]
        older(2)
        assert figure() == 2

    def test_each_argument_has_its_own(self, kept_long):
        figure = counted("x")(Counter(0.06))
        assert [figure(7), figure(8), figure(7)] == [1, 2, 1]
        assert set(KeptFigure.objects.values_list("key", flat=True)) == {"x/7", "x/8"}

    def test_one_that_has_grown_slow_is_not_waited_for(self, monkeypatch):
        asked = []
        monkeypatch.setattr(Figure, "recount_soon", lambda self, *args: asked.append(args))
        monkeypatch.setattr(module, "PATIENCE_S", 0.05)
        count = Counter(0.06)
        figure = counted("x")(count)
        assert figure() == 1
        older(60)
        count.seconds = 60  # since then a million rows came in
        started = time.monotonic()
        assert figure() == 1 and asked == [()]
        assert time.monotonic() - started < 30
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",), "no limit is left behind"

    def test_what_fails_is_not_kept(self):
        with pytest.raises(ZeroDivisionError):
            counted("x")(lambda: 1 // 0)()
        assert not KeptFigure.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_last_value_is_shown_while_one_thread_counts_anew_and_the_clock_counts_what_nobody_asked_for(monkeypatch):
    monkeypatch.undo()  # threads may count here
    monkeypatch.setattr(module, "_figures", {})
    monkeypatch.setattr(module, "MOST_COST", 0.001)
    count = Counter(0.16)
    figure = counted("x")(count)
    quick = Counter()
    of_each = counted("y", each=lambda: [1, 2])(quick)
    count_missing()
    assert count.n == 1 and quick.n == 2, "before anybody asked"
    count_missing()
    assert count.n == 1 and quick.n == 2, "once"
    now = timezone.now()
    KeptFigure.objects.filter(pk="x").update(counted_at=now - timedelta(hours=1), due_at=now + timedelta(hours=1))
    count_missing()
    assert count.n == 1, "one that takes three minutes is not counted every quarter of an hour"
    assert of_each(1) == 3
    older(60)
    count.free.clear()
    assert figure() == 1 and figure() == 1
    count.free.set()
    wait_until(lambda: not any(thread.name == "count x" for thread in threading.enumerate()), every=0.02)
    assert KeptFigure.objects.get(pk="x").value == count.n == 2, "counted once, though two asked"
    assert figure() == 2
    KeptFigure.objects.filter(pk="x").update(claimed_until=timezone.now() + timedelta(minutes=1))
    figure.recount_once()
    assert count.n == 2, "another process is at it"


@pytest.mark.django_db(transaction=True)
def test_several_workers_that_count_what_is_missing_count_each_figure_once(monkeypatch):
    monkeypatch.setattr(module, "_figures", {})
    count = Counter()
    counted("a")(lambda: module._figures["b"].recount_once())  # another process has come as far as b meanwhile
    counted("b")(count)
    count_missing()
    assert count.n == 1


def test_the_workers_know_every_figure_that_a_page_asks_for():
    code = (
        "import django; django.setup(); from runs.counted import names; known = names()\n"
        "from django.urls import get_resolver; get_resolver().url_patterns\n"
        "assert known and names() == known, (known, names())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
