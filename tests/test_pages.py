"""The pages: who may open them, what they say, and that they cost the same however much there is."""

import io
import re
import shutil
import uuid
import zipfile
from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from PIL import Image

from generation.models import Product, Prompt
from runs.models import Run, RunMetric
from tests import build
from tests.in_browser import until

pytestmark = pytest.mark.django_db
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SHAPES = {"path", "rect", "circle"}


@pytest.fixture(autouse=True)
def no_kept_numbers():
    cache.clear()
    yield
    cache.clear()


class Balance(HTMLParser):
    """Fails on a tag that is closed twice, never, or across another; and on an id that is there twice."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            assert values["id"] not in self.ids, f"id {values['id']} twice"
            self.ids.add(values["id"])
        if tag == "img":
            assert "alt" in values, "a picture without alt"
        if tag not in VOID | SHAPES:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in SHAPES:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
            self.open.pop()


def assert_sane(response):
    html = response.content.decode()
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert "<h1" in html
    assert "://" not in re.sub(r'xmlns="[^"]*"', "", html.partition("<body")[0]), "nothing is fetched from elsewhere"
    assert "{%" not in html and "{{" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html), "no inline script"


def consensus(candidate, label=0, agreement=1.0, is_complete=True):
    from annotation.models import Consensus

    return Consensus.objects.create(
        candidate=candidate, label=label, posterior=[0.9 if n == label else 0.025 for n in range(5)], method="majority",
        annotation_count=2, agreement=agreement, is_complete=is_complete,
    )


def checkpoint(name="rfnet-1", ap=0.7, **values):
    from rfnet_service.models import Checkpoint

    return Checkpoint.objects.create(
        name=name, folder="x", sha256="f" * 64, metrics={"test": {"average_precision": ap, "f1": ap}}, **values
    )


def verdict(candidate, by, label=0):
    from rfnet_service.models import Verdict

    probs = [0.6 if n == label else 0.1 for n in range(5)]
    return Verdict.objects.create(candidate=candidate, checkpoint=by, probs=probs, label=label, p_available=probs[0], margin=0.5)


def annotate(candidate, person, label=0):
    from annotation.models import Annotation, Project, Slot, Task

    project, _ = Project.objects.get_or_create(name="first")
    task, _ = Task.objects.get_or_create(project=project, candidate=candidate, defaults={"overlap": 2})
    Slot.objects.create(task=task, number=task.slots.count(), annotator=person, is_filled=True)
    return Annotation.objects.create(
        id=uuid.uuid4(), task=task, candidate=candidate, annotator=person, label=label, seconds=3.2
    )


@pytest.fixture
def loop(people):
    """Some rows at every station."""
    from annotation.models import Project, Task

    rows = build.candidates(4)
    first = checkpoint(is_promoted=True)
    for row in rows[:2]:
        annotate(row, people["alice"])
        consensus(row)
        verdict(row, first)
    project = Project.objects.get()
    Task.objects.create(project=project, candidate=rows[2], overlap=2)
    run = Run.objects.create(kind="generate", title="Draw 4 candidates", state="succeeded", total=4, done=4, result={"images": 4})
    return {"candidates": rows, "run": run, "checkpoint": first}


# page, who may open it
PAGES = [
    ("home", "alice rita max mia olga"),
    ("profile", "alice rita max mia olga"),
    ("products", "rita max mia olga"),
    ("product", "rita max mia olga"),
    ("product_import", "max olga"),
    ("prompts", "rita max mia olga"),
    ("prompt", "max mia olga"),
    ("prompt_create", "max mia olga"),
    ("generators", "rita max mia olga"),
    ("candidates", "rita max mia olga"),
    ("candidate", "rita max mia olga"),
    ("generate", "max mia olga"),
    ("runs", "max mia olga"),
    ("run", "max mia olga"),
]
POSTS = [
    ("product_unsuitable", "max olga"),
    ("generator_use", "mia olga"),
    ("run_stop", "max mia olga"),
    ("run_resume", "max mia olga"),
]


def address(name, loop):
    candidate = loop["candidates"][0]
    pks = {
        "product": candidate.product_id, "product_unsuitable": candidate.product_id, "prompt": candidate.prompt_id,
        "candidate": candidate.pk, "run": loop["run"].pk, "run_stop": loop["run"].pk, "run_resume": loop["run"].pk,
        "generator_use": candidate.generator_id,
    }
    return reverse(name, args=[pks[name]] if name in pks else [])


class TestWhoMayOpenWhat:
    @pytest.mark.parametrize(("name", "allowed"), PAGES)
    def test_each_role_sees_its_pages_and_only_those(self, client, people, loop, name, allowed):
        url = address(name, loop)
        assert client.get(url).status_code == 302, "strangers go to the log-in page"
        for person in ("alice", "rita", "max", "mia", "olga"):
            client.force_login(people[person])
            response = client.get(url)
            assert response.status_code == (200 if person in allowed else 403), (person, url)
            assert_sane(response)

    @pytest.mark.parametrize(("name", "allowed"), POSTS)
    def test_only_some_may_change_things(self, client, people, loop, name, allowed):
        loop["run"].created_by = people["max"]
        loop["run"].save()
        url = address(name, loop)
        for person in ("alice", "rita", "max", "mia", "olga"):
            client.force_login(people[person])
            assert client.get(url).status_code in {403, 405}
            refused = client.post(url).status_code == 403
            if name.startswith("run_") and person == "mia":
                assert refused, "somebody else's run"
            else:
                assert refused == (person not in allowed), (person, url)

    def test_navigation_shows_only_what_one_may_open(self, client, people, loop):
        client.force_login(people["alice"])
        html = client.get(reverse("home")).content.decode()
        assert reverse("products") not in html and reverse("runs") not in html


class TestLogIn:
    @pytest.fixture
    def demo(self, settings, people):
        settings.DEMO = True
        people["alice"].is_demo = people["max"].is_demo = True
        people["alice"].save()
        people["max"].save()

    def test_a_demo_person_enters_with_one_click(self, client, people, demo):
        assert reverse("demo_login", args=["max"]) in client.get(reverse("login")).content.decode()
        assert client.post(reverse("demo_login", args=["max"])).url == reverse("home")

    def test_annotators_go_straight_to_the_desk(self, client, people, demo):
        assert client.post(reverse("demo_login", args=["alice"])).url == reverse("desk")

    def test_only_demo_people_enter_like_that(self, client, people, demo):
        assert client.post(reverse("demo_login", args=["olga"])).status_code == 404

    def test_it_is_not_there_without_the_demo(self, client, people, demo, settings):
        settings.DEMO = False
        assert reverse("demo_login", args=["max"]) not in client.get(reverse("login")).content.decode()
        assert client.post(reverse("demo_login", args=["max"])).status_code == 404

    def test_it_wants_a_post_with_a_csrf_token(self, people, demo):
        from django.test import Client

        assert Client().get(reverse("demo_login", args=["max"])).status_code == 405
        assert Client(enforce_csrf_checks=True).post(reverse("demo_login", args=["max"])).status_code == 403

    def test_its_example_pictures_are_there(self, client):
        from django.contrib.staticfiles import finders

        names = re.findall(r'src="/static/(annotation/examples/[^"]+)"', client.get(reverse("login")).content.decode())
        assert len(names) == 5 and all(finders.find(name) for name in names)

    def test_a_wrong_password_gets_a_sentence(self, client, people):
        response = client.post(reverse("login"), {"username": "max", "password": "wrong"})
        assert "Please enter a correct" in response.content.decode()
        assert_sane(response)

    def test_a_poll_after_the_session_ended_loads_the_whole_page(self, client, people):
        response = client.get(reverse("home"), headers={"HX-Request": "true"}, follow=True)
        assert response.headers["HX-Refresh"] == "true"

    def test_a_token_is_made_and_replaced(self, client, people):
        client.force_login(people["max"])
        client.post(reverse("rotate_token"))
        first = people["max"].auth_token.key
        assert first in client.get(reverse("profile")).content.decode()
        client.post(reverse("rotate_token"))
        people["max"].refresh_from_db()
        assert people["max"].auth_token.key != first


class TestStations:
    def station(self, user, key):
        from frontend_templates.stations import stations

        cache.clear()
        return {station.key: station for station in stations(user)}[key]

    def test_an_empty_platform_begins_with_products(self, people):
        from frontend_templates.stations import next_for, stations

        first = next_for(stations(people["max"]))
        assert first.key == "products" and first.action.url == reverse("product_import")

    def test_numbers_are_those_of_the_rows(self, people, loop):
        assert self.station(people["olga"], "products").value == 4
        assert self.station(people["olga"], "candidates").value == 4
        assert self.station(people["olga"], "consensus").value == 2
        assert self.station(people["olga"], "judge").value == 2
        assert "2 candidates without a verdict" in self.station(people["olga"], "judge").next_step

    def test_tasks_that_wait_are_those_one_has_not_had(self, people, loop):
        # Alice has had two of the three open tasks.
        assert self.station(people["alice"], "label").next_step == "1 task waits for you."
        assert self.station(people["bob"], "label").next_step == "3 tasks wait for you."

    def test_a_button_is_there_only_for_those_who_may_press_it(self, people, loop):
        assert self.station(people["max"], "products").action is not None
        assert self.station(people["alice"], "products").action is None
        assert self.station(people["alice"], "candidates").url == ""

    def test_labelled_candidates_in_no_version_are_to_be_frozen(self, people, loop):
        assert self.station(people["max"], "dataset").next_step == "2 labelled candidates are in no version."

    def test_a_checkpoint_that_beats_the_one_in_use_is_to_be_promoted(self, people, loop):
        checkpoint("worse", ap=0.6)
        assert "beats" not in self.station(people["mia"], "rfnet").next_step
        checkpoint("better", ap=0.8)
        assert self.station(people["mia"], "rfnet").next_step == "better beats the one in use (AP 0.80)."

    def test_runs_at_work_show_at_their_station(self, people, loop):
        Run.objects.create(kind="generate", title="Draw", state="waiting", done=1, total=4)
        station = self.station(people["max"], "candidates")
        assert (station.busy_runs, station.busy_share) == (1, 0.25)

    def test_availability_is_the_share_people_call_available(self, people, loop):
        from frontend_templates.numbers import count

        consensus(loop["candidates"][2], label=3)
        consensus(loop["candidates"][3], label=0, is_complete=False)
        row = count().availability[0]
        assert (row.labelled, row.available) == (3, 2)

    def test_candidates_of_unsuitable_products_do_not_count(self, people, loop):
        from frontend_templates.numbers import count

        Product.objects.filter(pk=loop["candidates"][0].product_id).update(unsuitable=True)
        assert count().availability[0].labelled == 1

    def test_polling_asks_the_database_little(self, client, people, loop, django_assert_max_num_queries):
        client.force_login(people["max"])
        client.get(reverse("home"))
        with django_assert_max_num_queries(6):
            response = client.get(reverse("home"), headers={"HX-Request": "true"})
        assert b"<html" not in response.content and b"station-label" in response.content


class TestRunPages:
    @pytest.fixture
    def mia(self, client, people):
        client.force_login(people["mia"])
        return people["mia"]

    def test_a_failed_run_says_its_sentence(self, client, mia):
        run = Run.objects.create(kind="generate", title="Draw", state="failed", error="The disk is full: free some space.")
        assert b"The disk is full" in client.get(reverse("run", args=[run.pk])).content
        assert b"The disk is full" in client.get(reverse("runs")).content

    def test_polling_ends_with_the_run(self, client, mia):
        run = Run.objects.create(kind="generate", title="Draw", state="running", lease_until=timezone.now() + timedelta(hours=1))
        url = reverse("run", args=[run.pk])
        assert b'hx-trigger="every 2s"' in client.get(url).content
        assert client.get(url, headers={"HX-Request": "true"}).status_code == 200
        Run.objects.update(state="succeeded")
        assert client.get(url, headers={"HX-Request": "true"}).status_code == 286
        assert b'hx-trigger="every 2s"' not in client.get(url).content

    def test_stop_and_resume(self, client, mia):
        run = Run.objects.create(kind="generate", title="Draw", state="queued", created_by=mia)
        client.post(reverse("run_stop", args=[run.pk]))
        run.refresh_from_db()
        assert run.state == "stopped"
        client.post(reverse("run_resume", args=[run.pk]))
        run.refresh_from_db()
        assert run.state == "queued"

    def test_curves_are_thinned_and_the_last_report_of_a_step_counts(self, client, mia):
        run = Run.objects.create(kind="train_rfnet", title="Train", state="running")
        RunMetric.objects.bulk_create(RunMetric(run=run, step=n, values={"loss": 1 / (n + 1)}) for n in range(2000))
        answer = client.get(reverse("run_metrics", args=[run.pk])).json()
        assert answer["finished"] is False
        assert 300 <= len(answer["series"]["loss"]) <= 400
        again = Run.objects.create(kind="train_rfnet", title="Train", state="succeeded")
        for loss in (3.0, 2.0):
            RunMetric.objects.create(run=again, step=1, values={"loss": loss, "note": "x"})
        assert client.get(reverse("run_metrics", args=[again.pk])).json() == {"finished": True, "series": {"loss": [[1, 2.0]]}}

    def test_the_log_is_shown_from_its_end(self, client, mia, settings):
        run = Run.objects.create(kind="train_rfnet", title="Train", state="succeeded")
        settings.RUN_LOGS_DIR.mkdir(parents=True)
        (settings.RUN_LOGS_DIR / f"{run.pk}.log").write_text("first line\n" + "x" * 99 + "\n" * 50_000 + "<b>last line</b>\n")
        html = client.get(reverse("run", args=[run.pk])).content.decode()
        assert "&lt;b&gt;last line" in html and "first line" not in html

    def test_the_list_costs_the_same_however_long_it_is(self, client, mia, django_assert_max_num_queries):
        Run.objects.bulk_create(Run(kind="generate", title=f"Draw {n}", state="succeeded", created_by=mia) for n in range(100))
        with django_assert_max_num_queries(4):
            html = client.get(reverse("runs")).content.decode()
        more = re.search(r'hx-get="([^"]+before=\d+)"', html)[1]
        older = client.get(more, headers={"HX-Request": "true"}).content.decode()
        assert "Draw 99" in html and "Draw 59" in older and "Draw 99" not in older


class TestGalleries:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def test_lists_cost_the_same_however_many_rows(self, client, people, django_assert_max_num_queries):
        by = checkpoint(is_promoted=True)
        for row in build.candidates(12):
            consensus(row)
            verdict(row, by)
        # with what is counted, and kept
        for name, most in (("products", 5), ("candidates", 15), ("generators", 14), ("prompts", 12)):
            with django_assert_max_num_queries(most):
                assert_sane(client.get(reverse(name)))

    def test_filters_by_what_people_and_rfnet_say(self, client, loop):
        other = checkpoint("old")
        verdict(loop["candidates"][3], other, label=4)
        rows = loop["candidates"]

        def shown(**query):
            html = client.get(reverse("candidates"), query).content.decode()
            return {row.pk for row in rows if f'href="{reverse("candidate", args=[row.pk])}' in html}

        first, second, third, fourth = (row.pk for row in rows)
        assert shown() == {first, second, third, fourth}
        assert shown(label=0) == {first, second}
        assert shown(label=1) == set()
        assert shown(verdict=0) == {first, second}
        assert shown(verdict=4) == set(), "only the checkpoint in use counts"
        assert shown(state="unlabelled") == {third, fourth}
        assert shown(state="contradicted") == set()
        assert shown(product=rows[2].product_id) == {third}
        assert shown(label=99, generator="x", before="y") == {first, second, third, fourth}, "nonsense is ignored"

    def test_search_and_category(self, client):
        build.product(1)
        build.product(2, title="Kettle", category="kitchen")
        html = client.get(reverse("products"), {"q": "kett"}).content.decode()
        assert "Kettle" in html and "Lamp 1" not in html
        assert "Lamp 1" in client.get(reverse("products"), {"category": "lamps"}).content.decode()

    def test_pages_of_empty_stations_say_what_to_do(self, client):
        assert reverse("product_import") in client.get(reverse("products")).content.decode()
        assert "Nothing drawn yet" in client.get(reverse("candidates")).content.decode()

    def test_attempts_of_a_draw_are_side_by_side(self, client, loop):
        first, second = loop["candidates"][:2]
        type(second).objects.filter(pk=second.pk).update(draw=first.draw, attempt=2)
        html = client.get(reverse("candidate", args=[first.pk])).content.decode()
        assert "All attempts of this draw" in html and reverse("candidate", args=[second.pk]) in html

    def test_annotations_are_named_only_to_those_who_see_quality(self, client, people, loop):
        url = reverse("candidate", args=[loop["candidates"][0].pk])
        assert "alice" in client.get(url).content.decode()

    def test_flagging_a_product_wants_a_reason(self, client):
        product = build.product()
        url = reverse("product_unsuitable", args=[product.pk])
        client.post(url, {"reason": ""})
        product.refresh_from_db()
        assert not product.unsuitable
        client.post(url, {"reason": "a leg is missing"})
        product.refresh_from_db()
        assert product.unsuitable and product.unsuitable_reason == "a leg is missing"


class TestImportPage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def send(self, client, **data):
        return client.post(reverse("product_import"), data)

    def test_good_pictures_become_products(self, client):
        picture = SimpleUploadedFile("desk-lamp.png", build.png(build.cut_out()))
        response = self.send(client, form="pictures", pictures=[picture], title="Desk lamp", category="Lamps")
        assert response.status_code == 302
        product = Product.objects.get()
        assert (product.sku, product.title, product.category) == ("desk-lamp", "Desk lamp", "Lamps")

    def test_a_bad_file_is_named_and_the_good_one_is_stored(self, client):
        good = SimpleUploadedFile("good.png", build.png(build.cut_out()))
        bad = SimpleUploadedFile("notes.png", b"this is no picture")
        html = self.send(client, form="pictures", pictures=[bad, good]).content.decode()
        assert "notes.png" in html and "Left out: 1" in html
        assert Product.objects.get().sku == "good"

    def test_no_picture_or_an_empty_one_is_refused_with_a_sentence(self, client):
        response = self.send(client, form="pictures")
        assert response.status_code == 422 and b"required" in response.content
        response = self.send(client, form="pictures", pictures=[SimpleUploadedFile("a.png", b"")])
        assert response.status_code == 422 and b"empty" in response.content
        assert_sane(response)

    def test_one_title_cannot_name_two_products(self, client):
        files = [SimpleUploadedFile(f"{n}.png", build.png(build.cut_out(n))) for n in range(2)]
        response = self.send(client, form="pictures", pictures=files, title="Lamp")
        assert response.status_code == 422 and not Product.objects.exists()

    def archive(self, **files):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"{name}.png", content)
        return SimpleUploadedFile("pictures.zip", data.getvalue())

    def test_a_table_with_its_pictures(self, client):
        table = SimpleUploadedFile("t.csv", b"sku,title,image\na,Lamp A,a.png\nb,Lamp B,missing.png\n")
        html = self.send(client, form="csv", table=table, pictures=self.archive(a=build.png(build.cut_out()))).content.decode()
        assert "missing.png" in html
        assert Product.objects.get().sku == "a"

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [(b"sku,title\na,Lamp\n", "no column image"), ("sku,title,image\na,L\xe4mp,a.png\n".encode("latin-1"), "UTF-8")],
    )
    def test_a_table_that_cannot_be_read_is_refused_with_what_to_do(self, client, content, sentence):
        response = self.send(client, form="csv", table=SimpleUploadedFile("t.csv", content), pictures=self.archive(a=b""))
        assert response.status_code == 422 and sentence in response.content.decode()
        assert not Product.objects.exists()

    def test_a_broken_zip_is_refused(self, client):
        table = SimpleUploadedFile("t.csv", b"sku,title,image\na,Lamp,a.png\n")
        response = self.send(client, form="csv", table=table, pictures=SimpleUploadedFile("p.zip", b"nope"))
        assert response.status_code == 422 and b"zip" in response.content

    def test_pictures_without_alpha_wait_for_the_cut_out(self, client):
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(out, "PNG")
        html = self.send(client, form="pictures", pictures=[SimpleUploadedFile("k.png", out.getvalue())]).content.decode()
        assert reverse("run", args=[Run.objects.get(kind="cut_out").pk]) in html


class TestPromptPage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def values(self, **changes):
        return {"name": "Oak", "text": "on an oak table", "negative_text": "", "image_scale": "0.5", "category": "", "is_active": "on", **changes}

    def test_a_prompt_is_made_and_changed(self, client):
        assert client.post(reverse("prompt_create"), self.values()).status_code == 302
        prompt = Prompt.objects.get()
        client.post(reverse("prompt", args=[prompt.pk]), self.values(text="on a marble table"))
        prompt.refresh_from_db()
        assert prompt.text == "on a marble table"

    def test_a_text_of_2001_characters_is_refused_and_kept_in_its_field(self, client):
        text = "long " * 400 + "x"
        response = client.post(reverse("prompt_create"), self.values(text=text))
        html = response.content.decode()
        assert response.status_code == 422 and "has 2001 characters; 2000 is the most" in html
        assert text in html and not Prompt.objects.exists()
        assert "maxlength" not in re.search(r'<textarea name="text"[^>]*>', html)[0], "a paste must not be cut silently"

    def test_100_000_characters_are_refused_as_well(self, client):
        response = client.post(reverse("prompt_create"), self.values(text="x" * 100_000))
        assert response.status_code == 422

    @pytest.mark.parametrize("scale", ["0.05", "0.99", "nan", "big"])
    def test_a_size_out_of_range_is_refused(self, client, scale):
        assert client.post(reverse("prompt_create"), self.values(image_scale=scale)).status_code == 422

    def test_two_prompts_cannot_have_one_name(self, client):
        client.post(reverse("prompt_create"), self.values())
        response = client.post(reverse("prompt_create"), self.values())
        assert response.status_code == 422 and "choose another" in response.content.decode()


class TestGeneratePage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])
        self.products = [build.product(n) for n in range(3)]
        self.prompt = build.prompt()
        generator = build.generator()
        type(generator).objects.update(is_in_use=True)

    def values(self, **changes):
        return {
            "category": "", "skus": "", "most_products": "", "prompts": [self.prompt.pk], "per_pair": "2", "attempts": "1",
            "base_seed": "7", **changes,
        }

    def test_it_starts_a_run_and_goes_to_its_page(self, client):
        response = client.post(reverse("generate"), self.values())
        run = Run.objects.get(kind="generate")
        assert response.url == reverse("run", args=[run.pk])
        assert run.total == 6

    def test_it_says_beforehand_how_many_that_makes(self, client):
        response = client.post(reverse("generate"), self.values(most_products="2"), headers={"HX-Request": "true"})
        assert re.search(r'estimate-number number">4<', response.content.decode())
        assert not Run.objects.exists()

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"prompts": []}, "Choose at least one prompt"),
            ({"skus": "nope"}, "No product has the SKU nope"),
            ({"attempts": "3"}, "needs an RFNet in use"),
            ({"attempts": "99"}, "less than or equal to 8"),
            ({"category": "unknown"}, "not one of the available choices"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_with_a_sentence(self, client, changes, sentence):
        response = client.post(reverse("generate"), self.values(**changes))
        assert response.status_code == 422 and sentence in response.content.decode()
        assert not Run.objects.exists()
        assert_sane(response)

    def test_unsuitable_products_are_not_drawn(self, client):
        Product.objects.filter(pk=self.products[0].pk).update(unsuitable=True)
        client.post(reverse("generate"), self.values())
        assert Run.objects.get(kind="generate").total == 4


class TestErrorPages:
    def test_they_say_what_to_do(self, client, people, settings):
        client.force_login(people["alice"])
        missing = client.get("/not/here/")
        assert missing.status_code == 404 and b"Back to the loop" in missing.content
        refused = client.get(reverse("runs"))
        assert refused.status_code == 403 and b"Ask an operator" in refused.content

    def test_too_large_a_form_is_413(self, client, people, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        client.force_login(people["max"])
        response = client.post(reverse("prompt_create"), {"text": "x" * 2000})
        assert response.status_code == 413 and b"smaller pieces" in response.content

    def test_a_crash_shows_the_page_of_crashes(self, client, people, loop, monkeypatch):
        from generation import views

        def broken(*args, **kwargs):
            raise RuntimeError("boom")

        monkeypatch.setattr(views, "newest_first", broken)
        client.force_login(people["max"])
        client.raise_request_exception = False
        response = client.get(reverse("products"))
        assert response.status_code == 500 and b"Something broke on our side" in response.content
        assert b"boom" not in response.content


BROWSER_PAGES = [
    "home", "profile", "products", "product", "product_import", "prompts", "prompt", "generators", "candidates", "candidate",
    "generate", "runs", "run",
]  # fmt: skip


@pytest.fixture
def browser(monkeypatch):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    # Playwright's loop runs in this thread; Django takes that for asynchronous code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags.split())
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestInTheBrowser:
    @pytest.fixture
    def urls(self, client, people, loop, live_server):
        client.force_login(people["olga"])
        for n in range(3):
            RunMetric.objects.create(run=loop["run"], step=n, values={"loss": 1.0 / (n + 1)})
        names = dict.fromkeys(BROWSER_PAGES)
        urls = [live_server.url + address(name, loop) for name in names]
        return [live_server.url + reverse("login"), live_server.url + "/nothing/here/", *urls]

    def pages(self, browser, client, live_server, width, scheme):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        cookies = [{"name": name, "value": morsel.value, "url": live_server.url} for name, morsel in client.cookies.items()]
        context.add_cookies(cookies)
        return context.new_page()

    def test_the_theme_is_remembered_and_the_menu_needs_no_script(self, browser, client, urls, live_server):
        page = self.pages(browser, client, live_server, 390, "light")
        page.goto(urls[2])
        page.click("[data-theme-toggle]")
        page.goto(urls[4])
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert not page.is_visible(".menu-panel")
        page.click(".menu > summary")
        assert page.is_visible(".menu-panel a")

    def test_the_drawing_form_says_what_it_makes_and_more_products_come(self, browser, client, urls, live_server):
        for n in range(10, 60):
            build.product(n)
        page = self.pages(browser, client, live_server, 1440, "light")
        page.goto(live_server.url + reverse("generate"))
        page.wait_for_selector(".estimate-number")
        assert page.inner_text(".estimate-number") == "12"
        page.fill("[name=most_products]", "")
        page.press("[name=most_products]", "Tab")
        until(page, "document.querySelector('.estimate-number')?.textContent === '54'")
        page.goto(live_server.url + reverse("products"))
        page.click("#more a")
        until(page, "document.querySelectorAll('.picture-card').length === 54")

    def test_curves_are_drawn(self, browser, client, urls, live_server, loop):
        page = self.pages(browser, client, live_server, 1440, "dark")
        page.goto(live_server.url + address("run", loop))
        page.wait_for_selector(".curve canvas[aria-label*='loss']")
        assert page.evaluate("document.querySelector('.curve canvas').height") > 100
