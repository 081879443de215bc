"""The short way of the two busiest calls answers what the long way would; what is not plain goes the long way."""

import re
import uuid

import pytest
from django.conf import settings as project_settings
from django.test import Client
from rest_framework.authtoken.models import Token

from annotation import express
from annotation.actions import Pick, add_tasks
from annotation.models import Annotation, Project
from tests import build
from tests.test_desk_api import answer

LONG_WAY = [name for name in project_settings.MIDDLEWARE if "Express" not in name]
HUGE = 2**63
AN_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def project(db):
    project = Project.objects.create(name="first", overlap=6)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(build.candidates(4))])
    return project


@pytest.fixture
def ways(people, settings):
    """Two callers with a person each who differ in nothing but the way."""

    def short(verb, body, **headers):
        return _post(people["alice"], verb, body, headers)

    def long(verb, body, **headers):
        settings.MIDDLEWARE = LONG_WAY
        try:
            return _post(people["bob"], verb, body, headers)
        finally:
            settings.MIDDLEWARE = ["annotation.express.Express", *LONG_WAY]

    return short, long


def _post(user, verb, body, headers):
    token = Token.objects.get_or_create(user=user)[0].key
    return Client().post(
        f"/api/v1/desk/{verb}", body, content_type=headers.pop("content_type", "application/json"),
        headers={"Authorization": f"Token {token}", **headers},
    )  # fmt: skip


@pytest.fixture
def answered_here(monkeypatch):
    """Which calls the short way answered itself."""
    seen, answer_itself = [], express._answer

    def watched(call, request):
        found = answer_itself(call, request)
        if found is not None:
            seen.append(request.path_info.rsplit("/", 1)[1])
        return found

    monkeypatch.setattr(express, "_answer", watched)
    return seen


def test_both_ways_hand_out_the_same_tasks_in_the_same_words(ways, project, answered_here):
    short, long = (way("lease", {"project": project.pk, "count": 3}) for way in ways)
    assert answered_here == ["lease"]
    assert short.status_code == long.status_code == 200 and short["Content-Type"] == long["Content-Type"]
    one, other = short.json(), long.json()
    for task in one["tasks"] + other["tasks"]:
        assert task.pop("lease_until")
    assert one == other and len(one["tasks"]) == 3


def test_both_ways_save_the_same(ways, project, answered_here):
    for way in ways:
        tasks = [row["task"] for row in way("lease", {"project": project.pk}).json()["tasks"]]
        sent = {"project": project.pk, "annotations": [answer(tasks[0], label=2, guidelines=1), answer(tasks[1], label="available")]}
        once, again = way("annotations", sent), way("annotations", sent)
        assert once.json() == again.json()
        assert [row["status"] for row in once.json()["results"]] == ["saved", "saved"]
        assert once["Content-Type"] == "application/json"
    assert answered_here == ["lease", "annotations", "annotations"]
    rows = Annotation.objects.order_by("task", "annotator").values("task", "label", "seconds", "state", "shown", "details", "guidelines_version")
    assert rows[0] == rows[1] and rows[2] == rows[3] and len(rows) == 4


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("lease", []),
        ("lease", {}),
        ("lease", {"project": 0}),
        ("lease", {"project": HUGE}),
        ("lease", {"project": "1"}),
        ("lease", {"project": True}),
        ("lease", {"project": 999_999}),
        ("lease", {"project": 1, "count": 51}),
        ("lease", {"project": 1, "count": 1.5}),
        ("lease", {"project": 1, "speed": "high"}),
        ("annotations", {"annotations": []}),
        ("annotations", {"annotations": "x"}),
        ("annotations", {"annotations": [None]}),
        ("annotations", {"annotations": [{}]}),
        ("annotations", {"annotations": [answer(1)] * 101}),
        ("annotations", {"annotations": [answer(1)], "project": None}),
        ("annotations", {"annotations": [answer(1, label=5)]}),
        ("annotations", {"annotations": [answer(1, label=True)]}),
        ("annotations", {"annotations": [answer(1, label=[0])]}),
        ("annotations", {"annotations": [answer(1, seconds=-1)]}),
        ("annotations", {"annotations": [answer(1, seconds="3")]}),
        ("annotations", {"annotations": [answer(1, view="naked")]}),
        ("annotations", {"annotations": [answer(1, view=["generated"])]}),
        ("annotations", {"annotations": [answer(HUGE)]}),
        ("annotations", {"annotations": [answer(1, guidelines=0)]}),
        ("annotations", {"annotations": [answer(1, guidelines=None)]}),
        ("annotations", {"annotations": [answer(1, details={"marker": [2, 2]})]}),
        ("annotations", {"annotations": [{**answer(1), "id": "not-a-uuid"}]}),
        ("annotations", {"annotations": [{**answer(1), "id": 7}]}),
        ("annotations", {"annotations": [{**answer(1), "id": "z" * 36}]}),
        ("annotations", {"annotations": [answer(1, extra=1)]}),
    ],
    ids=lambda value: AN_ID.sub("an id", str(value))[:100],  # the same in every process of the tests
)  # fmt: skip
def test_what_is_wrong_gets_the_same_sentence(ways, project, answered_here, verb, body):
    short, long = (way(verb, body) for way in ways)
    assert (short.status_code, short.json()) == (long.status_code, long.json())
    assert answered_here == [] and not Annotation.objects.exists()


def test_nonsense_gets_the_same_sentence(ways, project, answered_here):
    for body in ("", "{", "NaN", '{"project": NaN}', "[" * 5000, "\ud83d"):
        short, long = (way("lease", body.encode("utf-8", "surrogatepass")) for way in ways)
        assert (short.status_code, short.json()) == (long.status_code, long.json())
        assert 400 <= short.status_code < 500
    assert answered_here == []


def test_who_may_not_is_told_by_the_long_way(people, project, answered_here):
    stranger = Client().post("/api/v1/desk/lease", {"project": project.pk}, content_type="application/json")
    made_up = Client().post(
        "/api/v1/desk/lease", {"project": project.pk}, content_type="application/json", headers={"Authorization": "Token made-up"}
    )
    assert (stranger.status_code, made_up.status_code) == (401, 401)
    alice = people["alice"]
    assert _post(alice, "lease", {"project": project.pk}, {"X-Desk-Person": str(people["bob"].pk)}).status_code == 409
    assert _post(alice, "lease", {"project": project.pk}, {}).status_code == 200
    alice.is_active = False
    alice.save()
    assert _post(alice, "lease", {"project": project.pk}, {}).status_code == 401
    assert answered_here == ["lease"]


def test_where_the_project_assists_the_long_way_knows_the_verdicts(ways, project, answered_here):
    Project.objects.update(assists=True)
    assert ways[0]("lease", {"project": project.pk}).json()["tasks"][0]["verdict"] is None
    assert answered_here == []


def test_refusals_and_what_became_of_an_answer_are_told_on_both_ways(ways, project, answered_here):
    for way in ways:
        [result] = way("annotations", {"annotations": [answer(999_999)]}).json()["results"]
        assert (result["status"], result["message"]) == ("refused", "There is no such task in this project.")


def test_a_uuid_in_another_spelling_is_the_same_id(ways, project):
    way = ways[0]
    task = way("lease", {"project": project.pk}).json()["tasks"][0]["task"]
    number = uuid.uuid4()
    first = way("annotations", {"annotations": [{**answer(task), "id": str(number)}]}).json()
    again = way("annotations", {"annotations": [{**answer(task), "id": str(number).upper()}]}).json()
    other = way("annotations", {"annotations": [{**answer(task), "id": number.hex}]}).json()
    assert first == again == other
