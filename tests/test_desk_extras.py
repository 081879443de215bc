"""What the desk shows and takes beside the label: details, RFNet's verdict, a reviewer's words, guidelines, own figures."""

import pytest

from accounts.models import User
from annotation import review
from annotation.models import Annotation, Project
from rfnet_service.models import Checkpoint, Verdict
from tests.in_browser import until
from tests.test_desk_browser import (  # noqa: F401 - fixtures
    CHROMIUM,
    SIZES,
    alice,
    browser,
    context,
    desk,
    eventually,
    fill,
    label,
    project,
    standing,
    wait_saved,
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
PROBS = [0.05, 0.62, 0.13, 0.1, 0.1]


def ask(project, **values):  # noqa: F811
    Project.objects.filter(pk=project.pk).update(**values)


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def saved(page, n):
    page.wait_for_selector(f"text={n} saved")
    return list(Annotation.objects.order_by("created_at"))


def at(page, x, y):
    """A point of the picture, given as shares of it, on the page."""
    box = page.locator("[data-part=canvas]").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


class TestDetails:
    @pytest.fixture(autouse=True)
    def asked(self, project):  # noqa: F811
        ask(project, asks_details=True)
        fill(project, 8)

    def test_one_key_still_labels(self, desk):  # noqa: F811
        page = desk()
        press(page, "2")
        [answer] = saved(page, 1)
        assert (answer.label, answer.details) == (1, {})

    def test_other_defects_by_shift_or_by_button_and_a_marker_by_click(self, desk):  # noqa: F811
        page = desk()
        press(page, "Shift+Digit3")
        page.click("[data-also='4']")
        page.click("[data-also='1']")
        page.click("[data-also='1']")  # taken away again
        page.mouse.click(*at(page, 0.25, 0.75))
        press(page, "2")
        [answer] = saved(page, 1)
        assert answer.label == 1 and answer.details["secondary"] == [2, 4]
        assert answer.details["marker"] == pytest.approx([0.25, 0.75], abs=0.01)
        # Nothing of it is left for the next picture.
        assert page.locator("[data-also][aria-pressed=true]").count() == 0
        assert page.is_hidden("[data-part=marker]")
        press(page, "1")
        assert saved(page, 2)[1].details == {}

    def test_the_label_itself_is_no_further_defect(self, desk):  # noqa: F811
        page = desk()
        press(page, "Shift+Digit2", "2")
        [answer] = saved(page, 1)
        assert (answer.label, answer.details) == (1, {})

    def test_available_can_not_be_a_defect(self, desk):  # noqa: F811
        page = desk()
        press(page, "Shift+Digit1", "1")
        wait_saved(page)
        [answer] = saved(page, 1)
        assert (answer.label, answer.details) == (0, {})

    def test_the_marker_keeps_its_place_when_zoomed_and_goes_by_a_second_click(self, desk):  # noqa: F811
        page = desk()
        page.mouse.move(*at(page, 0.8, 0.2))
        page.mouse.wheel(0, -400)
        until(page, "document.querySelector('[data-part=zoom]').textContent !== '100%'")
        page.mouse.click(*at(page, 0.8, 0.2))
        press(page, "0")
        marker = page.locator("[data-part=marker]").bounding_box()
        middle = (marker["x"] + marker["width"] / 2, marker["y"] + marker["height"] / 2)
        assert middle == pytest.approx(at(page, 0.8, 0.2), abs=2)
        page.mouse.click(*middle)
        assert page.is_hidden("[data-part=marker]")
        page.mouse.click(*at(page, 0.8, 0.2))
        page.wait_for_timeout(600)  # not a double click
        press(page, "5")
        [answer] = saved(page, 1)
        assert answer.details["marker"] == pytest.approx([0.8, 0.2], abs=0.01)

    def test_a_double_click_zooms_and_leaves_the_marker(self, desk):  # noqa: F811
        page = desk()
        page.mouse.click(*at(page, 0.3, 0.3))
        page.wait_for_timeout(600)
        page.mouse.dblclick(*at(page, 0.7, 0.7))
        press(page, "3")
        [answer] = saved(page, 1)
        assert answer.details["marker"] == pytest.approx([0.3, 0.3], abs=0.01)

    def test_dragging_marks_nothing(self, desk):  # noqa: F811
        page = desk()
        press(page, "+", "+")
        page.mouse.move(*at(page, 0.5, 0.5))
        page.mouse.down()
        page.mouse.move(*at(page, 0.4, 0.4), steps=4)
        page.mouse.up()
        assert page.is_hidden("[data-part=marker]")

    def test_undo_brings_them_back(self, desk):  # noqa: F811
        page = desk()
        press(page, "Shift+Digit3")
        page.mouse.click(*at(page, 0.5, 0.5))
        press(page, "2")
        saved(page, 1)
        page.reload()
        page.wait_for_selector(".has-task")
        press(page, "u")
        page.wait_for_selector("[data-also='2'][aria-pressed=true]")
        assert page.is_visible("[data-part=marker]")
        press(page, "5")
        eventually(page, lambda: standing() == 1 and Annotation.objects.count() == 2)
        again = Annotation.objects.standing().get()
        assert again.label == 4 and again.details == {"secondary": [2], "marker": [0.5, 0.5]}


def test_a_project_that_does_not_ask_shows_nothing_of_it(desk, project):  # noqa: F811
    fill(project, 3)
    page = desk()
    assert page.locator("[data-also]:visible").count() == 0
    page.mouse.click(*at(page, 0.5, 0.5))
    assert page.is_hidden("[data-part=marker]")
    press(page, "Shift+Digit2")  # Shift says nothing here: some keyboards want it for digits
    assert saved(page, 1)[0].label == 1


class TestVerdict:
    @pytest.fixture(autouse=True)
    def verdict(self, project):  # noqa: F811
        fill(project, 3)
        made = Checkpoint.objects.create(name="rfnet", folder="x", sha256="0" * 64, is_promoted=True)
        candidate = project.tasks.order_by("id").first().candidate
        Verdict.objects.create(candidate=candidate, checkpoint=made, probs=PROBS, label=1, p_available=0.1, margin=0.5)
        return made

    def test_hidden_unless_the_project_assists(self, desk):  # noqa: F811
        page = desk()
        assert page.locator("[data-verdict]:visible").count() == 0
        press(page, "1")
        assert saved(page, 1)[0].shown["verdict"] is None

    def test_shown_beside_the_labels_and_kept_with_the_answer(self, desk, project, verdict):  # noqa: F811
        ask(project, assists=True)
        page = desk()
        told = [" ".join(text.split()) for text in page.locator("[data-verdict]:visible").all_inner_texts()]
        assert told == ["RFNet: 5%", "RFNet: 62%", "RFNet: 13%", "RFNet: 10%", "RFNet: 10%"]
        assert page.is_visible("text=What RFNet thinks, in percent")
        press(page, "2")
        # The second picture has no verdict: none is shown, and none is said to have been.
        page.wait_for_selector("[data-desk]:not(.has-verdict)")
        assert page.locator("[data-verdict]:visible").count() == 0
        press(page, "1")
        first, second = saved(page, 2)
        assert first.shown["verdict"] == {"checkpoint": verdict.pk, "label": 1, "probs": PROBS}
        assert second.shown["verdict"] is None


def test_what_a_reviewer_sent_back_comes_with_their_words(desk, project):  # noqa: F811
    import uuid

    # So many that the desk asks for no more now: what it was given while it is left would be in its name, and come last.
    fill(project, 12)
    page = desk()
    press(page, "1")
    [answer] = saved(page, 1)
    assert page.is_hidden("[data-part=sent-back]")
    rita = User.objects.create_user("rita", role="reviewer")
    review.decide(
        rita, id=uuid.uuid4(), candidate_id=answer.candidate_id, action="sent_back", comment="Look at <b>its</b> foot.",
        annotators=[answer.annotator_id],
    )  # fmt: skip
    page.reload()
    page.wait_for_selector("text=A reviewer asks you to look again: Look at <b>its</b> foot.")
    press(page, "2")
    assert page.is_hidden("[data-part=sent-back]")
    eventually(page, lambda: list(Annotation.objects.standing().values_list("label", flat=True)) == [1])


class TestGuidelines:
    def test_a_new_version_is_told_once_and_goes_with_the_answers(self, desk, project):  # noqa: F811
        fill(project, 30)
        page = desk()
        page.wait_for_selector("text=New here?")
        page.click("text=I have read it")
        assert page.is_hidden("[data-part=guidelines-news]")
        page.reload()
        page.wait_for_selector(".has-task")
        assert page.is_hidden("[data-part=guidelines-news]")
        press(page, "1")
        saved(page, 1)
        ask(project, guidelines_version=2)
        for n in range(2, 9):  # until the desk takes more tasks and hears of it
            page.wait_for_selector(".has-task")
            press(page, "1")
            page.wait_for_selector(f"text={n} saved")
        page.wait_for_selector("text=The guidelines have changed.")
        for n in (9, 10):  # the first of these may have been on the screen before the desk heard of it
            page.wait_for_selector(".has-task")
            press(page, "1")
            answers = saved(page, n)
        versions = [answer.guidelines_version for answer in answers]
        assert versions == sorted(versions) and (versions[0], versions[-1]) == (1, 2)
        other = desk()  # a second tab of the same person
        other.wait_for_selector("text=The guidelines have changed.")
        page.click("text=I have read it")
        other.wait_for_selector("[data-part=guidelines-news]", state="hidden")

    def test_each_person_reads_for_themselves(self, desk, project, context, live_server):  # noqa: F811
        from django.test import Client

        fill(project, 3)
        page = desk()
        page.click("text=I have read it")
        bob = Client()
        bob.force_login(User.objects.create_user("bob", password="a-long-password"))
        context.add_cookies(
            [{"name": "sessionid", "value": bob.cookies["sessionid"].value, "url": live_server.url}]
        )
        page.reload()
        page.wait_for_selector("text=New here?")


def test_own_figures_come_when_there_are_enough(desk, project):  # noqa: F811
    fill(project, 3)
    page = desk()
    until(page, "performance.getEntriesByType('resource').some(({ name }) => name.includes('/desk/me?'))")
    assert page.is_hidden("[data-part=agreement-box]") and page.is_hidden("[data-part=known-box]")
    told = {"done_today": 0, "median_seconds": 4.25, "agreement": {"share": 0.9, "of": 50}, "known": None}
    page.route("**/api/v1/desk/me?*", lambda route: route.fulfill(json=told))
    page.reload()
    page.wait_for_selector("[data-part=agreement]:has-text('90%')")
    assert page.inner_text("[data-part=pace]") in ("4.3 s", "4.2 s")
    assert page.is_hidden("[data-part=known-box]")


@pytest.mark.parametrize("context", SIZES, indirect=True, ids=["desktop, light", "phone, dark"])
def test_axe_finds_nothing_serious_in_any_state(desk, project, context):  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    ask(project, asks_details=True, assists=True)
    fill(project, 3)
    made = Checkpoint.objects.create(name="rfnet", folder="x", sha256="0" * 64, is_promoted=True)
    for task in project.tasks.all():
        Verdict.objects.create(
            candidate=task.candidate, checkpoint=made, probs=PROBS, label=1, p_available=0.1, margin=0.5
        )

    def commented(route):
        answer = route.fetch()
        tasks = answer.json()
        for task in tasks["tasks"]:
            task["comment"] = "Look at its foot."
        route.fulfill(response=answer, json=tasks)

    context.route("**/api/v1/desk/lease", commented)
    page = desk()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for state in ("banner", "marked", "help", "keys"):
            if state == "marked" and scheme == "light":
                page.click("[data-also='2']")
                page.locator("[data-part=canvas]").click()
            if state in ("help", "keys"):
                page.evaluate("name => document.querySelector(`[data-do=${name}]`).click()", state)
                page.wait_for_selector("dialog[open]")
            found = axe.run(page).response["violations"]
            serious = [(state, scheme, rule["id"]) for rule in found if rule["impact"] in ("serious", "critical")]
            assert serious == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            if page.locator("dialog[open]").count():
                page.keyboard.press("Escape")
