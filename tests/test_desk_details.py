"""What goes with a label: secondary defects and a marker, RFNet's verdict as it was shown, the guidelines' version."""

import pytest

from annotation.actions import Pick, add_tasks
from annotation.models import Annotation, Project
from rfnet_service.models import Checkpoint, Verdict
from tests import build
from tests.test_desk_api import answer, caller

PROBS = [0.1, 0.6, 0.1, 0.1, 0.1]


@pytest.fixture
def project(db):
    project = Project.objects.create(name="first", overlap=2, asks_details=True)
    add_tasks(project, [Pick(row.pk) for row in build.candidates(2)])
    return project


@pytest.fixture
def desk(people):
    return caller(people["alice"])


def tasks(desk, project):
    return desk("lease", {"project": project.pk}).json()["tasks"]


def send(desk, task, **values):
    return desk("annotations", {"annotations": [answer(task, **values)]})


class TestDetails:
    def test_they_are_kept_with_the_answer(self, desk, project):
        [first, second] = tasks(desk, project)
        send(desk, first["task"], label=4, details={"secondary": ["size_mismatch", 1], "marker": [0.25, 1]})
        send(desk, second["task"], label=0, details={})
        kept = dict(Annotation.objects.values_list("task", "details"))
        assert kept == {first["task"]: {"secondary": [1, 2], "marker": [0.25, 1.0]}, second["task"]: {}}

    @pytest.mark.parametrize(
        "details, said",
        [
            ({"secondary": [0]}, "no defect"),
            ({"secondary": [1, 1]}, "once"),
            ({"secondary": [4]}, "another one than the label"),
            ({"secondary": [5]}, "not a label"),
            ({"secondary": [True]}, "not a label"),
            ({"secondary": "1"}, "list"),
            ({"secondary": [1, 2, 3, 1, 2]}, "4"),
            ({"marker": [0.5]}, "from 0 to 1"),
            ({"marker": [0.5, 1.01]}, "from 0 to 1"),
            ({"marker": [-0.1, 0]}, "from 0 to 1"),
            ({"marker": ["0.1", 0]}, "from 0 to 1"),
            ({"marker": [True, 0]}, "from 0 to 1"),
            ({"marker": {"x": 0, "y": 0}}, "from 0 to 1"),
            ({"colour": "red"}, "Unknown field"),
            ([], "dictionary"),
        ],
    )
    def test_wrong_ones_are_refused_with_a_sentence(self, desk, project, details, said):
        [first, _] = tasks(desk, project)
        refused = send(desk, first["task"], label=4, details=details)
        assert refused.status_code == 400 and said in refused.content.decode()
        assert not Annotation.objects.exists()

    def test_no_number_that_is_none(self, desk, project):
        body = '{"annotations": [{"id": "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a11", "task": 1, "label": 1, "seconds": 1, "details": {"marker": [%s, 0]}}]}'
        for number in ("NaN", "Infinity", "1e400"):
            assert desk("annotations", body % number).status_code == 400

    def test_a_project_that_does_not_ask_refuses_them_but_takes_the_label_without(self, desk, project):
        [first, _] = tasks(desk, project)
        Project.objects.update(asks_details=False)
        one = answer(first["task"], label=1, details={"marker": [0.5, 0.5]})
        [refused] = desk("annotations", {"annotations": [one]}).json()["results"]
        assert refused["status"] == "refused" and "label only" in refused["message"]
        one.pop("details")
        [saved] = desk("annotations", {"annotations": [one]}).json()["results"]
        assert saved["status"] == "saved"


class TestVerdict:
    @pytest.fixture
    def checkpoint(self, project):
        made = Checkpoint.objects.create(name="rfnet", folder="x", sha256="0" * 64, is_promoted=True)
        candidate = project.tasks.order_by("id").first().candidate
        Verdict.objects.create(candidate=candidate, checkpoint=made, probs=PROBS, label=1, p_available=0.1, margin=0.5)
        return made

    def test_it_stays_hidden_unless_the_project_assists(self, desk, project, checkpoint):
        assert [task["verdict"] for task in tasks(desk, project)] == [None, None]

    def test_it_comes_with_the_lease_in_one_query(self, desk, project, checkpoint, django_assert_max_num_queries):
        Project.objects.update(assists=True)
        with django_assert_max_num_queries(13):  # six of them in three round trips
            given = tasks(desk, project)
        verdicts = {task["task"]: task["verdict"] for task in given}
        of = project.tasks.order_by("id").first().pk
        assert verdicts.pop(of) == {"checkpoint": checkpoint.pk, "label": 1, "probs": PROBS}
        assert list(verdicts.values()) == [None]

    def test_what_is_stored_is_what_the_server_knows(self, desk, project, checkpoint):
        Project.objects.update(assists=True)
        of = project.tasks.order_by("id").first().pk
        other = next(task["task"] for task in tasks(desk, project) if task["task"] != of)
        # Meanwhile another checkpoint is in use: what was shown was the first one's.
        Checkpoint.objects.update(is_promoted=False)
        send(desk, of, label=1, verdict=checkpoint.pk)
        send(desk, other, label=1, verdict=2**63 - 1)
        kept = dict(Annotation.objects.values_list("task", "shown"))
        assert kept[of]["verdict"] == {"checkpoint": checkpoint.pk, "label": 1, "probs": PROBS}
        assert kept[other]["verdict"] is None

    def test_one_that_was_not_displayed_is_not_stored(self, desk, project, checkpoint):
        Project.objects.update(assists=True)
        of = project.tasks.order_by("id").first().pk
        tasks(desk, project)
        send(desk, of, label=1)
        assert Annotation.objects.get().shown["verdict"] is None
        assert send(desk, of, label=1, verdict=2**63).status_code == 400
        assert send(desk, of, label=1, verdict={"label": 0}).status_code == 400


class TestGuidelines:
    def test_an_answer_knows_the_version_its_annotator_saw(self, desk, project):
        [first, second] = tasks(desk, project)
        Project.objects.update(guidelines_version=3)
        send(desk, first["task"], guidelines=2)
        send(desk, second["task"])
        assert dict(Annotation.objects.values_list("task", "guidelines_version")) == {
            first["task"]: 2, second["task"]: 3,
        }  # fmt: skip
        assert desk("lease", {"project": project.pk}).json()["guidelines_version"] == 3

    def test_none_has_seen_a_version_that_is_not_written(self, desk, project):
        [first, _] = tasks(desk, project)
        [refused] = send(desk, first["task"], guidelines=2).json()["results"]
        assert refused["status"] == "refused" and "no version 2" in refused["message"]
        assert send(desk, first["task"], guidelines=0).status_code == 400


def test_an_open_desk_never_sends_its_answers_as_another_persons(desk, project, people):
    [first, _] = tasks(desk, project)
    bob = caller(people["bob"])
    bob("lease", {"project": project.pk})
    one = answer(first["task"])
    refused = bob("annotations", {"annotations": [one]}, **{"X-Desk-Person": str(people["alice"].pk)})
    assert refused.status_code == 409 and "Somebody else" in refused.json()["detail"]
    assert not Annotation.objects.exists()
    alice = desk("annotations", {"annotations": [one]}, **{"X-Desk-Person": str(people["alice"].pk)})
    assert alice.json()["results"][0]["status"] == "saved"
