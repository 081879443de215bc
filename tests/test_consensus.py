"""From answers to consensus: majority with every answer, Dawid-Skene by a run, and the page that shows both."""

import uuid
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from accounts.models import User
from adproof.labels import Label
from adproof.simulate import confusion_of
from annotation import quality
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations, undo
from annotation.consensus import tally
from annotation.models import Annotation, AnnotatorQuality, Consensus, Project, Task
from annotation.tables import safe
from runs.models import Run
from tests import build


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=3)


def give(user, project, labels):
    """One answer to every task this person can get; labels: candidate -> label."""
    slots = lease(user, project, 50)
    answers = [Answer(uuid.uuid4(), slot.task_id, labels[slot.candidate_id], 2.0) for slot in slots]
    return save_annotations(user, answers)


def fit():
    return quality.fit(nullcontext, lambda done, total: None)


@pytest.mark.django_db
class TestTally:
    def test_the_most_votes_win(self):
        row = tally(7, [(1, 2), (2, 2), (3, 0)], 3)
        assert (row.label, row.count, row.is_complete) == (2, 3, True)
        assert row.agreement == pytest.approx(2 / 3)
        assert row.posterior == pytest.approx([1 / 3, 0, 2 / 3, 0, 0], abs=1e-6)

    def test_a_tie_goes_to_the_defect(self):
        assert tally(7, [(1, 0), (2, 3)], 2).label == Label.INDISTINCTIVENESS
        assert tally(7, [(1, 4), (2, 1)], 2).label == Label.SPACE_MISMATCH


def test_every_answer_and_every_undo_moves_the_consensus(project, people):
    [candidate] = build.candidates(1)
    add_tasks(project, [Pick(candidate.pk)])
    for name, label in (("alice", 1), ("bob", 1), ("rita", 0)):
        give(people[name], project, {candidate.pk: label})
    row = Consensus.objects.get()
    assert (row.label, row.annotation_count, row.is_complete, row.method) == (1, 3, True, "majority")
    undo(people["alice"], Annotation.objects.get(annotator=people["alice"]).pk)
    row.refresh_from_db()
    assert (row.annotation_count, row.is_complete, row.label) == (2, False, 1)
    for name in ("bob", "rita"):
        undo(people[name], Annotation.objects.get(annotator=people[name]).pk)
    assert not Consensus.objects.exists()


@pytest.fixture
def crowd(project):
    """Three good annotators and one who calls nearly everything available, on 40 candidates."""
    rng = np.random.default_rng(4)
    rows = build.candidates(40)
    truth = {row.pk: number % 5 for number, row in enumerate(rows)}
    project.overlap = 4
    project.save()
    add_tasks(project, [Pick(row.pk) for row in rows])
    for name, accuracy in (("good-1", 0.95), ("good-2", 0.9), ("good-3", 0.9), ("lenient", 0.15)):
        user = User.objects.create(username=name)
        confusion = confusion_of(accuracy, None if accuracy > 0.5 else [1, 0, 0, 0, 0])
        give(user, project, {pk: int(rng.choice(5, p=confusion[label])) for pk, label in truth.items()})
    return truth


class TestFit:
    def test_it_finds_the_truth_and_the_lenient_annotator(self, crowd):
        result = fit()
        right = [row.label == crowd[row.candidate_id] for row in Consensus.objects.all()]
        assert sum(right) >= 38
        assert set(Consensus.objects.values_list("method", flat=True)) == {"dawid-skene"}
        quality_of = {row.annotator.username: row for row in AnnotatorQuality.objects.all()}
        assert quality_of["lenient"].accuracy < 0.5 < min(quality_of[name].accuracy for name in ("good-1", "good-2"))
        assert quality_of["good-1"].annotation_count == 40 and quality_of["good-1"].median_seconds == 2.0
        assert result["annotations"] == 160 and result["candidates"] == 40
        assert result["alpha_low"] <= result["alpha"] <= result["alpha_high"]
        assert sum(result["labels"]) == 40

    def test_an_answer_given_during_the_fit_is_not_overwritten(self, crowd):
        later = timezone.now() + timedelta(minutes=1)
        touched = Consensus.objects.first()
        Consensus.objects.filter(pk=touched.pk).update(updated_at=later)
        fit()
        touched.refresh_from_db()
        assert touched.method == "majority"
        assert Consensus.objects.filter(method="dawid-skene").count() == 39

    def test_it_says_the_same_twice(self, crowd):
        first, before = fit(), list(Consensus.objects.order_by("pk").values_list("posterior", flat=True))
        assert {**fit(), "read_at": ""} == {**first, "read_at": ""}
        assert list(Consensus.objects.order_by("pk").values_list("posterior", flat=True)) == before

    def test_without_answers_there_is_nothing_to_fit(self, db):
        assert fit() == {"annotations": 0, "candidates": 0}


