"""A manager's day in Chromium: label browser, gold, guidelines, teams and queue, by mouse, finger and keys."""

import shutil

import pytest
from django.test import Client

from accounts.models import User
from annotation import guidelines
from annotation.actions import Pick, add_tasks
from annotation.gold import Known, make_gold
from annotation.models import Gold, Guidelines, Project, SavedFilter, Snapshot, Task, Team
from runs.models import Run
from tests import build
from tests.data_rows import consensus
from tests.in_browser import until
from tests.test_review_browser import SIZES, browser  # noqa: F401 - a fixture

pytest.importorskip("playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def people():
    roles = {"alice": "annotator", "bob": "annotator", "max": "manager", "olga": "operator"}
    return {name: User.objects.create_user(name, password="a-long-password", role=role) for name, role in roles.items()}


@pytest.fixture
def project():
    return Project.objects.create(name="First pictures", overlap=2)


@pytest.fixture
def rows(project):
    made = build.candidates(40)
    add_tasks(project, [Pick(row.pk) for row in made])
    for number, row in enumerate(made):
        consensus(row, label=number % 5, agreement=1.0 if number % 2 else 0.5, count=3)
    return made


@pytest.fixture
def page(browser, live_server, people, request):  # noqa: F811
    context = browser.new_context(**getattr(request, "param", SIZES[0]))
    context.add_cookies([cookie_of(people["max"], live_server)])
    context.set_default_timeout(60_000)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.base = live_server.url
    yield page
    context.close()
    assert errors == []


def cookie_of(user, live_server):
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}


def go(page, path):
    page.goto(page.base + path)
    page.wait_for_load_state("networkidle")


def assert_good(page):
    """axe finds nothing serious, and nothing hangs out of the window."""
    from axe_playwright_python.sync_playwright import Axe

    found = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert found == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url


class TestLabelBrowser:
    def test_filter_save_it_and_come_back(self, page, rows):
        go(page, "/labels/")
        page.select_option("[name=label]", "1")
        page.click("form.conditions button:has-text('Show') >> nth=0")
        page.wait_for_selector(".result-bar >> text=8 candidates")
        page.click("summary:has-text('Save this filter')")
        page.fill("#filter-name", "Floating")
        page.click("button:text-is('Save')")
        page.wait_for_selector("text=The filter “Floating” is saved.")
        assert SavedFilter.objects.get().query["label"] == "1"
        go(page, "/labels/")
        page.click(".saved-filters >> text=Floating")
        page.wait_for_selector(".result-bar >> text=8 candidates")

    def test_more_candidates_come_below_each_once(self, page, rows):
        go(page, "/labels/?order=oldest")
        assert page.locator(".label-card").count() == 36
        page.click("text=More candidates")
        until(page, "document.querySelectorAll('.label-card').length === 40")
        seen = page.locator(".label-card a[href^='/candidates/']").evaluate_all("all => all.map(a => a.href)")
        assert len(set(seen)) == len(seen) == 40 and page.locator("#more").count() == 0

    @pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
    def test_all_that_was_found_is_reserved_for_two_people(self, page, rows, project):
        go(page, "/labels/?label=2")
        assert_good(page)
        page.click("text=Work on all of them")
        form = page.locator("form[action$='/reserve/']")
        form.locator("label:has-text('alice')").click()
        form.locator("label:has-text('bob')").click()
        assert_good(page)
        form.locator("button").click()
        page.wait_for_selector("text=Reserve the open tasks of 8 candidates in “First pictures” for alice and bob?")
        assert_good(page)
        page.click("button[name=sure]")
        page.wait_for_selector("text=Reserve. Done for 8.")
        assert Task.objects.filter(team__name="alice, bob").count() == 8 and Snapshot.objects.get().count == 8

    def test_a_wrong_word_is_said_and_can_be_corrected(self, page, rows):
        go(page, "/labels/?agreement_from=90&agreement_to=10")
        page.wait_for_selector("[role=alert]:has-text('It ends before it begins.')")
        assert_good(page)
        page.fill("[name=agreement_to]", "100")
        page.click("form.conditions button:has-text('Show') >> nth=0")
        page.wait_for_selector(".result-bar >> text=20 candidates")


