"""Looking at cut-outs and writing prompts in Chromium: by keys, by mouse, and by a finger."""

import shutil

import pytest

from adproof.perception.pictures import open_picture
from generation.blobs import blobs
from generation.models import Product
from tests.cut_out_rows import H, W, waiting
from tests.in_browser import arrive, until
from tests.test_manage_browser import assert_good, go, page, people  # noqa: F401 - fixtures
from tests.test_review_browser import SIZES, browser  # noqa: F401 - a fixture

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]


def alpha_of(product):
    product.refresh_from_db()
    return open_picture(blobs().get(product.image_sha256))[..., 3]


def stroke(page, *points):  # noqa: F811
    """From point to point of the picture, in shares of its sides."""
    canvas = page.locator(".cut-canvas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


class TestCutOuts:
    @pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
    def test_brush_save_and_accept_then_the_next_one_by_its_key(self, page):  # noqa: F811
        first, second, third = waiting("a"), waiting("b"), waiting("c")
        go(page, "/products/cut-outs/")
        assert page.locator("h1").inner_text() == "Jug a"
        page.keyboard.press("3")
        assert page.locator("[data-cut-out]").get_attribute("data-ground") == "dark"
        page.keyboard.press("r")
        page.wait_for_selector("canvas[data-ready]")
        before = alpha_of(first)
        stroke(page, (0.3, 0.5), (0.45, 0.5))  # erases within the jug
        stroke(page, (0.05, 0.05), (0.2, 0.05))  # a slip
        page.keyboard.press("z")
        page.keyboard.press("s")
        stroke(page, (0.7, 0.5), (0.8, 0.5))  # restores the strip that U2-Net missed
        assert_good(page)
        page.click("text=Save and accept")
        arrive(page, "h1:text-is('Jug b')")
        after = alpha_of(first)
        assert first.is_drawable and first.accepted_by.username == "max" and first.cut_settings["by"] == "hand"
        assert before[H // 2, int(0.37 * W)] == 255 and after[H // 2, int(0.37 * W)] == 0
        assert before[H // 2, int(0.75 * W)] == 0 and after[H // 2, int(0.75 * W)] == 255
        assert after[2, int(0.1 * W)] == 0, "what was undone is not sent"
        page.keyboard.press("n")
        arrive(page, "h1:text-is('Jug c')")
        page.keyboard.press("a")
        page.wait_for_selector("h1:text-is('Jug b')")
        assert list(Product.objects.waiting()) == [second]
        third.refresh_from_db()
        assert third.is_drawable

    def test_the_threshold_is_seen_while_it_moves_and_saved(self, page):  # noqa: F811
        jug = waiting("a")
        go(page, f"/products/{jug.pk}/cut-out/")
        page.keyboard.press("r")
        page.wait_for_selector("canvas[data-ready]")
        seen = """() => { const canvas = document.querySelector('.cut-canvas canvas');
            return canvas.getContext('2d').getImageData(canvas.width * .75, canvas.height / 2, 1, 1).data[3]; }"""
        assert page.evaluate(seen) < 100
        page.evaluate("""() => { for (const [name, value] of [['threshold', 15], ['softness', 10]]) {
            const one = document.getElementById(name); one.value = value; one.dispatchEvent(new Event('input', {bubbles: true})); } }""")
        until(page, f"({seen})() > 200")
        page.click("text=Save, look again")
        page.wait_for_selector("text=threshold 15 %")
        assert alpha_of(jug)[H // 2, int(0.75 * W)] == 255 and jug.is_waiting

    def test_the_ticked_products_are_flagged(self, page):  # noqa: F811
        for sku in "abc":
            waiting(sku)
        go(page, "/products/")
        assert not page.locator(".ticked").is_visible()
        page.locator("input[name=products]").nth(0).check()
        page.locator("input[name=products]").nth(1).check()
        page.fill("#bulk-reason", "A leg is cut off")
        page.click("text=Flag as unsuitable")
        page.wait_for_selector("text=2 products flagged")
        assert Product.objects.flagged().count() == 2


class TestPromptEditor:
    @pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
    def test_a_variable_is_put_in_by_a_press_and_its_words_are_seen_at_once(self, page):  # noqa: F811
        from generation.models import Prompt, VariableList
        from tests import build

        build.product(1)
        VariableList.objects.create(name="colour", values=["sand", "sage", "slate"])
        go(page, "/prompts/new/")
        page.fill("[name=name]", "Walls")
        page.fill("[name=text]", "a  wall behind ")
        page.evaluate("document.querySelector('[name=text]').setSelectionRange(2, 2)")
        page.click("button[data-put=colour]")
        page.wait_for_selector(".prompt-words >> text=/a (sand|sage|slate) wall behind/")
        page.keyboard.press("End")
        page.click("button[data-put=product]")
        page.wait_for_selector(".prompt-words >> text=/wall behind Lamp 1/")
        page.fill("[name=negative_text]", "{colr}")
        page.wait_for_selector("text=There is no variable {colr}. Known: {category}, {colour}, {product}.")
        page.fill("[name=negative_text]", "")
        page.wait_for_selector(".prompt-words")
        assert_good(page)
        page.click("button:text-is('Save')")
        page.wait_for_selector("text=“Walls” is saved.")
        assert Prompt.objects.get().text == "a {colour} wall behind {product}"
