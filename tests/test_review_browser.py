"""The review and the grid in Chromium: keys, a broken connection, sending back, marking the odd ones out."""

import itertools
import os
import shutil
import uuid

import pytest
from django.test import Client

from accounts.models import User
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Annotation, Consensus, Decision, Project, SentBack
from tests import build
from tests.in_browser import click_twice, eventually, until

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
SENDING = "**/api/v1/review/decisions"
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
SIZES = [
    {**DESKTOP, "color_scheme": "light"},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
]


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
def people():
    roles = {"alice": "annotator", "bob": "annotator", "rita": "reviewer"}
    return {name: User.objects.create_user(name, password="a-long-password", role=role) for name, role in roles.items()}


@pytest.fixture
def project():
    return Project.objects.create(name="First pictures", overlap=2)


def judged(project, people, n, labels=(0, 3)):
    """n candidates that Alice and Bob have labelled, one label each."""
    rows = build.candidates(n)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(rows)])
    for name, label in zip(("alice", "bob"), labels, strict=False):
        while slots := lease(people[name], project, 50):
            save_annotations(people[name], [Answer(uuid.uuid4(), slot.task_id, label, 2.0) for slot in slots])
    return rows


@pytest.fixture
def page(browser, live_server, people, request):
    client = Client()
    client.force_login(people["rita"])
    context = browser.new_context(**getattr(request, "param", DESKTOP))
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    context.set_default_timeout(60_000)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.client = client
    page.base = live_server.url
    yield page
    context.close()
    assert errors == []


def open_review(page, row, query=""):
    page.goto(f"{page.base}/review/{row.pk}/{query}")
    page.wait_for_load_state("networkidle")


def shown(page):
    return page.get_attribute("[data-review]", "data-candidate")


LEAST_LOOK_MS = 350  # what comes sooner is the second half of a double click


def press_and_move_on(page, key):
    before = shown(page)
    page.wait_for_timeout(LEAST_LOOK_MS)
    page.keyboard.press(key)
    until(page, "before => document.querySelector('[data-review]').dataset.candidate !== before", arg=before)


def connect_again(page):
    """The page tries again by itself, too, and then the button is gone: it may be so before it is pressed."""
    page.wait_for_selector("text=Try again now")
    page.unroute(SENDING)
    page.dispatch_event("text=Try again now", "click")


