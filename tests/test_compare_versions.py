"""Two versions: what was added, removed, relabelled and moved; of a new label who gave it, when and why."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from adproof.labels import LABELS
from annotation import review
from annotation.models import Annotation, Consensus, Decision, Project, Task
from datasets_app import compare
from datasets_app.compare import BadComparison, changed, summary, totals
from datasets_app.models import DatasetVersion, VersionRow
from tests import build
from tests.data_rows import consensus

pytestmark = pytest.mark.django_db


def frozen(number, rows, at, **values):
    """A version of (candidate, label, split) or (candidate, label, split, more)."""
    made = DatasetVersion.objects.create(
        name="ads", number=number, salt="ads", digest="d" * 64, row_count=len(rows), **values
    )
    DatasetVersion.objects.filter(pk=made.pk).update(created_at=at)
    for candidate, label, split, *more in rows:
        VersionRow.objects.create(
            version=made, candidate=candidate, label=label, split=split, posterior=[1, 0, 0, 0, 0], agreement=1,
            annotation_count=2, row_digest="0" * 64, **(more[0] if more else {}),
        )  # fmt: skip
    made.refresh_from_db()
    return made


@pytest.fixture
def two():
    """0 stays, 1 is relabelled and stays in its split, 2 moves, 3 goes, 4 and 5 come."""
    c = build.candidates(6)
    now = timezone.now()
    old = frozen(
        1, [(c[0], 0, "train"), (c[1], 1, "train"), (c[2], 2, "train"), (c[3], 3, "test")], now - timedelta(days=2)
    )
    new = frozen(
        2,
        [(c[0], 0, "train"), (c[1], 0, "train"), (c[2], 2, "test"), (c[4], 4, "validation"), (c[5], 4, "train")],
        now - timedelta(days=1), parent=old,
    )  # fmt: skip
    return c, old, new


class TestCounting:
    def test_totals(self, two):
        _, old, new = two
        assert totals(old, new) == {"added": 2, "removed": 1, "relabelled": 1, "moved": 1}
        assert totals(new, old) == {"added": 1, "removed": 2, "relabelled": 1, "moved": 1}
        assert set(totals(new, new).values()) == {0}

    def test_the_summary_counts_by_label_split_source_and_category(self, two):
        c, old, new = two
        found = summary(old, new)
        assert found["totals"] == {"added": 2, "removed": 1, "relabelled": 1, "moved": 1, "unchanged": 1}
        assert found["by"]["label"][LABELS[4]] == {"added": 2, "removed": 0, "relabelled": 0, "moved": 0}
        assert found["by"]["label"][LABELS[0]]["relabelled"] == 1, "counted under the label it has now"
        assert found["by"]["split"]["test"] == {"added": 0, "removed": 1, "relabelled": 0, "moved": 1}
        assert found["by"]["source"] == {"test": {"added": 2, "removed": 1, "relabelled": 1, "moved": 1}}
        assert found["by"]["category"] == {"lamps": {"added": 2, "removed": 1, "relabelled": 1, "moved": 1}}
        assert found["labels"] == [{"before": 1, "after": 0, "count": 1}]
        assert found["splits"] == [{"before": "train", "after": "test", "count": 1}]
        assert found["examples"]["added"] == [c[5].pk, c[4].pk] and found["examples"]["removed"] == [c[3].pk]

    def test_a_version_and_itself_do_not_differ(self, two):
        _, old, _ = two
        found = summary(old, old)
        assert found["totals"] == {"added": 0, "removed": 0, "relabelled": 0, "moved": 0, "unchanged": 4}
        assert found["by"]["label"] == {} and found["labels"] == []

    def test_nothing_is_left_behind_for_the_next_summary(self, two):
        _, old, new = two
        assert summary(old, new) == summary(old, new)


class TestListing:
    def test_each_kind_lists_its_rows(self, two):
        c, old, new = two
        listed = {what: [row.candidate for row in changed(old, new, what).rows] for what in compare.WHAT}
        assert listed == {
            "added": [c[4].pk, c[5].pk], "removed": [c[3].pk], "relabelled": [c[1].pk], "moved": [c[2].pk],
        }  # fmt: skip
        gone = changed(old, new, "removed").rows[0]
        assert (gone.label_before, gone.label, gone.split_before, gone.split) == (3, None, "test", None)
        assert (gone.sku, gone.source, gone.category) == (c[3].product.sku, "test", "lamps")

    def test_pages_follow_each_other_and_end(self, two):
        c, old, new = two
        first = changed(old, new, "added", size=1)
        assert [row.candidate for row in first.rows] == [c[4].pk] and first.after == c[4].pk
        second = changed(old, new, "added", size=1, after=first.after)
        assert [row.candidate for row in second.rows] == [c[5].pk] and second.after is None

    def test_they_are_narrowed(self, two):
        c, old, new = two
        assert [row.candidate for row in changed(old, new, "added", split="train").rows] == [c[5].pk]
        assert [row.candidate for row in changed(old, new, "added", label="4", category="lamps").rows] != []
        assert changed(old, new, "added", label=0).rows == []
        assert [row.candidate for row in changed(old, new, "relabelled", label_before=1, source="").rows] == [c[1].pk]

    @pytest.mark.parametrize(
        ("what", "only", "sentence"),
        [
            ("changed", {}, "There is no change called 'changed'"),
            ("added", {"colour": "red"}, "Unknown condition colour"),
            ("added", {"label": "four"}, "label is a number"),
            ("added", {"why": "fit"}, "relabelled rows only"),
            ("relabelled", {"why": "magic"}, "relabelled rows only, as one of"),
        ],
    )
    def test_what_makes_no_sense_gets_a_sentence(self, two, what, only, sentence):
        _, old, new = two
        with pytest.raises(BadComparison, match=sentence):
            changed(old, new, what, **only)


class TestWhy:
    @pytest.fixture
    def answered(self, people):
        """A candidate that alice called a space mismatch three days ago."""
        candidate = build.candidate(0)
        task = Task.objects.create(project=Project.objects.create(name="First"), candidate=candidate, overlap=2)
        self.answer(task, people["alice"], 1, days=3)
        consensus(candidate, 1)
        return candidate, task

    def answer(self, task, who, label, days):
        return Annotation.objects.create(
            id=uuid.uuid4(), task=task, candidate=task.candidate, annotator=who, label=label, seconds=2,
            created_at=timezone.now() - timedelta(days=days),
        )  # fmt: skip

    def versions(self, candidate, before, after):
        now = timezone.now()
        old = frozen(1, [(candidate, 1, "train", before)], now - timedelta(days=2))
        return old, frozen(2, [(candidate, 3, "train", after)], now, parent=old)

    def only(self, old, new):
        [row] = changed(old, new, "relabelled").rows
        assert summary(old, new)["why"][row.why] == 1
        assert changed(old, new, "relabelled", why=row.why).rows == [row]
        return row

    def test_a_reviewer_decided(self, answered, people):
        candidate, _ = answered
        review.decide(people["rita"], uuid.uuid4(), candidate.pk, Decision.Action.CHANGED, 3, "The foot floats.")
        row = self.only(*self.versions(candidate, {"method": "dawid-skene"}, {"method": "review"}))
        assert (row.why, row.method_before, row.method) == ("review", "dawid-skene", "review")
        [event] = row.events
        assert (event.who, event.did, event.label, event.comment) == ("rita", "changed", 3, "The foot floats.")

    def test_people_answered_or_took_an_answer_back(self, answered, people):
        candidate, task = answered
        first = Annotation.objects.get()
        Annotation.objects.update(state="undone", undone_at=timezone.now() - timedelta(hours=5))
        self.answer(task, people["bob"], 3, days=1)
        before, after = [{"at": "2026-01-01"}], [{"at": "2026-01-02"}]
        row = self.only(*self.versions(candidate, {"annotations": before}, {"annotations": after}))
        assert row.why == "answers"
        assert [(event.who, event.did, event.label) for event in row.events] == [
            ("bob", "answered", 3), ("alice", "took back", first.label),
        ]  # fmt: skip

    def test_the_same_answers_were_weighed_anew(self, answered):
        candidate, _ = answered
        row = self.only(*self.versions(candidate, {"method": "majority"}, {"method": "dawid-skene"}))
        assert (row.why, row.method, row.events) == ("fit", "dawid-skene", [])

    def test_it_became_gold(self, answered):
        candidate, _ = answered
        assert self.only(*self.versions(candidate, {"method": "majority"}, {"method": "gold"})).why == "gold"

    def test_what_happened_before_or_after_is_not_told(self, answered, people):
        candidate, task = answered
        old, new = self.versions(candidate, {}, {"method": "dawid-skene"})
        late = self.answer(task, people["bob"], 3, days=0)
        Annotation.objects.filter(pk=late.pk).update(created_at=timezone.now() + timedelta(minutes=1))
        assert self.only(old, new).events == []
        assert Consensus.objects.count() == 1
