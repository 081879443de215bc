"""The gallery: every filter finds what it says and nothing else, in pages both ways; what is sent goes once."""

import itertools
import json
import os
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotation.models import Project, Task
from generation import gallery
from generation.gallery_filter import GalleryFilter
from generation.models import Candidate
from generation.tasks import forget_unfinished_pictures
from runs.models import Run
from tests import build, data_rows
from tests.data_rows import do

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows(db):
    """48 candidates of 6 products and 2 prompts by 2 generators; labels, verdicts, attempts and days in different rhythms."""
    products = [build.product(n, category=("lamps", "chairs", "mugs")[n % 3], source=("shop", "test")[n % 2]) for n in range(10, 16)]
    run = Run.objects.create(kind="generate", title="Draw")
    part = Run.objects.create(kind="generate_part", title="part", parent=run)
    checkpoint = data_rows.checkpoint(promoted=True)
    made = build.many_candidates(48)
    garden = build.prompt("garden", text="in a garden")
    other = build.generator("other")
    now = timezone.now()
    for n, row in enumerate(made):
        row.product, row.attempt = products[n % 6], 1 + (n % 7 == 0) + (n % 14 == 0)
        row.prompt = garden if n % 4 == 0 else row.prompt
        row.generator = other if n % 5 == 0 else row.generator
        row.run = part if 10 <= n < 20 else None
        row.abandoned_at_step = 4 if n % 9 == 0 else None
        row.created_at = now - timedelta(days=48 - n)
        if n % 8 == 0:
            row.depth_sha256 = ""
    names = ["product", "attempt", "prompt", "generator", "run", "abandoned_at_step", "created_at", "depth_sha256"]
    Candidate.objects.bulk_update(made, names)
    for n, row in enumerate(made):
        if n % 3:
            data_rows.consensus(row, n % 5, agreement=0.5 if n % 4 == 1 else 1.0, is_complete=n % 2 == 0)
        if n % 4 != 3:
            data_rows.verdict(row, checkpoint, (n + n % 2) % 5)
    return made


WORDS = {
    "label": ["0", "3"], "verdict": ["1", "none"], "state": ["unlabelled", "labelled", "disagreed", "agreed", "contradicted", "unperceived"],
    "category": ["lamps"], "source": ["shop"], "q": ["lamp 12"], "attempt": ["1", "again", "2", "3"], "abandoned": ["yes", "no"],
}  # fmt: skip


def facts():
    """Of every candidate what a filter may ask for, read once: (id, {word: does this value fit?})."""
    told = []
    for row in Candidate.objects.select_related("product", "consensus").prefetch_related("verdicts"):
        says, verdict, day = getattr(row, "consensus", None), row.verdicts.first(), str(row.created_at.date())
        both = says is not None and verdict is not None
        states = {
            "unlabelled": says is None, "labelled": says is not None and says.is_complete,
            "disagreed": says is not None and says.agreement < 0.75, "unperceived": row.depth_sha256 == "",
            "agreed": both and says.label == verdict.label, "contradicted": both and says.label != verdict.label,
        }  # fmt: skip
        values = {
            "label": {str(says.label)} if says else set(), "verdict": {str(verdict.label)} if verdict else {"none"},
            "state": {name for name, holds in states.items() if holds}, "category": {row.product.category},
            "source": {row.product.source}, "q": {row.product.title.lower()}, "abandoned": {"no" if row.abandoned_at_step is None else "yes"},
            "attempt": {str(row.attempt), *(["again"] if row.attempt > 1 else [])}, "prompt": {str(row.prompt_id)},
            "generator": {str(row.generator_id)}, "product": {str(row.product_id)},
            "run": {str(row.run.parent_id)} if row.run else set(),
        }  # fmt: skip
        told.append((row.pk, values, day))
    return sorted(told, key=lambda one: one[0], reverse=True)


def expected(query, told=None):
    """The same in plain Python."""
    days = {"drawn_from": lambda day, value: day >= value, "drawn_to": lambda day, value: day <= value}
    return [
        pk
        for pk, values, day in told or facts()
        if all(days[name](day, value) if name in days else value in values[name] for name, value in query.items())
    ]


def found(query, **values):
    return gallery.look(GalleryFilter(query).chosen(), 100, **values).ids


@pytest.mark.parametrize("few", [True, False], ids=["few products", "many products"])
def test_every_filter_and_every_pair_of_filters_finds_what_it_says(rows, monkeypatch, few):
    if not few:
        monkeypatch.setattr(gallery, "FEW_PRODUCTS", 1)
    one = rows[4]
    words = {
        **WORDS, "prompt": [str(one.prompt_id)], "generator": [str(rows[5].generator_id)], "product": [str(one.product_id)],
        "run": [str(Run.objects.get(kind="generate").pk)], "drawn_from": [str(rows[12].created_at.date())],
        "drawn_to": [str(rows[30].created_at.date())],
    }  # fmt: skip
    single = [(name, value) for name, values in words.items() for value in values]
    queries = [{}, *({name: value} for name, value in single)]
    queries += [dict(pair) for pair in itertools.combinations(single, 2) if pair[0][0] != pair[1][0]]
    told = facts()
    assert len(queries) > 200
    for query in queries:
        assert found(query) == expected(query, told), query


def test_pages_go_both_ways_and_meet(rows, monkeypatch):
    monkeypatch.setattr(gallery, "FIRST_WINDOW", 3)
    chosen = GalleryFilter({"state": "labelled"}).chosen()
    every = expected({"state": "labelled"})
    seen, before = [], None
    while True:
        page = gallery.look(chosen, 5, before=before)
        seen += page.ids
        if page.edge is None:
            break
        before = page.edge
    assert seen == every
    assert gallery.look(chosen, 5, after=every[10]).ids == every[5:10]
    assert gallery.look(chosen, 5, after=every[2]).ids == every[:2]


