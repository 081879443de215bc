"""What a run of drawing has to do, what each of its parts has made, and what could not be drawn."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class PlanQuerySet(models.QuerySet):
    def light(self) -> PlanQuerySet:
        """Without what may be as long as the plan."""
        return self.defer("products", "product_kinds", "product_titles", "wording")


class Plan(models.Model):
    """The order that a run of drawing works off (generation/planning.py)."""

    run = models.OneToOneField("runs.Run", on_delete=models.CASCADE, related_name="plan")
    generator = models.ForeignKey("generation.Generator", on_delete=models.PROTECT, related_name="plans")
    # Ids, and beside them their categories as they were then, as numbers: what fits what must not change under way.
    products = ArrayField(models.BigIntegerField())
    product_kinds = ArrayField(models.IntegerField())
    prompts = ArrayField(models.BigIntegerField())
    prompt_kinds = models.JSONField(default=list)
    # The words it was asked for, whatever becomes of prompts, lists and titles meanwhile (generation/planned.py).
    wording = models.JSONField(default=dict, blank=True)
    # Only where a prompt says {product}.
    product_titles = ArrayField(models.TextField(), default=list, blank=True)
    total = models.PositiveIntegerField()
    part_size = models.PositiveIntegerField()
    part_params = models.JSONField(default=dict)
    is_planned = models.BooleanField(default=False)
    # Products that were chosen and are not drawn: {"unsuitable": 3}.
    left_out = models.JSONField(default=dict, blank=True)
    budget_images = models.PositiveIntegerField(null=True, blank=True)
    budget_seconds = models.FloatField(null=True, blank=True)

    objects = PlanQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.total} pictures of run {self.run_id}"


class Share(models.Model):
    """What one part has made, and how many pictures of the budget it holds for the batch in hand."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="shares")
    part = models.OneToOneField("runs.Run", on_delete=models.CASCADE, related_name="share")
    images = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0)
    held = models.PositiveIntegerField(default=0)
    # Its part has ended, and the two figures are final. Until then the candidates' rows are counted.
    is_closed = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["plan", "-updated_at"], name="share_newest")]

    def __str__(self) -> str:
        return f"{self.images} pictures of part {self.part_id}"


class Failure(models.Model):
    """A picture that could not be drawn, and why. The others were."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="failures", db_index=False)
    part = models.ForeignKey("runs.Run", null=True, on_delete=models.SET_NULL, related_name="+")
    product = models.ForeignKey("generation.Product", on_delete=models.CASCADE, related_name="failures")
    prompt = models.ForeignKey("generation.Prompt", on_delete=models.CASCADE, related_name="failures")
    seed = models.BigIntegerField()
    number = models.PositiveIntegerField(default=0)
    attempt = models.PositiveSmallIntegerField(default=1)
    problem = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "product", "prompt", "seed"], name="failure_once")]

    def __str__(self) -> str:
        return self.problem
