"""Pairs over HTTP: what they bring, what is refused, and that it is documented."""

import uuid

import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from annotation.models import Pair, Preference, Project
from tests import pair_rows

pytestmark = pytest.mark.django_db
VERBS = ["lease", "preferences", "renew", "release", "skip", "undo"]


@pytest.fixture
def project(people):
    return pair_rows.pairs(4)[0]


@pytest.fixture
def call(people):
    """A caller with Alice's token."""
    return caller(people["alice"])


def caller(user):
    client, token = Client(), Token.objects.create(user=user)

    def post(verb, body, **headers):
        return client.post(
            f"/api/v1/pairs/{verb}", body, content_type="application/json",
            headers={"Authorization": f"Token {token.key}", **headers},
        )  # fmt: skip

    return post


def preference(of, **values):
    return {"id": str(uuid.uuid4()), "pair": of, "choice": "left", "seconds": 3.2, **values}


def leased(call, project, count=10):
    return [row["pair"] for row in call("lease", {"project": project.pk, "count": count}).json()["pairs"]]


def test_a_lease_brings_both_pictures_the_product_and_no_hint_of_their_origin(call, project, people):
    given = call("lease", {"project": project.pk, "count": 3}).json()
    assert (given["state"], given["left"], given["done_today"]) == ("ok", 1, 0)
    for row in given["pairs"]:
        pair = Pair.objects.select_related("first__product", "second").get(pk=row["pair"])
        first_is_left = pair.handouts.get(annotator=people["alice"]).first_is_left
        left, right = (pair.first, pair.second) if first_is_left else (pair.second, pair.first)
        assert row["pictures"]["left"].endswith(left.image_sha256)
        assert row["pictures"]["right"].endswith(right.image_sha256)
        assert row["product"]["title"] == pair.first.product.title
        assert set(row) == {"pair", "lease_until", "pictures", "product"}


def test_what_a_lost_page_holds_is_given_again_when_nothing_else_is_left(call, project):
    first, second = leased(call, project, 2), leased(call, project)
    assert len({*first, *second}) == 4 and leased(call, project) == []

    def again(held):
        body = call("lease", {"project": project.pk, "count": 10, "held": held}).json()
        return [row["pair"] for row in body["pairs"]]

    assert again(first) == second and again(first + second) == []
    call("preferences", {"preferences": [preference(first[0])]})
    call("skip", {"pair": first[1]})
    assert again([]) == second


def test_a_token_opens_the_pictures_of_its_lease(call, project, people):
    given = call("lease", {"project": project.pk, "count": 1}).json()["pairs"][0]
    token = Token.objects.get(user=people["alice"]).key
    for url in given["pictures"].values():
        assert Client().get(url).status_code == 401
        assert Client().get(url, headers={"Authorization": f"Token {token}"})["Content-Type"] == "image/png"


def test_preferences_are_saved_once_however_often_they_are_sent(call, project):
    batch = {"preferences": [preference(pair, choice=said) for pair, said in zip(leased(call, project), ("left", "tie"), strict=False)]}
    first, second = call("preferences", batch).json(), call("preferences", batch).json()
    assert first == second and [row["status"] for row in first["results"]] == ["saved", "saved"]
    assert Preference.objects.count() == 2
    assert call("lease", {"project": project.pk}).json()["done_today"] == 2


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"choice": "first"}, "not a valid choice"),
        ({"choice": None}, "null"),
        ({"seconds": -1}, "greater than or equal to 0"),
        ({"seconds": "NaN"}, "seconds"),
        ({"seconds": 1e9}, "86400"),
        ({"id": "17"}, "UUID"),
        ({"pair": "first"}, "integer"),
        ({"pair": 2**63}, "less than or equal"),
        ({"first_was_left": True}, "Unknown field"),
    ],
)
def test_a_wrong_preference_is_refused_with_a_sentence(call, project, wrong, said):
    response = call("preferences", {"preferences": [preference(1, **wrong)]})
    assert response.status_code == 400 and said in response.content.decode()
    assert not Preference.objects.exists()


def test_no_more_than_a_hundred_at_once(call, project):
    for body in ([preference(1)] * 101, [], "all"):
        assert call("preferences", {"preferences": body}).status_code == 400
    assert call("lease", {"project": project.pk, "count": 51}).status_code == 400


