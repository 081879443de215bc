"""Gold mixed into the queue, and tasks that a reviewer sent back: what their annotator is given."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from annotation import actions, answers
from annotation.gold import Known, make_gold, retire_gold
from annotation.models import Annotation, Consensus, Decision, Gold, Project, SentBack, Slot, Task
from tests import build
from tests.test_queue import fill, leased, save

DAYS = timedelta(days=1)


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2, gold_percent=50)


def gold(project, n, first=1000, label=1):
    rows = [build.candidate(first + number) for number in range(n)]
    make_gold(project, {row.pk: Known(label, "seen by three") for row in rows}, None)
    return set(Task.objects.filter(project=project, is_gold=True).values_list("pk", flat=True))


def all_of(person, project, at_once=5):
    """Lease and answer until nothing is left."""
    given = []
    while tasks := leased(person, project, at_once):
        given += tasks
        for task in tasks:
            assert save(person, task, 1).status == "saved"
    return given


class TestGold:
    def test_it_comes_at_its_rate_and_once_for_each_person(self, project, people):
        tasks, known = {task.pk for task in fill(project, 60)}, gold(project, 200)
        for name in ("alice", "bob"):
            given = all_of(people[name], project)
            assert len(given) == len(set(given))
            assert tasks <= set(given)
            share = sum(task in known for task in given) / len(given)
            assert 0.25 < share < 0.75  # of about 120 with one half expected: not once in 50,000 times by chance

    def test_none_where_the_rate_is_zero(self, project, people):
        Project.objects.update(gold_percent=0)
        project.refresh_from_db()
        fill(project, 10)
        known = gold(project, 10)
        assert not known & set(all_of(people["alice"], project))

    def test_it_is_not_handed_out_when_nothing_else_is_left(self, project, people):
        gold(project, 10)
        assert leased(people["alice"], project) == []

    def test_everybody_gets_it_whatever_its_overlap(self, project, people):
        fill(project, 40)
        known = gold(project, 1)
        for name in ("alice", "bob", "rita", "max"):
            Task.objects.filter(is_gold=False).update(is_open=True)
            task = next(iter(known))
            while task not in leased(people[name], project, 4):
                actions.release(people[name], list(Slot.objects.filter(annotator=people[name], is_filled=False)
                                                   .values_list("task_id", flat=True)))
            assert save(people[name], task).status == "saved"
        assert Annotation.objects.standing().filter(task__in=known).count() == 4

    def test_answers_never_open_it_nor_raise_its_overlap(self, project, people):
        Project.objects.update(agree_at_least=2)
        project.refresh_from_db()
        fill(project, 12)
        known = gold(project, 3)
        for name, label in (("alice", 0), ("bob", 1), ("rita", 2)):
            for task in leased(people[name], project, 50):
                row = answers.save_annotations(
                    people[name], [answers.Answer(uuid.uuid4(), task, label, 2.0)])[0]
                if task in known:
                    answers.undo(people[name], row.id)
        assert set(Task.objects.filter(is_gold=True).values_list("is_open", "overlap")) == {(False, 1)}

    def test_a_late_answer_counts_although_others_had_it_meanwhile(self, project, people):
        fill(project, 20)
        known, task = gold(project, 1), None
        while task is None:
            task = next((row for row in leased(people["alice"], project, 3) if row in known), None)
        later = timezone.now() + timedelta(minutes=30)
        for _ in range(20):
            leased(people["bob"], project, 2, later)
        assert save(people["alice"], task, now=later).status == "saved"

    def test_retired_gold_stays_away(self, project, people):
        fill(project, 20)
        known = gold(project, 20)
        for row in Gold.objects.all():
            retire_gold(row)
        assert not known & set(all_of(people["alice"], project))

    def test_a_skipped_one_does_not_come_back(self, project, people):
        fill(project, 30)
        task = None
        known = gold(project, 1)
        while task is None:
            task = next((row for row in leased(people["alice"], project, 3) if row in known), None)
        actions.skip(people["alice"], task)
        assert task not in all_of(people["alice"], project)

    def test_its_place_is_random(self, project, people):
        fill(project, 200)
        known, places = gold(project, 100), Counter()
        for _ in range(25):
            given = leased(people["alice"], project, 4)
            places.update(place for place, task in enumerate(given) if task in known)
        assert len(places) == 4

    def test_the_response_is_of_the_same_shape(self, project, people, client):
        fill(project, 40)
        known = gold(project, 40)
        client.force_login(people["alice"])
        url = "/api/v1/desk/lease"
        body = client.post(url, {"project": project.pk, "count": 40}, content_type="application/json").json()
        shapes = {
            kind: {(tuple(row), tuple(row["pictures"]), tuple(row["product"]), row["comment"])
                   for row in body["tasks"] if (row["task"] in known) == kind}
            for kind in (True, False)
        }  # fmt: skip
        assert shapes[True] == shapes[False] and len(shapes[True]) == 1
        assert body["left"] % 10 == 0

    def test_what_is_left_does_not_tell_which_task_was_gold(self, project, people, client):
        """Handed out and skipped one by one: the count stays, until there is nothing."""
        fill(project, 24)
        gold(project, 20)
        client.force_login(people["alice"])
        told = set()
        while tasks := (body := self.lease_one(client, project))["tasks"]:
            told.add(body["left"])
            client.post("/api/v1/desk/skip", {"task": tasks[0]["task"]}, content_type="application/json")
        assert told - {0} == {30} and (body["state"], body["left"]) == ("empty", 0)

    def test_another_web_process_tells_the_same_until_it_is_told_anew(self, project, people):
        now = timezone.now()
        assert actions.left_to_tell(24, project, people["alice"].pk, now) == 30
        cache.clear()  # what a process keeps to itself, another one has not
        assert actions.left_to_tell(12, project, people["alice"].pk, now + timedelta(minutes=9)) == 30
        assert actions.left_to_tell(12, project, people["bob"].pk, now) == 20
        assert actions.left_to_tell(12, project, people["alice"].pk, now + timedelta(minutes=11)) == 20

    def lease_one(self, client, project):
        return client.post("/api/v1/desk/lease", {"project": project.pk, "count": 1}, content_type="application/json").json()

    def test_making_it_gold_takes_a_task_out_of_the_queue_and_keeps_its_answers(self, project, people):
        task = fill(project, 1)[0]
        leased(people["alice"], project)
        save(people["alice"], task.pk)
        make_gold(project, {task.candidate_id: Known(0)}, people["max"])
        assert leased(people["bob"], project) == []
        assert Annotation.objects.standing().count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_many_at_once_each_get_it_once(self, project, people):
        fill(project, 30)
        gold(project, 5)
        errors = []

        def work(name):
            try:
                # Who asks while others look at the last places gets none, and comes again.
                while Slot.objects.filter(task__is_gold=False, is_filled=False).exists():
                    all_of(people[name], project)
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=(name,)) for name in ("alice", "bob", "rita", "max", "mia")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        twice = Counter(Annotation.objects.standing().values_list("task_id", "annotator_id"))
        assert set(twice.values()) == {1}
        assert Annotation.objects.standing().filter(task__is_gold=False).count() == 60


def send_back(person, task, comment="Look at its stand again."):
    """As a review does it."""
    given = Annotation.objects.get(task=task, annotator=person, state="standing")
    decision = Decision.objects.create(
        id=uuid.uuid4(), candidate_id=given.candidate_id, reviewer=person, action="sent_back", comment=comment
    )
    Annotation.objects.filter(pk=given.pk).update(state="sent_back")
    Slot.objects.filter(task=task, annotator=person).update(is_filled=False, lease_until=timezone.now() + 7 * DAYS)
    Task.objects.filter(pk=task).update(is_open=True)
    return SentBack.objects.create(
        annotation=given, task_id=task, annotator=person, decision=decision, comment=comment
    )


class TestSentBack:
    @pytest.fixture
    def back(self, project, people):
        Project.objects.update(gold_percent=0, overlap=1)
        project.refresh_from_db()
        task = fill(project, 8)[5].pk
        while task not in leased(people["alice"], project, 6):
            pass
        save(people["alice"], task, 2)
        actions.release(people["alice"], list(Task.objects.values_list("pk", flat=True)))
        return send_back(people["alice"], task)

    def test_it_comes_first_with_the_comment(self, project, people, back):
        slots = actions.lease(people["alice"], project, 3)
        assert [slot.task_id for slot in slots][0] == back.task_id
        assert slots[0].comment == "Look at its stand again."
        assert len(slots) == 3

    def test_nobody_else_gets_it(self, project, people, back):
        assert back.task_id not in leased(people["bob"], project)
        leased(people["alice"], project)
        actions.release(people["alice"], [back.task_id])
        assert back.task_id not in leased(people["bob"], project, now=timezone.now() + DAYS)

    def test_after_a_week_others_get_it(self, project, people, back):
        assert back.task_id in leased(people["bob"], project, now=timezone.now() + 8 * DAYS)

    def test_an_open_page_gets_it_once(self, project, people, back):
        assert back.task_id in leased(people["alice"], project, 2)
        assert back.task_id not in leased(people["alice"], project, 2)

    def test_given_back_it_comes_again(self, project, people, back):
        leased(people["alice"], project, 2)
        actions.release(people["alice"], [back.task_id])
        assert leased(people["alice"], project, 1) == [back.task_id]

    def test_renewing_never_shortens_the_wait(self, project, people, back):
        leased(people["alice"], project, 1)
        assert actions.renew(people["alice"], [back.task_id]) == [back.task_id]
        slot = Slot.objects.get(task=back.task_id)
        assert slot.lease_until > timezone.now() + 6 * DAYS

    def test_the_new_answer_counts_and_ends_it(self, project, people, back):
        leased(people["alice"], project, 1)
        assert save(people["alice"], back.task_id, 0).status == "saved"
        assert Consensus.objects.get(candidate=back.annotation.candidate_id).label == 0
        back.refresh_from_db()
        assert back.answered_at is not None
        assert back.task_id not in leased(people["alice"], project)

    def test_undoing_the_new_answer_brings_it_back(self, project, people, back):
        leased(people["alice"], project, 1)
        row = save(people["alice"], back.task_id, 0)
        answers.undo(people["alice"], row.id)
        actions.release(people["alice"], [back.task_id])
        assert leased(people["alice"], project, 1) == [back.task_id]

    def test_skipping_it_gives_it_to_others(self, project, people, back):
        leased(people["alice"], project, 1)
        actions.skip(people["alice"], back.task_id)
        assert back.task_id in leased(people["bob"], project)


class TestReviewed:
    def test_later_answers_do_not_alter_what_a_reviewer_decided(self, project, people):
        Project.objects.update(gold_percent=0)
        task = fill(project, 1)[0]
        leased(people["alice"], project)
        save(people["alice"], task.pk, 2)
        Consensus.objects.update(method="review", label=3, is_complete=True)
        leased(people["bob"], project)
        row = save(people["bob"], task.pk, 2)
        left = Consensus.objects.get()
        assert (left.label, left.method, left.annotation_count) == (3, "review", 2)
        answers.undo(people["bob"], row.id)
        answers.undo(people["alice"], Annotation.objects.get(annotator=people["alice"]).pk)
        left.refresh_from_db()
        assert (left.label, left.method, left.annotation_count) == (3, "review", 0)
