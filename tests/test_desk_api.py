"""The desk over HTTP: what it gives, what it refuses, and how few statements it takes."""

import uuid

import numpy as np
import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from annotation.actions import Pick, add_tasks
from annotation.consensus import beliefs
from annotation.crowd import simulated_people
from annotation.models import Annotation, Project, Task
from annotation.simulated import DeskError, work_together
from tests import build

VERBS = ["lease", "annotations", "renew", "release", "undo", "skip", "flag"]


@pytest.fixture
def project(db):
    project = Project.objects.create(name="first", overlap=2)
    add_tasks(project, [Pick(row.pk) for row in build.candidates(4)])
    return project


@pytest.fixture
def desk(people):
    """A caller with Alice's token."""
    return caller(people["alice"])


def caller(user):
    client, token = Client(), Token.objects.create(user=user)

    def call(verb, body, **headers):
        return client.post(
            f"/api/v1/desk/{verb}", body, content_type="application/json",
            headers={"Authorization": f"Token {token.key}", **headers},
        )  # fmt: skip

    return call


def answer(of, **values):
    return {"id": str(uuid.uuid4()), "task": of, "label": 0, "seconds": 3.2, "view": "generated", **values}


def test_a_lease_brings_all_that_the_desk_shows(desk, project):
    given = desk("lease", {"project": project.pk, "count": 2}).json()
    assert given["state"] == "ok" and given["left"] == 2 and given["done_today"] == 0
    task = given["tasks"][0]
    candidate = Task.objects.get(pk=task["task"]).candidate
    assert task["pictures"]["generated"].endswith(f"/pictures/{candidate.image_sha256}")
    assert candidate.depth_sha256 in task["pictures"]["depth"]
    assert task["product"]["title"] == candidate.product.title
    assert task["prompt"] == candidate.prompt_text


def test_what_a_lost_page_holds_is_given_again_when_nothing_else_is_left(desk, project):
    def lease(count, **more):
        return [task["task"] for task in desk("lease", {"project": project.pk, "count": count, **more}).json()["tasks"]]

    first, second = lease(2), lease(10)
    assert len(set(first + second)) == 4 and lease(10) == []  # who does not say what they hold gets nothing twice
    assert lease(10, held=first) == second and lease(1, held=[]) == first[:1] and lease(10, held=first + second) == []
    desk("annotations", {"annotations": [answer(first[0])]})
    desk("skip", {"task": first[1]})
    assert lease(10, held=[]) == second
    assert desk("lease", {"project": project.pk, "held": list(range(1, 502))}).status_code == 400


def test_a_token_opens_the_pictures_of_its_lease(desk, project, people):
    given = desk("lease", {"project": project.pk, "count": 1}).json()["tasks"][0]
    token = Token.objects.get(user=people["alice"]).key
    for name in ("generated", "product", "depth", "saliency"):
        url = given["pictures"][name]
        assert Client().get(url).status_code == 401
        response = Client().get(url, headers={"Authorization": f"Token {token}"})
        assert response.status_code == 200 and response["Content-Type"] == "image/png"


def test_the_prompt_stays_hidden_when_the_project_says_so(desk, project):
    Project.objects.update(shows_prompt=False)
    assert desk("lease", {"project": project.pk}).json()["tasks"][0]["prompt"] is None


def test_answers_by_number_or_name_are_saved_once(desk, project):
    tasks = [row["task"] for row in desk("lease", {"project": project.pk}).json()["tasks"]]
    batch = {"annotations": [answer(tasks[0], label=4), answer(tasks[1], label="Space mismatch")]}
    first, second = desk("annotations", batch).json(), desk("annotations", batch).json()
    assert first == second
    assert [row["status"] for row in first["results"]] == ["saved", "saved"]
    assert sorted(Annotation.objects.values_list("label", flat=True)) == [1, 4]
    assert desk("lease", {"project": project.pk}).json()["done_today"] == 2


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"label": 5}, "shape_hallucination"),
        ({"label": "pretty"}, "available"),
        ({"label": True}, "not a label"),
        ({"label": None}, "null"),
        ({"seconds": -1}, "greater than or equal to 0"),
        ({"seconds": "NaN"}, "seconds"),
        ({"seconds": 1e9}, "86400"),
        ({"view": "x-ray"}, "x-ray"),
        ({"id": "17"}, "UUID"),
        ({"task": "first"}, "integer"),
        ({"colour": 1}, "Unknown field"),
    ],
)
def test_a_wrong_answer_is_refused_with_a_sentence(desk, project, wrong, said):
    response = desk("annotations", {"annotations": [answer(1, **wrong)]})
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not Annotation.objects.exists()


def test_no_more_than_a_hundred_answers_at_once(desk, project):
    assert desk("annotations", {"annotations": [answer(1)] * 101}).status_code == 400
    assert desk("annotations", {"annotations": []}).status_code == 400
    assert desk("annotations", {"annotations": "all"}).status_code == 400
    assert desk("lease", {"project": project.pk, "count": 51}).status_code == 400


def test_made_up_tasks_are_refused_one_by_one(desk, project):
    [task] = desk("lease", {"project": project.pk, "count": 1}).json()["tasks"]
    others = Task.objects.exclude(pk=task["task"]).first().pk
    body = {"annotations": [answer(others), answer(10**12), answer(task["task"])]}
    results = desk("annotations", body).json()["results"]
    assert [row["status"] for row in results] == ["refused", "refused", "saved"]
    assert desk("skip", {"task": others}).status_code == 403
    assert desk("flag", {"task": others}).status_code == 403
    assert desk("renew", {"tasks": [others]}).json() == {"held": [], "lost": [others]}