def test_a_search_that_takes_too_long_shows_what_it_found_and_where_it_goes_on(rows, monkeypatch, client, people):
    monkeypatch.setattr(gallery, "LOOK_S", 0)
    monkeypatch.setattr(gallery, "FIRST_WINDOW", 8)
    chosen = GalleryFilter({"state": "agreed"}).chosen()
    seen, before, pages = [], None, 0
    while before is not None or not pages:
        page = gallery.look(chosen, 40, before=before)
        seen, before, pages = seen + page.ids, page.edge, pages + 1
    assert seen == expected({"state": "agreed"}) and pages > 1
    client.force_login(people["mia"])
    html = client.get(reverse("candidates"), {"q": "lamp", "state": "contradicted"}).content.decode()
    assert "Looked as far as" in html or "None as far as" in html
    assert 'hx-trigger="load' in html


def test_an_address_that_makes_no_sense_still_shows_something(rows, client, people):
    client.force_login(people["mia"])
    nonsense = {"label": "x", "run": "99999999999999999999", "prompt": "-1", "before": "x", "drawn_from": "never"}
    assert client.get(reverse("candidates"), nonsense).content.decode().count("gallery-card") == 40


def test_a_small_picture_is_kept_whole_and_what_a_killed_server_left_half_written_goes_after_a_day(client, people, settings):
    client.force_login(people["mia"])
    address = reverse("thumbnail", args=[96, build.candidates(1)[0].image_sha256])
    made = client.get(address).content
    kept = [path for path in settings.THUMBNAILS_DIR.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [made] and b"".join(client.get(address)) == made
    half = settings.THUMBNAILS_DIR / ".new-half"
    half.write_bytes(made[:9])
    forget_unfinished_pictures()
    assert half.exists(), "somebody may be at it"
    os.utime(half, (0, 0))
    forget_unfinished_pictures()
    assert not half.exists() and kept[0].exists()


class TestOneCandidate:
    def test_its_settings_can_be_copied_and_its_neighbours_are_those_of_the_filter(self, rows, client, people):
        client.force_login(people["mia"])
        agreed = expected({"state": "agreed"})
        html = client.get(reverse("candidate", args=[agreed[1]]), {"state": "agreed"}).content.decode()
        assert f'rel="prev" href="/candidates/{agreed[0]}/?state=agreed"' in html
        assert f'rel="next" href="/candidates/{agreed[2]}/?state=agreed"' in html
        text = re.search(r"data-settings[^>]*>(.*?)</pre>", html, re.S).group(1).replace("&quot;", '"')
        assert json.loads(text)["seed"] == Candidate.objects.get(pk=agreed[1]).seed

    def test_more_like_it_are_drawn_with_new_seeds(self, rows, client, people):
        client.force_login(people["mia"])
        client.post(reverse("candidate-more", args=[rows[0].pk]), {"count": "3"})
        run = Run.objects.get(kind="generate", total=3)
        plan = run.plan
        assert (plan.products, plan.prompts) == ([rows[0].product_id], [rows[0].prompt_id]) and plan.generator_id == rows[0].generator_id
        client.post(reverse("candidate-more", args=[rows[0].pk]), {"count": "x"})
        assert Run.objects.filter(kind="generate").count() == 2


class TestSending:
    @pytest.fixture
    def project(self, client, people):
        client.force_login(people["max"])
        return Project.objects.create(name="Look here")

    def post(self, client, project, **values):
        values = {"project": project.pk, "priority": "2.5", "what": "ticked", **values}
        return client.post(reverse("candidates-send"), values, follow=True).content.decode()

    def test_ticked_ones_become_tasks_once(self, rows, client, project):
        ticked = [rows[1].pk, rows[2].pk, rows[9].pk]  # the last was given up early
        assert "Done for 2." in self.post(client, project, candidate=ticked)
        assert set(project.tasks.values_list("candidate", "priority")) == {(ticked[0], 2.5), (ticked[1], 2.5)}
        html = self.post(client, project, candidate=[*ticked[:2], rows[4].pk])
        assert "Done for 1." in html and "has a task in this project already" in html
        assert "Tick 1 to 1,000 candidates first." in self.post(client, project)
        assert "The priority is a number" in self.post(client, project, priority="soon", candidate=ticked)

    @pytest.mark.django_db(transaction=True)
    def test_all_that_a_filter_finds_are_sent_by_a_run_that_can_be_killed(self, rows, client, project, monkeypatch):
        from annotation import bulk, sending

        query = "category=lamps&abandoned=no"
        assert "Send all that match" in self.post(client, project, what="all", query=query) and not Task.objects.exists()
        self.post(client, project, what="all", query=query, sure="yes")
        run = Run.objects.get(kind=sending.KIND)
        monkeypatch.setattr(bulk, "CHUNK", 3)
        send, calls = sending.send, []

        def send_and_die(ids, *rest):
            calls.append(ids)
            if len(calls) == 3:
                raise MemoryError
            return send(ids, *rest)

        monkeypatch.setattr(sending, "send", send_and_die)
        assert do(run).state == "failed" and project.tasks.count() == 6
        from runs.actions import resume_run

        resume_run(run)
        run.refresh_from_db()
        wanted = expected({"category": "lamps", "abandoned": "no"})
        assert do(run).result["sent"] == len(wanted)
        assert sorted(project.tasks.values_list("candidate", flat=True), reverse=True) == wanted
