"""The desk in Chromium: keys, a connection that breaks, a reload, two tabs, undo, and what a screen reader finds."""

import gzip
import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from annotation.actions import Pick, add_tasks
from annotation.models import Annotation, Flag, Project, Skip, Slot
from annotation.views import DESK_MODULES
from tests import build
from tests.in_browser import COUNTS_PICTURES, TOLD, eventually, have_pictures, until

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
API = "**/api/v1/desk/**"
ANSWERS = "**/api/v1/desk/annotations"
DESK = Path(__file__).parent.parent / "annotation" / "static" / "annotation" / "desk"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    # Playwright's own loop runs in this thread; Django sees it and would refuse the ORM.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def project():
    return Project.objects.create(name="First pictures", overlap=1)


def fill(project, n):
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(build.candidates(n))])


@pytest.fixture
def alice():
    return User.objects.create_user("alice", password="a-long-password")


@pytest.fixture
def context(browser, live_server, alice, request):
    client = Client()
    client.force_login(alice)
    made = browser.new_context(**getattr(request, "param", {"viewport": {"width": 1440, "height": 900}}))
    session = client.cookies["sessionid"].value
    made.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    made.set_default_timeout(60_000)
    made.add_init_script(COUNTS_PICTURES)
    yield made
    made.close()


@pytest.fixture
def desk(context, live_server, project):
    """Opens the desk in a new tab; a script error fails the test."""
    errors = []

    def open_tab(wait=True):
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"{live_server.url}/desk/")
        if wait:
            page.wait_for_selector(".has-task")
        return page

    yield open_tab
    assert errors == []


def have_all(*pages):
    """What they hold can be labelled without a connection."""
    have_pictures(*pages, tasks=Slot.objects.exclude(annotator=None).count)


def wait_saved(page):
    page.wait_for_selector('[data-part=saving][data-state="saved"]')


def can_label(page):
    return page.evaluate("document.querySelector('[data-desk]').classList.contains('has-task')")


def label(page, keys, n, patience_s=60):
    """Press n label keys, each on a picture that is there. Returns how many: fewer if none comes for so long."""
    for done in range(n):
        if not can_label(page):
            try:
                page.wait_for_selector(".has-task", timeout=1000 * patience_s)
            except Exception:  # noqa: BLE001 - playwright's timeout: the queue is dry
                return done
        page.keyboard.press(next(keys))
    return n


def standing():
    return Annotation.objects.standing().count()


def test_fifty_labels_over_a_broken_connection_and_a_reload(desk, project):
    fill(project, 60)
    page, keys = desk(), itertools.cycle("12345")
    done = label(page, keys, 18)
    # The server takes these, but its answers are lost: the desk must send them again, and they must count once.
    page.route(ANSWERS, lambda route: (route.fetch(), route.abort()))
    done += label(page, keys, 3)
    page.wait_for_selector('[data-part=saving][data-state="offline"]')
    page.unroute(ANSWERS)
    wait_saved(page)
    eventually(page, lambda: Slot.objects.filter(is_filled=False).exclude(annotator=None).count() >= 6)
    have_all(page)
    page.route(API, lambda route: route.abort())
    assert label(page, keys, 5) == 5
    done += 5
    done += label(page, keys, 50 - done, patience_s=5)
    page.reload()
    page.wait_for_selector('[data-part=saving][data-state="offline"]')
    page.unroute(API)
    done += label(page, keys, 50 - done, patience_s=5)
    while done < 50:
        page.wait_for_selector(".has-task", timeout=60_000)
        done += label(page, keys, 50 - done, patience_s=5)
    wait_saved(page)
    until(page, "document.querySelector('[data-part=saving]').textContent.includes('saved')")
    assert standing() == Annotation.objects.count() == 50
    assert len(set(Annotation.objects.values_list("task", flat=True))) == 50
    assert Counter(Annotation.objects.values_list("label", flat=True)) == dict.fromkeys(range(5), 10)


def wait_until_held(page, held):
    """The page has sent its request; that Playwright hears of it takes another moment."""
    eventually(page, lambda: held)


def test_an_answer_counts_as_saved_only_when_the_server_has_it(desk, project):
    fill(project, 5)
    page = desk()
    held = []
    page.route(ANSWERS, lambda route: held.append(route))
    page.keyboard.press("1")
    page.wait_for_selector("text=0 saved, 1 sending")
    wait_until_held(page, held)
    held[0].continue_()
    page.wait_for_selector("text=1 saved")
    assert standing() == 1


