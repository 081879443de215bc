from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from generation.plan_models import Failure, Plan, Share  # noqa: F401 - models, found here like the others
from generation.scenes import Scene, Usual, Words

MAX_PROMPT_CHARS = 2000
SHA256 = {"max_length": 64}


class ProductQuerySet(models.QuerySet):
    def suitable(self) -> ProductQuerySet:
        return self.filter(unsuitable=False)

    def flagged(self) -> ProductQuerySet:
        return self.filter(unsuitable=True)

    def waiting(self) -> ProductQuerySet:
        """Cut out by U2-Net, and nobody has looked at the cut-out yet."""
        return self.filter(is_waiting=True, unsuitable=False)

    def drawable(self) -> ProductQuerySet:
        """May be drawn: not flagged, and its cut-out is accepted where it was made by a model."""
        return self.filter(unsuitable=False, is_waiting=False)


class Product(models.Model):
    """A thing to advertise. Its picture is an RGBA cut-out; nothing ever alters it."""

    sku = models.CharField(max_length=80, unique=True)
    title = models.CharField(max_length=300)
    description = models.TextField(max_length=5000, blank=True)
    category = models.CharField(max_length=80, blank=True)
    source = models.CharField(max_length=80, default="upload")
    license = models.CharField(max_length=200, blank=True)
    image_sha256 = models.CharField(**SHA256)
    # What the picture looks like (adproof.shards.duplicates); empty: nobody has looked yet.
    look_hash = models.BigIntegerField(null=True, blank=True, editable=False)
    width_px = models.PositiveIntegerField()
    height_px = models.PositiveIntegerField()
    # Real size, when known: [width, depth, height] in cm.
    size_cm = models.JSONField(null=True, blank=True)
    # The cut-out was made by U2-Net and not given by the shop: a person should look at it.
    is_cut_out_by_model = models.BooleanField(default=False)
    # Waits for a look: not drawn until somebody accepts the cut-out.
    is_waiting = models.BooleanField(default=False)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    accepted_at = models.DateTimeField(null=True, blank=True)
    # The shop's picture with its background, and U2-Net's confidence (16-bit PNG): a cut-out is made again from them.
    original_sha256 = models.CharField(**SHA256, blank=True, default="")
    confidence_sha256 = models.CharField(**SHA256, blank=True, default="")
    # How it was cut last: {"threshold": ..., "softness": ..., "by": "model" | "hand" | "upload"}.
    cut_settings = models.JSONField(default=dict, blank=True)
    # RF1M's sixth raw label: the SOURCE picture is at fault. Keeps every candidate of it out of datasets.
    unsuitable = models.BooleanField(default=False)
    unsuitable_reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["category", "id"], name="product_category"),
            models.Index(fields=["source", "id"], name="product_source"),
            models.Index(fields=["id"], condition=Q(is_waiting=True), name="product_waiting"),
            models.Index(fields=["id"], condition=Q(unsuitable=True), name="product_unsuitable"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_drawable(self) -> bool:
        return not self.unsuitable and not self.is_waiting

    @property
    def is_small(self) -> bool:
        """A candidate that shows it at half of its own size enlarges it, as far as generators draw at 512 px."""
        return max(self.width_px, self.height_px) < 256

    @property
    def is_uncut(self) -> bool:
        """U2-Net found nothing in its picture: nothing of it is kept until somebody cuts it out by hand."""
        return self.is_waiting and self.cut_settings.get("by") == "nothing"

    @property
    def caption(self) -> str:
        """What RFNet reads about the product."""
        return f"{self.title}. {self.description}".strip()


class VariableList(models.Model):
    """Named values that prompts draw from: `{colour}` takes one of the list "colour"."""

    name = models.CharField(max_length=40, unique=True)
    values = ArrayField(models.CharField(max_length=200))
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{{{self.name}}}"


class Prompt(models.Model):
    """A designer's text for a scene. May hold variables (generation/scenes.py)."""

    name = models.CharField(max_length=120, unique=True)
    text = models.TextField(max_length=MAX_PROMPT_CHARS)
    negative_text = models.TextField(max_length=MAX_PROMPT_CHARS, blank=True)
    # Longest side of the product as a share of the canvas.
    image_scale = models.FloatField(default=0.5, validators=[MinValueValidator(0.1), MaxValueValidator(0.95)])
    # Only for products of these categories; empty: for all.
    categories = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    # A category's own size and negative text go before and beside this prompt's (CategoryDefaults).
    follows_category = models.BooleanField(default=False)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    notes = models.TextField(max_length=5000, blank=True)
    is_active = models.BooleanField(default=True)
    # Made from this one, with a suffix for instance.
    copied_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="copies")
    # When its words were changed last: candidates from before were drawn with others.
    words_changed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(image_scale__gte=0.1, image_scale__lte=0.95), name="prompt_scale_in_range"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def fits(self, category: str) -> bool:
        return not self.categories or category in self.categories

    @cached_property
    def lists(self) -> dict[str, list[str]]:
        """The lists that its texts name; one query for each object, none where no variable is used."""
        if "{" not in self.text + self.negative_text:
            return {}
        return dict(VariableList.objects.values_list("name", "values"))

    @cached_property
    def defaults(self) -> dict[str, CategoryDefaults]:
        """By category, where this prompt follows them; one query for each object."""
        return {row.category: row for row in CategoryDefaults.objects.all()} if self.follows_category else {}

    @property
    def scene(self) -> Scene:
        """As it stands now."""
        usual = {name: Usual(row.image_scale, row.negative_text) for name, row in self.defaults.items()}
        return Scene(self.text, self.negative_text, self.image_scale, self.lists, usual)

    def words(self, product: Product, seed: int) -> Words:
        """What an image of this product with this seed would be asked for now. Raises WordingError."""
        return self.scene.words(product.title, product.category, seed)


