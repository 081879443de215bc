"""The pages: who may open them, what they say, and that they cost the same however much there is."""

import re
import shutil

import pytest
from django.core.cache import cache
from django.urls import reverse

from generation.models import Product
from runs.models import Run, RunMetric
from tests import build, loop_rows
from tests.in_browser import until
from tests.loop_rows import checkpoint, consensus
from tests.page_checks import assert_sane

loop, no_kept_numbers = loop_rows.loop, loop_rows.no_kept_numbers
pytestmark = pytest.mark.django_db

# page, who may open it
PAGES = [
    ("home", "alice rita max mia olga"),
    ("profile", "alice rita max mia olga"),
    ("products", "rita max mia olga"),
    ("product", "rita max mia olga"),
    ("product_import", "max olga"),
    ("prompts", "rita max mia olga"),
    ("prompt", "max mia olga"),
    ("prompt_create", "max mia olga"),
    ("generators", "rita max mia olga"),
    ("candidates", "rita max mia olga"),
    ("candidate", "rita max mia olga"),
    ("generate", "max mia olga"),
    ("runs", "max mia olga"),
    ("run", "max mia olga"),
]
POSTS = [
    ("product_unsuitable", "max olga"),
    ("generator_use", "mia olga"),
    ("run_stop", "max mia olga"),
    ("run_resume", "max mia olga"),
]


def address(name, loop):
    candidate = loop["candidates"][0]
    pks = {
        "product": candidate.product_id, "product_unsuitable": candidate.product_id, "prompt": candidate.prompt_id,
        "candidate": candidate.pk, "run": loop["run"].pk, "run_stop": loop["run"].pk, "run_resume": loop["run"].pk,
        "generator_use": candidate.generator_id,
    }
    return reverse(name, args=[pks[name]] if name in pks else [])


class TestWhoMayOpenWhat:
    @pytest.mark.parametrize(("name", "allowed"), PAGES)
    def test_each_role_sees_its_pages_and_only_those(self, client, people, loop, name, allowed):
        url = address(name, loop)
        assert client.get(url).status_code == 302, "strangers go to the log-in page"
        for person in ("alice", "rita", "max", "mia", "olga"):
            client.force_login(people[person])
            response = client.get(url)
            assert response.status_code == (200 if person in allowed else 403), (person, url)
            assert_sane(response)

    @pytest.mark.parametrize(("name", "allowed"), POSTS)
    def test_only_some_may_change_things(self, client, people, loop, name, allowed):
        loop["run"].created_by = people["max"]
        loop["run"].save()
        url = address(name, loop)
        for person in ("alice", "rita", "max", "mia", "olga"):
            client.force_login(people[person])
            assert client.get(url).status_code in {403, 405}
            refused = client.post(url).status_code == 403
            if name.startswith("run_") and person == "mia":
                assert refused, "somebody else's run"
            else:
                assert refused == (person not in allowed), (person, url)

    def test_navigation_shows_only_what_one_may_open(self, client, people, loop):
        client.force_login(people["alice"])
        html = client.get(reverse("home")).content.decode()
        assert reverse("products") not in html and reverse("runs") not in html


