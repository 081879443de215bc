"""An impatient second click, and a client that sends again what it had no answer to: one run, one effect."""

import shutil
import threading

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client
from django.urls import reverse

from annotation.models import Project, Task
from datasets_app.importing.order import Order, start
from generation import failures, ordering
from generation.models import Failure, Generator, Plan, Product, Prompt
from generation.planning import start_generation
from runs.models import Run
from tests import build, cut_out_rows
from tests.test_manage_browser import go, page, people  # noqa: F401 - fixtures
from tests.test_review_browser import SIZES, browser  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
JSON = "application/json"


@pytest.fixture
def house(people):  # noqa: F811
    """One candidate, four products, a generator in use."""
    candidate = build.candidate(0)
    products = [candidate.product, *(build.product(n) for n in range(1, 4))]
    Generator.objects.update(is_in_use=True)
    return candidate, products


def at_once(who, path, values=None, **more):
    """The same request from two windows of one person, in the same moment; what each was answered."""
    answers, ready = [], threading.Barrier(2)

    def send():
        client = Client()
        client.force_login(who)
        sent = values() if callable(values) else values
        ready.wait(60)
        try:
            answers.append(client.post(path, sent, **more))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 2 and all(answer.status_code < 400 for answer in answers), answers
    return answers


def test_drawing_from_the_page_the_candidate_and_over_http(house, people):  # noqa: F811
    candidate, _ = house
    max_, drawn = people["max"], Run.objects.filter(kind="generate")
    form = {"prompts": [candidate.prompt_id], "per_pair": 1, "attempts": 1, "base_seed": 7}
    answers = at_once(max_, reverse("generate"), form)
    assert drawn.count() == 1 and answers[0].url == answers[1].url == reverse("run", args=[drawn.get().pk])
    assert Plan.objects.get().products and drawn.get().parts.count() == 1

    answers = at_once(max_, "/api/v1/generation/runs", {"newest": 2}, content_type=JSON)
    assert drawn.count() == 2 and answers[0].json()["id"] == answers[1].json()["id"]
    client = Client()
    client.force_login(max_)
    again = client.post("/api/v1/generation/runs", {"newest": 2}, content_type=JSON).json()["id"]
    assert again == answers[0].json()["id"], "a client whose answer was lost sends it a little later"
    assert client.post("/api/v1/generation/runs", {"newest": 2, "base_seed": 9}, content_type=JSON).json()["id"] != again
    Run.objects.filter(pk=again).update(state="stopped")
    assert client.post("/api/v1/generation/runs", {"newest": 2}, content_type=JSON).json()["id"] != again
    before = drawn.count()
    for change in (lambda: Prompt.objects.update(text="on a red shelf"), lambda: build.product(9)):
        change()
        client.post("/api/v1/generation/runs", {"newest": 2}, content_type=JSON)
    assert drawn.count() == before + 2, "the same words mean something else since a prompt was written anew, a product came in"
    before = drawn.count()
    assert ordering.start(ordering.Wish(newest=2), people["olga"], once=True) and drawn.count() == before + 1, "somebody else's"

    page_of_it = client.get(reverse("candidate", args=[candidate.pk]))
    values = {"count": 2, "once": page_of_it.context["once"]}
    at_once(max_, reverse("candidate-more", args=[candidate.pk]), values)
    assert drawn.count() == before + 2
    client.post(reverse("candidate-more", args=[candidate.pk]), {"count": 2, "once": "another page's"})
    assert drawn.count() == before + 3

    at_once(max_, reverse("candidate-again", args=[candidate.pk]))
    assert Run.objects.filter(kind="remake").count() == 1


