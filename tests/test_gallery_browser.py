"""From ticked products to the annotators' desk in Chromium: cards, the large view, sending, and steering a run."""

import shutil

import pytest

from annotation.models import Task
from generation.models import Plan
from runs.models import Run
from tests import build
from tests.in_browser import COUNTS_PICTURES, arrive, eventually, until
from tests.test_manage_browser import assert_good, cookie_of, go, page, people, project  # noqa: F401 - fixtures
from tests.test_review_browser import SIZES, browser  # noqa: F401 - a fixture

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
# Another picture lies over the one in the large view.
OVER = "!document.querySelector('.viewer canvas[aria-hidden]').hidden"

# What a run's page asks for every two seconds.
ASKS = "htmx.ajax('GET', location.pathname, { source: '#live', target: '#live', swap: 'innerHTML' })"

# The large view shows what the button of this name names.
SHOWS = """async (view) => {
    const large = document.querySelector('.viewer canvas');
    const made = await createImageBitmap(await (await fetch(document.querySelector(`[data-view=${view}]`).dataset.src)).blob());
    const asked = Object.assign(document.createElement('canvas'), { width: large.width, height: large.height });
    asked.getContext('2d').drawImage(made, 0, 0);
    const pixels = (of) => of.getContext('2d').getImageData(0, 0, large.width, large.height).data.toString();
    return large.width === made.width && large.height === made.height && pixels(large) === pixels(asked);
}"""


def shown(card):
    return card.locator("img").get_attribute("src").split("/")[-1]


@pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
def test_four_pictures_a_line_between_two_zoom_and_on_to_the_annotators(page, people, project, live_server):  # noqa: F811
    older, row = build.candidates(2)
    go(page, "/candidates/")
    card = page.locator(f"[data-candidate='{row.pk}']")
    width = card.bounding_box()["width"]
    page.click("button[aria-label='Large pictures']")
    go(page, "/candidates/")
    assert card.bounding_box()["width"] > width, "the size is remembered"
    assert page.locator("[data-picture-size][aria-pressed=true]").get_attribute("value") == "large"
    seen = []
    for button in card.locator(".gallery-views button").all():
        button.click()
        seen.append(shown(card))
    assert seen == [row.image_sha256, row.product.image_sha256, row.depth_sha256, row.saliency_sha256]
    bar, said = page.locator("#send"), page.locator("[data-ticked-said]")
    assert not bar.is_visible() and said.text_content() == ""
    card.locator("a").focus()
    page.keyboard.press("x")
    assert bar.is_visible() and said.text_content() == "1 ticked. Press s to send it to annotators."
    page.click("button:text-is('Untick all')")
    assert not bar.is_visible() and said.text_content() == "Nothing is ticked."
    assert page.evaluate("document.activeElement.value") == str(row.pk), "the focus is where it was"
    page.keyboard.press("x")
    page.keyboard.press("s")
    assert page.evaluate("document.activeElement.id") == "send-project"
    assert_good(page)
    page.click("button:has-text('1 ticked')")
    page.wait_for_selector("text=Done for 1.")
    assert Task.objects.get().candidate_id == row.pk and page.url.endswith("/candidates/")

    page.locator(f"[data-candidate='{older.pk}'] a").click()
    arrive(page, "[data-view=compare]")
    page.locator("[data-view=compare]").first.click()
    until(page, OVER)
    page.wait_for_selector(".viewer-line")
    before = page.locator(".viewer-line").evaluate("line => line.style.left")
    box = page.locator(".viewer").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40)
    until(page, "before => document.querySelector('.viewer-line').style.left !== before", before)
    page.click("[data-zoom-in]")
    assert "is-zoomed" in page.locator(".viewer").get_attribute("class")
    page.click(".candidate-small button:has-text('Saliency')")
    until(page, f"!({OVER})")
    page.wait_for_selector(".candidate-small [data-view=saliency][aria-pressed=true]")
    page.keyboard.press("-")
    assert "is-zoomed" not in page.locator(".viewer").get_attribute("class")
    assert_good(page)
    page.fill("#send-priority", "3")
    page.click("button:text-is('Send')")
    page.wait_for_selector("text=Done for 1.")
    assert page.url.endswith(f"/candidates/{older.pk}/") and Task.objects.get(candidate=older).priority == 3
    page.context.clear_cookies()
    page.context.add_cookies([cookie_of(people["alice"], live_server)])
    go(page, "/desk/")
    until(page, "title => document.querySelector('[data-part=title]').textContent === title", older.product.title)


