"""A whole platform's rows by SQL: products, candidates, answers, consensus, verdicts, two dataset versions. No pictures.

Of each table one row comes from the ORM, so that every column has what the code gives it; the others are its copies.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import numpy as np

CATEGORIES, SOURCES, PEOPLE, ANSWERS_EACH = 40, 3, 60, 3
PRODUCTS_SHARE = 8  # candidates of a product, on average
DONE = 0.97  # of the tasks have all their answers
WORDS = "A lamp with a linen shade, a brass foot and a cable of three metres"
_LABEL = "(array[0,0,0,1,1,2,3,3,4,0])[1 + (abs(hashint8({})) %% 10)]"


def fill(rows: int) -> dict[str, int | str]:
    """Returns what the addresses of pages need: the id of a real row of each kind."""
    made = _people()
    made |= _candidates(rows, made)
    made |= _tasks(rows, made)
    made |= _consensus(rows, made)
    made |= _verdicts(rows, made)
    made |= _versions(rows, made)
    made |= _small_things(made)
    return made


def execute(sql: str, **values: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def copies(first: Any, source: str, own: dict[str, str], **values: Any) -> None:
    """Rows like `first`, one for each row of `source` (a FROM clause); own: column -> SQL."""
    model = type(first)
    columns = [
        field.column
        for field in model._meta.local_concrete_fields
        if field.column in own or not (field.primary_key and field.get_internal_type() == "BigAutoField")
    ]
    execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)})"
        f" SELECT {', '.join(own.get(column, 'first.' + column) for column in columns)}"
        f" FROM {model._meta.db_table} first, {source} AND first.{model._meta.pk.column} = %(first)s",
        first=first.pk, **values,
    )  # fmt: skip


def _people() -> dict[str, Any]:
    from accounts.models import User
    from accounts.roles import ROLES
    from annotation.crowd import simulated_people

    for role in ROLES:
        user = User(username=role, role=role)
        user.set_unusable_password()
        user.save()
    simulated_people(PEOPLE, seed=1)
    crowd = list(User.objects.filter(is_simulated=True).order_by("pk").values_list("pk", flat=True))
    return {"crowd": crowd, "first_person": crowd[0]}


def _candidates(rows: int, made: dict[str, Any], **own: str) -> dict[str, Any]:
    from generation.models import Candidate, Generator, Product, Prompt

    n_products = max(1, rows // PRODUCTS_SHARE)
    product = Product.objects.create(
        sku="sku-0", title=WORDS, description=WORDS, category="category 0", source="source 0", image_sha256="0" * 64,
        width_px=512, height_px=512, look_hash=0,
    )  # fmt: skip
    copies(
        product, "generate_series(1, %(n)s) n WHERE true",
        {
            "sku": "'sku-' || n", "title": "'Lamp ' || n || %(words)s", "category": f"'category ' || n %% {CATEGORIES}",
            "source": f"'source ' || n %% {SOURCES}", "image_sha256": "lpad(to_hex(n), 64, 'a')",
            "look_hash": "hashint8extended(n, 7)",
        },
        n=n_products - 1, words=f", {WORDS.lower()}",
    )  # fmt: skip
    prompts = [Prompt.objects.create(name=f"prompt {n}", text=f"on a table, scene {n}") for n in range(30)]
    generators = [
        Generator.objects.create(name=f"generator {n}", kind="mini", key=f"{n:064x}", is_in_use=n == 0)
        for n in range(5)
    ]
    candidate = Candidate.objects.create(
        product=product, prompt=prompts[0], generator=generators[0], prompt_text=prompts[0].text, image_scale=0.5,
        seed=0, draw=uuid.uuid4(), key="0" * 64, image_sha256="0" * 64, depth_sha256="1" * 64, saliency_sha256="2" * 64,
        depth_model="mini", saliency_model="mini",
    )  # fmt: skip
    copies(
        candidate, "generate_series(1, %(n)s) n WHERE true",
        {
            "seed": "n", "draw": "gen_random_uuid()", "key": "lpad(to_hex(n), 64, '0')",
            "image_sha256": "lpad(to_hex(n), 64, '0')", "depth_sha256": "lpad(to_hex(n), 64, '1')",
            "saliency_sha256": "lpad(to_hex(n), 64, '2')",
            "product_id": f"{product.pk} + n %% {n_products}", "prompt_id": f"{prompts[0].pk} + n %% {len(prompts)}",
            "generator_id": f"{generators[0].pk} + n %% {len(generators)}",
            "created_at": "first.created_at - (%(n)s - n) * interval '3 seconds'", **own,
        },
        n=rows - 1,
    )  # fmt: skip
    return {"product": product.pk + n_products // 2, "candidate": candidate.pk + rows // 2, "prompt": prompts[3].pk,
            "first_candidate": candidate.pk, "generator": generators[1].pk, "sha256": "0" * 64}  # fmt: skip


def _tasks(rows: int, made: dict[str, Any]) -> dict[str, Any]:
    """One project; DONE of its tasks have their three answers, the others none yet."""
    from annotation.models import Annotation, Project, Slot, Task
    from generation.models import Candidate

    project = Project.objects.create(name="All pictures", overlap=ANSWERS_EACH)
    task = Task.objects.create(
        project=project, candidate=Candidate.objects.get(pk=made["first_candidate"]), overlap=ANSWERS_EACH,
        reason="first",
    )  # fmt: skip
    done = int(rows * DONE)
    copies(
        task, "generation_candidate c WHERE c.id > %(first_candidate)s",
        {"candidate_id": "c.id", "tie": "random()", "is_open": "c.id >= %(first_candidate)s + %(done)s"},
        first_candidate=made["first_candidate"], done=done,
    )  # fmt: skip
    Task.objects.filter(pk=task.pk).update(is_open=False)
    crowd = made["crowd"]
    answered = f"{crowd[0]} + (t.id * 7 + place * 11) %% {len(crowd)}"
    slot = Slot.objects.create(task=task, number=8)
    copies(
        slot, f"annotation_task t, generate_series(0, {ANSWERS_EACH - 1}) AS places(place) WHERE true",
        {"task_id": "t.id", "number": "place", "is_filled": "NOT t.is_open",
         "annotator_id": f"CASE WHEN t.is_open THEN NULL ELSE {answered} END"},
    )  # fmt: skip
    slot.delete()
    annotation = Annotation.objects.create(
        id=uuid.uuid4(), task=task, candidate_id=task.candidate_id, annotator_id=crowd[-1], label=0, seconds=3.5,
        state="undone",
    )  # fmt: skip
    label = _LABEL.format("t.candidate_id")
    copies(
        annotation, "annotation_task t JOIN annotation_slot s ON s.task_id = t.id WHERE s.is_filled",
        {
            "id": "gen_random_uuid()", "task_id": "t.id", "candidate_id": "t.candidate_id", "state": "'standing'",
            "annotator_id": "s.annotator_id", "seconds": "2 + 4 * random()",
            "label": f"CASE WHEN random() < 0.15 THEN (random() * 4)::int ELSE {label} END",
            "created_at": "now() - (%(rows)s - (t.id - %(task)s)) * interval '4 seconds' - s.number * interval '7 hours'",
        },
        rows=rows, task=task.pk,
    )  # fmt: skip
    return {"project": project.pk, "task": task.pk}


def _consensus(rows: int, made: dict[str, Any]) -> dict[str, Any]:
    from annotation.models import Consensus

    first = Consensus.objects.create(
        candidate_id=made["first_candidate"], label=0, posterior=[0.9, 0.025, 0.025, 0.025, 0.025],
        method="dawid-skene", annotation_count=ANSWERS_EACH, agreement=1.0, is_complete=True, activelab_score=0.9,
    )  # fmt: skip
    agreement = "(array[1.0, 1.0, 1.0, 0.6666667, 0.6666667, 0.3333333])[1 + abs(hashint8(t.id)) %% 6]"
    copies(
        first,
        "annotation_task t WHERE NOT t.is_open AND t.candidate_id > first.candidate_id",
        {
            "candidate_id": "t.candidate_id", "label": _LABEL.format("t.candidate_id"), "agreement": agreement,
            "posterior": "jsonb_build_array(0.8, 0.05, 0.05, 0.05, 0.05)", "activelab_score": "random()",
        },
    )  # fmt: skip
    return {}


def _verdicts(rows: int, made: dict[str, Any]) -> dict[str, Any]:
    from rfnet_service.models import Checkpoint, Verdict

    figures = {
        "n": 20, "precision": 0.75, "recall": 0.6, "f1": 0.667, "average_precision": 0.8, "accuracy": 0.65, "ece": 0.05,
        "nll": 0.9, "mean_available": 0.45, "share_available": 0.5, "recall_per_label": [0.6, 0.5, 1.0, 0.5, None],
        "confusion": np.eye(5, dtype=int).tolist(),
    }  # fmt: skip
    metrics = {"test": figures, "validation": None, "test_ece_before": 0.11, "in_use_before": None}
    checkpoint = Checkpoint.objects.create(
        name="RFNet 1", folder="/nowhere/1", sha256="a" * 64, metrics=metrics, is_promoted=True
    )
    verdict = Verdict.objects.create(
        candidate_id=made["first_candidate"], checkpoint=checkpoint, probs=[0.6, 0.1, 0.1, 0.1, 0.1], label=0,
        p_available=0.6, margin=0.5,
    )  # fmt: skip
    copies(
        verdict, "generation_candidate c WHERE c.id > first.candidate_id",
        {
            "candidate_id": "c.id", "label": _LABEL.format("c.id + (random() < 0.2)::int"), "p_available": "random()",
            "margin": "random()", "probs": "jsonb_build_array(0.6, 0.1, 0.1, 0.1, 0.1)",
        },
    )  # fmt: skip
    return {"checkpoint": checkpoint.pk}


def _versions(rows: int, made: dict[str, Any]) -> dict[str, Any]:
    """The second has what the first has not yet, and one label in fifty is another."""
    from adproof.labels import LABELS
    from datasets_app.models import SPLITS, DatasetVersion, VersionRow
    from rfnet_service.models import Checkpoint

    versions: list[Any] = []
    for number, share in enumerate((0.9, 1.0), start=1):
        version = DatasetVersion.objects.create(
            name="ads", number=number, parent=versions[-1] if versions else None, salt="ads", digest=f"{number:064x}",
            row_count=0, state="written", uri="/nowhere/ads",
        )  # fmt: skip
        row = VersionRow.objects.create(
            version=version, candidate_id=made["first_candidate"], label=0, posterior=[0.9, 0.025, 0.025, 0.025, 0.025],
            agreement=1.0, annotation_count=ANSWERS_EACH, split="train", row_digest="0" * 64, method="dawid-skene",
            annotations=[{"annotator": f"annotator-{n:08x}", "label": 0, "seconds": 3.2, "at": "2026-01-05T10:00:00+00:00"}
                         for n in range(ANSWERS_EACH)],
        )  # fmt: skip
        relabelled = f"CASE WHEN k.id %% 50 = {number} THEN (k.label + 1) %% 5 ELSE k.label END"
        copies(
            row,
            "(SELECT c.*, p.product_id FROM annotation_consensus c JOIN generation_candidate p ON p.id = c.candidate_id) k"
            " WHERE k.candidate_id > first.candidate_id AND k.candidate_id <= first.candidate_id + %(most)s",
            {
                "candidate_id": "k.candidate_id", "label": relabelled, "agreement": "k.agreement",
                "split": "(array['train','train','train','train','train','train','train','validation','test','test'])"
                         "[1 + abs(hashint8(k.product_id)) %% 10]",
                "row_digest": "lpad(to_hex(k.candidate_id), 64, '0')",
            },
            most=int(rows * DONE * share),
        )  # fmt: skip
        _counted(version, SPLITS, LABELS)
        versions.append(version)
    Checkpoint.objects.filter(pk=made["checkpoint"]).update(dataset_version=versions[0])
    return {"version": versions[1].pk, "older": versions[0].pk}


def _counted(version: Any, splits: list[str], labels: Any) -> None:
    from django.db.models import Count

    found: dict[str, dict[str, int]] = {split: {} for split in splits}
    total = 0
    for split, label, n in version.rows.values_list("split", "label").annotate(n=Count("pk")).order_by():
        found[split][labels[label]] = n
        total += n
    version.counts, version.row_count, version.size_bytes = found, total, total * 240_000
    version.manifest = {"counts": {}, "files": {}, "agreement": {"mean_agreement": 0.83, "mean_annotations": 3}}
    version.save()


def _small_things(made: dict[str, Any]) -> dict[str, Any]:
    from accounts.models import User
    from annotation.gold import Known, make_gold
    from annotation.models import Consensus, Decision, Guidelines, Pair, Project, SavedFilter, Snapshot, Team
    from generation.models import VariableList
    from runs.models import Run
    from training.models import Round, Training

    variable = VariableList.objects.create(name="colour", values=["sand", "sage"])
    people = {user.username: user for user in User.objects.filter(is_simulated=False)}
    project = Project.objects.get(pk=made["project"])
    Guidelines.objects.get_or_create(project=project, version=1, defaults={"text": "Look at the whole picture."})
    team = Team.objects.create(name="Furniture")
    ids = list(range(made["first_candidate"], made["first_candidate"] + 5_000))
    saved = SavedFilter.objects.create(owner=people["reviewer"], name="Good ones", query={"label": "0"})
    snapshot = Snapshot.objects.create(owner=people["reviewer"], query={}, candidates=ids, count=len(ids))
    make_gold(project, {pk: Known(1, "It floats.") for pk in ids[:200]}, people["manager"])
    gold = project.tasks.filter(is_gold=True).first()
    disputed = Consensus.objects.order_by("agreement", "candidate").first()
    assert gold is not None and disputed is not None
    for pk in ids[200:1200]:
        Decision.objects.create(id=uuid.uuid4(), candidate_id=pk, reviewer=people["reviewer"], action="confirmed", label=0)
    taste = Project.objects.create(name="Taste")
    Pair.objects.bulk_create([Pair(project=taste, first_id=a, second_id=a + 1) for a in ids[:2_000:2]])
    runs = [
        Run(kind="score_part", title=f"Part {n}", state="succeeded", created_by=people["ml"], total=1000, done=1000)
        for n in range(5_000)
    ]
    Run.objects.bulk_create(runs)
    run = Run.objects.create(kind="train_rfnet", title="Train RFNet", state="succeeded", done=4, total=4)
    training = Training.objects.create(
        kind="rfnet", dataset_version_id=made["older"], run=run, checkpoint_id=made["checkpoint"], created_by=people["ml"]
    )
    for number in range(1, 11):
        Round.objects.create(
            number=number, project=project, strategy="margin", picked_by_id=made["checkpoint"], picked_count=1000,
            dataset_version_id=made["version"], checkpoint_id=made["checkpoint"],
        )  # fmt: skip
    Run.objects.filter(kind="score_part").update(created_at=run.created_at - timedelta(days=1))
    return {
        "team": team.pk, "filter": saved.pk, "snapshot": snapshot.pk, "gold": gold.gold.pk, "taste": taste.pk,
        "disputed": disputed.candidate_id, "run": run.pk, "training": training.pk, "round": 5, "variable": variable.pk,
    }  # fmt: skip


def an_import() -> dict[str, Any]:
    """One that is done, with what it left out."""
    from datasets_app.importing.order import KIND, Order
    from generation.models import ImportProblem
    from runs.models import Run

    order = Order(kind="rf1m", path="/data/rf1m", source="rf1m", dry_run=False)
    tally = {"counts": {"products_new": 132_000, "candidates_new": 1_058_230}, "left_out": {"It is no picture.": 40}}
    run = Run.objects.create(
        kind=KIND, title="Import RF1M", state="succeeded", total=1_058_230, done=1_058_230,
        params={"order": order.as_json()}, result={"tally": tally},
    )  # fmt: skip
    ImportProblem.objects.bulk_create([ImportProblem(run=run, where=f"a/{n}.png", problem="It is no picture.") for n in range(40)])
    return {"import": run.pk}


def a_drawing(made: dict[str, Any]) -> dict[str, Any]:
    """A large run of drawing, and a candidate that was made again."""
    from generation.models import Plan, Share
    from runs.models import Run

    run = Run.objects.create(kind="generate", title="Draw 1,000,000 candidates", state="spent", total=1_000_000, done=640_000)
    plan = Plan.objects.create(
        run=run, generator_id=made["generator"], products=list(range(made["product"], made["product"] + 1000)),
        product_kinds=[0] * 1000, prompts=[made["prompt"]], prompt_kinds=[[]], total=1_000_000, part_size=1000, is_planned=True,
        part_params={"attempts": 1}, budget_images=640_000, left_out={"unsuitable": 3},
    )  # fmt: skip
    parts = Run.objects.bulk_create(
        Run(kind="generate_part", title="part", parent=run, state="succeeded", total=1000, done=1000) for _ in range(1000)
    )
    Share.objects.bulk_create(Share(plan=plan, part=part, images=640, seconds=2000, is_closed=True) for part in parts)
    params = {"candidate": made["candidate"]}
    remade = Run.objects.create(
        kind="remake", title="Make it again", state="succeeded", params=params, result={"sentence": "Equal."}
    )  # fmt: skip
    return {"drawing": run.pk, "remade": remade.pk}
