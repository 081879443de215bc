"""The quality pages in Chromium: plots that are drawn, read by keys and by screen readers, in both themes and widths."""

import os
import shutil

import pytest
from django.test import Client

from accounts.models import User
from tests import crowd_rows

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
# Colours of the middle of the plot: more than the card's own means that something is drawn.
DRAWN = """canvas => {
    const { width, height } = canvas;
    const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    const seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) seen.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`);
    return [...seen];
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def crowd():
    rows = crowd_rows.candidates(120)
    crowd_rows.work(rows, {"ann": 0.93, "ben": 0.8, "cleo": 0.7, "spammer": None}, gold=12)
    crowd_rows.fit()
    return User.objects.get(username="spammer")


@pytest.fixture
def open_page(browser, live_server):
    contexts, errors = [], []
    client = Client()
    client.force_login(User.objects.create_user("max", password="a-long-password", role="manager"))

    def start(path, width=1440, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(live_server.url + path)
        page.wait_for_load_state("networkidle")
        return page

    yield start
    for context in contexts:
        context.close()
    assert errors == []


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (1440, "dark"), (390, "light")])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(open_page, crowd, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for path, title in (
        ("/quality/", "Quality of labels"), ("/quality/annotators/", "Annotators"), (f"/quality/annotators/{crowd.pk}/", "spammer"),
    ):  # fmt: skip
        page = open_page(path, width, scheme)
        assert page.locator("h1").inner_text() == title
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = [
            (finding["id"], finding["nodes"][0]["html"][:200])
            for finding in axe.run(page).response["violations"]
            if finding["impact"] in {"serious", "critical"}
        ]
        assert not found, (path, found)


def test_every_plot_is_drawn_in_the_colours_of_the_theme(open_page, crowd):
    for path, plots in (("/quality/", 5), (f"/quality/annotators/{crowd.pk}/", 3)):
        page = open_page(path)
        canvases = page.locator("[data-plot] canvas")
        assert canvases.count() == plots
        light = [canvases.nth(number).evaluate(DRAWN) for number in range(plots)]
        assert all("42,104,95" in colours for colours in light), "the accent of the light theme"
        page.click("[data-theme-toggle]")
        dark = [canvases.nth(number).evaluate(DRAWN) for number in range(plots)]
        assert all("124,196,182" in colours for colours in dark), "the accent of the dark theme"


def test_arrow_keys_read_the_values_of_a_plot(open_page, crowd):
    page = open_page("/quality/")
    figure = page.locator("figure", has=page.locator("#plot-labels"))
    figure.locator("canvas").focus()
    page.keyboard.press("ArrowDown")
    spoken = figure.locator("[aria-live]")
    assert spoken.inner_text().startswith("Available: Share of answers ")
    page.keyboard.press("ArrowDown")
    assert spoken.inner_text().startswith("Space mismatch: ")
    page.keyboard.press("End")
    assert spoken.inner_text().startswith("Shape hallucination: ")
    page.keyboard.press("Tab")
    assert spoken.inner_text() == ""
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    cells = figure.locator("tbody tr").first.locator("td").all_inner_texts()
    assert len(cells) == 4 and cells[0].endswith("%")


def test_without_scripts_the_numbers_are_there(browser, open_page, crowd):
    page = open_page("/quality/")
    page.route("**/chart.umd.min.js", lambda route: route.abort())
    page.reload()
    assert page.locator("[data-plot] canvas").count() == 0
    page.locator("figure", has=page.locator("#plot-days")).locator("summary").click()
    assert page.locator("#table-days tbody tr").count() == 30


def test_numbers_of_a_plot_come_as_a_file(open_page, crowd):
    page = open_page(f"/quality/annotators/{crowd.pk}/")
    with page.expect_download() as started:
        page.locator("figure", has=page.locator("#plot-pace")).locator("text=Numbers as CSV").click()
    download = started.value
    assert download.suggested_filename == f"adproof-annotator-{crowd.pk}-pace.csv"
    with open(download.path(), encoding="utf-8") as file:
        assert file.readline().strip() == "day_utc,median_seconds,quartile_1_seconds,quartile_3_seconds,crowd_median_seconds"


def test_a_press_on_a_head_sorts_the_annotators(open_page, crowd):
    page = open_page("/quality/annotators/")
    page.click("thead >> text=Accuracy")
    page.wait_for_url("**sort=-accuracy")
    assert page.locator("tbody th a").first.inner_text() == "ann"
    page.click("thead >> text=Accuracy")
    page.wait_for_url("**sort=accuracy")
    assert page.locator("tbody th a").first.inner_text() == "spammer"
    page.click("tbody >> text=spammer")
    assert page.locator("h1").inner_text() == "spammer" and page.locator("text=Very fast").count() == 1