class TestWhenToFit:
    def test_the_first_answers_start_one_and_then_every_so_many(self, crowd):
        run = quality.fit_if_due(every=10)
        assert run.kind == "fit_consensus"
        assert quality.fit_if_due(every=10) == run
        run.refresh_from_db()
        Run.objects.filter(pk=run.pk).update(state="succeeded", started_at=timezone.now())
        assert quality.fit_if_due(every=10) is None
        Annotation.objects.filter(pk__in=Annotation.objects.values("pk")[:10]).update(created_at=timezone.now())
        assert quality.fit_if_due(every=11) is None
        assert quality.fit_if_due(every=10).pk > run.pk

    def test_after_a_fit_of_minutes_the_next_one_waits_some(self, crowd):
        now = timezone.now()
        run = quality.start_fit()
        times = {"started_at": now - timedelta(minutes=5), "finished_at": now - timedelta(minutes=3)}
        Run.objects.filter(pk=run.pk).update(state="succeeded", **times)
        assert Annotation.objects.filter(created_at__gt=times["started_at"]).exists()
        assert quality.fit_if_due(every=1) is None, "two minutes of fit want eight without one"
        times["finished_at"] = now - timedelta(minutes=4, seconds=50)
        Run.objects.filter(pk=run.pk).update(**times)
        assert quality.fit_if_due(every=1).pk > run.pk

    def test_nothing_is_started_without_answers(self, db):
        assert quality.fit_if_due() is None


class TestPages:
    def test_the_quality_page_shows_people_numbers_and_disputes(self, client, people, crowd):
        result = fit()
        Run.objects.create(kind="fit_consensus", state="succeeded", result=result, finished_at=timezone.now())
        client.force_login(people["rita"])
        page = client.get("/quality/").content.decode()
        assert "lenient" in page and "Krippendorff" in page and f"{result['alpha']:.2f}" in page
        assert page.partition('id="disputed-title"')[2].count('class="picture-card"') == 10 and "More" in page

    def test_it_opens_when_there_is_nothing_at_all(self, client, people):
        client.force_login(people["max"])
        assert client.get("/quality/").status_code == 200
        assert client.get("/quality/?after=nonsense").status_code == 404

    def test_disputes_go_on_without_gaps_or_repeats(self, client, people, crowd):
        from annotation.figures import disputed

        everything = [row.pk for row in disputed(100)]
        first = disputed(5)
        second = disputed(100, (first[-1].agreement, first[-1].candidate_id))
        assert [row.pk for row in first + second] == everything

    def test_annotators_see_no_quality_page_and_strangers_the_log_in(self, client, people):
        assert client.get("/quality/").status_code == 302
        client.force_login(people["alice"])
        for path in ("/quality/", "/quality/annotators.csv", "/quality/fit/"):
            assert client.get(path).status_code == 403
        assert client.post("/quality/refit/").status_code == 403

    def test_the_button_starts_one_fit(self, client, people, crowd):
        client.force_login(people["rita"])
        for _ in range(2):
            assert client.post("/quality/refit/").status_code == 302
        assert Run.objects.filter(kind="fit_consensus").count() == 1
        assert b"every 1500ms" in client.get("/quality/fit/").content

    @pytest.mark.parametrize("name", ["annotators", "throughput", "labels", "disputed"])
    def test_tables_come_as_csv(self, client, people, crowd, name):
        fit()
        client.force_login(people["rita"])
        response = client.get(f"/quality/{name}.csv")
        assert response["Content-Type"].startswith("text/csv")
        assert len(response.content.decode().splitlines()) > 1

    def test_text_that_looks_like_a_formula_is_made_harmless(self):
        assert safe("=HYPERLINK(1)") == "'=HYPERLINK(1)"
        assert [safe(text) for text in ("+1", "-1", "@x", "\tx")] == ["'+1", "'-1", "'@x", "'\tx"]
        assert [safe(text) for text in ("＝1+1", "\n=1", "")] == ["'＝1+1", "'\n=1", ""]
        assert safe(-1.5) == -1.5 and safe("plain - text") == "plain - text"

    def test_guidelines_show_an_example_of_every_label(self, client, people, project):
        client.force_login(people["alice"])
        page = client.get("/guidelines/").content.decode()
        assert page.count("An example of") == 15

    def test_guidelines_show_real_candidates_once_people_agree(self, client, people, project):
        rows = build.candidates(3)
        add_tasks(project, [Pick(row.pk) for row in rows])
        for name in ("alice", "bob", "rita"):
            give(people[name], project, {row.pk: 3 for row in rows})
        assert Task.objects.filter(is_open=False).count() == 3
        client.force_login(people["alice"])
        page = client.get("/guidelines/").content.decode()
        assert all(row.image_sha256 in page for row in rows)
