"""Simulated annotators at work through the public API: skipping, flagging, taking their time, renewing, and the command."""

import json
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from adproof.simulate import SimulatedAnnotator, confusion_of
from annotation import simulated
from annotation.actions import Pick, add_tasks
from annotation.crowd import accounts_of
from annotation.models import Annotation, Flag, Project, Skip, Slot
from annotation.simulated import work_together
from tests import build

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project():
    project = Project.objects.create(name="simulated", overlap=1)
    add_tasks(project, [Pick(row.pk) for row in build.candidates(12)])
    return project


def person(name="ann", seconds=0.5, **values):
    return SimulatedAnnotator(name, confusion_of(0.9), seconds, 0.0, np.random.default_rng(0), **values)


def held():
    return Slot.objects.filter(is_filled=False, annotator__isnull=False).count()


def test_they_skip_and_flag_as_often_as_they_do(live_server, project):
    (ann,) = work_together(live_server.url, accounts_of([person(skips=0.3, flags=0.4)]), project.pk, None)
    assert (Skip.objects.count(), Flag.objects.count()) == (ann.skipped, ann.flagged) and ann.skipped and ann.flagged
    assert Annotation.objects.standing().count() == ann.saved == 12 - ann.skipped - ann.flagged
    (bo,) = work_together(live_server.url, accounts_of([person("bo")]), project.pk, None)
    assert (bo.saved, bo.skipped, bo.flagged) == (ann.skipped, 0, 0)
    assert held() == 0


def test_what_is_skipped_does_not_count_towards_the_limit(live_server, project):
    (work,) = work_together(live_server.url, accounts_of([person(skips=0.5)]), project.pk, None, limit=4)
    assert work.saved == 4 and work.skipped


class Clock:
    """Time goes by while somebody waits, and only then: how busy the machine is changes nothing."""

    now = 0.0

    def monotonic(self):
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds):
        self.now += seconds


def test_at_their_own_pace_they_answer_one_by_one_and_give_back_what_is_left(live_server, project, monkeypatch):
    monkeypatch.setattr(simulated, "time", clock := Clock())
    (work,) = work_together(live_server.url, accounts_of([person()]), project.pk, None, seconds=2.25, pace=1.0)
    assert 2.25 <= clock.now <= 2.5
    assert work.saved == len(work.submit_s) == 5
    assert held() == 0
    assert set(Annotation.objects.values_list("seconds", flat=True)) == {0.5}


def test_ten_times_as_fast(live_server, project):
    (work,) = work_together(live_server.url, accounts_of([person()]), project.pk, None, pace=0.1)
    assert work.saved == 12 and set(Annotation.objects.values_list("seconds", flat=True)) == {0.5}


def test_who_takes_long_renews_what_they_hold(live_server, project, monkeypatch):
    monkeypatch.setattr(simulated, "RENEW_S", 0.5)
    renewed = []
    post = simulated.DeskClient.post

    def spying(self, verb, body):
        if verb == "renew":
            renewed.append(len(body["tasks"]))
        return post(self, verb, body)

    monkeypatch.setattr(simulated.DeskClient, "post", spying)
    (work,) = work_together(live_server.url, accounts_of([person(seconds=1.2)]), project.pk, None, limit=3, pace=1.0)
    assert work.saved == 3 and renewed and not work.refused


class TestTheCommand:
    def run(self, live_server, capsys, **options):
        call_command("annotate", base_url=live_server.url, blind=True, stdout=StringIO(), **options)
        return capsys.readouterr().out

    def test_a_crowd_of_all_kinds(self, live_server, project, capsys):
        said = self.run(live_server, capsys, people=3, skips=0.2)
        assert said.count(" saved") == 3 and "skipped" in said and "submit p95" in said

    def test_people_from_a_file(self, live_server, project, capsys, tmp_path):
        path = tmp_path / "crowd.json"
        path.write_text(json.dumps([{"name": "ann", "accuracy": 1}, {"name": "bo", "flags": 0.1}]))
        said = self.run(live_server, capsys, crowd=path)
        assert "ann" in said and "bo" in said
        assert set(Annotation.objects.values_list("annotator__username", flat=True)) <= {"sim-ann", "sim-bo"}

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"people": 0}, "1 or more"),
            ({"project": "none"}, "no project 'none'"),
            ({"pace": -1.0}, "--pace"),
            ({"pace": float("nan")}, "--pace"),
            ({"skips": 2.0}, "shares"),
            ({"crowd": "/nowhere/crowd.json"}, "can't be read"),
        ],
    )
    def test_nonsense_is_refused_before_anybody_works(self, project, options, sentence):
        from pathlib import Path

        options = {name: Path(value) if name == "crowd" else value for name, value in options.items()}
        with pytest.raises(CommandError, match=sentence):
            call_command("annotate", blind=True, **options)
        assert not Annotation.objects.exists()