def test_an_unknown_project_is_not_found(desk, project):
    assert desk("lease", {"project": 999_999}).status_code == 404


def test_an_empty_queue_says_why(desk, project):
    desk("lease", {"project": project.pk})
    assert desk("lease", {"project": project.pk}).json()["state"] == "empty"
    Project.objects.update(is_paused=True)
    assert desk("lease", {"project": project.pk}).json()["state"] == "paused"
    fresh = Project.objects.create(name="fresh")
    assert desk("lease", {"project": fresh.pk}).json()["state"] == "not_ready"


def test_undo_skip_flag_and_release_work_and_can_be_repeated(desk, project):
    first, second, third, fourth = [
        row["task"] for row in desk("lease", {"project": project.pk}).json()["tasks"]
    ]
    sent = answer(first)
    desk("annotations", {"annotations": [sent]})
    for _ in range(2):
        assert desk("undo", {"id": sent["id"]}).json()["lease_until"]
        assert desk("skip", {"task": second}).json() == {"done": True}
        assert desk("flag", {"task": third, "reason": "cut off"}).json() == {"done": True}
    assert desk("undo", {"skipped": second}).json()["lease_until"]
    assert desk("undo", {"flagged": third}).json()["lease_until"]
    assert desk("release", {"tasks": [first, second, third, fourth]}).json() == {"released": 4}
    assert not Annotation.objects.standing().exists()


def test_undo_wants_exactly_one_thing(desk, project):
    assert desk("undo", {}).status_code == 400
    assert desk("undo", {"id": str(uuid.uuid4()), "skipped": 1}).status_code == 400
    assert desk("undo", {"id": str(uuid.uuid4())}).status_code == 403


def test_nobody_undoes_the_answer_of_another(desk, project, people):
    [task] = desk("lease", {"project": project.pk, "count": 1}).json()["tasks"]
    sent = answer(task["task"])
    desk("annotations", {"annotations": [sent]})
    assert caller(people["olga"])("undo", {"id": sent["id"]}).status_code == 403
    assert Annotation.objects.standing().count() == 1


@pytest.mark.parametrize("verb", VERBS)
def test_strangers_and_broken_bodies_get_no_further(verb, project, desk):
    assert Client().post(f"/api/v1/desk/{verb}", "{}", content_type="application/json").status_code == 401
    assert desk(verb, "{not json").status_code == 400
    assert desk(verb, "[]").status_code == 400
    assert desk(verb, '{"surprise": 1}').status_code == 400


def test_a_session_needs_the_csrf_token(people, project):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["alice"])
    body = {"project": project.pk}
    assert client.post("/api/v1/desk/lease", body, content_type="application/json").status_code == 403
    client.get("/desk/")
    token = client.cookies["csrftoken"].value
    response = client.post(
        "/api/v1/desk/lease", body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert response.status_code == 200


def test_an_answer_takes_few_statements(desk, project, django_assert_num_queries):
    tasks = [row["task"] for row in desk("lease", {"project": project.pk}).json()["tasks"]]
    beliefs()  # looked up once a minute
    with django_assert_num_queries(4):  # a savepoint and its end, and two of ours
        desk("annotations", {"annotations": [answer(tasks[0])]})
    with django_assert_num_queries(4):
        desk("annotations", {"annotations": [answer(task) for task in tasks[1:]]})


def test_a_lease_takes_few_statements(desk, project, django_assert_num_queries):
    desk("lease", {"project": project.pk, "count": 1})  # prepares them, once a connection
    with django_assert_num_queries(8):  # the token, the project, a savepoint and its end, three of ours; done today
        desk("lease", {"project": project.pk, "count": 3})


def test_it_is_documented(client, people):
    client.force_login(people["alice"])
    schema = client.get("/api/schema/?format=json").json()
    for verb in VERBS:
        body = schema["paths"][f"/api/v1/desk/{verb}"]["post"]
        assert body["requestBody"]["content"]["application/json"]["examples"]
        assert body["summary"]


@pytest.mark.django_db(transaction=True)
def test_simulated_annotators_do_the_whole_queue_through_the_api(live_server):
    project = Project.objects.create(name="simulated", overlap=2)
    rows = build.candidates(6)
    add_tasks(project, [Pick(row.pk) for row in rows])
    seen = []

    def truth(shown):
        seen.append((shown.product.shape, shown.image.shape, shown.caption))
        return np.array([0, 0, 0, 1, 0])

    people = simulated_people(3, seed=5)
    works = work_together(live_server.url, people, project.pk, truth)
    assert sum(work.saved for work in works) == Annotation.objects.standing().count() == 12
    assert len(seen) == 6  # each picture is looked at once, however many label it
    assert seen[0][0] == (96, 96, 4) and seen[0][1] == (64, 64, 3) and "30 cm" in seen[0][2]
    assert set(Annotation.objects.values_list("annotator__is_simulated", flat=True)) == {True}
    assert simulated_people(3, seed=5)[0][0] == people[0][0]


@pytest.mark.django_db(transaction=True)
def test_simulated_annotators_stop_at_the_limit_and_say_when_nobody_answers(live_server):
    project = Project.objects.create(name="simulated", overlap=2)
    add_tasks(project, [Pick(row.pk) for row in build.candidates(12)])
    people = simulated_people(2, seed=5)
    works = work_together(live_server.url, people, project.pk, None, limit=7, one_by_one=True)
    assert sum(work.saved for work in works) == 7
    with pytest.raises(DeskError, match="no answer"):
        work_together("http://127.0.0.1:9", people, project.pk, None)
    with pytest.raises(DeskError, match="no address"):
        work_together("localhost:8000", people, project.pk, None)
