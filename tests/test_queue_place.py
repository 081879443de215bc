"""Somebody who works alone does not walk past everything they have answered each time they take tasks."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import actions
from annotation.actions import Pick, add_tasks
from annotation.models import Project, QueuePlace, Slot, Task
from tests import build
from tests.test_queue import leased

PASSED = 210


@pytest.fixture
def project(db):
    """300 tasks, of which Alice has answered the first 210; all are still open for others."""
    return Project.objects.create(name="huge", overlap=2)


@pytest.fixture
def tasks(project, people):
    add_tasks(project, [Pick(row.pk) for row in build.many_candidates(300)])
    tasks = list(Task.objects.order_by("tie"))
    Slot.objects.filter(task__in=tasks[:PASSED], number=0).update(annotator=people["alice"], is_filled=True)
    return tasks


@pytest.fixture
def placed(project, people, tasks):
    assert leased(people["alice"], project, 3) == [task.pk for task in tasks[PASSED : PASSED + 3]]
    return QueuePlace.objects.get()


def test_the_place_is_where_the_first_task_was_that_they_could_take(tasks, placed, people):
    assert (placed.annotator, placed.tie) == (people["alice"], tasks[PASSED].tie)


def test_those_who_pass_few_tasks_have_no_place(project, tasks, people):
    leased(people["bob"], project, 5)
    assert not QueuePlace.objects.exists()


def test_from_there_the_queue_goes_on_in_its_order(project, tasks, placed, people):
    assert leased(people["alice"], project, 4) == [task.pk for task in tasks[PASSED + 3 : PASSED + 7]]
    assert QueuePlace.objects.get().set_at == placed.set_at


def test_something_more_urgent_comes_first_at_once(project, tasks, placed, people):
    urgent = build.candidate(999)
    add_tasks(project, [Pick(urgent.pk, priority=5)])
    assert leased(people["alice"], project, 1) == [Task.objects.get(candidate=urgent).pk]


def test_what_was_given_back_before_it_comes_after_some_minutes(project, tasks, placed, people):
    Slot.objects.filter(task=tasks[0], number=0).update(annotator=None, is_filled=False)
    now = timezone.now()
    assert leased(people["alice"], project, 1) != [tasks[0].pk]
    assert leased(people["alice"], project, 1, now + timedelta(minutes=6)) == [tasks[0].pk]


def test_what_they_give_back_themselves_comes_again_at_once(project, tasks, placed, people):
    Slot.objects.filter(task=tasks[0], number=0).update(lease_until=timezone.now() + timedelta(minutes=1), is_filled=False)
    actions.release(people["alice"], [tasks[0].pk])
    assert leased(people["alice"], project, 1) == [tasks[0].pk]


def test_near_the_end_what_was_passed_before_comes_after_all(project, tasks, placed, people):
    Slot.objects.filter(task=tasks[0], number=0).update(annotator=None, is_filled=False)
    given = []
    while batch := leased(people["alice"], project, 50):
        given += batch
    assert sorted(given) == sorted(task.pk for task in [tasks[0], *tasks[PASSED + 3 :]])
