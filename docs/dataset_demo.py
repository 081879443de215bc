"""Rows for looking at the dataset pages: ad world scenes with answers, two versions, verdicts, label errors, imports.

`ADPROOF_DATA=data/demo python docs/dataset_demo.py`, then `ADPROOF_DATA=data/demo make run`; a minute or two, no training.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCENES, PEOPLE, PX = 200, 6, 256
SOURCES = ("shop", "catalogue", "partner")


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from config.database import ensure_database

    ensure_database()
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("demo_data")
    rng = np.random.default_rng(3)
    rows, truth = _candidates(rng)
    _answers(rows, truth, rng)
    first = _version()
    judge = _verdicts(rows, truth, first, rng)
    _second_looks(rows)
    second = _version()
    _runs(first, second)
    _imports()
    print(f"{first}, {second}; judged by {judge}")


def _png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _candidates(rng: Any) -> tuple[list[Any], list[int]]:
    from adproof.adworld.catalogue import load_catalogue
    from adproof.adworld.scenes import World
    from generation.blobs import blobs
    from generation.models import Candidate, Generator, Product, Prompt

    world = World(load_catalogue(), size=PX)
    names = ("mini 1", "mini 1, tuned")
    generators = [
        Generator.objects.create(name=name, kind="mini", key=hashlib.sha256(name.encode()).hexdigest()) for name in names
    ]
    prompts: dict[str, Any] = {}
    made, truth = [], []
    for number in range(SCENES):
        scene = world.draw(rng)
        cut_out = _png(scene.product_rgba)
        sha = blobs().put(cut_out)
        title, _, description = scene.caption.partition(". ")
        product = Product.objects.create(
            sku=f"{scene.sku}-{number}", title=title, description=description, category=scene.sku.split("-")[0],
            source=SOURCES[number % 3], width_px=PX, height_px=PX, image_sha256=sha,
        )  # fmt: skip
        words = f"on a {scene.attributes['surface']} {scene.attributes['kind']}, {scene.attributes['light']}"
        if words not in prompts:
            prompts[words] = Prompt.objects.create(name=words, text=words)
        made.append(Candidate.objects.create(
            product=product, prompt=prompts[words], generator=generators[number % 2], prompt_text=words, image_scale=0.5,
            seed=number, draw=uuid.uuid4(), key=hashlib.sha256(str(number).encode()).hexdigest(),
            image_sha256=blobs().put(_png(scene.image)), depth_model="adworld", saliency_model="adworld",
            depth_sha256=blobs().put(_png((65535 * (1 - scene.depth)).astype(np.uint16))),
            saliency_sha256=blobs().put(_png((255 * scene.saliency).astype(np.uint8))),
        ))  # fmt: skip
        truth.append(int(scene.label))
    return made, truth


def _answers(rows: list[Any], truth: list[int], rng: Any) -> None:
    from accounts.models import User
    from annotation.crowd import simulated_people
    from annotation.models import Annotation, Project, Slot, Task

    simulated_people(PEOPLE, seed=1)
    people = list(User.objects.filter(is_simulated=True).order_by("pk"))
    project = Project.objects.filter(name="Demo").first() or Project.objects.create(name="Ads", overlap=3)
    for row, label in zip(rows, truth, strict=True):
        task = Task.objects.create(project=project, candidate=row, overlap=3, reason="first", is_open=False)
        for place, who in enumerate(rng.choice(len(people), 3, replace=False)):
            said = label if rng.random() < 0.85 else int(rng.integers(5))
            Slot.objects.create(task=task, number=place, annotator=people[who], is_filled=True)
            Annotation.objects.create(
                id=uuid.uuid4(), task=task, candidate=row, annotator=people[who], label=said, seconds=float(2 + 3 * rng.random())
            )
    _fit()


def _fit() -> None:
    from annotation.quality import start_fit

    _do(start_fit(None))


def _do(run: Any) -> Any:
    from runs.child import work_on

    assert run.claim("demo")
    work_on(run.pk, run.fence)
    run.refresh_from_db()
    assert run.state == "succeeded", run.error
    return run


def _version() -> Any:
    from accounts.models import User
    from datasets_app.actions import start_freeze
    from datasets_app.models import DatasetVersion

    run = _do(start_freeze("ads", {}, user=User.objects.get(username="max")))
    return DatasetVersion.objects.get(pk=run.result["version"])


def _verdicts(rows: list[Any], truth: list[int], version: Any, rng: Any) -> Any:
    from rfnet_service.models import Checkpoint, Verdict

    figures = {"n": 30, "average_precision": 0.81, "accuracy": 0.7, "ece": 0.05}
    judge = Checkpoint.objects.create(
        name="RFNet 1", folder="/nowhere", sha256="a" * 64, dataset_version=version, is_promoted=True, metrics={"test": figures}
    )
    for row, label in zip(rows, truth, strict=True):
        probs = rng.dirichlet([0.1 + 6 * (k == label) for k in range(5)])
        first, second = np.sort(probs)[::-1][:2]
        Verdict.objects.create(
            candidate=row, checkpoint=judge, probs=[round(float(p), 4) for p in probs], label=int(probs.argmax()),
            p_available=float(probs[0]), margin=float(first - second),
        )  # fmt: skip
    return judge


def _second_looks(rows: list[Any]) -> None:
    """Some labels on which people differed are decided by a reviewer, and three products turn out unsuitable."""
    from accounts.models import User
    from annotation import review
    from annotation.models import Consensus, Decision

    rita = User.objects.get(username="rita")
    differed = Consensus.objects.filter(candidate__in=rows[10:], agreement__lt=1).order_by("agreement", "pk")[:9]
    for row in differed:
        review.decide(rita, uuid.uuid4(), row.candidate_id, Decision.Action.CHANGED, (row.label + 1) % 5, "Look at its shadow.")
    type(rows[0].product).objects.filter(pk__in=[row.product_id for row in rows[:3]]).update(unsuitable=True)
    _fit()


def _runs(first: Any, second: Any) -> None:
    from datasets_app.exporting import start_write
    from rfnet_service import label_errors

    _do(start_write(second, "labels"))
    _do(label_errors.start(second))


def _imports() -> None:
    from django.conf import settings

    from datasets_app.importing.order import Order, start

    folder = Path(settings.IMPORT_DIR) / "autumn"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        pixels = np.zeros((200, 200, 4), dtype=np.uint8)
        pixels[40:180, 60 : 120 + 20 * number] = (40 * number, 90, 120, 255)
        pixels[60:90, 70:90] = (250, 220, 120, 255)
        Image.fromarray(pixels).save(folder / f"lamp-{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    for dry_run in (True, False):
        _do(start(Order(kind="products", path=str(folder), source="autumn", cuts_out=False, dry_run=dry_run)))


if __name__ == "__main__":
    main()
