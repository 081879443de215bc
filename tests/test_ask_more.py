"""Asking more people about tasks that had all their answers: what one more label is worth, and what stays settled."""

import uuid

import pytest
from django.urls import reverse

from accounts.models import User
from annotation import bulk, disputes, label_browser, review
from annotation.actions import Pick, add_tasks
from annotation.bulk import Wish
from annotation.gold import Known, make_gold
from annotation.models import Consensus, Decision, Project, Task
from tests import build
from tests.test_queue import leased, save

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


def judged(project, n, *labels):
    """n tasks that as many people as there are labels have answered; each says one of them."""
    rows = build.candidates(n)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(rows)])
    for label in labels:
        user = User.objects.create(username=f"says-{User.objects.count()}")
        for task in leased(user, project, 50):
            assert save(user, task, label).status == "saved"
    return rows


def state(row):
    task = Task.objects.get(candidate=row)
    return task.overlap, task.is_open, task.slots.count()


def decide(people, row, label=3):
    review.decide(people["rita"], uuid.uuid4(), row.pk, Decision.Action.CHANGED, label)


class TestOneMore:
    def test_finished_tasks_get_one_more_place_and_open_ones_wait_on(self, project):
        rows = judged(project, 3, 0, 1)
        Task.objects.filter(candidate=rows[2]).update(is_open=True)
        report = bulk.do("one_more", [row.pk for row in rows], Wish(project))
        assert report.in_words() == f"Done for 2. Left out 1 (1: {bulk.WAITS})."
        assert [state(row) for row in rows] == [(3, True, 3), (3, True, 3), (2, True, 2)]
        assert not Consensus.objects.filter(candidate__in=rows[:2], is_complete=True).exists()

    def test_done_again_it_changes_nothing_until_they_are_answered(self, project):
        rows = judged(project, 2, 0, 0)
        ids = [row.pk for row in rows]
        bulk.do("one_more", ids, Wish(project))
        assert bulk.do("one_more", ids, Wish(project)).done == 0
        user = User.objects.create(username="third")
        for task in leased(user, project):
            save(user, task, 0)
        assert [state(row) for row in rows] == [(3, False, 3)] * 2
        assert Consensus.objects.filter(is_complete=True, annotation_count=3).count() == 2
        assert bulk.do("one_more", ids, Wish(project)).done == 2

    def test_nine_is_the_most(self, project):
        rows = judged(project, 1, 0, 0)
        Task.objects.update(overlap=9)
        report = bulk.do("one_more", [rows[0].pk], Wish(project))
        assert report.done == 0 and report.left_out == {bulk.FULL: 1}

    def test_from_the_label_browser_for_what_is_worth_one_more_label(self, client, people, project):
        rows = judged(project, 3, 0, 1)
        for row, score in zip(rows, (0.9, 0.2, 0.5), strict=True):
            Consensus.objects.filter(candidate=row).update(activelab_score=score)
        snapshot = label_browser.make_snapshot(people["max"], {"order": "unsure"})
        assert snapshot.candidates == [rows[1].pk, rows[2].pk, rows[0].pk]
        client.force_login(people["max"])
        url = reverse("snapshot_act", args=[snapshot.pk, "one_more"])
        asked = client.post(url, {"project": project.pk}).content.decode()
        assert "Ask one more person about each finished task of 3 candidates, in “first”?" in asked
        said = client.post(url, {"project": project.pk, "sure": "yes"}, follow=True).content.decode()
        assert "One more answer. Done for 3." in said
        assert set(leased(people["alice"], project)) == set(Task.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("action", ["overlap", "one_more"])
class TestWhatIsSettledStays:
    def test_gold(self, project, action):
        rows = judged(project, 2, 0, 1)
        make_gold(project, {rows[0].pk: Known(0)}, None)
        report = bulk.do(action, [row.pk for row in rows], Wish(project, overlap=5))
        assert report.done == 1 and report.left_out == {bulk.GOLD: 1}
        assert not Task.objects.get(candidate=rows[0]).is_open

    def test_what_a_reviewer_decided(self, project, people, action):
        rows = judged(project, 2, 0, 1)
        decide(people, rows[0])
        report = bulk.do(action, [row.pk for row in rows], Wish(project, overlap=5))
        assert report.done == 1 and report.left_out == {bulk.DECIDED: 1}
        assert state(rows[0]) == (2, False, 2)
        consensus = Consensus.objects.get(candidate=rows[0])
        assert (consensus.label, consensus.method, consensus.is_complete) == (3, "review", True)

    def test_until_the_decision_is_withdrawn(self, project, people, action):
        [row] = judged(project, 1, 0, 1)
        decide(people, row)
        review.decide(people["rita"], uuid.uuid4(), row.pk, Decision.Action.WITHDRAWN)
        assert bulk.do(action, [row.pk], Wish(project, overlap=3)).done == 1
        assert state(row) == (3, True, 3)


def test_asking_on_where_people_differ_leaves_decided_ones_alone(project, people):
    rows = judged(project, 2, 0, 1)
    decide(people, rows[0])
    project.agree_at_least, project.overlap_most = 2, 5
    project.save()
    assert disputes.count(project) == 1
    assert disputes.ask_on(project) == 1
    assert [state(row) for row in rows] == [(2, False, 2), (3, True, 3)]


def test_decided_in_the_moment_of_asking_it_stays_decided(project, people, monkeypatch):
    [row] = judged(project, 1, 0, 1)
    project.agree_at_least, project.overlap_most = 2, 5
    project.save()
    ids = disputes.find(project, 10)
    decide(people, row)
    assert disputes._reopen(project.pk, ids) == 0
    assert state(row) == (2, False, 2)
