"""What others' platforms were attacked with (published advisories of a comparable one), tried on ours."""

import json
import re
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import DeskSettings, SavedFilter, Snapshot
from generation.blobs import blobs
from tests.house import House, endpoints, poison
from tests.test_roles import ROWS, bodies, is_login

pytestmark = pytest.mark.django_db
PAYLOADS = [
    '<img src=x onerror="window.pwned=1">',
    "</script><script>window.pwned=1</script>",
    "</textarea><svg onload=window.pwned=1>",
    "' onmouseover='window.pwned=1' x='",
    '" onfocus="window.pwned=1" autofocus x="',
    "{{ 7|add:7 }}{% debug %}",
]


@pytest.fixture
def house(people):
    return House(people)


@pytest.fixture
def olga(people):
    client = Client(raise_request_exception=False)
    client.force_login(people["olga"])
    return client


def pages(house, client):
    for endpoint in endpoints():
        if "GET" in ROWS[endpoint.key].needs and endpoint.name not in ("login", "schema"):
            response = client.get(house.path(endpoint))
            if response["Content-Type"].startswith("text/html"):
                yield endpoint, response.content.decode()


class Suspicious(HTMLParser):
    """Collects what a browser would run that is not a file of ours."""

    def __init__(self):
        super().__init__()
        self.found, self.in_script = [], None

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.found += [f"<{tag} {name}>" for name, value in attrs if name.startswith("on") or (value or "").lower().startswith("javascript:")]
        if tag == "script":
            self.in_script = values
            source = values.get("src")
            if source and not source.startswith("/static/"):
                self.found.append(f"script from {source}")

    def handle_endtag(self, tag):
        if tag == "script":
            self.in_script = None

    def handle_data(self, data):
        if self.in_script is None or not data.strip():
            return
        if self.in_script.get("type") == "application/json":
            json.loads(data)  # whole, whatever stands in it
        else:
            self.found.append(f"inline script {data[:60]}")


class TestWordsNeverBecomeCode:
    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_on_any_page(self, house, olga, people, payload):
        columns = poison(payload)
        assert columns > 20
        DeskSettings.objects.create(user=people["olga"], keys={"skip": payload[:20], "label-0": payload})
        people["olga"].desk_preferences = {"keys": {payload: 0}, "view": payload}
        people["olga"].save()
        seen = 0
        for endpoint, html in pages(house, olga):
            parser = Suspicious()
            parser.feed(html)
            assert not parser.found, (endpoint.route, parser.found)
            seen += "pwned" in html
        assert seen > 15 or "debug" in payload  # the words are there, as words

    def test_in_answers_of_the_api(self, house, people):
        poison(PAYLOADS[1])
        client = Client()
        client.force_login(people["bob"])
        response = client.post("/api/v1/desk/lease", {"project": house.project.pk}, content_type="application/json")
        assert response.json()["tasks"][0]["product"]["title"].startswith(PAYLOADS[1])
        assert response["Content-Type"] == "application/json" and response["X-Content-Type-Options"] == "nosniff"

    def test_a_formula_in_a_name_is_no_formula_in_a_table(self, house, olga, people):
        poison("=HYPERLINK(1)")
        people["alice"].username = "=cmd"
        people["alice"].save()
        tables = 0
        for endpoint in endpoints():
            if "GET" not in ROWS[endpoint.key].needs:
                continue
            response = olga.get(house.path(endpoint))
            if response["Content-Type"].startswith("text/csv"):
                text = b"".join(response) if response.streaming else response.content
                cells = re.split(r"[,\r\n]", text.decode())
                assert not [cell for cell in cells if cell.strip('"').startswith(("=", "+", "@"))], endpoint.route
                tables += 1
        assert tables >= 3

    def test_a_file_that_is_no_picture_is_never_shown_as_a_page(self, people, olga):
        sha256 = blobs().put(b"<html><script>window.pwned=1</script></html>")
        response = olga.get(reverse("picture", args=[sha256]))
        assert response["Content-Type"] == "application/octet-stream"
        assert response["X-Content-Type-Options"] == "nosniff" and "sandbox" in response["Content-Security-Policy"]


@pytest.mark.parametrize("word", ["²", "٣", "9" * 30, "-1"])
def test_what_looks_like_a_number_and_is_none_is_no_id(olga, word):
    for name, key in (("products", "before"), ("cut_outs", "after"), ("candidates", "before"), ("desk", "project"), ("generate", "products")):
        assert olga.get(reverse(name), {key: word}).status_code < 500, name
    assert olga.post(reverse("prompt_preview"), {"sample": word, "text": "on a table"}).status_code == 200
    assert olga.post(reverse("products_bulk"), {"products": [word], "do": "unflag"}).status_code == 302


