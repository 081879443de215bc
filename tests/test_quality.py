"""The fit: gold and reviews as known truth, RFNet's word, and what an answer does to the consensus at once."""

import random
import uuid
from contextlib import nullcontext, suppress

import numpy as np
import pytest
from django.utils import timezone

from accounts.models import User
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.simulate import confusion_of
from annotation import consensus, quality
from annotation.actions import Pick, Refused, add_tasks, lease, skip
from annotation.answers import Answer, save_annotations, undo
from annotation.consensus import Beliefs, tally
from annotation.gold import Known, make_gold
from annotation.models import Annotation, AnnotatorQuality, Consensus, Project
from datasets_app.models import VersionRow
from runs.models import Run
from tests import build, data_rows


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=3)


def give(user, project, labels, seconds=2.0):
    slots = lease(user, project, 100)
    return save_annotations(
        user, [Answer(uuid.uuid4(), slot.task_id, labels[slot.candidate_id], seconds) for slot in slots]
    )


def fit():
    """As the run does it, with its row."""
    result = quality.fit(nullcontext, lambda done, total: None)
    Run.objects.create(kind="fit_consensus", state="succeeded", result=result, finished_at=timezone.now())
    consensus.forget()
    return result


def crowd(project, candidates, accuracies, seed=4):
    """One answer of each annotator to each candidate; returns candidate -> truth."""
    rng = np.random.default_rng(seed)
    truth = {row.pk: number % 5 for number, row in enumerate(candidates)}
    Project.objects.filter(pk=project.pk).update(overlap=len(accuracies))
    project.refresh_from_db()
    add_tasks(project, [Pick(row.pk) for row in candidates])
    for name, accuracy in accuracies.items():
        user, _ = User.objects.get_or_create(username=name)
        confusion = confusion_of(accuracy, None if accuracy > 0.5 else [1, 0, 0, 0, 0])
        give(user, project, {pk: int(rng.choice(5, p=confusion[label])) for pk, label in truth.items()})
    return truth


class TestKnownTruth:
    def test_gold_keeps_its_label_and_shows_who_is_wrong(self, project, people):
        rows = build.candidates(12)
        add_tasks(project, [Pick(row.pk) for row in rows])
        gold = [row.pk for row in rows[:6]]
        for name in ("alice", "bob", "rita"):
            give(people[name], project, {row.pk: 3 if name == "rita" else 0 for row in rows})
        make_gold(project, {pk: Known(3, "the table shows through") for pk in gold}, people["max"])
        result = fit()
        assert set(Consensus.objects.filter(candidate__in=gold).values_list("label", "method")) == {(3, "gold")}
        of = {row.annotator.username: row for row in AnnotatorQuality.objects.select_related("annotator")}
        assert (of["alice"].gold_count, of["alice"].gold_right) == (6, 0)
        assert (of["rita"].gold_count, of["rita"].gold_right) == (6, 6)
        assert result["people"][str(people["alice"].pk)]["gold"] == 6
        # Two say 0 and one says 3 on the others: with gold known, the one is believed.
        others = Consensus.objects.exclude(candidate__in=gold)
        assert set(others.values_list("label", flat=True)) == {3}

    def test_an_answer_to_gold_leaves_its_label_as_it_is(self, project, people):
        [row] = build.candidates(1)
        add_tasks(project, [Pick(row.pk)])
        give(people["alice"], project, {row.pk: 1})
        make_gold(project, {row.pk: Known(4)}, people["max"])
        assert Consensus.objects.values_list("label", "method", "agreement").get() == (4, "gold", 0.0)
        answered = Annotation.objects.get()
        undo(people["alice"], answered.pk)
        assert not Consensus.objects.exists()
        save_annotations(people["alice"], [Answer(uuid.uuid4(), answered.task_id, 4, 1.0)])
        assert Consensus.objects.values_list("label", "method", "agreement").get() == (4, "gold", 1.0)

    def test_what_a_reviewer_decided_is_kept_and_believed(self, project, people):
        rows = build.candidates(10)
        add_tasks(project, [Pick(row.pk) for row in rows])
        for name in ("alice", "bob", "rita"):
            give(people[name], project, {row.pk: 3 if name == "rita" else 0 for row in rows})
        decided = [row.pk for row in rows[:6]]
        Consensus.objects.filter(candidate__in=decided).update(method="review", label=3, agreement=1 / 3)
        assert fit()["decided"] == 6
        kept = Consensus.objects.filter(candidate__in=decided)
        assert set(kept.values_list("label", "method", "activelab_score")) == {(3, "review", None)}
        assert set(Consensus.objects.exclude(candidate__in=decided).values_list("label", flat=True)) == {3}


