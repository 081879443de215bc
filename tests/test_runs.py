"""A run is a row: whatever dies, the row says what happened, and the work goes on where it was."""

import os
import signal
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs import child, worker
from runs.actions import deliver, resume_run, start_in_parts, start_run
from runs.context import BadInput
from runs.keeper import keep
from runs.models import Outbox, Run
from tests.trial_kinds import folder_of, let_go
from tests.workers import kill, start_worker, wait_until, workers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM dramatiq.queue")
    yield


def state_of(run):
    run.refresh_from_db()
    return run.state


def finished(run):
    run.refresh_from_db()
    return run.is_finished and run


class TestTheRow:
    def test_only_one_worker_claims_a_run(self):
        run = start_run("trial_count", {"n": 1})
        again = Run.objects.get(pk=run.pk)
        assert run.claim("a") and not again.claim("b")

    def test_a_claim_raises_the_fence_and_the_old_holder_can_write_nothing(self):
        run = start_run("trial_count", {"n": 1})
        run.claim("a")
        old = Run.objects.get(pk=run.pk)
        Run.objects.filter(pk=run.pk).update(state="queued")
        new = Run.objects.get(pk=run.pk)
        assert new.claim("b") and new.fence == old.fence + 1
        assert not old.renew() and new.renew()
        assert old.held().update(done=5) == 0

    def test_an_impatient_click_starts_nothing_twice(self):
        first = start_run("trial_count", {"n": 1}, key="export/3")
        second = start_run("trial_count", {"n": 1}, key="export/3")
        assert first == second and Run.objects.count() == 1

    def test_who_starts_very_many_parts_waits_for_few_messages(self):
        with CaptureQueriesContext(connection) as made:
            run = start_in_parts("trial_parts", "trial_count", [{"n": n} for n in range(500)], params={}, sizes=[2] * 500)
        assert [row.params["n"] for row in run.parts.order_by("pk")] == list(range(500)) and run.total == 1000
        assert run.parts.order_by("pk").last().title.endswith(", part 500")
        assert Outbox.objects.count() == 500 - 32 and len(made) < 500, "the keepers send the others"

    def test_a_finished_run_frees_its_key(self):
        first = start_run("trial_count", {"n": 1}, key="export/3")
        Run.objects.update(state="stopped")
        second = start_run("trial_count", {"n": 1}, key="export/3")
        assert second != first and not resume_run(first), "the second does the same"
        Run.objects.filter(pk=second.pk).update(state="succeeded")
        assert resume_run(first) and start_run("trial_count", {"n": 1}, key="export/3") == first

    def test_a_message_is_kept_while_the_broker_is_down(self, monkeypatch):
        from runs.tasks import advance_light

        def refuse(*args, **kwargs):
            raise ConnectionError("broker is down")

        with monkeypatch.context() as patch:
            patch.setattr(type(advance_light), "send_with_options", refuse)
            start_run("trial_count", {"n": 1})
        row = Outbox.objects.get()
        assert deliver(row.pk) and not Outbox.objects.exists()

    @pytest.mark.parametrize(
        ("problem", "sentence"),
        [
            (MemoryError(), "Out of memory: use smaller batches"),
            (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate"), "Out of memory: use smaller"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "Out of memory: use smaller"),
            (ValueError("seven"), "ValueError: seven"), (BadInput("Do this."), "Do this."), (KeyError(), "KeyError"),
        ],
    )  # fmt: skip
    def test_what_ended_it_is_said_so_that_somebody_can_do_something(self, problem, sentence):
        assert child._sentence(problem).startswith(sentence)

    def test_a_queued_run_stops_at_once(self):
        run = start_run("trial_count", {"n": 1})
        run.request_stop()
        assert state_of(run) == "stopped"

    def test_a_part_that_is_put_back_is_not_taken_for_somebody_elses(self, monkeypatch):
        from runs import actions

        parent = start_in_parts("trial_parts", "trial_count", [{"n": 1}], params={})
        part = parent.parts.get()
        assert part.claim("a") and actions.pause_run(parent)
        put_back, beating = actions.part_paused, []

        def paused(run):
            put_back(run)
            beating.extend(one for one in threading.enumerate() if isinstance(one, child.Heartbeat) and not one.over.is_set())

        monkeypatch.setattr(actions, "part_paused", paused)
        child.work_on(part.pk, part.fence)
        assert state_of(part) == "queued" and not beating, "a beat in this moment would end the process"

    def test_the_keeper_queues_a_run_again_whose_worker_fell_silent(self):
        run = start_run("trial_count", {"n": 1})
        run.claim("a")
        Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        keep()
        assert state_of(run) == "queued" and run.events.filter(level="warning").exists()

    def test_the_keeper_gives_up_on_a_run_that_keeps_losing_its_worker(self):
        run = start_run("trial_count", {"n": 1})
        for _ in range(3):
            Run.objects.filter(pk=run.pk).update(state="queued")
            Run.objects.get(pk=run.pk).claim("a")
            Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            keep()
        assert state_of(run) == "failed" and "3 attempts" in run.error


def test_a_child_that_never_gets_ready_does_not_hold_its_run_for_ever(monkeypatch, tmp_path):
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 600\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(worker, "START_S", 0.2)
    monkeypatch.setattr(worker, "_local", threading.local())
    monkeypatch.setattr(worker.sys, "executable", str(stuck))
    run = start_run("trial_count", {"n": 1})
    for _ in range(3):
        worker.advance(run.pk)
    run.refresh_from_db()
    assert run.state == "failed" and "its process did not start" in run.error


class TestRealWorkers:
    def test_runs_are_done_and_followers_started(self):
        run = start_run("trial_count", {"n": 3, "then": [["trial_count", {"n": 2}]]})
        with workers(1, "light"):
            wait_until(lambda: finished(run))
            follower = wait_until(lambda: Run.objects.exclude(pk=run.pk).first())
            wait_until(lambda: finished(follower))
        assert run.state == "succeeded" and run.result["lines"] == 3
        assert follower.params["after"] == run.pk and follower.state == "succeeded"

    def test_parts_are_shared_and_summed_up(self):
        run = start_in_parts("trial_parts", "trial_count", [{"n": 2, "meet": 2} for _ in range(6)], params={}, sizes=[2] * 6)
        with workers(2, "light"):
            wait_until(lambda: finished(run))
        assert run.state == "succeeded" and run.result == {"sum": 12} and run.done == 12
        assert len({part.worker.split(":")[1] for part in run.parts.all()}) == 2

    def test_a_bad_input_fails_once_with_its_sentence(self):
        run = start_run("trial_error", {})
        with workers(1, "light"):
            wait_until(lambda: finished(run))
        assert run.state == "failed" and run.error == "The file has no column sku: add it." and run.attempt == 1

    def test_a_full_disk_is_said_as_such(self):
        run = start_run("trial_full_disk", {})
        with workers(1, "light"):
            wait_until(lambda: finished(run))
        assert run.state == "failed" and "disk is full" in run.error

    def test_what_kills_its_process_again_and_again_ends_as_failed_with_its_log(self):
        run = start_run("trial_crash", {})
        with workers(1, "light"):
            wait_until(lambda: finished(run), 240)  # a process is started three times
        assert run.state == "failed" and run.attempt == 3
        assert "signal 9" in run.error and "about to crash" in run.error

    def test_a_killed_child_is_replaced_and_the_run_goes_on(self):
        run = start_run("trial_count", {"n": 30, "hold": 3})
        with workers(1, "light"):
            wait_until(lambda: run.refresh_from_db() or run.done == 3)
            first = (folder_of(run) / "lines").read_text().split()[1]
            os.kill(int(first), signal.SIGKILL)
            let_go(run)
            wait_until(lambda: finished(run))
        assert run.state == "succeeded" and run.result["lines"] == 30 and len(run.result["pids"]) == 2

    def test_a_killed_worker_is_noticed_within_its_lease_and_another_goes_on(self):
        run = start_run("trial_count", {"n": 60, "hold": 3})
        first = start_worker("light")
        try:
            wait_until(lambda: run.refresh_from_db() or run.done == 3)
        finally:
            kill(first)
        let_go(run)
        with workers(1, "light"):
            wait_until(lambda: finished(run))
        assert run.state == "succeeded" and run.result["lines"] == 60 and run.attempt == 2

    def test_a_worker_that_is_told_to_end_hands_its_run_back(self):
        run = start_run("trial_count", {"n": 40, "hold": 2})
        with workers(1, "light"):
            wait_until(lambda: run.refresh_from_db() or run.done == 2)
        assert state_of(run) == "queued" and run.attempt == 0
        let_go(run)
        with workers(1, "light"):
            wait_until(lambda: finished(run))
        assert run.state == "succeeded" and run.attempt == 1

    def test_stop_and_resume_lose_nothing(self):
        run = start_run("trial_count", {"n": 40, "hold": 2})
        with workers(1, "light"):
            wait_until(lambda: run.refresh_from_db() or run.done == 2)
            run.request_stop()
            wait_until(lambda: state_of(run) == "stopped")
            assert len((folder_of(run) / "lines").read_text().splitlines()) == 2
            let_go(run)
            assert resume_run(run)
            wait_until(lambda: finished(run))
        assert run.state == "succeeded" and run.result["lines"] == 40
