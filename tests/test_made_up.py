"""Whatever is made up by hand (ids, parameters, forms, JSON) gets a sentence. Nothing breaks, nothing is changed."""

import copy
import itertools
import json
import re
import uuid

import pytest
from django.db import transaction
from django.http import QueryDict
from django.test import Client
from rest_framework.authtoken.models import Token

from tests.house import House, endpoints, row_counts
from tests.test_roles import ROWS, bodies

NOT_AN_ID = ["0", "999999999", str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "-1", "1.5", "１", "x", "%00", "..%2f..%2fetc", "a" * 300]
VALUES = [
    "", "0", "-1", str(2**31), str(2**63), "9" * 60, "1e400", "NaN", "x", "１", "\0", "a\0b", "a" * 5000, "<script>", "%", "_\\", "\ud800",
    "2026-02-30", "0000-01-01", "99999-01-01", "[]", "{}", "null", "1,2", ":", "::", "nan:1", "1:nan", "0.5:0.5:99999999999999999999",
    "2026-01-01T00:00:00+00:00~", "~", "None", "true",
]  # fmt: skip
NUL = "a\0b"  # tried everywhere: it passes for text until the database sees it
OFTEN = ["before", "after", "page", "project", "kind", "state", "label", "candidate", "annotator", "q", "next"]


@pytest.fixture
def house(people):
    return House(people)


@pytest.fixture
def olga(people):
    client = Client(raise_request_exception=False)
    client.force_login(people["olga"])
    return client


class Recording:
    """Notes which names of a query or form a view asks for."""

    def __init__(self, monkeypatch):
        self.names = set()
        for method in ("get", "getlist", "__getitem__", "__contains__"):
            original = getattr(QueryDict, method)

            def noted(query, name, *args, _original=original, **kwargs):
                self.names.add(name)
                return _original(query, name, *args, **kwargs)

            monkeypatch.setattr(QueryDict, method, noted)

    def during(self, call):
        self.names = set()
        call()
        return sorted(name for name in self.names if isinstance(name, str))


def tried(call):
    """The answer and its text; whatever it changed is taken back. The counts of rows before and after go with it."""
    with transaction.atomic():
        response = call()
        text = (b"".join(response.streaming_content) if response.streaming else response.content).decode(errors="replace")
        transaction.set_rollback(True)
    return response, text


def refusal_changes_rows(call):
    """What a refused request left behind, if anything."""
    before = row_counts()
    with transaction.atomic():
        status = call().status_code
        after = row_counts()
        transaction.set_rollback(True)
    return [] if status < 400 else [name for name in before if before[name] != after[name]]


def short(text):
    title = re.search(r"<title>(.*?)</title>", text)
    return title.group(1) if title else text[:200]


def in_words(text):
    """A sentence somebody can read, not a trace and not an empty page."""
    return len(text) > 15 and "Traceback" not in text and "psycopg" not in text and "Something broke" not in text


class TestAddresses:
    def test_an_id_of_nothing_is_not_found_for_whoever_asks(self, house, olga):
        before, wrong = row_counts(), []
        for endpoint in endpoints():
            names = re.findall(r"<(?:\w+:)?(\w+)>", endpoint.route)
            for name, value in itertools.product(names, NOT_AN_ID):
                for method in ROWS[endpoint.key].needs:
                    path = house.path(endpoint, **{name: value})
                    as_json = {"content_type": "application/json", "data": "{}"} if endpoint.is_api and method == "POST" else {}
                    response, text = tried(lambda m=method, p=path, j=as_json: getattr(olga, m.lower())(p, **j))
                    if response.status_code not in (400, 404) or not in_words(text):
                        wrong.append(f"{method} {path[:120]}: {response.status_code} {short(text)}")
        assert not wrong, "\n".join(wrong)
        assert row_counts() == before


@pytest.mark.slow
class TestQueries:
    def test_nonsense_in_the_query_never_breaks_a_page(self, house, olga, monkeypatch):
        recording, wrong, turn = Recording(monkeypatch), [], itertools.count()
        for endpoint in endpoints():
            if "GET" not in ROWS[endpoint.key].needs or endpoint.name in ("schema", "api-docs"):
                continue
            path = house.path(endpoint)
            names = set(recording.during(lambda p=path: olga.get(p))) | set(OFTEN)
            if endpoint.name == "labels":
                from annotation.label_filter import LabelFilter

                names |= set(LabelFilter.base_fields)
            for name in sorted(names - {"csrfmiddlewaretoken"}):
                # Every value comes up for every kind of parameter sooner or later; all of them for each is an hour.
                for value in [NUL, *(VALUES[(next(turn) * 7) % len(VALUES)] for _ in range(2))]:
                    value = value.encode("utf-8", "surrogatepass")
                    response, text = tried(lambda p=path, n=name, v=value: olga.get(p, {n: v}))
                    if response.status_code >= 500 or (response.status_code >= 400 and not in_words(text)):
                        wrong.append(f"GET {path}?{name}={value[:60]!r}: {response.status_code} {short(text)}")
        assert not wrong, "\n".join(wrong)