def test_pairs_and_ids_made_up_by_hand_are_refused(call, project, people):
    [mine] = leased(call, project, 1)
    others = Pair.objects.exclude(pk=mine).first().pk
    results = call("preferences", {"preferences": [preference(others), preference(10**12), preference(mine)]}).json()["results"]
    assert [row["status"] for row in results] == ["refused", "refused", "saved"]
    assert all(row["message"].endswith(".") for row in results[:2])
    assert call("skip", {"pair": others}).status_code == 403
    assert call("undo", {"skipped": others}).status_code == 403
    assert call("renew", {"pairs": [others]}).json() == {"held": [], "lost": [others]}
    assert call("release", {"pairs": [others]}).json() == {"released": 0}
    bob = caller(people["bob"])
    leased(bob, project)
    assert bob("undo", {"id": results[2]["id"]}).status_code == 403
    stolen = bob("preferences", {"preferences": [preference(mine, id=results[2]["id"])]}).json()["results"]
    assert stolen[0]["status"] == "refused"


def test_pairs_of_another_project_are_refused_when_the_project_is_named(call, project):
    [pair] = leased(call, project, 1)
    other = Project.objects.create(name="other")
    body = {"project": other.pk, "preferences": [preference(pair)]}
    assert call("preferences", body).json()["results"][0]["status"] == "refused"


def test_undo_of_a_preference_and_of_a_skip_holds_the_pair_again(call, project):
    first, second = leased(call, project, 2)
    said = preference(first)
    call("preferences", {"preferences": [said]})
    call("skip", {"pair": second})
    for body in ({"id": said["id"]}, {"skipped": second}):
        for _ in range(2):
            assert call("undo", body).json()["lease_until"]
    assert sorted(call("renew", {"pairs": [first, second]}).json()["held"]) == sorted([first, second])
    assert call("undo", {}).status_code == call("undo", {"id": said["id"], "skipped": second}).status_code == 400


def test_an_empty_queue_says_why(call, project):
    leased(call, project)
    assert call("lease", {"project": project.pk}).json()["state"] == "empty"
    Project.objects.update(is_paused=True)
    assert call("lease", {"project": project.pk}).json()["state"] == "paused"
    assert call("lease", {"project": Project.objects.create(name="fresh").pk}).json()["state"] == "not_ready"
    assert call("lease", {"project": 999_999}).status_code == 404


@pytest.mark.parametrize("verb", VERBS)
def test_strangers_and_people_of_another_login_are_refused(call, project, people, verb):
    assert Client().post(f"/api/v1/pairs/{verb}", {}, content_type="application/json").status_code == 401
    assert call(verb, {}, **{"X-Desk-Person": str(people["bob"].pk)}).status_code == 409
    assert call(verb, {}).status_code == 400
    people["alice"].is_active = False
    people["alice"].save()
    assert call(verb, {}).status_code == 401


def test_a_session_works_and_wants_its_csrf_token(project, people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["bob"])
    body = {"project": project.pk}
    assert client.post("/api/v1/pairs/lease", body, content_type="application/json").status_code == 403
    client.get("/pairs/")
    token = client.cookies["csrftoken"].value
    given = client.post("/api/v1/pairs/lease", body, content_type="application/json", headers={"X-CSRFToken": token})
    assert given.json()["pairs"][0]["pictures"]["left"].startswith("/pictures/")


def test_a_lease_costs_the_same_however_many_pairs(call, project, django_assert_max_num_queries):
    with django_assert_max_num_queries(11):
        leased(call, project)


def test_the_schema_has_every_verb_with_an_example(client, people):
    client.force_login(people["alice"])
    paths = client.get("/api/schema/?format=json").json()["paths"]
    for verb in VERBS:
        operation = paths[f"/api/v1/pairs/{verb}"]["post"]
        assert operation["summary"] and operation["tags"] == ["pairs"]
        assert operation["requestBody"]["content"]["application/json"]["examples"], verb


def test_the_examples_of_the_schema_run(call, client, people, project):
    """With its own ids put in: nothing in them is unknown to the server."""
    client.force_login(people["alice"])
    paths = client.get("/api/schema/?format=json").json()["paths"]
    leased(call, project)
    for verb in VERBS:
        examples = paths[f"/api/v1/pairs/{verb}"]["post"]["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            assert call(verb, example["value"]).status_code in (200, 403, 404), (verb, example)