class TestReview:
    def test_five_by_keys(self, page, project, people):
        rows = judged(project, people, 5)
        page.goto(f"{page.base}/review/")
        page.click("text=Start reviewing")
        page.wait_for_load_state("networkidle")
        for key in "1234c":
            press_and_move_on(page, key)
        page.wait_for_selector("text=That was the last one")
        page.wait_for_selector("text=5 saved")
        wanted = [("changed", 0), ("changed", 1), ("changed", 2), ("confirmed", 3), ("confirmed", 3)]
        assert list(Decision.objects.order_by("created_at").values_list("action", "label")) == wanted
        assert list(Decision.objects.order_by("created_at").values_list("candidate", flat=True)) == [r.pk for r in rows]
        assert Consensus.objects.filter(method="review").count() == 5

    def test_the_next_is_there_while_the_server_has_not_answered(self, page, project, people):
        rows = judged(project, people, 3)
        open_review(page, rows[0])
        held = []
        page.route(SENDING, lambda route: held.append(route))
        press_and_move_on(page, "1")
        assert shown(page) == str(rows[1].pk) and not Decision.objects.exists()
        eventually(page, lambda: held)
        held[0].continue_()
        page.wait_for_selector("text=1 saved")

    def test_a_lost_connection_and_a_reload_lose_and_double_nothing(self, page, project, people):
        rows = judged(project, people, 4)
        open_review(page, rows[0])
        # The server does it, but its answer is lost.
        page.route(SENDING, lambda route: (route.fetch(), route.abort()))
        press_and_move_on(page, "1")
        page.wait_for_selector("[data-part=saving][data-state=offline]")
        page.route(SENDING, lambda route: route.abort())  # goes before the other one: between the two nothing gets through
        press_and_move_on(page, "2")
        page.wait_for_selector("text=2 waiting: no connection")
        page.reload()
        connect_again(page)
        page.wait_for_selector("text=2 saved")
        assert list(Decision.objects.order_by("created_at").values_list("label", flat=True)) == [0, 1]

    def test_a_page_that_can_not_be_loaded_says_so(self, page, project, people):
        rows = judged(project, people, 3)
        page.route(f"**/review/{rows[1].pk}/**", lambda route: route.abort())
        open_review(page, rows[0])
        page.keyboard.press("1")
        page.wait_for_selector("text=can't be loaded")
        page.wait_for_selector("text=1 saved")
        page.unroute(f"**/review/{rows[1].pk}/**")
        page.click(".toast >> text=Try again")
        page.wait_for_selector(f"[data-candidate='{rows[1].pk}']")

    def test_sending_back_reaches_the_annotator(self, page, project, people):
        rows = judged(project, people, 2)
        open_review(page, rows[0])
        page.keyboard.press("b")
        page.wait_for_selector("dialog[open]")
        assert page.is_checked(f"input[value='{people['alice'].pk}']")
        assert not page.is_checked(f"input[value='{people['bob'].pk}']")
        page.keyboard.type("mind 1 or 2 shadows")  # digits in a comment decide nothing
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("text=1 saved")
        back = SentBack.objects.get()
        assert (back.annotator.username, back.comment) == ("alice", "mind 1 or 2 shadows")
        alice = Client()
        alice.force_login(people["alice"])
        body = {"project": project.pk, "count": 5}
        tasks = alice.post("/api/v1/desk/lease", body, content_type="application/json").json()["tasks"]
        assert [row["task"] for row in tasks] == [back.task_id]
        eventually(page, lambda: shown(page) == str(rows[1].pk))

    def test_undo_goes_back_and_withdraws(self, page, project, people):
        rows = judged(project, people, 3)
        open_review(page, rows[0])
        press_and_move_on(page, "2")
        page.keyboard.press("u")
        page.wait_for_selector(f"[data-review][data-candidate='{rows[0].pk}']")
        eventually(page, lambda: Decision.objects.count() == 2)
        assert list(Decision.objects.order_by("created_at").values_list("action", flat=True)) == ["changed", "withdrawn"]
        assert Consensus.objects.get(candidate=rows[0]).method == "majority"

    def test_a_double_click_and_a_key_held_down_decide_once(self, page, project, people):
        rows = judged(project, people, 4)
        open_review(page, rows[0])
        click_twice(page, "[data-decide='1']", "[data-review]")
        page.wait_for_selector("text=1 saved")
        assert shown(page) == str(rows[1].pk)
        page.wait_for_timeout(LEAST_LOOK_MS)
        for _ in range(5):
            page.keyboard.down("2")  # again and again without letting go: repeats
        page.wait_for_selector("text=2 saved")
        eventually(page, lambda: shown(page) == str(rows[2].pk))
        page.wait_for_timeout(LEAST_LOOK_MS)
        assert Decision.objects.count() == 2 and shown(page) == str(rows[2].pk)

    def test_what_another_reviewer_decided_meanwhile_is_not_overwritten(self, page, project, people):
        from annotation.review import decide

        rows = judged(project, people, 3)
        open_review(page, rows[0])
        decide(User.objects.create_user("max", role="manager"), uuid.uuid4(), rows[0].pk, "changed", 4)
        press_and_move_on(page, "1")
        page.wait_for_selector("text=Somebody answered or decided since you looked")
        assert Consensus.objects.get(candidate=rows[0]).label == 4
        page.keyboard.press("u")  # nothing of one's own stands: Max's decision is not taken back either
        page.wait_for_selector("text=you made none before it")
        assert Decision.objects.count() == 1

    def test_an_open_page_hears_of_what_others_did(self, page, project, people):
        from annotation.review import decide

        rows = judged(project, people, 2)
        page.clock.install()
        open_review(page, rows[0])
        decide(User.objects.create_user("max", role="manager"), uuid.uuid4(), rows[0].pk, "changed", 4)
        page.clock.fast_forward(61_000)
        page.click(".toast >> text=Look again")
        page.wait_for_selector("[data-review][data-decided='1'] >> text=Decided by a reviewer")

    def test_zoom_by_keys_and_wheel_and_the_list_of_keys(self, page, project, people):
        rows = judged(project, people, 2)
        open_review(page, rows[0])
        page.keyboard.press("+")
        page.wait_for_selector(".review-picture.is-zoomed >> text=Whole picture")
        placed = page.get_attribute("[data-part=zoomed]", "style")
        page.keyboard.press("ArrowDown")
        assert page.get_attribute("[data-part=zoomed]", "style") != placed
        page.keyboard.press("0")
        assert not page.locator(".is-zoomed").count() and not page.is_visible("text=Whole picture")
        page.hover("[data-part=frame]")
        page.mouse.wheel(0, -300)
        page.wait_for_selector(".is-zoomed")
        press_and_move_on(page, "1")
        assert not page.locator(".is-zoomed").count()  # the next one is whole again
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open] >> text=Confirm the consensus")
        page.keyboard.press("2")  # behind the list nothing is decided
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="hidden")
        assert shown(page) == str(rows[1].pk)
        press_and_move_on(page, "5")
        page.wait_for_selector("text=2 saved")
        assert set(Decision.objects.values_list("candidate", "label")) == {(rows[0].pk, 0), (rows[1].pk, 4)}

    @pytest.mark.parametrize("page", SIZES[1:], indirect=True, ids=["phone"])
    def test_on_a_phone_the_labels_are_in_reach_without_scrolling(self, page, project, people):
        rows = judged(project, people, 2)
        open_review(page, rows[0])
        boxes = [button.bounding_box() for button in page.locator("[data-decide]").all()]
        assert len(boxes) == 5 and max(box["y"] + box["height"] for box in boxes) <= 844
        page.locator("[data-decide='2']").tap()
        page.wait_for_selector("text=1 saved")
        assert Decision.objects.get().label == 2

    def test_a_decided_one_is_withdrawn_in_its_place(self, page, project, people):
        rows = judged(project, people, 2)
        open_review(page, rows[0])
        press_and_move_on(page, "5")
        page.wait_for_selector("text=1 saved")
        open_review(page, rows[0])
        page.wait_for_timeout(LEAST_LOOK_MS)
        page.click("text=Withdraw")
        page.wait_for_selector("[data-review][data-decided='0']")
        assert Consensus.objects.get(candidate=rows[0]).label == 3

    def test_what_is_refused_is_said_and_stays_on_the_page(self, page, project, people):
        rows = judged(project, people, 2)
        open_review(page, rows[0])
        Annotation.objects.filter(annotator=people["alice"], candidate=rows[0]).update(annotator=people["rita"])
        press_and_move_on(page, "1")
        page.wait_for_selector("text=labelled this candidate yourself")
        assert not Decision.objects.exists()

    def test_views_by_keys(self, page, project, people):
        rows = judged(project, people, 1)
        open_review(page, rows[0])
        for key, view, sha in (("d", "depth", rows[0].depth_sha256), ("a", "saliency", rows[0].saliency_sha256)):
            page.keyboard.press(key)
            page.wait_for_selector(f"[data-view={view}][aria-pressed=true]")
            assert sha in page.get_attribute("[data-part=picture]", "src")
        page.keyboard.press("a")
        page.wait_for_selector("[data-view=generated][aria-pressed=true]")