class TestVerdicts:
    def judged(self, project, n, version=None, accuracies=None):
        rows = build.candidates(n)
        truth = crowd(project, rows, accuracies or {"a": 0.7, "b": 0.7})
        judge = data_rows.checkpoint(promoted=True, version=version)
        for row in rows:
            data_rows.verdict(row, judge, truth[row.pk], margin=0.8)
        return truth, judge

    def version(self, tmp_path):
        return data_rows.version_row(tmp_path / "v")

    def test_a_good_judge_settles_what_two_annotators_leave_open(self, project, tmp_path):
        truth, judge = self.judged(project, 60, self.version(tmp_path))
        result = fit()
        assert (result["method"], result["weighed"], result["judge"]) == ("crowdlab", 60, judge.name)
        rows = Consensus.objects.all()
        assert {row.method for row in rows} == {"crowdlab"}
        assert all(0 < row.crowdlab_quality <= 1 and 0 < row.activelab_score < 1 for row in rows)
        assert sum(row.label == truth[row.candidate_id] for row in rows) >= 56

    def test_verdicts_on_what_the_judge_was_trained_on_do_not_count(self, project, tmp_path):
        version = self.version(tmp_path)
        _, judge = self.judged(project, 60, version)
        for row in Consensus.objects.order_by("candidate")[:40]:
            VersionRow.objects.create(
                version=version, candidate=row.candidate, label=0, posterior=[1, 0, 0, 0, 0], agreement=1,
                annotation_count=2, split="test", row_digest="d",
            )  # fmt: skip
        result = fit()
        assert result["method"] == "dawid-skene" and "20 candidates" in result["why_not_crowdlab"]
        assert set(Consensus.objects.values_list("crowdlab_quality", flat=True)) == {None}

    def test_a_judge_of_unknown_schooling_is_not_asked(self, project):
        self.judged(project, 40)
        result = fit()
        assert result["method"] == "dawid-skene" and "known training set" in result["why_not_crowdlab"]

    def test_when_crowdlab_refuses_the_run_says_why(self, project, tmp_path, monkeypatch):
        monkeypatch.setattr(quality, "MIN_JUDGED", 0)
        self.judged(project, 6, self.version(tmp_path), {"alone": 0.9})
        result = fit()
        assert result["method"] == "dawid-skene" and "two votes or more" in result["why_not_crowdlab"]
        assert Consensus.objects.filter(method="dawid-skene", activelab_score__isnull=False).count() == 6

    def test_a_new_answer_outdates_the_judges_word(self, project, people, tmp_path):
        self.judged(project, 40, self.version(tmp_path))
        fit()
        answer = Annotation.objects.first()
        undo(answer.annotator, answer.pk)
        row = Consensus.objects.get(candidate=answer.candidate_id)
        assert (row.method, row.crowdlab_quality, row.activelab_score) == ("dawid-skene", None, None)
        assert Consensus.objects.filter(method="crowdlab").count() == 39


