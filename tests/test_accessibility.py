"""Every page there is, with realistic rows, in Chromium: axe, light and dark, wide and narrow. New pages are found by themselves."""

import os
import shutil

import pytest
from django.test import Client

pytest.importorskip("playwright")
from playwright.sync_api import sync_playwright  # noqa: E402, A004

from tests.house import House, endpoints, poison  # noqa: E402
from tests.in_browser import until  # noqa: E402
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
ALL = {"resultTypes": ["violations"]}
COLOURS = {"runOnly": ["color-contrast"], **ALL}
LOOKS = [("light", WIDE, ALL), ("light", NARROW, COLOURS), ("dark", NARROW, ALL), ("dark", WIDE, COLOURS)]
TABS = 2  # one is looked at while the next one loads


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


def open_tabs(browser, live_server, person=None):
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    if person:
        client = Client()
        client.force_login(person)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    return [context.new_page() for _ in range(TABS)]


def walk(tabs, address, paths, begins=lambda page, number: None):
    """Each path with the tab that has loaded it and all that it asks for; the next ones load meanwhile."""
    for number in range(len(paths) + len(tabs) - 1):
        if number < len(paths):
            page = tabs[number % len(tabs)]
            begins(page, number)
            page.goto(address + paths[number], wait_until="commit")
        loaded = number - len(tabs) + 1
        if loaded >= 0:
            page = tabs[loaded % len(tabs)]
            page.wait_for_load_state("load")
            page.wait_for_load_state("networkidle")
            yield page, paths[loaded], loaded


def first_scheme(number):
    """Every other page is opened in the dark and then looked at by day."""
    return ("light", "dark")[number % 2]


def complaints(page, path, scheme):
    """What is wrong with this page at every look. It was opened with this scheme, and follows the system to the other."""
    wrong = []
    page.evaluate(axe_script())
    for look, size, options in sorted(LOOKS, key=lambda one: one[0] != scheme):
        page.emulate_media(color_scheme=look)
        page.set_viewport_size(size)
        until(page, "look => document.documentElement.dataset.theme === look", look)
        try:  # plots follow their page's width a moment later
            until(page, "document.documentElement.scrollWidth <= window.innerWidth")
        except AssertionError:
            wrong.append(f"{path} ({look}, {size['width']}): too wide: {page.evaluate(WIDEST)}")
        results = page.evaluate("options => axe.run(options)", options)
        wrong += [
            f"{path} ({look}, {size['width']}): {finding['id']}: {node['html'][:160]} | {node.get('failureSummary', '')[:300]}"
            for finding in results["violations"]
            if finding["impact"] in SERIOUS
            for node in finding["nodes"][:3]
        ]
    return wrong


def axe_script():
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe().axe_script


WIDEST = """[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
    .slice(0, 3).map((one) => one.outerHTML.slice(0, 100))"""


def test_no_serious_axe_finding_and_nothing_to_scroll_sideways_on_any_page(browser, live_server, house):
    found, wrong, said = pages(house), [], []
    assert len(found) > 35
    visits = {
        "olga": (house.people["olga"], [*found, "/nothing/here/"]),
        "alice": (house.people["alice"], ["/desk/", "/products/"]),  # the second: 403
        "nobody": (None, ["/login/"]),
    }

    def begins(page, number):
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme=first_scheme(number))

    for who, (person, paths) in visits.items():
        tabs = open_tabs(browser, live_server, person)
        for page in tabs:
            page.on("pageerror", lambda error, who=who: said.append(f"{who}: {error}"))
            page.on("console", lambda line: said.append(line.text) if "Content Security Policy" in line.text else None)
        for page, path, number in walk(tabs, live_server.url, paths, begins):
            wrong += complaints(page, f"{path} as {who}", first_scheme(number))
        tabs[0].context.close()
    assert not wrong, "\n".join(wrong)
    assert not said, "\n".join(said)


def test_words_that_people_write_never_run_in_a_browser(browser, live_server, house):
    """All the words of all the rows are an attack; every page is opened, and nothing of it has run."""
    found = pages(house)
    assert poison('<img src=x onerror="window.pwned=1">') > 20
    tabs, said = open_tabs(browser, live_server, house.people["olga"]), []
    for page in tabs:
        page.on("pageerror", lambda error, page=page: said.append(f"{page.url}: {error}"))
    for page, path, _ in walk(tabs, live_server.url, found):
        assert page.evaluate("window.pwned") is None, path
        assert page.locator("img[src=x]").count() == 0, path
    assert not said, "\n".join(said)