class TestLogIn:
    @pytest.fixture
    def demo(self, settings, people):
        settings.DEMO = True
        people["alice"].is_demo = people["max"].is_demo = True
        people["alice"].save()
        people["max"].save()

    def test_a_demo_person_enters_with_one_click(self, client, people, demo):
        assert reverse("demo_login", args=["max"]) in client.get(reverse("login")).content.decode()
        assert client.post(reverse("demo_login", args=["max"])).url == reverse("home")

    def test_annotators_go_straight_to_the_desk(self, client, people, demo):
        assert client.post(reverse("demo_login", args=["alice"])).url == reverse("desk")

    def test_only_demo_people_enter_like_that(self, client, people, demo):
        assert client.post(reverse("demo_login", args=["olga"])).status_code == 404

    def test_it_is_not_there_without_the_demo(self, client, people, demo, settings):
        settings.DEMO = False
        assert reverse("demo_login", args=["max"]) not in client.get(reverse("login")).content.decode()
        assert client.post(reverse("demo_login", args=["max"])).status_code == 404

    def test_it_wants_a_post_with_a_csrf_token(self, people, demo):
        from django.test import Client

        assert Client().get(reverse("demo_login", args=["max"])).status_code == 405
        assert Client(enforce_csrf_checks=True).post(reverse("demo_login", args=["max"])).status_code == 403

    def test_its_example_pictures_are_there(self, client):
        from django.contrib.staticfiles import finders

        names = re.findall(r'src="/static/(annotation/examples/[^"]+)"', client.get(reverse("login")).content.decode())
        assert len(names) == 5 and all(finders.find(name) for name in names)

    def test_a_wrong_password_gets_a_sentence(self, client, people):
        response = client.post(reverse("login"), {"username": "max", "password": "wrong"})
        assert "Please enter a correct" in response.content.decode()
        assert_sane(response)

    def test_a_poll_after_the_session_ended_loads_the_whole_page(self, client, people):
        response = client.get(reverse("home"), headers={"HX-Request": "true"}, follow=True)
        assert response.headers["HX-Refresh"] == "true"

    def test_a_token_is_made_and_replaced(self, client, people):
        client.force_login(people["max"])
        client.post(reverse("rotate_token"))
        first = people["max"].auth_token.key
        assert first in client.get(reverse("profile")).content.decode()
        client.post(reverse("rotate_token"))
        people["max"].refresh_from_db()
        assert people["max"].auth_token.key != first


class TestStations:
    def station(self, user, key):
        from frontend_templates.stations import stations

        cache.clear()
        return {station.key: station for station in stations(user)}[key]

    def test_an_empty_platform_begins_with_products(self, people):
        from frontend_templates.stations import next_for, stations

        first = next_for(stations(people["max"]))
        assert first.key == "products" and first.action.url == reverse("product_import")

    def test_numbers_are_those_of_the_rows(self, people, loop):
        assert self.station(people["olga"], "products").value == 4
        assert self.station(people["olga"], "candidates").value == 4
        assert self.station(people["olga"], "consensus").value == 2
        assert self.station(people["olga"], "judge").value == 2
        assert "2 candidates without a verdict" in self.station(people["olga"], "judge").next_step

    def test_tasks_that_wait_are_those_one_has_not_had(self, people, loop):
        # Alice has had two of the three open tasks.
        assert self.station(people["alice"], "label").next_step == "1 task waits for you."
        assert self.station(people["bob"], "label").next_step == "3 tasks wait for you."

    def test_a_button_is_there_only_for_those_who_may_press_it(self, people, loop):
        assert self.station(people["max"], "products").action is not None
        assert self.station(people["alice"], "products").action is None
        assert self.station(people["alice"], "candidates").url == ""

    def test_labelled_candidates_in_no_version_are_to_be_frozen(self, people, loop):
        assert self.station(people["max"], "dataset").next_step == "2 labelled candidates are in no version."

    def test_a_checkpoint_that_beats_the_one_in_use_is_to_be_promoted(self, people, loop):
        checkpoint("worse", ap=0.6)
        assert "beats" not in self.station(people["mia"], "rfnet").next_step
        checkpoint("better", ap=0.8)
        assert self.station(people["mia"], "rfnet").next_step == "better beats the one in use (AP 0.80)."

    def test_runs_at_work_show_at_their_station(self, people, loop):
        Run.objects.create(kind="generate", title="Draw", state="waiting", done=1, total=4)
        station = self.station(people["max"], "candidates")
        assert (station.busy_runs, station.busy_share) == (1, 0.25)

    def test_while_the_first_pictures_are_drawn_nobody_is_asked_to_draw_them(self, people):
        build.product()
        build.prompt()
        assert self.station(people["max"], "candidates").action.text == "Draw candidates"
        Run.objects.create(kind="generate", title="Draw", state="waiting", total=4)
        station = self.station(people["max"], "candidates")
        assert station.next_step == "The first pictures are being drawn." and station.action.url.startswith(reverse("runs"))

    def test_availability_is_the_share_people_call_available(self, people, loop):
        from frontend_templates.numbers import count

        consensus(loop["candidates"][2], label=3)
        consensus(loop["candidates"][3], label=0, is_complete=False)
        row = count().availability[0]
        assert (row.labelled, row.available) == (3, 2)

    def test_candidates_of_unsuitable_products_do_not_count(self, people, loop):
        from frontend_templates.numbers import count

        Product.objects.filter(pk=loop["candidates"][0].product_id).update(unsuitable=True)
        assert count().availability[0].labelled == 1

    def test_polling_asks_the_database_little(self, client, people, loop, django_assert_max_num_queries):
        client.force_login(people["max"])
        client.get(reverse("home"))
        with django_assert_max_num_queries(6):
            response = client.get(reverse("home"), headers={"HX-Request": "true"})
        assert b"<html" not in response.content and b"station-label" in response.content


