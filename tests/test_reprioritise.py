"""Another order for a whole queue while people label: no error, no wrong place, and what is killed goes on."""

import threading
import uuid
from collections import Counter
from contextlib import contextmanager

import psycopg
import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from accounts.models import User
from annotation import bulk, queue_changes
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations, undo
from annotation.gold import Known, make_gold
from annotation.models import Annotation, Project, QueuePlace, Slot, Task, Team
from annotation.queue_changes import Busy, How, Which, reprioritise, work
from generation.models import Candidate
from runs.context import RunContext, StopRequested
from tests import build
from tests.data_rows import checkpoint, do, verdict
from tests.workers import database_url, kill, start_worker, wait_until, workers

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


def many(project, n):
    """n tasks over rows of candidates without pictures of their own."""
    first = build.candidate()
    rows = Candidate.objects.bulk_create(
        Candidate(
            product=first.product, prompt=first.prompt, generator=first.generator, prompt_text="", image_scale=0.5,
            seed=number, draw=uuid.uuid4(), key=f"{number:064x}", image_sha256=f"{number:064x}",
            depth_sha256="1" * 64, saliency_sha256="2" * 64,
        )
        for number in range(n)
    )  # fmt: skip
    add_tasks(project, [Pick(row.pk, priority=number % 7) for number, row in enumerate(rows)])
    return rows


def tasks_of(project, n):
    rows = build.candidates(n)
    add_tasks(project, [Pick(row.pk, priority=number) for number, row in enumerate(rows)])
    return list(Task.objects.filter(project=project).order_by("candidate"))


def order(project):
    """The candidates in the order of the queue."""
    return list(Task.objects.filter(project=project).order_by("-priority", "tie").values_list("candidate", flat=True))


class TestRules:
    def test_one_priority_for_all(self, project):
        tasks_of(project, 5)
        assert work(Which(project.pk), How("constant", priority=2.5)).changed == 5
        assert set(Task.objects.values_list("priority", flat=True)) == {2.5}

    def test_newest_first(self, project):
        tasks = tasks_of(project, 5)
        Task.objects.update(priority=0)
        work(Which(project.pk), How("newest", newest=tasks[-1].candidate_id))
        assert order(project) == sorted((task.candidate_id for task in tasks), reverse=True)

    def test_mixing_gives_new_ties_and_leaves_the_priorities(self, project):
        tasks = tasks_of(project, 8)
        before = set(Task.objects.values_list("pk", "priority"))
        work(Which(project.pk), How("shuffle", seed=1))
        once = dict(Task.objects.values_list("pk", "tie"))
        assert set(Task.objects.values_list("pk", "priority")) == before
        assert len(set(once.values())) == 8 and all(0 <= tie < 1 for tie in once.values())
        assert all(once[task.pk] != task.tie for task in tasks)
        work(Which(project.pk), How("shuffle", seed=2))
        assert set(once.values()).isdisjoint(Task.objects.values_list("tie", flat=True))

    def test_by_score_those_without_one_last(self, project):
        tasks = tasks_of(project, 3)
        Task.objects.filter(pk=tasks[0].pk).update(acquisition_score=0.4)
        Task.objects.filter(pk=tasks[1].pk).update(acquisition_score=0.9)
        work(Which(project.pk), How("score"))
        assert order(project) == [tasks[at].candidate_id for at in (1, 0, 2)]

    def test_where_the_rfnet_in_use_is_least_sure(self, project):
        tasks = tasks_of(project, 3)
        in_use, other = checkpoint(promoted=True), checkpoint("RFNet two")
        verdict(tasks[0].candidate, in_use, margin=0.8)
        unsure = verdict(tasks[2].candidate, in_use, margin=0.1)
        verdict(tasks[1].candidate, other, margin=0.0)
        work(Which(project.pk), How("unsure"))
        assert order(project) == [tasks[at].candidate_id for at in (2, 0, 1)]
        assert Task.objects.get(pk=tasks[2].pk).priority == pytest.approx(1 - (unsure.probs[0] - unsure.probs[1]))
        assert Task.objects.get(pk=tasks[1].pk).priority == queue_changes.UNKNOWN

    @pytest.mark.parametrize("rule", sorted(set(queue_changes.RULES) - {"reserve"}))
    def test_doing_it_again_changes_nothing(self, project, rule):
        tasks_of(project, 4)
        how = How(rule, priority=3, seed=5, newest=100)
        work(Which(project.pk), how)
        assert work(Which(project.pk), how).changed == 0


