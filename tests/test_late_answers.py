"""A lease that lapsed, answered late, over HTTP: it counts while a place is free, else it is kept as surplus and said so.

By token and by session: they are answered by different code.
"""

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from annotation.actions import Pick, add_tasks
from annotation.models import Annotation, Consensus, Project, Slot, Task
from tests import build

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = Project.objects.create(name="first", overlap=1)
    add_tasks(project, [Pick(build.candidate(0).pk)])
    return project


@pytest.fixture(params=["token", "session"])
def desk_of(request, people):
    def desk_of(name):
        if request.param == "token":
            client = Client(headers={"Authorization": f"Token {Token.objects.create(user=people[name]).key}"})
        else:
            client = Client()
            client.force_login(people[name])
        return lambda verb, body: client.post(f"/api/v1/desk/{verb}", body, content_type="application/json").json()

    return desk_of


def answer(task, label):
    return {"annotations": [{"id": str(uuid.uuid4()), "task": task, "label": label, "seconds": 3}]}


def lapse():
    """The clock goes on: every lease is over."""
    Slot.objects.filter(is_filled=False).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_late_but_the_place_is_free(desk_of, project):
    alice = desk_of("alice")
    [task] = [row["task"] for row in alice("lease", {"project": project.pk})["tasks"]]
    lapse()
    [result] = alice("annotations", answer(task, 1))["results"]
    assert result["status"] == "saved"
    assert Consensus.objects.get().label == 1 and not Task.objects.get().is_open


def test_late_and_another_holds_it_now(desk_of, project):
    """The lease is theirs now: the late answer takes no place away from them."""
    alice, bob = desk_of("alice"), desk_of("bob")
    [task] = [row["task"] for row in alice("lease", {"project": project.pk})["tasks"]]
    lapse()
    assert [row["task"] for row in bob("lease", {"project": project.pk})["tasks"]] == [task]
    [late] = alice("annotations", answer(task, 1))["results"]
    [theirs] = bob("annotations", answer(task, 2))["results"]
    assert (late["status"], theirs["status"]) == ("surplus", "saved")
    assert Consensus.objects.get().label == 2


def test_late_and_the_task_is_full(desk_of, project):
    alice, bob = desk_of("alice"), desk_of("bob")
    [task] = [row["task"] for row in alice("lease", {"project": project.pk})["tasks"]]
    lapse()
    bob("lease", {"project": project.pk})
    bob("annotations", answer(task, 2))
    late = answer(task, 1)
    first, again = alice("annotations", late), alice("annotations", late)
    assert first == again
    [result] = first["results"]
    assert result["status"] == "surplus"
    assert "lapsed" in result["message"] and "kept" in result["message"] and "does not count" in result["message"]
    kept = Annotation.objects.get(pk=late["annotations"][0]["id"])
    assert (kept.state, kept.label) == ("surplus", 1)
    assert Consensus.objects.get().label == 2 and Annotation.objects.standing().count() == 1


def test_late_and_given_back_first(desk_of, project):
    """Releasing and renewing what lapsed says so; nobody gets it back by that."""
    alice, bob = desk_of("alice"), desk_of("bob")
    [task] = [row["task"] for row in alice("lease", {"project": project.pk})["tasks"]]
    lapse()
    bob("lease", {"project": project.pk})
    assert alice("renew", {"tasks": [task]}) == {"held": [], "lost": [task]}
    assert alice("release", {"tasks": [task]}) == {"released": 0}
    assert bob("annotations", answer(task, 0))["results"][0]["status"] == "saved"