@pytest.fixture
def grid(page, project, people):
    """Rita's grid of 30 candidates that Alice calls available; opened on its first page."""

    def open_grid(n=30):
        rows = judged(project, people, n, labels=(0,))
        page.goto(f"{page.base}/grid/")
        page.select_option("[name=label]", "0")
        page.click("text=Open the grid")
        page.wait_for_selector("[data-cell]")
        page.wait_for_load_state("load")  # its script has begun
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(800)  # a page that nobody can have looked at yet is not confirmed
        return rows

    return open_grid


def cell(page, number):
    return page.locator("[data-cell]").nth(number)


class TestGrid:
    def test_two_odd_ones_and_the_rest(self, page, grid):
        rows = grid()
        page.get_by_text("Size mismatch").last.click()
        cell(page, 3).click()
        assert cell(page, 3).get_attribute("aria-pressed") == "true"
        cell(page, 5).focus()
        page.keyboard.press("5")
        odd = [int(cell(page, number).get_attribute("data-candidate")) for number in (3, 5)]
        first_page = [int(c.get_attribute("data-candidate")) for c in page.locator("[data-cell]").all()]
        page.click("text=Save 2 and confirm the rest (22)")
        page.wait_for_selector("text=Page 2 of 2")
        page.wait_for_selector("text=24 saved")
        labels = dict(Decision.objects.values_list("candidate", "label"))
        assert set(labels) == set(first_page) and {pk for pk in labels if labels[pk]} == set(odd)
        assert [labels[pk] for pk in odd] == [2, 4]
        assert set(Decision.objects.values_list("made_in", "action")) == {("grid", "changed"), ("grid", "confirmed")}
        page.wait_for_timeout(800)
        page.keyboard.press("c")
        page.wait_for_selector("text=That was the last page")
        page.wait_for_selector("text=30 saved")
        assert Consensus.objects.filter(method="review").count() == len(rows)

    def test_arrows_walk_with_one_tab_stop_and_x_leaves_out(self, page, grid):
        grid(24)
        cell(page, 0).focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        columns = page.evaluate(
            "getComputedStyle(document.querySelector('.grid-cells')).gridTemplateColumns.split(' ').length"
        )
        here = page.evaluate("[...document.querySelectorAll('[data-cell]')].indexOf(document.activeElement)")
        assert here == 1 + columns
        assert page.locator("[data-cell][tabindex='0']").count() == 1
        page.keyboard.press("x")
        assert "left out" in page.inner_text("[data-part=announce]")
        left = int(cell(page, here).get_attribute("data-candidate"))
        page.keyboard.press("c")
        page.wait_for_selector("text=23 saved")
        assert not Decision.objects.filter(candidate=left).exists()

    def test_pressing_twice_takes_the_mark_back(self, page, grid):
        grid(4)
        for wanted in ("true", "false"):
            cell(page, 0).click()
            assert cell(page, 0).get_attribute("aria-pressed") == wanted

    def test_news_are_not_overwritten(self, page, grid, people):
        rows = grid(6)
        boss = User.objects.create_user("max", role="manager")
        from annotation.review import decide

        decide(boss, uuid.uuid4(), rows[0].pk, "changed", 4)  # after the page was opened
        page.keyboard.press("c")
        page.wait_for_selector("text=was not decided")
        page.wait_for_selector("text=5 saved")
        assert Consensus.objects.get(candidate=rows[0]).label == 4
        page.goto(page.url)
        page.wait_for_selector(f"[data-cell][data-candidate='{rows[0].pk}'][data-mark=x] >> text=changed since")

    def test_a_double_click_confirms_one_page(self, page, grid):
        grid(30)
        click_twice(page, "[data-do=confirm]", "[data-grid]")
        page.wait_for_selector("text=Page 2 of 2")
        page.wait_for_selector("text=24 saved")
        page.wait_for_timeout(500)
        assert page.is_visible("text=Page 2 of 2") and Decision.objects.count() == 24

    def test_a_page_is_undone(self, page, grid):
        from annotation.review import decide

        rows = grid(26)
        odd = int(cell(page, 0).get_attribute("data-candidate"))
        cell(page, 0).focus()
        page.keyboard.press("4")
        theirs = int(cell(page, 1).get_attribute("data-candidate"))
        decide(User.objects.create_user("max", role="manager"), uuid.uuid4(), theirs, "changed", 2)
        page.keyboard.press("c")
        page.wait_for_selector("text=23 saved")
        page.wait_for_selector("text=Page 2 of 2")
        page.keyboard.press("u")
        page.wait_for_selector("text=23 decisions were withdrawn")
        assert page.is_visible("text=Page 1 of 2")
        assert set(Consensus.objects.filter(method="review").values_list("candidate", "label")) == {(theirs, 2)}
        assert Consensus.objects.get(candidate=odd).label == 0 and len(rows) == 26

    def test_a_closer_look_marks_and_walks(self, page, grid):
        grid(6)
        cell(page, 1).focus()
        page.keyboard.press("z")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("5")
        assert page.inner_text("[data-part=closer-words]") == "Shape hallucination"
        page.keyboard.press("c")  # behind it nothing is confirmed
        page.keyboard.press("z")
        page.wait_for_selector("dialog:not([open])", state="attached")
        assert page.evaluate("[...document.querySelectorAll('[data-cell]')].indexOf(document.activeElement)") == 2
        assert cell(page, 2).get_attribute("aria-pressed") == "true" and not Decision.objects.exists()
        for closing in (lambda: page.keyboard.press("Escape"), lambda: page.click("dialog >> text=Close")):
            page.keyboard.press("z")
            page.keyboard.press("ArrowRight")
            closing()
            page.keyboard.press("4")  # not a moment later
        marked = [cell(page, number).get_attribute("data-mark") for number in range(6)]
        assert marked == ["", "", "4", "3", "3", ""]

    def test_dark_connection(self, page, grid):
        grid(30)
        page.route(SENDING, lambda route: route.abort())
        page.keyboard.press("c")
        page.wait_for_selector("text=24 waiting")
        page.reload()  # still without a connection: the page that goes would send some of them, and the next one count fewer
        connect_again(page)
        page.wait_for_selector("text=24 saved")
        assert Decision.objects.count() == 24

    @pytest.mark.parametrize("page", SIZES[1:], indirect=True, ids=["phone"])
    def test_by_touch(self, page, grid):
        grid(6)
        page.get_by_text("Space mismatch").last.tap()
        cell(page, 2).tap()
        odd = int(cell(page, 2).get_attribute("data-candidate"))
        page.locator("[data-do=confirm]").tap()
        page.wait_for_selector("text=6 saved")
        assert Decision.objects.get(action="changed").candidate_id == odd


