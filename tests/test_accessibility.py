"""Every page there is, with realistic rows, in Chromium: axe, light and dark, wide and narrow. New pages are found by themselves."""

import os
import shutil

import pytest
from django.test import Client

pytest.importorskip("playwright")
from playwright.sync_api import TimeoutError, sync_playwright  # noqa: E402, A004

from tests.house import House, endpoints, poison  # noqa: E402
from tests.test_roles import ROWS  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SERIOUS = {"serious", "critical"}
# All of axe at two looks; what depends on the look alone at the other two.
ALL, COLOURS = None, {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
LOOKS = [("light", WIDE, ALL), ("light", NARROW, COLOURS), ("dark", NARROW, ALL), ("dark", WIDE, COLOURS)]


@pytest.fixture(scope="module")
def browser():
    # Playwright's own loop runs in this thread; Django sees it and would refuse the ORM.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def house(people):
    return House(people)


def pages(house):
    """The addresses that answer a GET of Olga, who may do everything, with a whole page."""
    olga = Client(raise_request_exception=False)
    olga.force_login(house.people["olga"])
    found = []
    for endpoint in endpoints():
        if "GET" not in ROWS[endpoint.key].needs or endpoint.name == "login":
            continue
        response = olga.get(house.path(endpoint))
        is_page = response.status_code == 200 and response["Content-Type"].startswith("text/html")
        if is_page and b"<html" in response.content:
            found.append(house.path(endpoint))
    return found


def open_tab(browser, live_server, scheme, person=None):
    context = browser.new_context(viewport=WIDE, color_scheme=scheme)
    context.set_default_timeout(60_000)
    if person:
        client = Client()
        client.force_login(person)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    return context.new_page()


def complaints(page, axe, path, seen):
    """What is wrong with this page at every look of one scheme."""
    wrong = []
    for scheme, size, options in LOOKS:
        if scheme != seen:
            continue
        page.set_viewport_size(size)
        try:  # plots follow their page's width a moment later
            page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth", timeout=5_000)
        except TimeoutError:
            wrong.append(f"{path} ({scheme}, {size['width']}): too wide: {page.evaluate(WIDEST)}")
        results = axe.run(page, options=options or {"resultTypes": ["violations"]}).response
        wrong += [
            f"{path} ({scheme}, {size['width']}): {finding['id']}: {node['html'][:160]} | {node.get('failureSummary', '')[:300]}"
            for finding in results["violations"]
            if finding["impact"] in SERIOUS
            for node in finding["nodes"][:3]
        ]
    return wrong


WIDEST = """[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
    .slice(0, 3).map((one) => one.outerHTML.slice(0, 100))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_axe_finding_and_nothing_to_scroll_sideways_on_any_page(browser, live_server, house, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found, wrong, said = pages(house), [], []
    assert len(found) > 35
    tabs = {
        "olga": (open_tab(browser, live_server, scheme, house.people["olga"]), [*found, "/nothing/here/"]),
        "alice": (open_tab(browser, live_server, scheme, house.people["alice"]), ["/desk/", "/products/"]),  # the second: 403
        "nobody": (open_tab(browser, live_server, scheme), ["/login/"]),
    }
    for who, (page, paths) in tabs.items():
        page.on("pageerror", lambda error, who=who: said.append(f"{who}: {error}"))
        for path in paths:
            page.goto(live_server.url + path, wait_until="load")
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.dataset.theme") == scheme, path
            wrong += complaints(page, axe, f"{path} as {who}", scheme)
            page.set_viewport_size(WIDE)
        page.context.close()
    assert not wrong, "\n".join(wrong)
    assert not said, "\n".join(said)


def test_words_that_people_write_never_run_in_a_browser(browser, live_server, house):
    """All the words of all the rows are an attack; every page is opened, and nothing of it has run."""
    found = pages(house)
    assert poison('<img src=x onerror="window.pwned=1">') > 20
    page, said = open_tab(browser, live_server, "light", house.people["olga"]), []
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    for path in found:
        page.goto(live_server.url + path, wait_until="load")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.pwned") is None, path
        assert page.locator("img[src=x]").count() == 0, path
    assert not said, "\n".join(said)
