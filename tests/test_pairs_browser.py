"""The pair page in Chromium: keys, a connection that breaks, a reload, undo, touch, and what a screen reader finds."""

import gzip
import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from annotation.models import PairHandout, PairSlot, Preference, Project
from tests import pair_rows
from tests.in_browser import COUNTS_PICTURES, TOLD, have_pictures, until
from tests.test_desk_browser import eventually, wait_saved, wait_until_held

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
API = "**/api/v1/pairs/**"
ANSWERS = "**/api/v1/pairs/preferences"
STATIC = Path(__file__).parent.parent / "annotation" / "static" / "annotation"
KEYS = {"ArrowLeft": "left", "1": "left", "ArrowRight": "right", "2": "right", "ArrowDown": "tie", "t": "tie"}


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
def open_page(context, live_server):
    """Opens the page in a new tab; a script error fails the test."""
    errors = []

    def open_tab(wait=True):
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"{live_server.url}/pairs/")
        if wait:
            page.wait_for_selector(".has-task")
        return page

    yield open_tab
    assert errors == []


def choose(page, keys, n, patience_s=60):
    """Press n keys, each on a pair that is there; fewer if none comes for so long. Returns what was said."""
    said = []
    for _ in range(n):
        if not page.evaluate("document.querySelector('[data-desk]').classList.contains('has-task')"):
            try:
                page.wait_for_selector(".has-task", timeout=1000 * patience_s)
            except Exception:  # noqa: BLE001 - playwright's timeout: the queue is dry
                break
        key = next(keys)
        page.keyboard.press(key)
        said.append(KEYS[key])
    return said


def saved():
    """What the server holds, as its people saw it."""
    side = {(True, "first"): "left", (True, "second"): "right", (False, "first"): "right", (False, "second"): "left"}
    rows = Preference.objects.standing().order_by("created_at")
    return [side.get((row.first_was_left, row.choice), "tie") for row in rows]


def title(page):
    return page.inner_text("[data-part=title]")


def test_twenty_pairs_by_keys(open_page):
    pair_rows.pairs(20)
    page = open_page()
    said = choose(page, itertools.cycle(KEYS), 20)
    page.wait_for_selector("text=20 saved")
    assert len(said) == 20 and Counter(saved()) == Counter(said)
    page.wait_for_selector("text=All done for now")


def test_offline_and_a_reload_lose_nothing_and_double_nothing(open_page):
    pair_rows.pairs(30)
    page, keys = open_page(), itertools.cycle(KEYS)
    said = choose(page, keys, 6)
    page.wait_for_selector("text=6 saved")
    # The server takes these, but its answers are lost: they must be sent again, and count once.
    page.route(ANSWERS, lambda route: (route.fetch(), route.abort()))
    said += choose(page, keys, 2)
    page.wait_for_selector('[data-part=saving][data-state="offline"]')
    page.unroute(ANSWERS)
    have_pictures(page, tasks=PairSlot.objects.exclude(annotator=None).count, each=3)
    page.route(API, lambda route: route.abort())
    dark = choose(page, keys, 3)
    assert len(dark) == 3
    said += dark + choose(page, keys, 2, patience_s=5)
    page.reload()
    page.wait_for_selector('[data-part=saving][data-state="offline"]')
    page.unroute(API)
    while len(said) < 20:
        page.wait_for_selector(".has-task", timeout=60_000)
        said += choose(page, keys, 20 - len(said), patience_s=5)
    wait_saved(page)
    eventually(page, lambda: Preference.objects.count() == 20)
    assert Counter(saved()) == Counter(said)
    assert len(set(Preference.objects.values_list("pair", flat=True))) == 20


def test_an_answer_counts_as_saved_only_when_the_server_has_it(open_page):
    pair_rows.pairs(5)
    page, held = open_page(), []
    page.route(ANSWERS, lambda route: held.append(route))
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("text=0 saved, 1 sending")
    wait_until_held(page, held)
    held[0].continue_()
    page.wait_for_selector("text=1 saved")
    assert saved() == ["left"]