class TestPlaces:
    """Somebody's place in the queue belongs to the order it was kept in."""

    @pytest.fixture
    def place(self, project, people):
        rows = tasks_of(project, 4)
        QueuePlace.objects.create(
            annotator=people["alice"], project=project, head_rank=-3, rank=-0.5, tie=0, set_at=timezone.now()
        )
        return rows

    def test_a_new_order_is_everybodys_at_once(self, project, people, place):
        work(Which(project.pk), How("shuffle", seed=4))
        first = Task.objects.order_by("-priority", "tie").first()
        assert [slot.task_id for slot in lease(people["alice"], project, 1)] == [first.pk]

    def test_so_is_what_a_bulk_action_changes(self, project, people, place):
        bulk.do("priority", [place[0].candidate_id], bulk.Wish(project, priority=2.5))
        assert not QueuePlace.objects.exists()


class TestWhich:
    def test_only_open_tasks_of_this_project_that_are_no_gold(self, project):
        tasks = tasks_of(project, 4)
        other = Project.objects.create(name="other")
        add_tasks(other, [Pick(tasks[0].candidate_id, priority=9)])
        make_gold(project, {tasks[0].candidate_id: Known(0)}, None)
        Task.objects.filter(pk=tasks[1].pk).update(is_open=False)
        assert queue_changes.count(Which(project.pk)) == 2
        assert work(Which(project.pk), How("constant", priority=-3)).changed == 2
        assert set(Task.objects.filter(priority=-3)) == {tasks[2], tasks[3]}

    def test_of_one_category(self, project):
        rows = [build.candidate(1, of=build.product(1, category="lamps")), build.candidate(2, of=build.product(2, category="chairs"))]
        add_tasks(project, [Pick(row.pk) for row in rows])
        work(Which(project.pk, category="chairs"), How("constant", priority=1))
        assert order(project) == [rows[1].pk, rows[0].pk]

    def test_by_prompt_generator_and_team(self, project):
        first, second = tasks_of(project, 2)
        team = Team.objects.create(name="Glass")
        Task.objects.filter(pk=first.pk).update(team=team)
        both = Which(project.pk, prompt=first.candidate.prompt_id, generator=first.candidate.generator_id)
        assert queue_changes.count(both) == 2
        assert queue_changes.count(Which(project.pk, prompt=2**40)) == 0
        assert work(Which(project.pk, team=team.pk), How("constant", priority=7)).changed == 1
        assert work(Which(project.pk, free=True), How("constant", priority=8)).changed == 1
        assert set(Task.objects.values_list("pk", "priority")) == {(first.pk, 7), (second.pk, 8)}

    def test_reserving_and_setting_free(self, project, people):
        tasks_of(project, 3)
        team = Team.objects.create(name="Glass")
        team.members.add(people["alice"])
        work(Which(project.pk), How("reserve", team=team.pk))
        assert not lease(people["bob"], project, 5) and len(lease(people["alice"], project, 5)) == 3
        Task.objects.filter(pk=Task.objects.first().pk).update(is_open=False)
        assert work(Which(team=team.pk, every_state=True), How("reserve")).changed == 3
        assert len(lease(people["bob"], project, 5)) == 2


class TestAsARun:
    def test_a_rule_that_is_not_there_is_refused(self, project):
        for rule in ("alphabet", "reserve"):
            with pytest.raises(ValueError, match="choose one of"):
                reprioritise(project, rule)

    def test_pressed_twice_it_is_one_run(self, project, people):
        first = reprioritise(project, "shuffle", user=people["max"])
        assert reprioritise(project, "shuffle", user=people["max"]) == first

    def test_another_change_meanwhile_is_refused_for_two_would_mix(self, project):
        first = reprioritise(project, "shuffle")
        with pytest.raises(Busy) as refused:
            reprioritise(project, "constant", priority=1)
        assert refused.value.run == first
        first.request_stop()
        assert reprioritise(project, "constant", priority=1) != first

    @pytest.mark.django_db(transaction=True)
    def test_it_says_how_many_it_changed(self, project):
        tasks_of(project, 5)
        run = do(reprioritise(project, "constant", priority=40))
        assert (run.state, run.result, run.done, run.total) == ("succeeded", {"changed": 5}, 5, 5)
        assert set(Task.objects.values_list("priority", flat=True)) == {40}

    @pytest.mark.django_db(transaction=True)
    def test_a_deleted_project_or_team_fails_it_with_a_sentence(self, project):
        tasks_of(project, 1)
        team = Team.objects.create(name="Glass")
        run = queue_changes.reserve(project, team)
        team.delete()
        assert do(run).error == "Its team was deleted meanwhile: choose another."

    def test_stopped_it_keeps_its_place_and_goes_on_from_there(self, project, monkeypatch):
        monkeypatch.setattr(queue_changes, "CHUNK", 3)
        tasks_of(project, 8)
        run = reprioritise(project, "constant", priority=50)
        run.claim("test")
        context, kept = RunContext(run), []

        def tell(place):
            kept.append(place)
            if len(kept) == 2:
                raise StopRequested

        with pytest.raises(StopRequested):
            work(Which(project.pk), How("constant", priority=50), writing=context.writing, tell=tell)
        assert Task.objects.filter(priority=50).count() == 6 == kept[-1].changed
        seen = []
        work(Which(project.pk), How("constant", priority=50), kept[-1], tell=seen.append)
        assert len(seen) == 1 and seen[-1].changed == 8 == Task.objects.filter(priority=50).count()