def test_a_closed_tab_loses_nothing(desk, project):
    fill(project, 10)
    page = desk()
    page.route(ANSWERS, lambda route: route.abort())
    label(page, iter("123"), 3)
    page.wait_for_selector("text=3 waiting")
    page.close()
    again = desk(wait=False)
    again.wait_for_selector("text=3 saved")
    assert sorted(Annotation.objects.values_list("label", flat=True)) == [0, 1, 2]


def test_two_tabs_of_one_person_never_show_the_same_picture(desk, project):
    fill(project, 40)
    tabs, keys = [desk(), desk()], itertools.cycle("1234")
    for _ in range(10):
        for tab in tabs:
            tab.bring_to_front()
            assert label(tab, keys, 1) == 1
    for tab in tabs:
        wait_saved(tab)
    assert standing() == Annotation.objects.count() == 20


def test_an_answer_that_is_heard_of_after_it_was_sent_does_not_wait_for_ever(desk, project, alice):
    """Another tab's word that it wrote one may come later than the word that it was sent."""
    fill(project, 5)
    page = desk()
    name, entry = f"adproof-desk-{alice.pk}", {"seq": 1, "verb": "annotations", "body": {}, "task": 0}
    page.evaluate("([name, entry]) => new BroadcastChannel(name).postMessage({ added: entry })", [name, entry])
    label(page, iter("1"), 1)
    wait_saved(page)
    assert standing() == 1


def test_leaving_gives_the_tasks_back(desk, project):
    fill(project, 5)
    page = desk()
    assert Slot.objects.exclude(annotator=None).count() == 5
    until(page, f"{TOLD} >= 2")
    page.goto("about:blank")
    eventually(page, lambda: not Slot.objects.exclude(annotator=None).exists())


class TestUndo:
    def test_of_a_saved_answer(self, desk, project):
        fill(project, 4)
        page = desk()
        title = page.inner_text("[data-part=title]")
        page.keyboard.press("1")
        page.wait_for_selector("text=1 saved")
        page.keyboard.press("u")
        until(page, "title => document.querySelector('[data-part=title]').textContent === title", arg=title)
        label(page, iter("5"), 1)
        eventually(page, lambda: Annotation.objects.count() == 2)
        assert list(Annotation.objects.standing().values_list("label", flat=True)) == [4]

    def test_of_an_answer_that_was_never_sent(self, desk, project):
        fill(project, 4)
        page = desk()
        held = []
        page.route(ANSWERS, lambda route: held.append(route))
        page.keyboard.press("1")  # on its way, and held up
        page.wait_for_selector("text=1 sending")
        wait_until_held(page, held)  # what is given sooner goes with it
        label(page, iter("2"), 1)  # waits behind it
        page.wait_for_selector("text=2 sending")
        page.keyboard.press("z")
        page.wait_for_selector("text=1 sending")
        held[0].continue_()
        page.wait_for_selector("text=1 saved")
        wait_saved(page)
        assert list(Annotation.objects.values_list("label", flat=True)) == [0]

    def test_of_the_last_one_there_was(self, desk, project):
        fill(project, 1)
        page = desk()
        page.keyboard.press("1")
        page.wait_for_selector("text=All done for now")
        wait_saved(page)
        page.keyboard.press("u")
        page.wait_for_selector(".has-task")
        page.wait_for_timeout(500)
        page.keyboard.press("3")
        eventually(page, lambda: list(Annotation.objects.standing().values_list("label", flat=True)) == [2])

    def test_of_one_after_the_other_and_after_a_reload(self, desk, project):
        fill(project, 6)
        page = desk()
        label(page, iter("123"), 3)
        page.wait_for_selector("text=3 saved")
        page.reload()
        page.wait_for_selector(".has-task")
        for left in (2, 1):
            page.keyboard.press("u")
            eventually(page, lambda left=left: standing() == left)
        assert list(Annotation.objects.standing().values_list("label", flat=True)) == [0]

    def test_of_a_skip_and_of_a_flag(self, desk, project):
        fill(project, 4)
        page = desk()
        for key, table in (("s", Skip), ("f", Flag)):
            title = page.inner_text("[data-part=title]")
            page.keyboard.press(key)
            eventually(page, lambda table=table: table.objects.count() == 1)
            page.keyboard.press("u")
            until(page, "title => document.querySelector('[data-part=title]').textContent === title", arg=title)
            eventually(page, lambda table=table: table.objects.count() == 0)
            page.wait_for_selector(".has-task")
        page.keyboard.press("1")
        page.wait_for_selector("text=1 saved")


