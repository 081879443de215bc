"""Start trainings and rounds of active learning."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from adproof.acquisition.picking import Picked, pick
from annotation.actions import Pick, add_tasks
from annotation.models import Project, Task
from datasets_app.models import DatasetVersion
from datasets_app.product_splits import HOLDOUT, give_splits, splits
from generation.models import Candidate, Generator
from rfnet_service.actions import promoted
from rfnet_service.models import Checkpoint, Verdict
from runs.actions import start_run
from runs.models import Run
from training.models import Round, Training

DATASET = "ads"  # the dataset that rounds feed; its splits decide which products active learning may choose from
POOL_LIMIT = 200_000


class CannotTrain(ValueError):
    """The message says what to change."""


class NothingToPick(ValueError):
    """Every candidate was given to people already."""


def start_training(training: Training, *, user: Any = None) -> Run:
    """Check what goes in, save the training and start its run. Raises CannotTrain."""
    check_training(training)
    with transaction.atomic():
        training.created_by = training.created_by or (user if user is not None and user.is_authenticated else None)
        training.save()
        title = (
            f"Train RFNet on {training.dataset_version}"
            if training.kind == "rfnet"
            else f"Tune {training.generator} on the feedback of {training.feedback}"
        )
        run = start_run(f"train_{training.kind}", {"training": training.pk}, title=title, user=user)
        training.run = run
        training.save(update_fields=["run"])
    return run


def check_training(training: Training) -> None:
    if not isinstance(training.config, dict):
        raise CannotTrain('The settings must be a JSON object, such as {"epochs": 5}.')
    if training.kind == "rfnet":
        version = training.dataset_version
        if version is None:
            raise CannotTrain("Choose the dataset version that RFNet learns from.")
        if version.state != DatasetVersion.State.WRITTEN:
            raise CannotTrain(f"{version} is frozen but not written yet: wait for its run, or resume it.")
        if not (Path(version.uri) / "manifest.json").is_file():
            raise CannotTrain(f"The files of {version} are not at {version.uri} any more: write the version again.")
        return
    if training.generator is None or training.feedback is None:
        raise CannotTrain("RFFT needs a generator to tune and an RFNet whose feedback it follows.")


def open_round(project: Project, *, count: int, strategy: str = "margin", random_share: float = 0.1, holdout_share: float = 0.3,
               per_product_cap: int = 6, seed: int = 0, dataset: str = DATASET) -> Round:  # fmt: skip
    """Pick what people label next, and give it to them as tasks.

    Products of the validation and test splits are a holdout that no model's doubt ever chooses from: `holdout_share` of the
    picks are drawn from them at random, so that figures measured there stay honest. The rest goes to the candidates that
    the RFNet in use is least sure of, with a random share; without an RFNet the products are covered evenly.
    """
    rng = np.random.default_rng(seed)
    checkpoint = promoted()
    give_splits(dataset)  # of new products too, before anybody chooses among them: it is for good
    taken = Task.objects.filter(project=project, candidate=OuterRef("pk"))
    pool = list(
        Candidate.objects.perceived()
        .usable()
        .filter(~Exists(taken))
        .order_by("-pk")
        .values_list("pk", "product_id", "product__sku")[:POOL_LIMIT]
    )
    if not pool:
        raise NothingToPick("Every candidate was given to people already: draw new ones, then open the round.")
    split = splits(dataset, {product for _, product, _ in pool})
    holdout = [row for row in pool if split.get(row[1]) in HOLDOUT]
    rest = [row for row in pool if split.get(row[1]) == "train"]
    n_holdout = min(len(holdout), max(round(count * holdout_share), count - len(rest)))
    picks = _picks(holdout, n_holdout, rng, "holdout", 1.0, None, None)
    picks += _picks(rest, min(len(rest), count - n_holdout), rng, strategy, random_share, checkpoint, per_product_cap)
    with transaction.atomic():
        number = (
            (Round.objects.select_for_update().aggregate(top=Max("number"))["top"] or 0) + 1
            if Round.objects.exists()
            else 1
        )
        made = Round.objects.create(
            number=number, project=project, strategy=strategy if checkpoint else "cover", random_share=random_share, seed=seed,
            picked_by=checkpoint, picked_count=len(picks), summary={"pool": len(pool), "picked": _reasons(picks)},
        )  # fmt: skip
        add_tasks(project, picks, number)
    return made


def _picks(
    rows: list[tuple[int, int, str]],
    n: int,
    rng: np.random.Generator,
    strategy: str,
    random_share: float,
    checkpoint: Checkpoint | None,
    cap: int | None,
) -> list[Pick]:
    if not rows or n <= 0:
        return []
    if strategy in {"random", "holdout"}:
        reason = "random holdout" if strategy == "holdout" else "random"
        places = rng.choice(len(rows), size=n, replace=False)
        return [Pick(rows[at][0], 0.5, reason, None, n / len(rows)) for at in places]
    if checkpoint is not None:
        judged = dict(
            Verdict.objects.filter(checkpoint=checkpoint, candidate__in=[pk for pk, _, _ in rows]).values_list(
                "candidate_id", "probs"
            )
        )
        known = [row for row in rows if row[0] in judged]
        if len(known) >= n:
            probs = np.array([judged[pk] for pk, _, _ in known])
            products = np.array([product for _, product, _ in known])
            probs /= probs.sum(axis=1, keepdims=True)
            return _as_picks(known, pick(probs, products, n, rng, random_share, cap, strategy))
    return _as_picks(rows, pick(None, np.array([product for _, product, _ in rows]), n, rng, per_product_cap=cap))


def _as_picks(rows: list[tuple[int, int, str]], picked: Picked) -> list[Pick]:
    return [
        Pick(rows[at][0], float(score), reason, float(score), float(chance))
        for at, score, reason, chance in zip(
            picked.index, picked.score, picked.reason, picked.inclusion_probability, strict=True
        )
    ]


def _reasons(picks: list[Pick]) -> dict[str, int]:
    return dict(Counter(one.reason for one in picks))


def tuned_name(base: Generator, training: Training) -> str:
    return f"{base.name} tuned by training {training.pk}"