@contextmanager
def somebody_holds(task):
    """Another connection has this task's row until the end."""
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT 1 FROM annotation_task WHERE id = %s FOR UPDATE", [task.pk])
        yield other


@pytest.mark.django_db(transaction=True)
class TestWhileOthersWork:
    def test_a_task_in_somebodys_hands_is_waited_for_without_holding_any_other(self, project, monkeypatch):
        tasks = tasks_of(project, 6)
        seen = []

        def tell(place):
            seen.append(place)
            if len(seen) == 3:
                with transaction.atomic():  # nothing is held between its tries
                    assert len(Task.objects.select_for_update(nowait=True).exclude(pk=tasks[2].pk)) == 5
                with pytest.raises(OperationalError), transaction.atomic():
                    Task.objects.select_for_update(nowait=True).get(pk=tasks[2].pk)
                other.rollback()

        with somebody_holds(tasks[2]) as other:
            end = work(Which(project.pk), How("constant", priority=9), tell=tell)
        assert end.changed == 6 and seen[0].changed == 5 and seen[0].after == 0
        assert set(Task.objects.values_list("priority", flat=True)) == {9}

    def test_people_lease_answer_and_undo_while_the_order_changes_again_and_again(self, project, monkeypatch):
        monkeypatch.setattr(queue_changes, "CHUNK", 100)
        many(project, 3000)
        people = [User.objects.create(username=f"person-{number}") for number in range(8)]
        saved, errors, over = [], [], threading.Event()

        def label(user, number):
            turn = 0
            try:
                while not over.is_set():
                    turn += 1
                    slots = lease(user, project, 10)
                    # Batches close many tasks at once, in an order of their own.
                    batch = [Answer(uuid.uuid4(), slot.task_id, (slot.task_id + number) % 5, 2.0) for slot in slots]
                    outcomes = save_annotations(user, batch[::-1])
                    assert {outcome.status for outcome in outcomes} <= {"saved"}
                    saved.extend(outcome.id for outcome in outcomes)
                    if turn % 4 == 0 and batch:
                        undo(user, batch[0].id)
                        saved.remove(batch[0].id)
            except Exception as error:  # noqa: BLE001 - whatever a thread meets fails the test
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=label, args=pair[::-1]) for pair in enumerate(people)]
        for thread in threads:
            thread.start()
        ends = []
        try:
            for how in (How("constant", priority=5), How("shuffle", seed=3), How("newest", newest=3000)):
                ends.append(work(Which(project.pk), how))
            ids = list(Candidate.objects.values_list("pk", flat=True))
            bulk.do("priority", ids[:500], bulk.Wish(project, priority=0.5))
            ends.append(work(Which(project.pk), How("newest", newest=max(ids))))
        finally:
            over.set()
            for thread in threads:
                thread.join()

        assert errors == [] and len(saved) > 100 and ends[0].changed > 1000
        standing = list(Annotation.objects.standing().values_list("id", "task_id", "annotator_id"))
        assert {row[0] for row in standing} == set(saved) and len(standing) == len(saved)
        assert max(Counter(task for _, task, _ in standing).values()) <= 2
        assert max(Counter((task, person) for _, task, person in standing).values()) == 1
        full = {task for task, count in Counter(task for _, task, _ in standing).items() if count == 2}
        assert set(Task.objects.filter(is_open=False).values_list("pk", flat=True)) == full
        assert Slot.objects.count() == 6000
        # Those that were open all the time stand in the new order: the newest first.
        untouched = Task.objects.filter(annotations=None).order_by("-priority", "tie").values_list("candidate", flat=True)
        assert list(untouched) == sorted(untouched, reverse=True)

    def test_a_killed_worker_leaves_it_to_another_that_goes_on(self, project):
        many(project, 6000)
        with psycopg.connect(database_url()) as other:
            # The last chunk can't be done as long as somebody holds this one.
            last = Task.objects.order_by("-pk").first()
            other.execute("SELECT 1 FROM annotation_task WHERE id = %s FOR UPDATE", [last.pk])
            run = reprioritise(project, "constant", priority=11)
            first = start_worker("light")
            try:
                wait_until(lambda: Task.objects.filter(priority=11).count() == 5999)
            finally:
                kill(first)
            run.refresh_from_db()
            assert run.state == "running" and run.result["after"] < last.pk and run.result["changed"] == 5999
            other.rollback()
        with workers(1, "light"):
            wait_until(lambda: type(run).objects.get(pk=run.pk).is_finished)
        run.refresh_from_db()
        assert (run.state, run.result) == ("succeeded", {"changed": 6000}) and run.attempt == 2
        assert not Task.objects.exclude(priority=11).exists()