def test_the_picture_asked_for_last_is_shown_and_one_that_failed_is_fetched_again(page, project):  # noqa: F811
    row = build.candidates(1)[0]
    page.add_init_script(COUNTS_PICTURES)
    # From before the page comes: one that is there hears a little later that its requests are held up, maybe after the key.
    held, saliency = [], f"**/768/{row.saliency_sha256}"
    page.route(f"**/768/{row.depth_sha256}", lambda route: held.append(route))
    page.route(saliency, lambda route: route.abort())
    go(page, f"/candidates/{row.pk}/")
    until(page, SHOWS, "generated")
    page.keyboard.press("3")
    eventually(page, lambda: held)  # the depth map is on its way
    page.keyboard.press("2")
    until(page, SHOWS, "product")
    decoded = page.evaluate("picturesDecoded")
    held.pop().continue_()
    until(page, "before => picturesDecoded > before", decoded)  # what is then done with it is done at once
    assert page.evaluate(SHOWS, "product")
    page.keyboard.press("4")
    page.wait_for_selector("text=This picture could not be loaded: try again.")
    page.unroute(saliency)
    page.keyboard.press("4")
    until(page, SHOWS, "saliency")
    assert "could not be loaded" not in page.inner_text("[data-viewer-says]")


def test_ticked_products_become_a_run_that_is_paused_and_resumed(page):  # noqa: F811
    ticked = [build.product(n) for n in range(3)][1:]
    build.prompt()
    build.generator().__class__.objects.update(is_in_use=True, kind="mini")
    go(page, "/products/")
    for product in ticked:
        page.locator(f"input[name=products][value='{product.pk}']").check()
    page.click("button:text-is('Draw candidates')")
    arrive(page, "text=Of 2 products")
    assert page.locator(".generate-products img").count() == 2
    page.click("button:text-is('Draw')")
    page.wait_for_selector("h1:text-is('Draw 2 candidates')")
    run = Run.objects.get(kind="generate")
    assert sorted(Plan.objects.get(run=run).products) == [product.pk for product in ticked]
    for button, state in (("Pause", "paused"), ("Resume", "waiting")):
        page.hover(f"button:text-is('{button}')")
        page.mouse.down()
        page.evaluate(ASKS)  # a press is one, also when the page comes anew in the middle of it
        page.mouse.up()
        page.wait_for_selector(f"button:text-is('{'Resume' if state == 'paused' else 'Pause'}')")
        run.refresh_from_db()
        assert run.state == state
    assert_good(page)


def test_who_opens_an_older_card_comes_back_to_it_though_the_page_is_loaded_anew(page):  # noqa: F811
    """Playwright's Chromium keeps no page for the way back."""
    build.many_candidates(90)
    at, focused = "document.querySelectorAll('.gallery-card').length", "document.activeElement.closest('.gallery-card')?.dataset.candidate"
    for place, is_first in ((59, False), (3, True)):
        go(page, "/candidates/")
        page.click("text=Older candidates")
        until(page, f"{at} === 80")
        card = page.locator(".gallery-card").nth(place)
        name = card.get_attribute("data-candidate")
        card.locator(".gallery-picture").click()
        page.wait_for_url(f"**/candidates/{name}/")
        page.go_back()
        until(page, f"name => {focused} === name", name)
        assert page.evaluate(at) == 40 and page.locator("text=Newer candidates").count() == (not is_first)
        top = page.evaluate("document.activeElement.getBoundingClientRect().top")
        assert 0 <= top < page.viewport_size["height"], "it is on the screen"
    assert page.url.endswith("/candidates/")
    page.click("text=Older candidates")
    until(page, f"{at} === 80")


@pytest.mark.parametrize("page", SIZES[1:], indirect=True, ids=["390 dark"])
def test_large_parts_stay_in_their_boxes_and_a_refused_field_is_seen(page):  # noqa: F811
    run = Run.objects.create(kind="generate", title="Draw 12,340 candidates", state="waiting", total=12_340)
    made = {"images": 1200, "failed": 34}
    for state in ("running", "spent", "succeeded"):
        Run.objects.create(kind="generate_part", parent=run, state=state, done=1200, total=1234, result=made)
    page.goto(f"{page.base}/runs/{run.pk}/")
    hang_out = "[...document.querySelectorAll('.run-parts a')].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert page.locator(".run-parts a").count() == 3 and page.evaluate(hang_out) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    go(page, "/prompts/variables/new/")
    page.fill("input[name=name]", "Bad name!")
    page.click("button:text-is('Save')")
    page.wait_for_selector("text=Write at least one value.")
    border = "(field) => getComputedStyle(document.querySelector(field)).borderColor"
    refused = page.evaluate(border, "input[name=name]")
    assert refused == page.evaluate(border, "textarea[name=values]") != page.evaluate(border, ".card")
    assert_good(page)