class TestGold:
    @pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
    def test_by_number_from_what_people_agree_on_and_retired_again(self, page, rows, project):
        go(page, f"/projects/{project.pk}/gold/")
        page.fill("[name=candidate][type=number]", str(rows[0].pk))
        page.click("button:text-is('Make gold')")
        page.wait_for_selector("text=Choose its label.")
        assert_good(page)
        page.select_option("select[name=label]", "3")
        page.click("button:text-is('Make gold')")
        page.wait_for_selector("h2:has-text('1 gold')")
        page.locator("input[type=checkbox][name=candidate]").first.check()
        page.click("text=Make the chosen ones gold")
        page.wait_for_selector("h2:has-text('2 gold')")
        page.locator("button:text-is('Retire')").first.click()
        page.wait_for_selector("h2:has-text('2 gold, 1 of it retired')")
        assert_good(page)
        assert Gold.objects.filter(is_retired=True).count() == 1
        assert Gold.objects.get(task__candidate=rows[0]).label == 3

    def test_a_wrong_table_says_which_lines_and_stores_nothing(self, page, rows, project):
        go(page, f"/projects/{project.pk}/gold/")
        table = f"candidate,label\n{rows[0].pk},available\n{rows[1].pk},shiny\n999999,available\n"
        page.set_input_files("[name=table]", {"name": "gold.csv", "mimeType": "text/csv", "buffer": table.encode()})
        page.click("button:text-is('Upload')")
        page.wait_for_selector("[role=alert] >> text=Line 3:")
        page.wait_for_selector("[role=alert] >> text=Line 4: there is no candidate '999999'")
        assert_good(page)
        assert not Gold.objects.exists()

    def test_changing_one_fills_the_form_with_what_is_known(self, page, rows, project, people):
        make_gold(project, {rows[4].pk: Known(2, "It is a giant.")}, people["max"])
        go(page, f"/projects/{project.pk}/gold/")
        page.click("text=Change")
        page.wait_for_load_state("networkidle")
        assert page.input_value("[name=candidate][type=number]") == str(rows[4].pk)
        assert (page.input_value("select[name=label]"), page.input_value("[name=reason]")) == ("2", "It is a giant.")


class TestGuidelines:
    @pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
    def test_written_looked_at_saved_and_compared(self, page, rows, project):
        go(page, f"/projects/{project.pk}/guidelines/")
        page.fill("[name=text]", "# Shadows\n- A product without one floats.")
        page.fill("[name=label_1]", f"{rows[1].pk}, {rows[6].pk}")
        page.click("text=Preview")
        page.wait_for_selector("#preview-title")
        assert page.inner_text(".guidelines-text li") == "A product without one floats."
        assert page.locator(".example-field img").count() == 2
        assert_good(page)
        page.click("text=Save as a new version")
        page.wait_for_selector("text=Version 2 is in force")
        page.click("a:text-is('Version 2')")
        page.wait_for_selector(".diff .added >> text=# Shadows")
        assert_good(page)
        assert Guidelines.objects.get(version=2).examples == {"1": [rows[1].pk, rows[6].pk]}
        go(page, f"/guidelines/?project={project.pk}")
        assert page.locator(".rule-card[data-label='1'] img").count() == 2
        assert_good(page)

    def test_who_comes_second_is_told_and_keeps_every_word(self, page, rows, project, people):
        go(page, f"/projects/{project.pk}/guidelines/")
        page.fill("[name=text]", "Mine, an hour of work.")
        guidelines.save(project, "Theirs.", {}, people["olga"], based_on=1)
        page.click("text=Save as a new version")
        page.wait_for_selector("text=Version 2 was saved by olga meanwhile.")
        assert page.input_value("[name=text]") == "Mine, an hour of work."
        assert "Theirs." in page.inner_text(".diff")
        assert_good(page)
        page.click("text=Save as a new version")
        page.wait_for_selector("text=Version 3 is in force")
        assert in_order() == ["", "Theirs.", "Mine, an hour of work."]

    def test_a_picture_is_chosen_in_the_label_browser_and_an_old_version_restored(self, page, rows, project, people):
        guidelines.save(project, "Old.", {}, people["olga"], based_on=1)
        guidelines.save(project, "New.", {}, people["olga"], based_on=2)
        go(page, f"/labels/?project={project.pk}&label=3")
        page.locator("text=Use as an example").first.click()
        page.wait_for_selector("text=Not saved yet.")
        assert page.locator(".example-field img").count() == 1
        page.click("a:text-is('Version 2')")
        page.click("text=Restore as a new version")
        page.wait_for_selector("text=Version 2 is in force again, as version 4.")
        assert in_order()[-1] == "Old."


def in_order():
    return list(Guidelines.objects.order_by("version").values_list("text", flat=True))


@pytest.mark.parametrize("page", SIZES, indirect=True, ids=["1440 light", "390 dark"])
def test_a_team_is_made_a_queue_reserved_for_it_and_given_another_order(page, rows, project, people):
    go(page, "/teams/")
    assert_good(page)
    page.locator("text=New team").first.click()
    page.fill("[name=name]", "Glass")
    page.click("label:has-text('alice')")
    page.click("button:text-is('Save')")
    page.wait_for_selector("text=The team “Glass” is saved.")
    assert_good(page)
    go(page, f"/projects/{project.pk}/")
    assert_good(page)
    page.click("a.part:has-text('Queue')")
    form = page.locator("form[action$='/queue/reserve/']")
    form.locator("[name=team]").select_option(label="Glass")
    assert_good(page)
    form.locator("button").click()
    page.wait_for_selector("text=Reserve 40 open tasks in “First pictures” for Glass?")
    assert_good(page)
    page.click("button[name=sure]")
    page.wait_for_selector("text=Queue of “First pictures”: reserved for Glass")
    run = Run.objects.get()
    assert run.params["how"]["team"] == Team.objects.get().pk and run.created_by == people["max"]
    go(page, f"/projects/{project.pk}/queue/")
    page.wait_for_selector("text=This queue is being changed")
    page.click("label:has-text('Newest candidates first')")
    page.click("text=Give them this order")
    page.click("button[name=sure]")
    page.wait_for_selector("text=The queue is being changed already")
    assert Run.objects.count() == 1
