"""A person's own figures: bounded in cost, silent until there are enough, and no way to find out what others said."""

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotation.models import Annotation, Consensus, Gold, Project, Task
from annotation.own_figures import own_figures
from tests import build

NOW = timezone.now().replace(hour=12, minute=30)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
MORNING = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


@pytest.fixture
def answers(project, people):
    """Makes n answers of Alice, `right` of them as the consensus (or the gold) says."""
    candidates = iter(build.candidates(45))

    def make(n, right=None, gold=False, ago=timedelta(hours=3), others=True, **values):
        made = []
        for number in range(n):
            task = Task.objects.create(project=project, candidate=next(candidates), overlap=2, is_gold=gold)
            if gold:
                Gold.objects.create(task=task, label=0)
            label = 0 if right is None or number < right else 1
            made.append(
                Annotation.objects.create(
                    id=uuid.uuid4(), task=task, candidate=task.candidate, annotator=people["alice"], label=label,
                    seconds=2 + number, created_at=NOW - ago + timedelta(seconds=number), **values,
                )
            )  # fmt: skip
            Consensus.objects.create(
                candidate=task.candidate, label=0, posterior=[1, 0, 0, 0, 0], method="majority",
                annotation_count=2 if others else 1, agreement=1, is_complete=True,
            )  # fmt: skip
        return made

    return make


def told(people):
    return own_figures(people["alice"].pk, MORNING, NOW)


def test_today_and_pace(people, answers):
    answers(3)
    answers(2, ago=timedelta(hours=20))
    answers(1, state="undone")
    assert {key: told(people)[key] for key in ("done_today", "median_seconds")} == {"done_today": 3, "median_seconds": 3.0}


class TestAgreement:
    def test_from_thirty_answers_on(self, people, answers):
        answers(29, right=20)
        assert told(people)["agreement"] is None
        answers(1)
        assert told(people)["agreement"] == {"share": 0.7, "of": 30}

    def test_what_came_in_this_hour_says_nothing_yet(self, people, answers):
        answers(30)
        answers(5, right=0, ago=timedelta(minutes=5))
        assert told(people)["agreement"] == {"share": 1.0, "of": 30}

    def test_neither_does_what_only_they_have_judged_nor_what_is_unfinished_nor_gold(self, people, answers):
        answers(30)
        answers(5, right=0, others=False)
        answers(5, right=0, gold=True)
        for answer in answers(5, right=0):
            Consensus.objects.filter(candidate=answer.candidate).update(is_complete=False)
        assert told(people)["agreement"] == {"share": 1.0, "of": 30}


class TestKnown:
    def test_from_twenty_on_in_steps_of_ten(self, people, answers):
        answers(19, gold=True)
        assert told(people)["known"] is None
        answers(1, right=0, gold=True)
        assert told(people)["known"] == {"share": 0.95, "of": 20}
        answers(9, right=0, gold=True, ago=timedelta(hours=2))
        assert told(people)["known"] == {"share": 0.95, "of": 20}
        answers(1, right=0, gold=True, ago=timedelta(hours=2))
        assert told(people)["known"] == {"share": 0.63, "of": 30}

    def test_taking_one_back_and_answering_otherwise_shows_nothing(self, people, answers):
        first, *_ = answers(20, gold=True)
        before = told(people)["known"]
        Annotation.objects.filter(pk=first.pk).update(state="undone", undone_at=NOW)
        assert told(people)["known"] == before
        Annotation.objects.create(
            id=uuid.uuid4(), task=first.task, candidate=first.candidate, annotator=people["alice"], label=3, seconds=1,
            created_at=NOW,
        )  # fmt: skip
        assert told(people)["known"] == before

    def test_others_answers_are_not_theirs(self, people, answers):
        answers(20, gold=True)
        assert own_figures(people["bob"].pk, MORNING, NOW)["known"] is None


def test_it_costs_three_queries_and_is_only_for_oneself(people, answers, django_assert_num_queries):
    answers(40)
    with django_assert_num_queries(3):
        told(people)
    client = Client()
    assert client.get("/api/v1/desk/me").status_code in (401, 403)
    client.force_login(people["bob"])
    assert client.get("/api/v1/desk/me").json() == {
        "done_today": 0, "median_seconds": None, "agreement": None, "known": None,
    }  # fmt: skip
    assert client.get("/api/v1/desk/me", {"today_from": "yesterday"}).status_code == 400
    assert client.get("/api/v1/desk/me", {"today_from": "1900-01-01T00:00:00Z"}).status_code == 200
