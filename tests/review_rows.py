"""Candidates that people disagree on, for tests of reviewing."""

import uuid

import pytest

from annotation import actions, review
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Consensus, Project, Task
from tests import build


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


def fill(project, n=1, **values):
    rows = build.candidates(n, **values)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(rows)])
    return rows


def says(user, candidate, label, seconds=2.0):
    task = Task.objects.get(candidate=candidate)
    for slot in lease(user, task.project, 50):
        if slot.task_id != task.pk:
            actions.release(user, [slot.task_id])
    outcome = save_annotations(user, [Answer(uuid.uuid4(), task.pk, label, seconds)])[0]
    assert outcome.status == "saved", outcome
    return outcome.id


def decide(user, candidate, action, *args, **values):
    return review.decide(user, values.pop("id", uuid.uuid4()), candidate.pk, action, *args, **values)


def consensus(candidate):
    return Consensus.objects.filter(candidate=candidate).first()


@pytest.fixture
def disputed(project, people):
    """Alice says 0, Bob says 3: by the rule for ties the consensus is 3."""
    candidate = fill(project)[0]
    says(people["alice"], candidate, 0)
    says(people["bob"], candidate, 3)
    return candidate