class TestErrorPages:
    def test_they_say_what_to_do(self, client, people, settings):
        client.force_login(people["alice"])
        missing = client.get("/not/here/")
        assert missing.status_code == 404 and b"Back to the loop" in missing.content
        refused = client.get(reverse("runs"))
        assert refused.status_code == 403 and b"Ask an operator" in refused.content

    def test_too_large_a_form_is_413(self, client, people, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        client.force_login(people["max"])
        response = client.post(reverse("prompt_create"), {"text": "x" * 2000})
        assert response.status_code == 413 and b"smaller pieces" in response.content

    def test_a_crash_shows_the_page_of_crashes(self, client, people, loop, monkeypatch):
        from generation import views

        def broken(*args, **kwargs):
            raise RuntimeError("boom")

        monkeypatch.setattr(views, "newest_first", broken)
        client.force_login(people["max"])
        client.raise_request_exception = False
        response = client.get(reverse("products"))
        assert response.status_code == 500 and b"Something broke on our side" in response.content
        assert b"boom" not in response.content


BROWSER_PAGES = [
    "home", "profile", "products", "product", "product_import", "prompts", "prompt", "generators", "candidates", "candidate",
    "generate", "runs", "run",
]  # fmt: skip


@pytest.fixture
def browser(monkeypatch):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    # Playwright's loop runs in this thread; Django takes that for asynchronous code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags.split())
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestInTheBrowser:
    @pytest.fixture
    def urls(self, client, people, loop, live_server):
        client.force_login(people["olga"])
        for n in range(3):
            RunMetric.objects.create(run=loop["run"], step=n, values={"loss": 1.0 / (n + 1)})
        names = dict.fromkeys(BROWSER_PAGES)
        urls = [live_server.url + address(name, loop) for name in names]
        return [live_server.url + reverse("login"), live_server.url + "/nothing/here/", *urls]

    def pages(self, browser, client, live_server, width, scheme):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        cookies = [{"name": name, "value": morsel.value, "url": live_server.url} for name, morsel in client.cookies.items()]
        context.add_cookies(cookies)
        context.set_default_timeout(60_000)
        return context.new_page()

    def test_the_theme_is_remembered_and_the_menu_needs_no_script(self, browser, client, urls, live_server):
        page = self.pages(browser, client, live_server, 390, "light")
        page.goto(urls[2])
        page.click("[data-theme-toggle]")
        page.goto(urls[4])
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert not page.is_visible(".menu-panel")
        page.click(".menu > summary")
        assert page.is_visible(".menu-panel a")

    def test_the_drawing_form_says_what_it_makes_and_more_products_come(self, browser, client, urls, live_server):
        for n in range(10, 60):
            build.product(n)
        page = self.pages(browser, client, live_server, 1440, "light")
        page.goto(live_server.url + reverse("generate"))
        page.wait_for_selector(".estimate-number")
        assert page.inner_text(".estimate-number") == "12"
        page.fill("[name=most_products]", "")
        page.press("[name=most_products]", "Tab")
        until(page, "document.querySelector('.estimate-number')?.textContent === '54'")
        page.goto(live_server.url + reverse("products"))
        page.click("#more a")
        until(page, "document.querySelectorAll('.picture-card').length === 54")

    def test_curves_are_drawn(self, browser, client, urls, live_server, loop):
        page = self.pages(browser, client, live_server, 1440, "dark")
        page.goto(live_server.url + address("run", loop))
        page.wait_for_selector(".curve canvas[aria-label*='loss']")
        assert page.evaluate("document.querySelector('.curve canvas').height") > 100