def test_what_is_on_the_left_is_what_the_server_calls_left(open_page):
    pair_rows.pairs(3)
    page = open_page()
    shown = page.evaluate("""async () => {
        const paint = (canvas) => [...canvas.getContext('2d').getImageData(0, 0, 8, 8).data].join();
        return [paint(document.querySelector('[data-part=left-picture]')), paint(document.querySelector('[data-part=right-picture]'))];
    }""")
    page.keyboard.down("c")
    swapped = page.evaluate("""() => [...document.querySelector('[data-part=left-picture]').getContext('2d').getImageData(0, 0, 8, 8).data].join()""")
    page.keyboard.press("1")  # which one would be meant now?
    page.keyboard.up("c")
    assert swapped == shown[1] != shown[0]
    page.keyboard.press("1")
    page.wait_for_selector("text=1 saved")
    row = Preference.objects.select_related("pair__first", "pair__second").get()
    chosen = row.pair.first if row.choice == "first" else row.pair.second
    pixels = page.evaluate("""async (url) => {
        const bitmap = await createImageBitmap(await (await fetch(url)).blob());
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
        context.drawImage(bitmap, 0, 0);
        return [...context.getImageData(0, 0, 8, 8).data].join();
    }""", f"/pictures/{chosen.image_sha256}")
    assert pixels == shown[0]


# Presses U while the page's storage is busy, and T in the moment that the pair of this title is back.
UNDOES_AND_ANSWERS = """title => new Promise((done) => {
    const press = (key) => dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const shown = document.querySelector("[data-part=title]");
    indexedDB.open("adproof-desk").onsuccess = ({ target: { result: database } }) => {
        const outbox = database.transaction("outbox", "readwrite").objectStore("outbox");
        const end = performance.now() + 300;
        const goOn = () => performance.now() < end && (outbox.count().onsuccess = goOn);
        goOn();
        new MutationObserver((_, observer) => {
            if (shown.textContent !== title) return;
            observer.disconnect();
            done(press("t"));
        }).observe(shown, { childList: true });
        press("u");
    };
})"""


class TestUndo:
    def test_of_a_saved_choice(self, open_page):
        pair_rows.pairs(4)
        page = open_page()
        before = title(page)
        page.keyboard.press("1")
        page.wait_for_selector("text=1 saved")
        page.evaluate(UNDOES_AND_ANSWERS, before)
        eventually(page, lambda: Preference.objects.count() == 2)
        assert saved() == ["tie"]

    def test_of_one_that_was_never_sent(self, open_page):
        pair_rows.pairs(4)
        page, held = open_page(), []
        page.route(ANSWERS, lambda route: held.append(route))
        page.keyboard.press("1")
        wait_until_held(page, held)  # on its way alone
        choose(page, iter("2"), 1)  # waits behind it
        page.wait_for_selector("text=2 sending")
        page.keyboard.press("z")
        page.wait_for_selector("text=1 sending")
        held[0].continue_()
        wait_saved(page)
        eventually(page, lambda: saved() == ["left"])
        assert Preference.objects.count() == 1

    def test_of_the_last_one_there_was_and_of_a_skip(self, open_page):
        pair_rows.pairs(1)
        page = open_page()
        before = title(page)
        for key in ("2", "s"):
            page.keyboard.press(key)
            page.wait_for_selector("text=All done for now")
            wait_saved(page)
            page.keyboard.press("u")
            page.wait_for_selector(".has-task")
            assert title(page) == before
        eventually(page, lambda: not PairHandout.objects.exclude(skipped_at=None).exists() and saved() == [])
        page.keyboard.press("2")
        eventually(page, lambda: saved() == ["right"])

    def test_after_a_reload(self, open_page):
        pair_rows.pairs(4)
        page = open_page()
        choose(page, iter(["1", "2"]), 2)
        page.wait_for_selector("text=2 saved")
        page.reload()
        page.wait_for_selector(".has-task")
        page.keyboard.press("u")
        eventually(page, lambda: saved() == ["left"])