@pytest.mark.slow
class TestForms:
    def test_nonsense_in_a_form_is_told_and_changes_nothing(self, house, olga, monkeypatch):
        recording, wrong, given, turn = Recording(monkeypatch), [], bodies(house), itertools.count()
        for endpoint in endpoints():
            if "POST" not in ROWS[endpoint.key].needs or endpoint.is_api or endpoint.name in ("logout", "demo_login"):
                continue
            path, right = house.path(endpoint), given.get(endpoint.name, {})
            cookies = copy.deepcopy(olga.cookies)
            names = recording.during(lambda p=path, r=right: tried(lambda: olga.post(p, r)))
            for name in sorted({*names, *right} - {"csrfmiddlewaretoken", "_method"}):
                for value in [NUL, *(VALUES[(next(turn) * 7) % len(VALUES)] for _ in range(3))]:
                    body = {**right, name: value.encode("utf-8", "surrogatepass")}
                    olga.cookies = copy.deepcopy(cookies)
                    response, text = tried(lambda p=path, b=body: olga.post(p, b))
                    if response.status_code >= 500 or (response.status_code >= 400 and not in_words(text)):
                        wrong.append(f"POST {path} {name}={value[:60]!r}: {response.status_code} {short(text)}")
        assert not wrong, "\n".join(wrong)


# --- JSON

NASTY = [
    None, True, False, -1, 0, 2**31, 2**63, 10**40, 1e308, 1.5, "", "x", "\0", "a\0b", "\ud800", "a" * 5000, "１", "2026-01-01", "17",
    [], {}, [[]], [None], [1] * 10_000, {"a": {"b": {"c": []}}}, [-1], [2**63], ["x"], str(uuid.uuid4()),
]  # fmt: skip
UNKNOWN = ["__proto__", "annotator", "is_gold", "candidate__product", "", "x" * 500, "\0", "\ud800"]


def mutations(value, nasty=NASTY):
    """The value with one thing in it wrong, for every place in it."""
    yield from nasty
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: wrong} for wrong in mutations(inner))
        yield from ({**value, name: 1} for name in UNKNOWN)
    if isinstance(value, list) and value:
        yield from ([wrong, *value[1:]] for wrong in mutations(value[0]))
        yield value * 101


def api_endpoints():
    return [endpoint for endpoint in endpoints() if endpoint.is_api and {"POST", "PUT"} & set(ROWS[endpoint.key].needs)]


def full_bodies(house):
    """One with every field of it, for each endpoint of the API."""
    return bodies(house) | {
        "api-generation-runs": {
            "newest": 1, "limit": 1, "per_pair": 1, "attempts": 1, "base_seed": 3, "budget": {"images": 4, "minutes": 5},
        },
        "desk-lease": {"project": house.project.pk, "count": 1, "today_from": "2026-01-01T00:00:00Z"},
        "desk-annotations": {
            "project": house.project.pk,
            "annotations": [
                {
                    "id": str(uuid.uuid4()), "task": house.held.pk, "label": "available", "seconds": 2.5, "view": "depth",
                    "details": {"secondary": [1, 2], "marker": [0.5, 0.5]}, "guidelines": 1, "verdict": house.checkpoint.pk,
                }
            ],
        },
        "review-decisions": {
            "decisions": [
                {
                    "id": str(uuid.uuid4()), "candidate": house.disputed.candidate_id, "action": "sent_back", "label": None,
                    "comment": "Look again.", "annotators": [house.people["alice"].pk], "made_in": "grid",
                    "seen_at": "2100-01-01T00:00:00Z",
                }
            ]
        },
    }  # fmt: skip


