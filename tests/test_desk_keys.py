"""Keys of one's own: what is taken, what is refused and why, and that it is remembered."""

import pytest
from django.test import Client

from annotation import desk_keys
from annotation.models import DeskSettings

URL = "/api/v1/desk/keys"


@pytest.fixture
def alice(people):
    client = Client()
    client.force_login(people["alice"])
    return client


def put(client, keys, method="put"):
    return getattr(client, method)(URL, {"keys": keys}, content_type="application/json")


def test_at_first_they_are_the_usual_ones(alice):
    given = alice.get(URL).json()
    assert given["keys"] == given["usual"] == desk_keys.USUAL
    assert set(given["keys"]) == set(desk_keys.ACTIONS)


@pytest.mark.parametrize("method", ["put", "post"])
def test_a_choice_is_remembered_and_is_nobody_elses(alice, people, method):
    given = put(alice, {"skip": "X", "label-0": "q", "zoomReset": " "}, method)
    assert given.status_code == 200
    assert given.json()["keys"] == {**desk_keys.USUAL, "skip": "x", "label-0": "q", "zoomReset": "Space"}
    assert alice.get(URL).json()["keys"]["skip"] == "x"
    assert desk_keys.of(people["bob"]) == desk_keys.USUAL


def test_nothing_chosen_brings_the_usual_ones_back(alice):
    put(alice, {"skip": "x"})
    assert put(alice, {}).json()["keys"] == desk_keys.USUAL
    assert DeskSettings.objects.get().keys == {}


def test_keys_may_change_places(alice):
    assert put(alice, {"skip": "u", "undo": "s"}).status_code == 200


@pytest.mark.parametrize(
    "keys, action, said",
    [
        ({"skip": "u"}, "skip", "U is the key of Undo as well"),
        ({"skip": "u"}, "undo", "U is the key of Skip as well"),
        ({"label-0": "x", "label-1": "X"}, "label-0", "Space mismatch"),
        ({"skip": "Tab"}, "skip", "belongs to the browser"),
        ({"skip": "F5"}, "skip", "belongs to the browser"),
        ({"skip": "Escape"}, "skip", "belongs to the browser"),
        ({"skip": "Ctrl+s"}, "skip", "one key without Ctrl"),
        ({"skip": "ab"}, "skip", "one key without Ctrl"),
        ({"skip": "\x07"}, "skip", "types nothing"),
        ({"skip": "\u00ad"}, "skip", "types nothing"),
        ({"skip": ""}, "skip", "blank"),
        ({"skip": "x" * 30}, "skip", "20"),
        ({"skip": None}, "skip", "null"),
        ({"dance": "x"}, "dance", "no such action"),
        ({"label-5": "x"}, "label-5", "no such action"),
    ],
)
def test_a_bad_choice_is_refused_with_a_sentence_and_nothing_changes(alice, keys, action, said):
    put(alice, {"flag": "x"} if "x" not in str(keys) else {})
    before = alice.get(URL).json()
    refused = put(alice, keys)
    assert refused.status_code == 400
    assert said in str(refused.json()["keys"][action])
    assert alice.get(URL).json() == before


@pytest.mark.parametrize("body", ["[]", "{}", '{"keys": "s"}', '{"keys": {}, "more": 1}', "{", '{"keys": {"skip": "\\u0000"}}'])
def test_a_broken_body_is_refused(alice, body):
    assert alice.put(URL, body, content_type="application/json").status_code == 400
    assert not DeskSettings.objects.exists()


def test_only_those_who_label_have_keys(people):
    client = Client()
    assert client.get(URL).status_code in (401, 403)
    client.force_login(people["alice"])
    client.enforce_csrf_checks = True
    client.handler.enforce_csrf_checks = True
    assert put(client, {"skip": "x"}).status_code == 403


def test_every_usual_key_is_one_that_could_be_chosen():
    assert desk_keys.check(dict(desk_keys.USUAL)) == {}
    assert set(desk_keys.USUAL) == set(desk_keys.ACTIONS)
    assert set(desk_keys.ALSO.values()) <= set(desk_keys.ACTIONS)