class TestAtOnce:
    @pytest.mark.parametrize("seed", range(30))
    def test_one_item_equals_the_e_step_of_the_fit(self, seed):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(20, 200))
        items, people = rng.integers(0, 30, n), rng.integers(1, 12, n)
        fitted = DawidSkene(strength=float(rng.integers(0, 3))).fit(items, people, rng.integers(0, 5, n), 5)
        confusions = dict(zip(fitted.annotator_ids.tolist(), fitted.confusion.tolist(), strict=True))
        given = Beliefs.of(fitted.prior.tolist(), confusions, fitted.crowd_confusion.tolist())
        size = int(rng.integers(1, 9))
        who, said = rng.integers(1, 15, size), rng.integers(0, 5, size)  # 12 to 14 were never seen
        row = tally(1, list(zip(who.tolist(), said.tolist(), strict=True)), 3, given=given)
        expected = fitted.posterior_of(who, said)
        assert row.posterior == pytest.approx(expected.tolist(), abs=1e-6)
        assert row.label == int(expected.argmax()) and row.count == size
        assert row.agreement == pytest.approx((said == row.label).mean())
        assert row.activelab_score == pytest.approx((expected.max() * size + 0.2) / (size + 1))

    def test_after_a_fit_the_good_are_believed_more_than_the_many(self, project, people):
        rows = build.candidates(61)
        crowd(project, rows[:60], {"good": 0.97, "lax-1": 0.3, "lax-2": 0.3, "fair": 0.9, "sound": 0.9})
        fit()
        add_tasks(project, [Pick(rows[60].pk)])
        give(User.objects.get(username="good"), project, {rows[60].pk: 2})
        for name in ("lax-1", "lax-2"):
            give(User.objects.get(username=name), project, {rows[60].pk: 0})
        row = Consensus.objects.get(candidate=rows[60])
        assert (row.label, row.method, row.annotation_count) == (2, "dawid-skene", 3)
        assert row.agreement == pytest.approx(1 / 3) and row.activelab_score is not None

    def test_what_is_kept_of_a_fit_gives_the_posterior_of_that_fit(self, project):
        crowd(project, build.candidates(40), {"a": 0.9, "b": 0.8, "c": 0.6})
        fit()
        for row in Consensus.objects.all()[:10]:
            votes = Annotation.objects.filter(candidate=row.candidate_id).values_list("annotator_id", "label")
            assert tally(row.candidate_id, votes, 3).posterior == pytest.approx(row.posterior, abs=2e-3)

    def test_it_costs_next_to_nothing(self, project):
        import timeit

        crowd(project, build.candidates(30), {"a": 0.9, "b": 0.8})
        fit()
        votes = list(Annotation.objects.values_list("annotator_id", "label")[:3])
        consensus.beliefs()
        best = min(timeit.repeat(lambda: tally(1, votes, 3), number=200, repeat=5)) / 200
        assert best < 1e-4


def test_nothing_comes_back_that_was_taken_back_during_the_fit(project, people, monkeypatch):
    crowd(project, build.candidates(3), {"a": 0.9})
    read = quality.read_votes

    def read_and_then_lose_one():
        votes = read()
        answer = Annotation.objects.first()
        undo(answer.annotator, answer.pk)
        return votes

    monkeypatch.setattr(quality, "read_votes", read_and_then_lose_one)
    fit()
    assert Consensus.objects.count() == 2


def test_answers_that_came_another_way_get_their_consensus(project, people):
    crowd(project, build.candidates(3), {"a": 0.9})
    Consensus.objects.all().delete()
    fit()
    assert Consensus.objects.filter(method="dawid-skene", annotation_count=1).count() == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_people_do_the_counts_agree_with_the_answers(project, people, seed):
    rng = random.Random(seed)
    rows = build.candidates(12)
    Project.objects.filter(pk=project.pk).update(overlap=2, agree_at_least=2, overlap_most=4, gold_percent=30)
    project.refresh_from_db()
    add_tasks(project, [Pick(row.pk) for row in rows])
    make_gold(project, {row.pk: Known(1) for row in rows[:3]}, people["max"])
    crew = [people[name] for name in ("alice", "bob", "rita", "mia", "olga")]
    for step in range(160):
        user = rng.choice(crew)
        act = rng.random()
        own = list(Annotation.objects.filter(annotator=user).values_list("id", flat=True))
        if act < 0.6:
            for slot in lease(user, project, 2):
                save_annotations(user, [Answer(uuid.uuid4(), slot.task_id, rng.randrange(3), 1.0)])
        elif act < 0.85 and own:
            with suppress(Refused):
                undo(user, rng.choice(own))
        elif act < 0.95:
            for slot in lease(user, project, 1):
                skip(user, slot.task_id)
        elif step % 3 == 0 and own:
            fit()
    assert Annotation.objects.count() > 20
    counts = {
        candidate: list(Annotation.objects.standing().filter(candidate=candidate).values_list("label", flat=True))
        for candidate in Annotation.objects.values_list("candidate", flat=True)
    }
    found = {row.candidate_id: row for row in Consensus.objects.all()}
    assert found.keys() == {candidate for candidate, labels in counts.items() if labels}
    for candidate, row in found.items():
        labels = counts[candidate]
        assert row.annotation_count == len(labels)
        assert row.agreement == pytest.approx(labels.count(row.label) / len(labels))
        assert (row.method == "gold") == (candidate in {gold.pk for gold in rows[:3]})