class TestJson:
    @pytest.fixture
    def send(self, people):
        clients = {
            name: Client(
                raise_request_exception=False,
                headers={"Authorization": f"Token {Token.objects.create(user=people[name]).key}"},
            )
            for name in ("alice", "rita", "olga")
        }  # fmt: skip

        def send(name, path, body, raw=False):
            return clients[name].post(path, body if raw else json.dumps(body), content_type="application/json")

        return send

    @pytest.mark.slow
    def test_one_wrong_thing_anywhere_is_refused_with_a_sentence(self, house, send):
        given, wrong, count = full_bodies(house), [], 0
        for endpoint in api_endpoints():
            path = house.path(endpoint)
            by_part = {"review": "rita", "datasets": "olga", "products": "olga", "prompts": "olga", "variables": "olga", "generation": "olga"}
            person = by_part.get(path.removeprefix("/api/v1/").partition("/")[0], "alice")
            assert endpoint.name in given, f"tests/test_roles.py: add a body that works for {endpoint.name}"
            right, _ = tried(lambda e=endpoint, p=path, n=person: send(n, p, given[e.name]))
            assert right.status_code == 200, (endpoint.name, right.content)
            for body in mutations(given[endpoint.name]):
                count += 1
                response, text = tried(lambda p=path, b=body, n=person: send(n, p, b))
                if response.status_code >= 500 or (response.status_code >= 400 and not self.says_why(text)):
                    wrong.append(f"{endpoint.name} {json.dumps(body)[:200]}: {response.status_code} {short(text)}")
        assert count > 500
        assert not wrong, "\n".join(wrong[:60])

    @staticmethod
    def says_why(text):
        try:
            said = json.loads(text)
        except ValueError:
            return False
        return isinstance(said, dict) and bool(said) and len(text) > 20

    def test_what_is_refused_changes_no_row(self, house, send):
        given = full_bodies(house)
        for endpoint in api_endpoints():
            path = house.path(endpoint)
            for body in [{}, [], {"surprise": 1}, {**given[endpoint.name], "surprise": 1}]:
                assert not refusal_changes_rows(lambda p=path, b=body: send("alice", p, b)), (endpoint.name, body)

    # Every field may be left out: all products once, no limit, all files as one.
    NEED_NOTHING = {"api-generation-runs", "api-generation-budget", "datasets-link"}
    BROKEN = {
        "nothing": "",
        "not JSON": "{not json",
        "not UTF-8": b'{"project": "\xff\xfe"}',
        "half a surrogate": '{"project": "\\ud800"}',
        "infinity": '{"project": Infinity, "seconds": NaN}',
        "a number of 5,000 digits": '{"project": ' + "9" * 5000 + "}",
        "very deep lists": '{"project": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "very deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "5 MB": '{"project": "' + "x" * (5 * 2**20) + '"}',
        "10,000 of them": '{"annotations": [' + ",".join(["{}"] * 10_000) + "]}",
    }

    @pytest.mark.parametrize("what", BROKEN)
    def test_a_broken_body_is_refused_everywhere(self, house, send, what):
        before, given = row_counts(), full_bodies(house)
        for endpoint in api_endpoints():
            if what == "nothing" and (not given[endpoint.name] or endpoint.name in self.NEED_NOTHING):
                continue  # a press is all it takes
            response = send("olga", house.path(endpoint), self.BROKEN[what], raw=True)
            assert response.status_code in (400, 413), (endpoint.name, response.status_code, response.content[:200])
            assert self.says_why(response.content.decode()), (endpoint.name, response.content[:200])
        assert row_counts() == before

    def test_other_kinds_of_body_are_refused(self, house, people):
        client = Client(raise_request_exception=False, headers={"Authorization": f"Token {Token.objects.create(user=people['olga']).key}"})
        for endpoint, kind in itertools.product(api_endpoints(), ("application/x-www-form-urlencoded", "text/plain", "application/xml")):
            response = client.post(house.path(endpoint), "project=1", content_type=kind)
            assert response.status_code == 415 and "Unsupported media type" in response.json()["detail"]


class TestOthersThings:
    """Ids that exist, but are another's."""

    def test_an_answer_under_the_id_of_another_persons_answer(self, house, people):
        theirs = people["bob"].annotations.standing().first()
        client = Client(headers={"Authorization": f"Token {Token.objects.create(user=people['alice']).key}"})
        body = {"id": str(theirs.pk), "task": house.held.pk, "label": 1, "seconds": 1}
        [result] = client.post("/api/v1/desk/annotations", {"annotations": [body]}, content_type="application/json").json()["results"]
        assert result["status"] == "refused" and "another answer" in result["message"]
        theirs.refresh_from_db()
        assert theirs.annotator == people["bob"]

    def test_renewing_and_releasing_the_leases_of_others_does_nothing(self, house, people):
        before = (house.held.slots.get(annotator=people["alice"])).lease_until
        client = Client(headers={"Authorization": f"Token {Token.objects.create(user=people['rita']).key}"})
        body = {"tasks": [house.held.pk]}
        for verb, said in (("renew", {"held": [], "lost": body["tasks"]}), ("release", {"released": 0})):
            assert client.post(f"/api/v1/desk/{verb}", body, content_type="application/json").json() == said
        assert house.held.slots.get(annotator=people["alice"]).lease_until == before

    def test_a_decision_under_the_id_of_anothers_decision(self, house, people):
        from annotation.models import Decision

        theirs = Decision.objects.get()
        client = Client(headers={"Authorization": f"Token {Token.objects.create(user=people['max']).key}"})
        body = {"id": str(theirs.pk), "candidate": theirs.candidate_id, "action": "withdrawn"}
        [result] = client.post("/api/v1/review/decisions", body, content_type="application/json").json()["results"]
        assert result["status"] == "refused"
        assert Decision.objects.get().action == "changed"
