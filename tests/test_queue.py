"""Leases and answers, straight through the actions: what may never happen to a task, and what must."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from accounts.models import User
from annotation import actions, answers
from annotation.actions import Pick, Refused, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.consensus import beliefs
from annotation.models import Annotation, Consensus, Project, Slot, Task
from tests import build

LATER = timedelta(minutes=6)


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


def fill(project, n, **values):
    rows = build.candidates(n, **values)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(rows)])
    return list(Task.objects.filter(project=project).order_by("-priority"))


def answer(task, label=0, **values):
    return Answer(**{"id": uuid.uuid4(), "task": task, "label": label, "seconds": 2.5, **values})


def save(user, task, label=0, **values):
    return save_annotations(user, [answer(task, label)], **values)[0]


def leased(user, project, count=10, now=None):
    return [slot.task_id for slot in lease(user, project, count, now)]


class TestAddTasks:
    def test_each_task_has_as_many_slots_as_its_overlap(self, project):
        tasks = fill(project, 3)
        assert [task.slots.count() for task in tasks] == [2, 2, 2]

    def test_adding_again_changes_nothing(self, project):
        tasks = fill(project, 2)
        assert add_tasks(project, [Pick(task.candidate_id, priority=9) for task in tasks]) == 0
        assert Slot.objects.count() == 4

    def test_it_takes_the_same_statements_for_one_and_for_many(self, project, django_assert_num_queries):
        picks = [Pick(row.pk) for row in build.candidates(30)]
        for some in (picks[:1], picks[1:]):
            with django_assert_num_queries(7):  # two of them are the savepoint
                assert add_tasks(project, some) == len(some)


class TestLease:
    def test_the_highest_priority_comes_first(self, project, people):
        tasks = fill(project, 5)
        assert leased(people["alice"], project, 3) == [task.pk for task in tasks[:3]]

    def test_a_person_is_never_given_a_task_twice(self, project, people):
        tasks = fill(project, 3)
        first = leased(people["alice"], project, 2)
        second = leased(people["alice"], project, 2)
        assert sorted(first + second) == sorted(task.pk for task in tasks)

    def test_a_task_goes_to_as_many_people_as_its_overlap(self, project, people):
        fill(project, 1)
        given = [leased(people[name], project) for name in ("alice", "bob", "rita")]
        assert [len(tasks) for tasks in given] == [1, 1, 0]

    def test_a_lapsed_lease_goes_to_others_and_comes_back_to_oneself(self, project, people):
        [task] = fill(project, 1)
        project.overlap = 1
        Slot.objects.filter(number=1).delete()
        assert leased(people["alice"], project)
        assert not leased(people["bob"], project)
        assert leased(people["alice"], project, now=timezone.now() + LATER) == [task.pk]
        assert leased(people["bob"], project, now=timezone.now() + 2 * LATER) == [task.pk]

    def test_a_paused_project_hands_out_nothing(self, project, people):
        fill(project, 1)
        project.is_paused = True
        assert leased(people["alice"], project) == []

    def test_candidates_of_unsuitable_products_are_not_handed_out(self, project, people):
        fill(project, 2)
        product = Task.objects.first().candidate.product
        product.unsuitable = True
        product.save()
        assert len(leased(people["alice"], project)) == 1

    def test_released_tasks_are_free_at_once(self, project, people):
        tasks = fill(project, 2)
        for name in ("alice", "bob"):
            leased(people[name], project)
        assert actions.release(people["alice"], [task.pk for task in tasks]) == 2
        assert len(leased(people["rita"], project)) == 2

    def test_renewing_tells_which_were_lost(self, project, people):
        fill(project, 2)
        Slot.objects.filter(number=1).delete()
        now = timezone.now()
        first, second = leased(people["alice"], project, now=now)
        [taken] = leased(people["bob"], project, 1, now=now + LATER)
        assert actions.renew(people["alice"], [first, second], now + LATER) == [second]
        assert taken == first
        assert Slot.objects.get(task=second).lease_until == now + LATER + timedelta(minutes=5)

    def test_what_is_left_counts_only_what_this_person_may_take(self, project, people):
        fill(project, 4)
        leased(people["alice"], project, 1)
        assert actions.take(people["alice"], project, 1).left == 2
        assert actions.take(people["bob"], project, 1).left == 3


class TestTheTablesThemselves:
    """Were the code careless, the constraints would still hold."""

    def test_one_person_cannot_have_two_slots_of_a_task(self, project, people):
        [task] = fill(project, 1)
        with pytest.raises(IntegrityError), transaction.atomic():
            Slot.objects.filter(task=task).update(annotator=people["alice"])

    def test_a_slot_is_filled_by_somebody(self, project):
        [task] = fill(project, 1)
        with pytest.raises(IntegrityError), transaction.atomic():
            Slot.objects.filter(task=task).update(is_filled=True)

    def test_one_person_has_one_standing_answer_to_a_task(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        save(people["alice"], task.pk)
        row = Annotation.objects.get()
        row.id = uuid.uuid4()
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save(force_insert=True)


class TestAnswers:
    def test_a_full_task_closes(self, project, people):
        [task] = fill(project, 1)
        for name in ("alice", "bob"):
            leased(people[name], project)
            assert Task.objects.get().is_open
            assert save(people[name], task.pk).status == "saved"
        assert not Task.objects.get().is_open
        assert Slot.objects.filter(is_filled=True).count() == 2

    def test_sending_twice_is_one_answer(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        once = answer(task.pk, 3)
        results = [save_annotations(people["alice"], [once]) for _ in range(3)]
        assert results[0] == results[1] == results[2]
        assert Annotation.objects.get().label == 3

    def test_an_id_cannot_be_used_for_another_answer(self, project, people):
        first, second = fill(project, 2)
        for name in ("alice", "bob"):
            leased(people[name], project)
        once = answer(first.pk, 3)
        save_annotations(people["alice"], [once])
        others = [
            (people["alice"], answer(first.pk, 4, id=once.id)),
            (people["alice"], answer(second.pk, 3, id=once.id)),
            (people["alice"], answer(first.pk, 3, id=once.id, seconds=9)),
            (people["bob"], answer(first.pk, 3, id=once.id)),
            (people["bob"], answer(second.pk, 3, id=once.id)),
        ]
        assert [save_annotations(person, [other])[0].status for person, other in others] == ["refused"] * 5
        assert Annotation.objects.count() == 1

    def test_a_task_that_was_never_handed_out_is_refused(self, project, people):
        [task] = fill(project, 1)
        leased(people["bob"], project)
        assert save(people["alice"], task.pk).status == "refused"
        assert save(people["bob"], task.pk + 999).status == "refused"
        assert not Annotation.objects.exists()

    def test_a_task_of_another_project_is_refused(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        assert save(people["alice"], task.pk, project_id=project.pk + 1).status == "refused"

    def test_a_second_answer_to_a_task_is_refused(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        both = [answer(task.pk, 0), answer(task.pk, 1)]
        assert [row.status for row in save_annotations(people["alice"], both)] == ["saved", "refused"]

    def test_a_late_answer_counts_while_a_place_is_free(self, project, people):
        [task] = fill(project, 1)
        now = timezone.now()
        leased(people["alice"], project, now=now)
        leased(people["bob"], project, now=now + LATER)
        Slot.objects.filter(annotator=people["alice"]).update(annotator=None, lease_until=None)
        assert save(people["alice"], task.pk, now=now + LATER).status == "saved"

    def test_a_late_answer_to_a_full_task_is_surplus_and_says_so(self, project, people):
        [task] = fill(project, 1)
        now = timezone.now()
        leased(people["alice"], project, now=now)
        for name in ("bob", "rita"):
            leased(people[name], project, now=now + LATER)
            save(people[name], task.pk, 1, now=now + LATER)
        late = save(people["alice"], task.pk, 0, now=now + 2 * LATER)
        assert late.status == "surplus" and "lapsed" in late.message
        assert Consensus.objects.get().annotation_count == 2
        assert save(people["alice"], task.pk, 0).status == "refused"

    def test_many_answers_cost_as_many_statements_as_one(self, project, people, django_assert_num_queries):
        tasks = fill(project, 12)
        leased(people["alice"], project, 12)
        beliefs()  # looked up once a minute
        with django_assert_num_queries(4):  # a savepoint, what is known (under locks), what changes, its end
            save(people["alice"], tasks[0].pk)
        with django_assert_num_queries(4):
            save_annotations(people["alice"], [answer(task.pk) for task in tasks[1:]])
        assert Annotation.objects.standing().count() == 12


class TestUndo:
    def test_the_task_comes_back_to_the_same_person(self, project, people):
        [task] = fill(project, 1)
        for name in ("alice", "bob"):
            leased(people[name], project)
            save(people[name], task.pk, 2)
        wrong = Annotation.objects.get(annotator=people["alice"])
        assert answers.undo(people["alice"], wrong.pk) > timezone.now()
        assert Task.objects.get().is_open
        assert leased(people["rita"], project) == []
        assert save(people["alice"], task.pk, 4).status == "saved"
        assert sorted(Annotation.objects.standing().values_list("label", flat=True)) == [2, 4]
        assert Annotation.objects.count() == 3

    def test_undoing_twice_changes_nothing(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        save(people["alice"], task.pk)
        wrong = Annotation.objects.get()
        answers.undo(people["alice"], wrong.pk)
        answers.undo(people["alice"], wrong.pk)
        assert Slot.objects.filter(annotator=people["alice"], is_filled=False).count() == 1

    def test_nobody_undoes_others_answers(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        save(people["alice"], task.pk)
        with pytest.raises(Refused):
            answers.undo(people["olga"], Annotation.objects.get().pk)

    def test_an_undone_answer_sent_again_stays_undone(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        once = answer(task.pk)
        save_annotations(people["alice"], [once])
        answers.undo(people["alice"], once.id)
        assert save_annotations(people["alice"], [once])[0].status == "undone"
        assert not Annotation.objects.standing().exists()


class TestSkipAndFlag:
    def test_a_skipped_task_goes_to_others_only(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        actions.skip(people["alice"], task.pk)
        actions.skip(people["alice"], task.pk)
        assert leased(people["alice"], project) == []
        assert leased(people["bob"], project) and leased(people["rita"], project)

    def test_a_skip_can_be_taken_back(self, project, people):
        [task] = fill(project, 1)
        leased(people["alice"], project)
        actions.skip(people["alice"], task.pk)
        assert actions.take_back_skip(people["alice"], task.pk)
        assert save(people["alice"], task.pk).status == "saved"

    def test_what_was_never_handed_out_can_be_neither_skipped_nor_flagged(self, project, people):
        [task] = fill(project, 1)
        for verb in (actions.skip, actions.flag, actions.take_back_skip, actions.take_back_flag):
            with pytest.raises(Refused):
                verb(people["alice"], task.pk)

    def test_a_flagged_product_leaves_the_queue_until_the_flag_is_taken_back(self, project, people):
        product = build.product(1)
        add_tasks(project, [Pick(build.candidate(number, of=product).pk) for number in range(3)])
        [task] = leased(people["alice"], project, 1)
        assert actions.flag(people["alice"], task, "cut off").unsuitable
        assert leased(people["bob"], project) == []
        assert actions.take_back_flag(people["alice"], task)
        assert len(leased(people["bob"], project)) == 3

    def test_a_flag_of_others_keeps_the_product_out(self, project, people):
        product = build.product(1)
        add_tasks(project, [Pick(build.candidate(number, of=product).pk) for number in range(2)])
        [mine], [theirs] = leased(people["alice"], project, 1), leased(people["bob"], project, 1)
        actions.flag(people["alice"], mine)
        actions.flag(people["bob"], theirs)
        actions.take_back_flag(people["alice"], mine)
        product.refresh_from_db()
        assert product.unsuitable


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    """Real threads, real connections: 12 people, a batch each, some going twice with the same ids."""

    def test_no_task_over_its_overlap_nobody_twice_nothing_lost(self):
        project = Project.objects.create(name="crowded", overlap=3)
        fill(project, 40)
        people = [User.objects.create(username=f"person-{number}") for number in range(12)]
        saved, errors = [], []

        def work(user, number):
            try:
                for turn in range(60):
                    taken = actions.take(user, project, 1 + (number + turn) % 7)
                    slots = taken.tasks
                    if not slots and not taken.left:
                        break
                    batch = [answer(slot.task_id, (slot.task_id + number) % 5) for slot in slots]
                    if turn % 5 == 4 and batch:
                        actions.release(user, [batch.pop().task])
                    for _ in range(1 + turn % 2):  # every other batch is sent twice
                        outcomes = save_annotations(user, batch)
                    saved.extend(outcome.id for outcome in outcomes if outcome.status == "saved")
                    if turn % 6 == 5 and batch:
                        answers.undo(user, batch[0].id)
                        saved.remove(batch[0].id)
            except Exception as error:  # noqa: BLE001 - whatever a thread meets fails the test
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=pair[::-1]) for pair in enumerate(people)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        standing = list(Annotation.objects.standing().values_list("id", "task_id", "annotator_id"))
        assert {row[0] for row in standing} == set(saved) and len(standing) == len(saved)
        assert max(Counter(task for _, task, _ in standing).values()) <= 3
        assert max(Counter((task, person) for _, task, person in standing).values()) == 1
        assert Slot.objects.filter(is_filled=True).count() == len(standing)
        full = [task for task, count in Counter(task for _, task, _ in standing).items() if count == 3]
        assert set(Task.objects.filter(is_open=False).values_list("pk", flat=True)) == set(full)
        for row in Consensus.objects.all():
            labels = Annotation.objects.standing().filter(candidate=row.candidate_id).values_list("label", flat=True)
            assert row.annotation_count == len(labels)
            assert row.agreement == pytest.approx(list(labels).count(row.label) / len(labels))

    def test_two_tabs_of_one_person_get_different_tasks(self):
        project = Project.objects.create(name="tabs", overlap=2)
        fill(project, 30)
        user = User.objects.create(username="two-tabs")
        given, barrier = [], threading.Barrier(4)

        def tab():
            barrier.wait()
            given.extend(slot.task_id for slot in lease(user, project, 6))
            connection.close()

        threads = [threading.Thread(target=tab) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == len(set(given)) == 24

    def test_the_same_answer_sent_at_once_from_many_connections_is_one(self):
        project = Project.objects.create(name="retries", overlap=1)
        [task] = fill(project, 1)
        user = User.objects.create(username="impatient")
        lease(user, project, 1)
        once, results, barrier = answer(task.pk, 2), [], threading.Barrier(8)

        def send():
            barrier.wait()
            results.extend(outcome.status for outcome in save_annotations(user, [once]))
            connection.close()

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["saved"] * 8
        assert Annotation.objects.count() == 1


class TestDisputes:
    """A project may ask on: until two agree, at most five."""

    @pytest.fixture
    def task(self, project):
        project.agree_at_least, project.overlap_most = 2, 4
        project.save()
        return fill(project, 1)[0]

    def say(self, project, task, label):
        user = User.objects.create(username=f"says-{User.objects.count()}", role="annotator")
        assert leased(user, project) == [task.pk]
        assert save(user, task.pk, label).status == "saved"
        task.refresh_from_db()
        return user

    def test_two_who_agree_end_it(self, project, task):
        for label in (1, 1):
            self.say(project, task, label)
        assert (task.is_open, task.overlap) == (False, 2)

    def test_two_who_differ_bring_a_third(self, project, task):
        for label in (1, 2):
            self.say(project, task, label)
        assert (task.is_open, task.overlap, task.slots.count()) == (True, 3, 3)
        assert not Consensus.objects.get(candidate=task.candidate_id).is_complete
        self.say(project, task, 2)
        assert (task.is_open, task.overlap) == (False, 3)
        consensus = Consensus.objects.get(candidate=task.candidate_id)
        assert (consensus.label, consensus.is_complete) == (2, True)

    def test_no_more_are_asked_than_the_project_allows(self, project, task):
        for label in (0, 1, 2, 3):
            self.say(project, task, label)
        assert (task.is_open, task.overlap, task.slots.count()) == (False, 4, 4)

    def test_an_answer_sent_twice_adds_one_slot_only(self, project, task):
        self.say(project, task, 1)
        user = User.objects.create(username="twice", role="annotator")
        leased(user, project)
        same = answer(task.pk, 2)
        assert [save_annotations(user, [same])[0].status for _ in range(2)] == ["saved", "saved"]
        assert task.slots.count() == 3

    def test_an_undone_answer_leaves_the_task_open_for_another(self, project, task):
        self.say(project, task, 1)
        user = self.say(project, task, 2)
        answers.undo(user, Annotation.objects.get(annotator=user).pk)
        task.refresh_from_db()
        assert (task.is_open, task.slots.count(), task.slots.filter(is_filled=True).count()) == (True, 3, 1)

    def test_without_it_the_overlap_is_what_it_is(self, project):
        task = fill(project, 1)[0]
        for label in (1, 2):
            self.say(project, task, label)
        assert (task.is_open, task.overlap) == (False, 2)

    @pytest.mark.parametrize(
        ("overlap", "agree", "most"),
        [(2, 5, 4), (5, 2, 4)],
        ids=["more must agree than are asked", "fewer than at first"],
    )
    def test_numbers_that_contradict_each_other_are_refused_with_a_sentence(self, db, overlap, agree, most):
        with pytest.raises(ValidationError, match="At most 4|at least"):
            Project(name="odd", overlap=overlap, agree_at_least=agree, overlap_most=most).full_clean()
