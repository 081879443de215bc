"""The pages of runs."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from runs.models import Run, RunMetric
from tests import loop_rows

no_kept_numbers = loop_rows.no_kept_numbers
pytestmark = pytest.mark.django_db


class TestRunPages:
    @pytest.fixture
    def mia(self, client, people):
        client.force_login(people["mia"])
        return people["mia"]

    def test_a_failed_run_says_its_sentence(self, client, mia):
        run = Run.objects.create(kind="generate", title="Draw", state="failed", error="The disk is full: free some space.")
        assert b"The disk is full" in client.get(reverse("run", args=[run.pk])).content
        assert b"The disk is full" in client.get(reverse("runs")).content

    def test_a_run_in_which_everything_failed_does_not_read_as_a_success(self, client, mia):
        told = {"kind": "generate", "title": "Draw", "state": "succeeded", "total": 3}
        run = Run.objects.create(**told, result={"images": 0, "failed": 3})
        Run.objects.create(**told, parent=run, result={"images": 0, "failed": 3})
        for url, times in ((reverse("run", args=[run.pk]), 2), (reverse("runs"), 1)):
            html = client.get(url).content.decode()
            assert html.count('<span class="chip chip-bad">All failed</span>') == times and 'max="1" value="0.0' in html

    def test_one_of_which_some_failed_says_how_many_until_they_are_there(self, client, mia):
        told = {"kind": "generate", "title": "Draw", "state": "succeeded", "result": {"images": 3, "failed": 1}}
        run = Run.objects.create(**told, total=4, done=3)
        part = Run.objects.create(**told, parent=run, total=3, done=3)
        for url, times in ((reverse("run", args=[run.pk]), 2), (reverse("runs"), 1), (reverse("run", args=[part.pk]), 1)):
            html = client.get(url).content.decode()
            assert html.count('<span class="chip chip-warn">Succeeded, 1 failed</span>') == times and 'max="1" value="0.75' in html
        Run.objects.filter(pk=run.pk).update(done=4)  # a further part drew it; the first one's result is as it was
        html = client.get(reverse("runs")).content.decode()
        assert '<span class="chip chip-good">Succeeded</span>' in html and 'max="1" value="1.0' in html

    def test_the_words_are_those_of_people(self, client, mia):
        run = Run.objects.create(kind="generate", title="Draw", state="waiting", total=4)
        Run.objects.create(kind="generate", title="Another", state="queued")
        html = client.get(reverse("run", args=[run.pk])).content.decode()
        assert "Working in parts" not in html and ">Running<" in html and "<dt>Kind</dt><dd>Draw candidates</dd>" in html
        html = client.get(reverse("runs"), {"state": "running"}).content.decode()
        assert ">Draw</a>" in html and ">Another</a>" not in html and html.count(">Running<") == 2

    def test_kinds_to_choose_from_have_each_title_once_and_find_all_that_have_it(self, client, mia):
        for kind in ("perceive", "perceive_many"):
            Run.objects.create(kind=kind, title=f"By {kind}", state="failed")
        html = client.get(reverse("runs")).content.decode()
        assert "(part)</option>" not in html and html.count(">Depth and saliency</option>") == 1
        chosen = html.split(">Depth and saliency</option>")[0].rsplit('value="', 1)[1].rstrip('"')
        html = client.get(reverse("runs"), {"kind": chosen}).content.decode()
        assert "By perceive" in html and "By perceive_many" in html
        assert client.get(reverse("runs"), {"kind": "no such kind"}).status_code == 200

    def test_upkeep_that_went_well_is_listed_only_when_asked_for(self, client, mia):
        for title, state in (("Fine", "succeeded"), ("Broken", "failed")):
            Run.objects.create(kind="fit_consensus", title=title, state=state)
        html = client.get(reverse("runs")).content.decode()
        assert "Broken" in html and "Fine" not in html
        for query in ({"kind": "every"}, {"kind": "fit_consensus"}, {"state": "succeeded"}):
            assert "Fine" in client.get(reverse("runs"), query).content.decode()

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