class TestKeys:
    def test_a_key_held_down_labels_once(self, desk, project):
        fill(project, 5)
        page = desk()
        for _ in range(4):
            page.keyboard.down("2")
        page.keyboard.up("2")
        wait_saved(page)
        assert standing() == 1

    def test_they_work_wherever_the_focus_is_and_the_mouse_leaves_no_trap(self, desk, project):
        fill(project, 8)
        page = desk()
        page.click("[data-label-button='3']")
        page.wait_for_selector(".has-task")
        page.keyboard.press(" ")  # skips; it must not press the button again
        eventually(page, lambda: (standing(), Skip.objects.count()) == (1, 1))
        page.wait_for_selector(".has-task")
        page.click("[data-do=depth]")
        page.keyboard.press("1")
        page.wait_for_selector("text=2 saved")
        assert Annotation.objects.order_by("created_at").last().shown["view"] == "depth"

    def test_views_switch_and_go_back(self, desk, project):
        fill(project, 3)
        page = desk()
        for key, view in (("d", "depth"), ("a", "saliency"), ("o", "product"), ("b", "before")):
            page.keyboard.down(key)
            page.wait_for_selector(f"[data-view={view}][aria-pressed=true]")
            page.keyboard.up(key)
            if view != "before":
                page.keyboard.press(key)
            page.wait_for_selector("[data-view=generated][aria-pressed=true]")

    def test_a_view_that_can_not_be_loaded_goes_back_and_says_so(self, desk, project):
        fill(project, 3)
        page = desk()
        have_all(page)
        page.route("**/pictures/**", lambda route: route.abort())
        page.keyboard.press("d")
        until(page, "document.querySelector('[data-part=toast]').textContent.includes('no connection')")
        assert page.is_visible("[data-view=generated][aria-pressed=true]")

    def test_help_opens_and_blocks_the_label_keys(self, desk, project):
        fill(project, 3)
        page = desk()
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("1")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="hidden")
        page.keyboard.press("3")
        wait_saved(page)
        assert list(Annotation.objects.values_list("label", flat=True)) == [2]


def test_an_empty_queue_says_so_and_goes_on_by_itself(desk, project):
    page = desk(wait=False)
    page.wait_for_selector("text=Your first pictures are being made")
    fill(project, 1)
    page.wait_for_selector(".has-task")
    page.keyboard.press("1")
    page.wait_for_selector("text=All done for now")


def test_the_next_picture_is_painted_within_the_key_press_itself(desk, project):
    """Nothing is waited for between key and picture, however slow the server is: here it never answers."""
    fill(project, 30)
    page = desk()
    until(page, "picturesDecoded >= 12")  # of the one that is seen, and of five more
    page.route(API, lambda route: None)
    titles = page.evaluate(
        """() => ["1", "2", "3", "4"].map((key) => {
            performance.clearMarks("painted");
            dispatchEvent(new KeyboardEvent("keydown", { key, code: `Digit${key}`, bubbles: true }));
            const painted = performance.getEntriesByName("painted").length === 1;
            return painted && document.querySelector("[data-part=title]").textContent;
        })"""
    )
    assert all(titles) and len(set(titles)) == 4


SIZES = [
    {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
]


@pytest.mark.parametrize("context", SIZES, indirect=True, ids=["desktop, light", "phone, dark"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(desk, project):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    fill(project, 3)
    page = desk()
    found = axe.run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("[data-label-button='0']")
    page.wait_for_selector("text=1 saved")


def test_the_scripts_are_small(desk, project):
    """Everything that the page runs, ours and others', compressed; and no more of ours than half of it."""
    fill(project, 1)
    page = desk()
    urls = page.evaluate(
        "[...document.querySelectorAll('script[src], link[rel=modulepreload]')].map((one) => one.src || one.href)"
    )
    bodies = {url: page.request.get(url).body() for url in urls}
    lazy = (DESK / "own_keys.js").read_bytes()
    assert set(DESK_MODULES) | {"desk", "own_keys"} == {path.stem for path in DESK.glob("*.js")}
    own = [body for url, body in bodies.items() if "/annotation/desk/" in url]
    assert len(own) == len(DESK_MODULES) + 1
    assert sum(len(gzip.compress(body)) for body in [*bodies.values(), lazy]) < 60_000
    assert sum(len(gzip.compress(body)) for body in [*own, lazy]) < 30_000
