"""The label browser: what its words mean, its orders and pages, and snapshots of what it shows."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from annotation import label_browser
from annotation.actions import Pick, add_tasks
from annotation.gold import Known, make_gold
from annotation.label_filter import BadFilter
from annotation.models import Annotation, Consensus, Project, Snapshot, Task, Team
from tests import build
from tests.test_queue import leased, save

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


def five(project, people):
    """Five candidates: agreed on 0, agreed on 1, disputed, answered once, never answered. The last has no task."""
    rows = build.candidates(5)
    add_tasks(project, [Pick(row.pk, priority=-at) for at, row in enumerate(rows[:4])])
    for name, labels in (("alice", (0, 1, 2, 3)), ("bob", (0, 1, 4))):
        for task, label in zip(leased(people[name], project, len(labels)), labels, strict=True):
            save(people[name], task, label)
    return rows


@pytest.fixture
def rows(project, people):
    return five(project, people)


def found(**query):
    return {row.pk for row in label_browser.page(label_browser.read(query), 50).rows}


def at(rows, *places):
    return {rows[place].pk for place in places}


class TestWords:
    def test_without_any_it_is_everything(self, rows):
        assert found() == at(rows, 0, 1, 2, 3, 4)

    @pytest.mark.parametrize(
        ("query", "places"),
        [
            ({"label": "1"}, [1]),
            ({"state": "answered"}, [0, 1, 2, 3]),
            ({"state": "unanswered"}, [4]),
            ({"state": "complete"}, [0, 1, 2]),
            ({"state": "incomplete"}, [3, 4]),
            ({"state": "disputed"}, [2]),
            ({"state": "reviewed"}, []),
            ({"method": "majority"}, [0, 1, 2, 3]),
            ({"agreement_from": "40", "agreement_to": "60"}, [2]),
            ({"agreement_from": "99.5"}, [0, 1, 3]),
            ({"confidence_to": "50"}, [2]),
            ({"confidence_from": "51"}, [0, 1, 3]),
            ({"category": "lamps", "label": "0"}, [0]),
            ({"q": "lamp 3"}, [3]),
            ({"q": "SKU-4"}, [4]),
            ({"q": "100%"}, []),
            ({"given": "4"}, [2]),
            ({"gold": "yes"}, []),
            ({"gold": "no"}, [0, 1, 2, 3, 4]),
            ({"order": "disputed"}, [0, 1, 2, 3]),
            ({"order": "unsure"}, []),
        ],
    )
    def test_each_means_what_it_says(self, rows, query, places):
        assert found(**query) == at(rows, *places)

    def test_an_annotator_and_the_label_they_gave_are_of_one_answer(self, rows, people):
        alice, bob = str(people["alice"].pk), str(people["bob"].pk)
        assert found(annotator=bob) == at(rows, 0, 1, 2)
        assert found(annotator=bob, given="4") == at(rows, 2)
        assert found(annotator=alice, given="4") == set()

    def test_an_answer_taken_back_is_none(self, rows, people):
        Annotation.objects.filter(annotator=people["bob"]).update(state="undone")
        assert found(annotator=str(people["bob"].pk)) == set()

    def test_days_of_answers_include_both_ends(self, rows):
        noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
        Annotation.objects.update(created_at=noon)
        Annotation.objects.filter(candidate=rows[1].pk).update(created_at=noon - timedelta(days=3))
        day, before = noon.date(), noon.date() - timedelta(days=3)
        assert found(answered_from=str(day)) == at(rows, 0, 2, 3)
        assert found(answered_from=str(before), answered_to=str(before)) == at(rows, 1)
        assert found(answered_to=str(day)) == at(rows, 0, 1, 2, 3)

    def test_project_team_and_gold_are_of_its_tasks(self, rows, project):
        other, team = Project.objects.create(name="other"), Team.objects.create(name="kitchen")
        add_tasks(other, [Pick(rows[4].pk)])
        Task.objects.filter(project=project, candidate=rows[3].pk).update(team=team)
        make_gold(project, {rows[0].pk: Known(0)}, None)
        assert found(project=str(other.pk)) == at(rows, 4)
        assert found(team=str(team.pk)) == at(rows, 3)
        assert found(project=str(other.pk), team=str(team.pk)) == set()
        assert found(gold="yes") == at(rows, 0)
        assert found(gold="yes", project=str(other.pk)) == set()
        assert found(gold="no", project=str(project.pk)) == at(rows, 1, 2, 3)

    def test_generator_prompt_and_crowdlab(self, rows):
        other = build.candidate(9, generator=build.generator("second"))
        assert found(generator=str(other.generator_id)) == {other.pk}
        assert found(prompt=str(other.prompt_id)) == at(rows, 0, 1, 2, 3, 4) | {other.pk}
        Consensus.objects.filter(candidate=rows[0].pk).update(crowdlab_quality=0.2)
        assert found(crowdlab_below="30") == at(rows, 0)
        assert found(crowdlab_below="20") == set()

    @pytest.mark.parametrize(
        ("query", "sentence"),
        [
            ({"label": "9"}, "Consensus: "),
            ({"label": "²"}, "Consensus: "),
            ({"state": "happy"}, "State: "),
            ({"order": "sideways"}, "Order: "),
            ({"project": "0"}, "Project: There is none of this id."),
            ({"annotator": "²"}, "Annotator: There is none of this id."),
            ({"team": "9" * 30}, "Reserved for: There is none of this id."),
            ({"generator": "-1"}, "Generator: There is none of this id."),
            ({"agreement_from": "101"}, "Agreement from: "),
            ({"agreement_from": "inf"}, "Agreement from: "),
            ({"confidence_to": "nan"}, "Confidence to: "),
            ({"agreement_from": "80", "agreement_to": "70"}, "Agreement to: It ends before it begins."),
            ({"answered_from": "yesterday"}, "Answered from: "),
            ({"answered_to": "9999-12-31"}, "Answered to: "),
            ({"q": "a\x00b"}, "Product: "),
            ({"q": "a" * 201}, "Product: "),
            ({"category": "boats"}, "Category: "),
        ],
    )
    def test_what_makes_no_sense_is_named(self, rows, people, query, sentence):
        with pytest.raises(BadFilter) as problem:
            label_browser.read(query)
        assert str(problem.value).startswith(sentence) and str(problem.value).endswith(".")
        with pytest.raises(BadFilter):
            label_browser.make_snapshot(people["max"], query)


class TestOrders:
    def pages(self, query, size=2):
        form, after, seen = label_browser.read(query), "", []
        while True:
            page = label_browser.page(form, size, after)
            seen += [row.pk for row in page.rows]
            after = page.after
            if not after:
                return seen

    def test_newest_and_oldest(self, rows):
        ids = [row.pk for row in rows]
        assert self.pages({}) == ids[::-1]
        assert self.pages({"order": "oldest"}) == ids

    def test_the_most_disputed_first_and_nobody_twice(self, rows):
        assert self.pages({"order": "disputed"}) == [rows[place].pk for place in (2, 0, 1, 3)]

    def test_the_least_sure_first(self, rows):
        for place, score in ((0, 0.5), (1, 0.1 + 0.2), (3, 0.3)):
            Consensus.objects.filter(candidate=rows[place].pk).update(activelab_score=score)
        assert self.pages({"order": "unsure"}, 1) == [rows[place].pk for place in (3, 1, 0)]

    @pytest.mark.parametrize("after", ["x", "1:²", ":" + "9" * 30, "nan:4", "inf:4", "1e999:1", "²:1"])
    def test_a_made_up_page_is_a_sentence(self, rows, after):
        with pytest.raises(BadFilter):
            label_browser.page(label_browser.read({"order": "disputed"}), 2, after)

    def test_votes_come_along_in_a_constant_number_of_queries(self, rows, people, django_assert_num_queries):
        form = label_browser.read({})
        with django_assert_num_queries(2):
            page = label_browser.page(form, 50)
        votes = {row.pk: [(vote.annotator.username, vote.label) for vote in row.votes] for row in page.rows}
        assert sorted(votes[rows[2].pk]) == [("alice", 2), ("bob", 4)]
        assert votes[rows[4].pk] == []

    def test_the_count_has_an_end(self, rows, monkeypatch):
        form = label_browser.read({})
        assert label_browser.count(form) == 5
        monkeypatch.setattr(label_browser, "COUNT_AT_MOST", 2)
        assert label_browser.count(form) == 3


class TestSnapshots:
    def test_it_keeps_what_was_there_in_the_order_shown(self, rows, people):
        snapshot = label_browser.make_snapshot(people["max"], {"state": "answered", "order": "disputed", "page": "3"})
        build.candidate(77)
        Consensus.objects.all().delete()
        snapshot.refresh_from_db()
        assert snapshot.candidates == [rows[place].pk for place in (2, 0, 1, 3)]
        assert (snapshot.count, snapshot.owner) == (4, people["max"])
        assert snapshot.query == {"state": "answered", "order": "disputed"}
        assert not label_browser.is_cut(snapshot)

    def test_it_takes_so_many_and_says_that_there_may_be_more(self, rows, people, monkeypatch):
        monkeypatch.setattr(label_browser, "SNAPSHOT_AT_MOST", 3)
        snapshot = label_browser.make_snapshot(people["max"], {})
        assert snapshot.candidates == [row.pk for row in rows[:1:-1]]
        assert label_browser.is_cut(snapshot)

    def test_old_ones_of_the_same_owner_go(self, rows, people):
        old, others = (Snapshot.objects.create(owner=people[name], query={}, candidates=[1], count=1) for name in ("max", "rita"))
        Snapshot.objects.update(created_at=timezone.now() - timedelta(days=40))
        label_browser.make_snapshot(people["max"], {})
        assert not Snapshot.objects.filter(pk=old.pk).exists() and Snapshot.objects.filter(pk=others.pk).exists()