class PromptText(models.Model):
    """What a prompt said until it was changed."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="earlier_texts")
    text = models.TextField()
    negative_text = models.TextField(blank=True)
    image_scale = models.FloatField()
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    until = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.prompt_id} until {self.until:%Y-%m-%d}"


class CategoryDefaults(models.Model):
    """What is usual for products of one category: its prompts, its size in the picture, what must not appear."""

    category = models.CharField(max_length=80, unique=True)
    prompts = models.ManyToManyField(Prompt, blank=True, related_name="+")
    image_scale = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.1), MaxValueValidator(0.95)])
    negative_text = models.TextField(max_length=MAX_PROMPT_CHARS, blank=True)

    class Meta:
        verbose_name_plural = "category defaults"

    def __str__(self) -> str:
        return self.category


class Generator(models.Model):
    """One fixed set of weights and settings that makes images, identified by a hash of all of them."""

    IMPORTED = "imported"  # stands for one elsewhere, whose candidates were imported

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(
        max_length=20,
        choices=[
            ("mini", "Mini diffusion"),
            ("sd-controlnet", "Stable Diffusion + ControlNet"),
            (IMPORTED, "Imported, draws nothing"),
        ],
    )
    # Everything adproof.diffusion.generator.Generator.load() needs, weights by folder or hub id.
    config = models.JSONField(default=dict)
    key = models.CharField(max_length=64, unique=True)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="tuned")
    note = models.CharField(max_length=500, blank=True)
    is_in_use = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_in_use"], condition=Q(is_in_use=True), name="generator_one_in_use"),
        ]

    def __str__(self) -> str:
        return self.name


class Environment(models.Model):
    """Library versions and hardware that pictures were drawn with; equal ones draw equal pictures."""

    digest = models.CharField(**SHA256, unique=True)
    values = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"torch {self.values.get('torch')}, {self.values.get('hardware')}"

    @classmethod
    def of(cls, values: dict[str, str]) -> Environment:
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return cls.objects.get_or_create(digest=digest, defaults={"values": values})[0]


class CandidateQuerySet(models.QuerySet):
    def perceived(self) -> CandidateQuerySet:
        return self.exclude(depth_sha256="").exclude(saliency_sha256="")

    def lacking_maps(self) -> CandidateQuerySet:
        return self.filter(Q(depth_sha256="") | Q(saliency_sha256=""))

    def usable(self) -> CandidateQuerySet:
        """May be given to people, judged and used: drawn to the end, and its product's own picture is not at fault."""
        return self.filter(product__unsuitable=False, abandoned_at_step=None)