@pytest.mark.parametrize("page", SIZES, indirect=True, ids=["desktop, light", "phone, dark"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(page, project, people, grid):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    rows = judged(project, people, 3)
    Annotation.objects.filter(annotator=people["alice"]).update(details={"marker": [0.2, 0.7], "secondary": [1]})
    from annotation.review import decide

    decide(User.objects.create_user("max", role="manager"), uuid.uuid4(), rows[2].pk, "changed", 4, comment="floats")
    page.client.post("/grid/", {})
    from annotation.models import Snapshot

    urls = itertools.chain(
        ["/review/", "/review/?decided=1", "/review/?label=4", f"/review/{rows[0].pk}/", f"/review/{rows[2].pk}/"],
        ["/review/history/", "/grid/", f"/grid/{Snapshot.objects.get().pk}/"],
    )
    for url in urls:
        page.goto(f"{page.base}{url}")
        page.wait_for_load_state("networkidle")
        if page.locator("[data-look]").count():
            page.locator("[data-look]").first.click(force=True)
        elif page.locator("[data-do=help]").count():
            page.keyboard.press("?")
        found = axe.run(page).response["violations"]
        if page.locator("dialog[open]").count():
            page.keyboard.press("Escape")
            found += axe.run(page).response["violations"]
        assert [(url, r["id"], r["nodes"][0]["target"]) for r in found if r["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), url
        if os.environ.get("SHOTS"):
            name = url.strip("/").replace("/", "-").replace("?", "-")
            page.screenshot(path=f"{os.environ['SHOTS']}/{name}-{page.viewport_size['width']}.png", full_page=True)