def test_two_tabs_never_show_the_same_pair(open_page):
    pair_rows.pairs(24)
    tabs = [open_page(), open_page()]
    for key in ("1", "2", "t", "1"):
        for tab in tabs:
            tab.bring_to_front()
            assert choose(tab, iter([key]), 1)
    for tab in tabs:
        wait_saved(tab)
    eventually(tabs[0], lambda: Preference.objects.count() == 8)
    assert len(saved()) == 8


def test_leaving_gives_the_pairs_back(open_page):
    pair_rows.pairs(5)
    page = open_page()
    assert PairSlot.objects.exclude(annotator=None).count() == 5
    until(page, f"{TOLD} >= 2")
    page.goto("about:blank")
    eventually(page, lambda: not PairSlot.objects.exclude(annotator=None).exists())


def test_a_key_held_down_answers_once_and_the_mouse_leaves_no_trap(open_page):
    pair_rows.pairs(6)
    page = open_page()
    for _ in range(4):
        page.keyboard.down("2")
    page.keyboard.up("2")
    page.wait_for_selector("text=1 saved")
    page.wait_for_selector(".has-task")
    page.click("[data-choice=tie]")
    page.wait_for_selector(".has-task")
    page.keyboard.press(" ")  # skips; it must not press the button again
    eventually(page, lambda: PairHandout.objects.exclude(skipped_at=None).count() == 1)
    assert saved() == ["right", "tie"]


def test_help_opens_and_blocks_the_other_keys(open_page):
    pair_rows.pairs(3)
    page = open_page()
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    page.keyboard.press("2")
    page.wait_for_selector("text=1 saved")
    assert saved() == ["right"]


def test_no_pairs_yet_and_a_paused_project_say_so(open_page):
    page = open_page(wait=False)
    page.wait_for_selector("text=There are no pairs yet")
    pair_rows.pairs(1)
    Project.objects.update(is_paused=True)
    page.reload()
    page.wait_for_selector("text=This project is paused")


def test_the_next_pair_is_painted_within_the_key_press_itself(open_page):
    """Nothing is waited for between key and picture, however slow the server is: here it never answers."""
    pair_rows.pairs(20)
    page = open_page()
    until(page, "picturesDecoded >= 18")  # of the pair that is seen, and of five more
    page.route(API, lambda route: None)
    titles = page.evaluate(
        """() => ["1", "2", "3", "1"].map((key) => {
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
def test_axe_finds_nothing_serious_and_both_pictures_are_in_sight(open_page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    pair_rows.pairs(3)
    page = open_page()
    found = axe.run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    size = page.viewport_size
    for name in ("left-picture", "right-picture"):
        box = page.locator(f"[data-part={name}]").bounding_box()
        assert box["width"] >= 240 and box["width"] == pytest.approx(box["height"], abs=1)
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
        assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
    page.click("[data-do=right].pair-picture")
    page.wait_for_selector("text=1 saved")
    assert saved() == ["right"]


def test_the_scripts_are_small():
    own = sum(len(gzip.compress(path.read_bytes())) for path in (STATIC / "pairs").glob("*.js"))
    assert own < 8_000


class TestResultsPage:
    @pytest.fixture
    def alice(self):
        return User.objects.create_user("alice", password="a-long-password", role="manager")

    @pytest.mark.parametrize("context", SIZES, indirect=True, ids=["desktop, light", "phone, dark"])
    def test_is_drawn_can_be_read_by_keys_and_axe_finds_nothing_serious(self, context, live_server):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        from tests.test_pairs_results import filled

        project = Project.objects.create(name="taste")
        filled(project)
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"{live_server.url}/projects/{project.pk}/pairs/")
        canvas = page.wait_for_selector("[data-plot=interval] canvas")
        assert canvas.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].some(Boolean)")
        canvas.focus()
        page.keyboard.press("ArrowDown")
        until(page, "document.querySelector('[data-plot=interval] [aria-live]').textContent.startsWith('after: Strength 0.')")
        page.click("button[value=preview]")
        page.wait_for_selector("#plan")
        found = axe.run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert errors == []