def test_failed_ones_are_tried_again_once(house, people):  # noqa: F811
    _, products = house
    run = start_generation(products=products, prompts=[build.prompt()], user=people["max"])
    Run.objects.filter(parent=run).update(state="succeeded")
    plan = Plan.objects.get(run=run)
    for row in products[:3]:
        Failure.objects.create(plan=plan, product=row, prompt=build.prompt(), seed=row.pk, problem="Its picture is gone.")
    at_once(people["max"], reverse("generation-retry", args=[run.pk]))
    assert sorted(run.parts.values_list("state", "total")) == [("queued", 3), ("succeeded", 4)]
    assert failures.retry(run) == 0


def test_sending_accepting_cutting_and_importing(house, people, tmp_path):  # noqa: F811
    candidate, _ = house
    max_, project = people["max"], Project.objects.create(name="First pictures", overlap=2)
    ticked = {"candidate": candidate.pk, "what": "ticked", "project": project.pk}
    at_once(max_, reverse("candidates-send"), ticked)
    assert Task.objects.filter(project=project).count() == 1
    at_once(max_, reverse("candidates-send"), {"what": "all", "sure": "yes", "project": project.pk})
    assert Run.objects.filter(kind="send_candidates").count() == 1

    first, second = cut_out_rows.waiting("a"), cut_out_rows.waiting("b")
    at_once(max_, reverse("cut_out_accept", args=[first.pk]), {"seen": first.image_sha256})
    assert list(Product.objects.waiting()) == [second]
    cuts = Run.objects.filter(kind="cut_out")
    at_once(max_, reverse("products_recut"), {"what": "all", "threshold": 40, "query": ""})
    assert cuts.count() == 1 and cuts.get().parts.count() == 1
    cuts.update(state="succeeded")  # and then another threshold was tried, and not liked
    at_once(max_, reverse("products_recut"), {"what": "all", "threshold": 40, "query": ""})
    assert cuts.count() == 2
    picture = build.png(cut_out_rows.photo())
    at_once(max_, reverse("product_import"), lambda: {"form": "pictures", "pictures": [SimpleUploadedFile("mug.png", picture)]})
    assert cuts.count() == 3

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cup.png").write_bytes(build.png(build.cut_out(5)))
    looked = start(Order(kind="products", path=str(tmp_path / "set"), dry_run=True), anywhere=True, user=max_)
    Run.objects.filter(pk=looked.pk).update(state="succeeded")
    at_once(max_, reverse("import_start", args=[looked.pk]))
    assert Run.objects.filter(kind=looked.kind).exclude(pk=looked.pk).count() == 1


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("page", [SIZES[0]], indirect=True, ids=["1440 light"])
def test_three_clicks_in_chromium(page, house):  # noqa: F811
    candidate, _ = house
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" and "hx-request" not in request.headers else None)
    go(page, "/generate/")
    page.locator("button:has-text('Draw')").last.click(click_count=3)
    page.wait_for_url("**/runs/*/")
    assert Run.objects.filter(kind="generate").count() == 1 and len(asked) == 1

    go(page, f"/candidates/{candidate.pk}/")
    page.locator("text=Make it again").click(click_count=3)
    page.wait_for_url("**/runs/*/")
    assert Run.objects.filter(kind="remake").count() == 1 and len(asked) == 2
    page.go_back()
    page.fill("#more-count", "3")
    page.locator("text=Draw with new seeds").click(click_count=3)
    page.wait_for_url("**/runs/*/")
    assert Run.objects.filter(kind="generate").count() == 2 and len(asked) == 3, "a page that is come back to sends again"

    # The second half of a double click on the cut-out before comes when this one's page has only just come: no clock goes on.
    waiting = [cut_out_rows.waiting(name) for name in "abc"]
    page.add_init_script(
        "performance.now = () => 0; addEventListener('DOMContentLoaded', () => document.querySelector('[data-key=a]')?.click())"
    )
    go(page, f"/products/{waiting[0].pk}/cut-out/")
    page.wait_for_selector("h1:text-is('Jug b')")
    page.wait_for_load_state("networkidle")
    assert set(Product.objects.waiting()) == set(waiting[1:])
