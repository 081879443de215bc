"""A crowd with a past: weeks of answers as rows, made in a few statements, for the tests of figures and pages."""

import io
import uuid
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
from django.utils import timezone

from accounts.models import User
from adproof.simulate import confusion_of
from annotation import consensus, quality
from annotation.gold import Known, make_gold
from annotation.models import Annotation, Project, Slot, Task
from runs.models import Run
from tests import build

SHARES = [0.5, 0.15, 0.1, 0.15, 0.1]


def fit():
    """As the run does it, with its row."""
    result = quality.fit(nullcontext, lambda done, total: None)
    now = timezone.now()
    Run.objects.create(kind="fit_consensus", state="succeeded", result=result, started_at=now, finished_at=now)
    consensus.forget()
    return result


def answer(user, candidate, label, at=None, seconds=3.0, project=None, state="standing"):
    """One answer that nobody had to lease, with its task and slot."""
    project = project or Project.objects.get_or_create(name="first", defaults={"overlap": 2})[0]
    task, _ = Task.objects.get_or_create(project=project, candidate=candidate, defaults={"overlap": project.overlap})
    Slot.objects.get_or_create(
        task=task, annotator=user, defaults={"number": task.slots.count(), "is_filled": True}
    )  # fmt: skip
    return Annotation.objects.create(
        id=uuid.uuid4(), task=task, candidate=candidate, annotator=user, label=label, seconds=seconds,
        created_at=at or timezone.now(), state=state,
    )  # fmt: skip


def users(names):
    return {name: User.objects.get_or_create(username=name, defaults={"role": "annotator"})[0] for name in names}


def work(candidates, accuracies, *, days=12, each=3, gold=0, seed=0, project=None, pace=None):
    """`each` of the people answer every candidate, over the last `days`; returns candidate -> truth.

    accuracies: name -> accuracy, or None for somebody who always says "available" within a second. gold: the first so
    many candidates are gold, and everybody answers them.
    """
    rng = np.random.default_rng(seed)
    project = project or Project.objects.create(name="Spring catalogue", overlap=each)
    people = users(accuracies)
    truth = {row.pk: int(rng.choice(5, p=SHARES)) for row in candidates}
    tasks = Task.objects.bulk_create([Task(project=project, candidate=row, overlap=each, is_open=False) for row in candidates])
    rows, slots, now = [], [], timezone.now()
    for place, task in enumerate(tasks):
        names = list(accuracies)
        chosen = names if place < gold else rng.permutation(names)[:each].tolist()
        for number, name in enumerate(chosen):
            accuracy = accuracies[name]
            right = truth[task.candidate_id]
            label = 0 if accuracy is None else int(rng.choice(5, p=confusion_of(accuracy)[right]))
            middle = 0.7 if accuracy is None else (pace or {}).get(name, 3.5)
            share = place / max(1, len(tasks))
            # Nobody works at night.
            hour = 8 + 9 * rng.random()
            at = (now - timedelta(days=days * (1 - share))).replace(hour=0, minute=0) + timedelta(hours=hour)
            rows.append(
                Annotation(
                    id=uuid.uuid4(), task=task, candidate_id=task.candidate_id, annotator=people[name], label=label,
                    seconds=float(rng.lognormal(np.log(middle), 0.4)),
                    created_at=min(at, now - timedelta(seconds=int(rng.integers(1, 6 * 3600)))),
                )  # fmt: skip
            )
            slots.append(Slot(task=task, annotator=people[name], number=number, is_filled=True))
    Annotation.objects.bulk_create(rows, batch_size=2000)
    Slot.objects.bulk_create(slots, batch_size=2000)
    if gold:
        make_gold(project, {row.pk: Known(truth[row.pk]) for row in candidates[:gold]}, None)
    return truth


def candidates(n, pictures=None, categories=("lamps", "chairs", "mugs", "toys")):
    """n candidates of n products over these categories. pictures: paths of pictures to show, in turn."""
    first = build.candidate(0)
    shas = [first.image_sha256]
    if pictures:
        from PIL import Image

        from generation.blobs import blobs

        shas = []
        for path in pictures:
            out = io.BytesIO()
            Image.open(path).convert("RGB").save(out, "PNG")
            shas.append(blobs().put(out.getvalue()))
    kinds = [
        build.product(1000 + number, title=f"{name.capitalize()[:-1]} {number}", category=name)
        for number, name in enumerate(categories)
    ]
    rows = []
    for number in range(n):
        row = type(first)(
            **{
                field.attname: getattr(first, field.attname)
                for field in first._meta.concrete_fields
                if not field.primary_key
            }
        )
        row.product = kinds[number % len(kinds)]
        row.seed, row.draw, row.key = number, uuid.uuid4(), f"{number:064x}"
        row.image_sha256 = shas[number % len(shas)]
        rows.append(row)
    return type(first).objects.bulk_create(rows, batch_size=2000)
