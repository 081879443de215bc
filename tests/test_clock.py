"""Checks that nobody has to ask for."""

import uuid

import pytest

from annotation import quality, tasks
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Project
from runs import clock
from runs.models import Run
from tests import build


@pytest.fixture
def called(monkeypatch):
    monkeypatch.setattr(clock, "_checks", {})
    return []


def test_a_check_is_made_when_its_time_has_come_and_not_before(called):
    clock.regularly(seconds=60)(lambda: called.append("checked"))
    watch = clock.Clock(now=0)
    for now in (0, 59, 60, 61, 119, 120):
        watch.tick(now)
    assert len(called) == 2


def test_a_check_that_fails_keeps_no_other_from_its_turn(called, caplog):
    def broken():
        raise RuntimeError("out of order")

    clock.regularly(seconds=1)(broken)
    clock.regularly(seconds=1)(lambda: called.append("checked"))
    clock.Clock(now=0).tick(now=1)
    assert called == ["checked"]
    assert "broken failed" in caplog.text


def test_the_consensus_is_refitted_by_the_clock_after_enough_answers(people):
    project = Project.objects.create(name="first", overlap=1)
    add_tasks(project, [Pick(build.candidate().pk)])
    assert clock._checks[tasks.refit_when_due] == 60
    tasks.refit_when_due()
    assert not Run.objects.filter(kind=quality.KIND).exists(), "there is nothing to fit yet"
    (slot,) = lease(people["alice"], project, 1)
    save_annotations(people["alice"], [Answer(id=uuid.uuid4(), task=slot.task_id, label=0, seconds=2)])
    tasks.refit_when_due()
    tasks.refit_when_due()
    assert Run.objects.filter(kind=quality.KIND).count() == 1
