"""Keys of one's own at the desk, on any keyboard; and the picture: zoom, panning, comparing, by mouse, keys and touch."""

import pytest

from annotation.models import Annotation, DeskSettings, Skip
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
from tests.test_desk_extras import at

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
PHONE = {"viewport": {"width": 390, "height": 664}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def choose(page, action, key):
    page.click(f"[data-action='{action}'] button")
    page.keyboard.press(key)


def open_keys(page):
    page.keyboard.press("?")
    page.click("text=Change keys")
    page.wait_for_selector("[data-part=own-keys][open]")


class TestOwnKeys:
    def test_they_are_chosen_by_pressing_them_and_hold_at_once_and_later(self, desk, project, alice):  # noqa: F811
        fill(project, 6)
        page = desk()
        open_keys(page)
        choose(page, "label-0", "q")
        choose(page, "skip", "1")
        page.click("[data-part=keys-save]")
        page.wait_for_selector("[data-part=keys-said]:has-text('Saved')")
        page.keyboard.press("Escape")
        assert DeskSettings.objects.get(user=alice).keys == {"label-0": "q", "skip": "1"}
        button = page.locator("[data-label-button='0']")
        assert button.locator("kbd").inner_text() == "Q"
        assert button.get_attribute("aria-keyshortcuts") == "Q"
        assert page.locator("[data-do=skip]").get_attribute("aria-keyshortcuts") == "1"
        page.keyboard.press("q")
        page.wait_for_selector("text=1 saved")
        page.reload()
        page.wait_for_selector(".has-task")
        page.keyboard.press("1")
        eventually(page, lambda: Skip.objects.count() == 1)
        assert list(Annotation.objects.values_list("label", flat=True)) == [0]
        page.keyboard.press("?")
        assert page.locator("[data-part=help] kbd").first.inner_text() == "Q"

    def test_a_bad_choice_is_explained_at_its_action_and_nothing_changes(self, desk, project):  # noqa: F811
        fill(project, 3)
        page = desk()
        open_keys(page)
        choose(page, "skip", "u")
        choose(page, "flag", "F5")
        page.click("[data-part=keys-save]")
        page.wait_for_selector("[data-action='skip'] .error-text:has-text('U is the key of Undo as well')")
        page.wait_for_selector("[data-action='undo'] .error-text:has-text('U is the key of Skip as well')")
        page.wait_for_selector("[data-action='flag'] .error-text:has-text('belongs to the browser')")
        assert not DeskSettings.objects.exists()
        page.click("text=Usual keys")
        page.wait_for_selector("[data-part=keys-said]:has-text('Saved')")
        assert page.inner_text("[data-action='skip'] button") == "S"
        assert page.locator(".error-text:visible").count() == 0

    def test_escape_ends_the_waiting_first_and_no_key_labels_meanwhile(self, desk, project):  # noqa: F811
        fill(project, 3)
        page = desk()
        open_keys(page)
        page.click("[data-action='skip'] button")
        page.keyboard.press("Escape")
        assert page.is_visible("[data-part=own-keys]")
        page.keyboard.press("2")
        page.keyboard.press("Escape")
        page.wait_for_selector("[data-part=own-keys]", state="hidden")
        page.keyboard.press("3")
        wait_saved(page)
        assert list(Annotation.objects.values_list("label", flat=True)) == [2]

    @pytest.mark.parametrize(
        "key, code, shift, label",
        [
            ("&", "Digit1", False, 0),  # French: digits want Shift
            ("4", "Digit4", True, 3),
            ("3", "Numpad3", False, 2),
            ("٥", "Digit5", False, 4),  # Arabic digits
            ("2", "", False, 1),  # a phone's keyboard tells no place
        ],
    )
    def test_digits_work_on_every_keyboard(self, desk, project, key, code, shift, label):  # noqa: F811
        fill(project, 2)
        page = desk()
        self.send(page, key=key, code=code, shiftKey=shift)
        page.wait_for_selector("text=1 saved")
        assert Annotation.objects.get().label == label

    @pytest.mark.parametrize("key, code", [("ы", "KeyS"), ("S", "KeyS"), ("σ", "KeyS"), (" ", "Space")])
    def test_letters_of_other_alphabets_work_by_their_place(self, desk, project, key, code):  # noqa: F811
        fill(project, 2)
        page = desk()
        self.send(page, key=key, code=code)
        eventually(page, lambda: Skip.objects.count() == 1)

    def test_latin_letters_go_by_what_they_type(self, desk, project):  # noqa: F811
        """On an AZERTY keyboard "a" lies where others have "q": it shows the saliency all the same."""
        fill(project, 2)
        page = desk()
        self.send(page, key="a", code="KeyQ")
        page.wait_for_selector("[data-view=saliency][aria-pressed=true]")
        self.send(page, key="q", code="KeyA")
        assert page.is_visible("[data-view=saliency][aria-pressed=true]")

    @staticmethod
    def send(page, **event):
        page.evaluate("event => dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...event }))", event)


def zoom(page):
    return int(page.inner_text("[data-part=zoom]").rstrip("%"))



class TestPicture:
    def test_zoom_and_panning_by_wheel_mouse_and_keys(self, desk, project):  # noqa: F811
        fill(project, 3)
        page = desk()
        page.keyboard.press("+")
        assert zoom(page) == 135
        page.keyboard.press("-")
        assert zoom(page) == 100
        page.mouse.move(*at(page, 0.5, 0.5))
        page.mouse.wheel(0, -300)
        until(page, "parseInt(document.querySelector('[data-part=zoom]').textContent) > 150")
        left = page.locator("[data-part=canvas]").bounding_box()["x"]
        page.keyboard.press("ArrowRight")
        assert page.locator("[data-part=canvas]").bounding_box()["x"] < left
        page.keyboard.press("ArrowLeft")
        page.mouse.down()
        page.mouse.move(*(value + 40 for value in at(page, 0.5, 0.5)), steps=3)
        page.mouse.up()
        assert page.locator("[data-part=canvas]").bounding_box()["x"] > left
        page.keyboard.press("0")
        assert zoom(page) == 100
        page.mouse.dblclick(*at(page, 0.5, 0.5))
        assert zoom(page) == 250
        page.keyboard.press("1")  # the next picture is whole again
        page.wait_for_selector("text=1 saved")
        assert zoom(page) == 100

    def test_compare_shows_before_and_after_with_a_line_that_moves(self, desk, project):  # noqa: F811
        fill(project, 3)
        page = desk()
        page.keyboard.press("c")
        page.wait_for_selector("[data-view=compare][aria-pressed=true]")
        page.mouse.move(*at(page, 0.25, 0.5))
        until(page, "document.querySelector('[data-part=over]').style.clipPath.includes('75')")
        line = page.locator("[data-part=line]").bounding_box()
        assert line["x"] + 1 == pytest.approx(at(page, 0.25, 0)[0], abs=2)
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('[data-part=over]').style.clipPath.includes('70')")
        page.keyboard.press("c")
        assert page.is_hidden("[data-part=over]") and page.is_hidden("[data-part=line]")
        page.keyboard.press("c")
        page.keyboard.press("2")
        page.wait_for_selector("text=1 saved")
        assert page.is_hidden("[data-part=over]")
        assert Annotation.objects.get().shown["view"] == "generated"

    @pytest.mark.parametrize("context", [PHONE], indirect=True, ids=["phone"])
    def test_a_phone_shows_all_labels_without_scrolling_and_takes_pinch_and_tap(self, desk, project, context):  # noqa: F811
        project.asks_details = True
        project.save()
        fill(project, 6)
        page = desk()
        for button in page.locator("[data-label-button]").all():
            box = button.bounding_box()
            assert box["y"] + box["height"] <= 664 and box["height"] >= 44
        picture = page.locator("[data-part=frame]").bounding_box()
        assert picture["height"] >= 200
        assert page.evaluate("scrollY") == 0
        self.pinch(page, context)
        until(page, "parseInt(document.querySelector('[data-part=zoom]').textContent) > 150")
        assert page.is_hidden("[data-part=marker]")  # a pinch is no tap
        page.touchscreen.tap(*at(page, 0.5, 0.5))
        page.wait_for_selector("[data-part=marker]", state="visible")
        page.locator("[data-also='3']").tap()
        page.locator("[data-label-button='1']").tap()
        page.wait_for_selector("text=1 saved")
        [answer] = Annotation.objects.all()
        assert answer.details["secondary"] == [3] and answer.details["marker"] == pytest.approx([0.5, 0.5], abs=0.02)
        before = page.locator("[data-hold=before]")
        before.dispatch_event("pointerdown")
        page.wait_for_selector("[data-view=before][aria-pressed=true]")
        before.dispatch_event("pointerup")
        page.wait_for_selector("[data-view=generated][aria-pressed=true]")

    @staticmethod
    def pinch(page, context):  # noqa: F811
        x, y = at(page, 0.5, 0.5)
        send = context.new_cdp_session(page).send
        for name, spread in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", None)):
            points = [] if spread is None else [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
            send("Input.dispatchTouchEvent", {"type": name, "touchPoints": points})
