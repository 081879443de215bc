"""Some rows at every station, for tests of pages."""

import uuid

import pytest
from django.core.cache import cache

from runs.models import Run
from tests import build


@pytest.fixture(autouse=True)
def no_kept_numbers():
    cache.clear()
    yield
    cache.clear()


def consensus(candidate, label=0, agreement=1.0, is_complete=True):
    from annotation.models import Consensus

    return Consensus.objects.create(
        candidate=candidate, label=label, posterior=[0.9 if n == label else 0.025 for n in range(5)], method="majority",
        annotation_count=2, agreement=agreement, is_complete=is_complete,
    )


def checkpoint(name="rfnet-1", ap=0.7, **values):
    from rfnet_service.models import Checkpoint

    return Checkpoint.objects.create(
        name=name, folder="x", sha256="f" * 64, metrics={"test": {"average_precision": ap, "f1": ap}}, **values
    )


def verdict(candidate, by, label=0):
    from rfnet_service.models import Verdict

    probs = [0.6 if n == label else 0.1 for n in range(5)]
    return Verdict.objects.create(candidate=candidate, checkpoint=by, probs=probs, label=label, p_available=probs[0], margin=0.5)


def annotate(candidate, person, label=0):
    from annotation.models import Annotation, Project, Slot, Task

    project, _ = Project.objects.get_or_create(name="first")
    task, _ = Task.objects.get_or_create(project=project, candidate=candidate, defaults={"overlap": 2})
    Slot.objects.create(task=task, number=task.slots.count(), annotator=person, is_filled=True)
    return Annotation.objects.create(
        id=uuid.uuid4(), task=task, candidate=candidate, annotator=person, label=label, seconds=3.2
    )


@pytest.fixture
def loop(people):
    """Some rows at every station."""
    from annotation.models import Project, Task

    rows = build.candidates(4)
    first = checkpoint(is_promoted=True)
    for row in rows[:2]:
        annotate(row, people["alice"])
        consensus(row)
        verdict(row, first)
    project = Project.objects.get()
    Task.objects.create(project=project, candidate=rows[2], overlap=2)
    run = Run.objects.create(kind="generate", title="Draw 4 candidates", state="succeeded", total=4, done=4, result={"images": 4})
    return {"candidates": rows, "run": run, "checkpoint": first}
