"""The whole URLconf, and a furnished house: at least one realistic row for whatever an address names.

A new page below a known address (`projects/<int:pk>/...`) is covered by itself. A new kind of row gets a line in ROWS.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from annotation import actions, pair_actions, review
from annotation.actions import Pick
from annotation.answers import Answer, save_annotations
from annotation.gold import Known, make_gold
from annotation.models import (
    Annotation,
    Consensus,
    Decision,
    Guidelines,
    Project,
    SavedFilter,
    Slot,
    Snapshot,
    Task,
    Team,
)
from generation.models import Candidate, Failure, Generator, Plan, Share
from runs.models import Run, RunMetric
from tests import build, cut_out_rows, data_rows, pair_rows

WORDS = "A long title of a lamp with a linen shade, brass foot, and a cable of three metres in a fabric of three colours"


@dataclass(frozen=True)
class Endpoint:
    route: str  # "projects/<int:pk>/"
    name: str  # "project"
    view: object

    @property
    def is_api(self):
        return self.route.startswith("api/v1/")

    @property
    def key(self):
        return self.name or self.route


def endpoints():
    """Every address there is, without the admin's own (Django's permissions guard those)."""

    def walk(patterns, prefix):
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield Endpoint(route, pattern.name or "", pattern.callback)
            elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
                yield from walk(pattern.url_patterns, route)

    return list(walk(get_resolver().url_patterns, ""))


class House:
    """Rows by the part of the address that stands before their id."""

    def __init__(self, people):
        self.people = people
        self._furnish()
        self._train()
        self._review()
        self._compare()
        self._look_at_import()
        self.rows = {
            "login/demo/": "alice",
            "pictures/": self.candidate.image_sha256,
            "api/v1/desk/pictures/": self.candidate.image_sha256,
            "thumbnails/": 96,
            "thumbnails/<int:px>/": self.candidate.image_sha256,
            "products/": self.product.pk,
            "products/cut-outs/": self.cutting.pk,
            "api/v1/products/": self.product.pk,
            "api/v1/products/cut-outs/": self.cutting.pk,
            "api/v1/variables/": self.variable.pk,
            "api/v1/prompts/": build.prompt().pk,
            "prompts/": build.prompt().pk,
            "prompts/variables/": self.variable.pk,
            "generators/": build.generator().pk,
            "candidates/": self.candidate.pk,
            "projects/": self.project.pk,
            "projects/<int:pk>/guidelines/": 1,
            "projects/<int:pk>/queue/": "order",
            "teams/": self.team.pk,
            "projects/<int:pk>/gold/": self.gold.pk,
            "projects/<int:pk>/pairs/": "strengths",
            "labels/filters/": self.filter.pk,
            "labels/snapshots/": self.snapshot.pk,
            "labels/snapshots/<int:pk>/": "priority",
            "quality/": "annotators",
            "quality/annotators/": people["alice"].pk,
            "quality/annotators/<int:pk>/": "pace",
            "review/": self.disputed.candidate_id,
            "grid/": self.snapshot.pk,
            "datasets/": self.version.pk,
            "datasets/signed/": "a-link-that-is-none",
            "api/v1/datasets/": self.version.pk,
            "api/v1/datasets/<int:version>/compare/": self.older_version.pk,
            "datasets/<int:pk>/compare/": self.older_version.pk,
            "datasets/import/": self.look.pk,
            "api/v1/datasets/import/": self.look.pk,
            "datasets/<int:pk>/inspect/": "labels",
            "checkpoints/": self.checkpoint.pk,
            "training/": self.training.pk,
            "rounds/": self.round.number,
            "runs/": self.run.pk,
            "generate/": self.run.pk,
            "api/v1/generation/runs/": self.run.pk,
            "candidates/remade/": self.remade.pk,
        }

    def _look_at_import(self):
        """A dry run that has ended, with something of everything."""
        from datasets_app.importing.order import KIND, Order

        (Path(settings.IMPORT_DIR) / "RF1M").mkdir(parents=True, exist_ok=True)
        tally = {
            "counts": {"products_new": 12, "candidates_new": 1_058_230, "labels_new": 900_000, "products_unsuitable": 3},
            "left_out": {"picture can't be read": 2, "two labels": 1},
            "examples": {"picture can't be read": [f"TrainSet-3.zip/{WORDS}.png: This file is empty."], "two labels": ["x"]},
            "notes": ["label.txt is separated by tabs, no header; image in column 1, label in column 2."],
        }
        rows = [{"raw": "Space Mismatch", "label": "space_mismatch", "count": 9}, {"raw": "Unsuitable", "label": "unsuitable", "count": 3}]
        self.look = Run.objects.create(
            kind=KIND, title="Look at RF1M: rf1m", state="succeeded", created_by=self.people["olga"],
            params={"order": Order(kind="rf1m", path="/", source="rf1m").as_json()}, result={"tally": tally, "label_rows": rows},
        )  # fmt: skip

    def path(self, endpoint, **others):
        """Its address, with the id of a real row in each place (or what `others` says by the parameter's name)."""

        def value(match):
            name, before = match.group(2), endpoint.route[: match.start()]
            if name in others:
                return str(others[name])
            assert before in self.rows, f"tests/house.py: add a row for <{name}> in {endpoint.route}"
            return str(self.rows[before])

        return "/" + re.sub(r"<(\w+:)?(\w+)>", value, endpoint.route)

    def _furnish(self):
        from generation.models import CategoryDefaults, PromptText, VariableList

        people = self.people
        self.variable = VariableList.objects.create(name="colour", values=["warm sand", "sage", WORDS])
        cut_out_rows.waiting("jug", category="lamps")
        self.cutting = Run.objects.create(
            kind="cut_out", title="Cut out 1 product", state="paused", created_by=people["olga"], total=1
        )
        PromptText.objects.create(prompt=build.prompt(), text=WORDS, image_scale=0.4, changed_by=people["olga"])
        CategoryDefaults.objects.create(category="lamps", image_scale=0.4, negative_text="cables").prompts.add(build.prompt())
        self.project = Project.objects.create(
            name="First pictures", overlap=2, gold_percent=10, asks_details=True, guidelines="Look at the whole picture.",
        )  # fmt: skip
        Guidelines.objects.get_or_create(project=self.project, version=1, defaults={"text": "Look at the whole picture."})
        self.team = Team.objects.create(name="Furniture")
        self.team.members.add(people["alice"])
        self.candidates = build.candidates(8)
        self.candidate = self.candidates[0]
        self.product = self.candidate.product
        self.product.title, self.product.description = WORDS, WORDS * 3
        self.product.save()
        actions.add_tasks(self.project, [Pick(row.pk, priority=-n) for n, row in enumerate(self.candidates)])
        for number, name in enumerate(("alice", "bob")):
            slots = actions.lease(people[name], self.project, 4)
            answers = [self.answer(slot.task_id, (slot.task_id * number) % 5) for slot in slots[:3]]
            assert {row.status for row in save_annotations(people[name], answers)} == {"saved"}
        for number, annotation in enumerate(Annotation.objects.all()):
            annotation.created_at -= timedelta(hours=number)
            annotation.save()
        self.disputed = Consensus.objects.order_by("agreement", "pk").first()
        make_gold(self.project, {self.candidates[7].pk: Known(2, "It floats.")}, people["max"])
        self.gold = Task.objects.get(is_gold=True).gold
        self.held = Slot.objects.filter(annotator=people["alice"], is_filled=False).first().task

    @staticmethod
    def answer(task, label=0, **values):
        return Answer(**{"id": uuid.uuid4(), "task": task, "label": label, "seconds": 2.5, **values})

    def _review(self):
        people = self.people
        pk = Consensus.objects.order_by("-pk").first().candidate_id
        review.decide(people["rita"], uuid.uuid4(), pk, Decision.Action.CHANGED, 3, "The foot floats.")
        query = {"label": "0"}
        self.filter = SavedFilter.objects.create(owner=people["olga"], name="Good ones", query=query)
        SavedFilter.objects.create(owner=people["rita"], name="Those of Rita", query={"state": "disputed"}, is_shared=True)
        ids = [row.pk for row in self.candidates]
        self.snapshot = Snapshot.objects.create(owner=people["olga"], query=query, candidates=ids, count=len(ids))

    def _compare(self):
        """Alice has answered one pair and holds another."""
        alice = self.people["alice"]
        self.taste, _ = pair_rows.pairs(3, name="Taste")
        answered, held = (slot.pair_id for slot in pair_actions.lease(alice, self.taste, 2))
        self.preference, self.held_pair = uuid.uuid4(), held
        pair_actions.save_preferences(alice, [pair_actions.Choice(self.preference, answered, "left", 2.5)])

    def _train(self):
        from django.conf import settings

        from datasets_app.models import DatasetVersion, ProductSplit, VersionRow
        from training.models import Round, Training

        people, counts = self.people, {"train": {"available": 3, "space_mismatch": 2}, "validation": {}, "test": {"available": 1}}
        self.version = data_rows.version_row(settings.VERSIONS_DIR / "ads", counts=counts, created_by=people["olga"])
        self.older_version = data_rows.version_row(
            settings.VERSIONS_DIR / "older", number=2, counts=counts, row_count=4, created_by=people["olga"]
        )
        DatasetVersion.objects.filter(pk=self.version.pk).update(number=3, parent=self.older_version)
        self.version.refresh_from_db()
        for version, rows, first_label in ((self.older_version, self.candidates[1:6], 3), (self.version, self.candidates[:5], 0)):
            for number, row in enumerate(rows):
                VersionRow.objects.create(
                    version=version, candidate=row, label=first_label if number == 1 else 0, posterior=[1, 0, 0, 0, 0],
                    agreement=1, annotation_count=2, split="train", row_digest="0" * 64,
                )  # fmt: skip
        now = timezone.now()
        self.run = Run.objects.create(
            kind="generate", title="Draw 8 candidates", state="running", created_by=people["olga"], total=8, done=4,
            started_at=now, lease_until=now + timedelta(days=1), stage="drawing",
        )  # fmt: skip
        Generator.objects.filter(pk=build.generator().pk).update(is_in_use=True)
        plan = Plan.objects.create(
            run=self.run, generator=build.generator(), products=[row.product_id for row in self.candidates], product_kinds=[0] * 8,
            prompts=[build.prompt().pk], prompt_kinds=[[]], total=8, part_size=4, is_planned=True, left_out={"unsuitable": 2},
            part_params={"attempts": 1}, budget_images=20,
        )  # fmt: skip
        part = Run.objects.create(kind="generate_part", title="part", state="succeeded", parent=self.run, done=4, total=4)
        Share.objects.create(plan=plan, part=part, images=4, seconds=14.2, is_closed=True)
        Candidate.objects.filter(pk__in=[row.pk for row in self.candidates[:4]]).update(run=part)
        Failure.objects.create(
            plan=plan, part=part, product=self.product, prompt=build.prompt(), seed=4, problem="The product's own picture is gone."
        )
        self.remade = Run.objects.create(
            kind="remake", title="Make candidate 1 again", state="succeeded", created_by=people["olga"],
            params={"candidate": self.candidate.pk},
            result={"equal": True, "sentence": "Equal to the bit.", "image_sha256": self.candidate.image_sha256},
        )  # fmt: skip
        for step in range(3):
            RunMetric.objects.create(run=self.run, step=step, values={"loss": 1 / (step + 1)})
        self.run.log("Half is done.")
        trained = Run.objects.create(
            kind="train_rfnet", title="Train RFNet", state="stopped", created_by=people["olga"], done=4, total=4
        )
        self.checkpoint = data_rows.checkpoint(promoted=True, version=self.version)
        for number, row in enumerate(self.candidates[:6]):
            data_rows.verdict(row, self.checkpoint, number % 5)
        worst = [[row.pk, 0, 1 + number % 4, 0.1, 0.8] for number, row in enumerate(self.candidates[:4])]
        Run.objects.create(
            kind="find_label_errors", title="Look for label errors", state="succeeded", finished_at=now,
            params={"version": self.version.pk, "checkpoint": self.checkpoint.pk},
            result={"checkpoint": self.checkpoint.pk, "checkpoint_name": "RFNet one", "judged": 6, "samples": 5, "found": 4,
                    "estimated": 2.5, "thresholds": [0.5, 0.5, None, 0.5, 0.5], "joint": [[1.0] * 5] * 5, "worst": worst},
        )  # fmt: skip
        ProductSplit.objects.create(
            name="ads", product=self.candidates[1].product, split="train", decided_by=self.candidates[0].product
        )
        self.training = Training.objects.create(
            kind="rfnet", dataset_version=self.version, run=trained, checkpoint=self.checkpoint, created_by=people["olga"],
            config={"seed": 3},
        )  # fmt: skip
        self.round = Round.objects.create(
            number=1, project=self.project, strategy="margin", picked_by=self.checkpoint, picked_count=8,
            dataset_version=self.version, checkpoint=self.checkpoint,
        )  # fmt: skip


def row_counts():
    """How many rows every table has: what must not change when something is refused."""
    from django.apps import apps

    return {model._meta.label: model._default_manager.count() for model in apps.get_models() if model._meta.managed}


# Names that code compares, addresses and digests; everything else people wrote.
NOT_WORDS = {"username", "password", "role", "kind", "state", "key", "folder", "uri", "key_hash", "method", "made_in", "action", "split"}


def poison(payload):
    """Put these words wherever people may write some, in every table of ours. Returns how many columns that were."""
    from django.apps import apps
    from django.db.models import CharField, TextField, Value
    from django.db.models.functions import Cast, Concat, Right

    columns = 0
    for model in apps.get_models():
        if model._meta.app_label not in ("accounts", "annotation", "datasets_app", "generation", "rfnet_service", "runs", "training"):
            continue
        for field in model._meta.concrete_fields:
            plain = type(field) in (CharField, TextField) and not field.choices and not field.primary_key
            if not plain or field.name in NOT_WORDS or field.name.endswith(("sha256", "digest", "_model")):
                continue
            if field.max_length and field.max_length < len(payload) + 20:
                continue
            number = Right(Cast("pk", TextField()), 10) if field.unique else Value("")
            model._default_manager.update(**{field.name: Concat(Value(payload), number, output_field=TextField())})
            columns += 1
    return columns