class TestAnothersThings:
    def test_a_shared_filter_is_for_reading(self, house, olga):
        theirs = SavedFilter.objects.get(owner=house.people["rita"])
        assert theirs.is_shared
        assert olga.post(reverse("filter_delete", args=[theirs.pk])).status_code == 404
        assert SavedFilter.objects.filter(pk=theirs.pk).exists()

    def test_no_snapshot_of_another_by_counting(self, house, people):
        rita = Client()
        rita.force_login(people["rita"])
        first = Snapshot.objects.order_by("pk").first().pk
        for pk in range(max(1, first - 3), first + 3):
            for name in ("snapshot", "snapshot_csv", "grid"):
                assert rita.get(reverse(name, args=[pk])).status_code == 404

    def test_what_an_annotator_is_given_names_nobody_else_and_no_gold(self, house, people):
        client = Client()
        client.force_login(people["alice"])
        body = {"project": house.project.pk, "count": 10}
        text = client.post("/api/v1/desk/lease", body, content_type="application/json").content.decode()
        assert json.loads(text)["tasks"]
        for word in ("gold", "bob", "annotator", "consensus", "It floats", "password", "priority"):
            assert word not in text.replace("guidelines", ""), word


class TestForgedRequests:
    def test_a_session_alone_is_not_enough_to_change_anything(self, house, people):
        client, given, wrong = Client(enforce_csrf_checks=True, raise_request_exception=False), bodies(house), []
        client.force_login(people["olga"])
        for endpoint in endpoints():
            for method in set(ROWS[endpoint.key].needs) & {"POST", "PUT"}:
                as_json = {"content_type": "application/json"} if endpoint.is_api else {}
                body = given.get(endpoint.name, {})
                send = client.post if method == "POST" else client.put
                response = send(house.path(endpoint), json.dumps(body) if as_json else body, **as_json)
                if response.status_code != 403:
                    wrong.append(f"{method} {endpoint.route}: {response.status_code}")
        assert not wrong, "\n".join(wrong)

    def test_nothing_is_changed_by_a_link(self, house, olga):
        """Every address that takes only POST refuses to be opened."""
        for endpoint in endpoints():
            if "GET" not in ROWS[endpoint.key].needs:
                assert olga.get(house.path(endpoint)).status_code == 405, endpoint.route

    def test_pages_may_not_be_framed_and_the_session_cookie_is_not_for_scripts(self, house, people):
        client = Client()
        response = client.post("/login/", {"username": "alice", "password": "a-long-password"})
        cookie = client.cookies["sessionid"]
        assert response.status_code == 302 and cookie["httponly"] and cookie["samesite"] == "Lax"
        page = client.get("/desk/")
        assert page["X-Frame-Options"] == "DENY"
        # No script but our own files, whatever slips into a page.
        assert "default-src 'self'" in page["Content-Security-Policy"] and "script-src" not in page["Content-Security-Policy"]

    @pytest.mark.parametrize("next_url", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "http:///evil.example"])
    def test_nobody_is_sent_elsewhere(self, house, people, olga, next_url):
        stranger = Client()
        answer = stranger.post(f"/login/?next={next_url}", {"username": "max", "password": "a-long-password", "next": next_url})
        assert answer.status_code == 302 and answer.url == reverse("home")
        pressed = olga.post(reverse("checkpoint_promote", args=[house.checkpoint.pk]), {"next": next_url})
        assert pressed.url == reverse("checkpoint", args=[house.checkpoint.pk])


class TestFiltersDoNotWalk:
    KEYS = [
        "annotator__password__startswith", "annotations__annotator__auth_token__key__startswith", "product__sku__regex",
        "candidate__tasks__gold__label", "owner__password", "order_by", "pk__in", "extra", "project__name",
    ]  # fmt: skip

    @pytest.mark.parametrize("page", ["labels", "candidates", "products", "review", "review-history", "runs", "grid-new"])
    def test_unknown_names_in_an_address_change_nothing(self, house, olga, page):
        def shown(query):
            response = olga.get(reverse(page), query)
            assert response.status_code == 200
            return sorted(set(re.findall(r'href="(/(?:candidates|products|review|runs)/\d+/)', response.content.decode())))

        usual = shown({})
        for key in self.KEYS:
            assert shown({key: "zzz"}) == usual, key

    def test_they_are_not_kept_in_a_saved_filter_or_a_snapshot(self, house, olga):
        walk = dict.fromkeys(self.KEYS, "x")
        olga.post(reverse("filter_save"), {"name": "Mine", "label": "1", **walk})
        assert SavedFilter.objects.get(name="Mine").query == {"label": "1"}
        olga.post(reverse("snapshot_make"), {"state": "answered", **walk})
        assert Snapshot.objects.latest("pk").query == {"state": "answered"}

    def test_a_saved_filter_that_was_tampered_with_says_so_or_ignores_it(self, house, olga):
        SavedFilter.objects.filter(pk=house.filter.pk).update(query={key: {"a": ["x"]} for key in self.KEYS} | {"label": "9"})
        assert olga.get(reverse("labels")).status_code == 200
        Snapshot.objects.filter(pk=house.snapshot.pk).update(query={"annotator__password": "x", "label": ["1"]})
        assert olga.get(reverse("snapshot", args=[house.snapshot.pk])).status_code == 200

    def test_gold_is_no_word_for_those_who_are_measured_by_it(self, house, people):
        rita = Client()
        rita.force_login(people["rita"])
        all_rows = rita.get(reverse("labels")).content.decode().count("/candidates/")
        assert rita.get(reverse("labels"), {"gold": "yes"}).content.decode().count("/candidates/") == all_rows
        assert is_login(Client().get(reverse("labels"), {"gold": "yes"}))