class Candidate(models.Model):
    """One generated image of one product. Rows are never changed once their four pictures are there."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="candidates")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="candidates")
    generator = models.ForeignKey(Generator, on_delete=models.PROTECT, related_name="candidates")
    # What was asked for, as it was then: prompts may be edited later.
    prompt_text = models.TextField()
    negative_text = models.TextField(blank=True)
    image_scale = models.FloatField()
    seed = models.BigIntegerField()
    # All attempts of one Recurrent Generation share `draw`; attempt counts from 1.
    draw = models.UUIDField()
    attempt = models.PositiveSmallIntegerField(default=1)
    # sha256 of (product picture, prompt, negative, scale, generator, seed): drawing twice changes nothing.
    key = models.CharField(max_length=64, unique=True)

    image_sha256 = models.CharField(**SHA256)
    depth_sha256 = models.CharField(**SHA256, blank=True, default="")
    saliency_sha256 = models.CharField(**SHA256, blank=True, default="")
    depth_model = models.CharField(max_length=80, blank=True, default="")
    saliency_model = models.CharField(max_length=80, blank=True, default="")
    seconds = models.FloatField(default=0)
    # Early stop gave it up after this step: its picture is what it was heading for. Never shown to annotators, in no dataset.
    abandoned_at_step = models.PositiveSmallIntegerField(null=True, blank=True)
    # What drawing it again to the bit takes (generation/remaking.py). Batch: [[from step, batch size, place], ...].
    batch = models.JSONField(null=True, blank=True, default=None)
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.PROTECT, related_name="candidates", db_index=False
    )
    run = models.ForeignKey(
        "runs.Run", null=True, on_delete=models.SET_NULL, related_name="candidates", db_index=False
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CandidateQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["product", "-id"], name="candidate_product"),
            models.Index(fields=["generator", "-id"], name="candidate_generator"),
            models.Index(fields=["prompt", "-id"], name="candidate_prompt"),
            models.Index(fields=["draw", "attempt"], name="candidate_draw"),
            models.Index(fields=["run", "-id"], name="candidate_run"),
            models.Index(fields=["-id"], condition=Q(attempt__gt=1), name="candidate_again"),
            models.Index(fields=["-id"], condition=Q(abandoned_at_step__isnull=False), name="candidate_given_up"),
            # Rows come in in the order of time: a few kilobytes say in which part of the table a day lies.
            BrinIndex(fields=["created_at"], name="candidate_day"),
            models.Index(fields=["id"], condition=Q(depth_sha256=""), name="candidate_unperceived"),
        ]

    def __str__(self) -> str:
        return f"candidate {self.pk}"

    @property
    def is_perceived(self) -> bool:
        return bool(self.depth_sha256 and self.saliency_sha256)


def candidate_key(
    *,
    product_sha256: str,
    prompt: str,
    negative: str,
    image_scale: float,
    generator: str,
    seed: int,
    abandoned_at: int | None = None,
) -> str:
    """Abandoned after a step it is another picture than drawn to the end, and has a key of its own."""
    parts: list[Any] = [product_sha256, prompt, negative, round(image_scale, 4), generator, seed]
    if abandoned_at is not None:
        parts.append(f"abandoned after {abandoned_at}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class ImportProblem(models.Model):
    """A file or row of an import that was left out, and why: shown on the run's page, never fatal."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="import_problems")
    where = models.CharField(max_length=300)
    problem = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"
