"""Tasks for people, and what people answered.

A task of overlap n has n slots, made with it. A slot is free, leased to one annotator until a time, or filled by one
annotation. So a task can't get more leases and answers than its overlap, and (task, annotator) is unique: one person
never has two slots of a task. The schema says so; no code has to be careful.
"""

from __future__ import annotations

import random

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from adproof.labels import LABELS, TITLES

LABEL_CHOICES = [(number, TITLES[number]) for number in range(len(LABELS))]


def a_random_key() -> float:
    return random.random()


class Project(models.Model):
    """A piece of labelling work: its tasks, how many answers each needs, its guidelines."""

    name = models.CharField(max_length=120, unique=True)
    overlap = models.PositiveSmallIntegerField(default=2, validators=[MinValueValidator(1), MaxValueValidator(9)])
    lease_minutes = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(1), MaxValueValidator(240)]
    )
    guidelines = models.TextField(blank=True)
    guidelines_version = models.PositiveIntegerField(default=1)
    shows_prompt = models.BooleanField(default=True)
    # RFNet's verdict beside the picture. Off: people must not be led. What was shown is stored with each annotation.
    assists = models.BooleanField(default=False)
    # "Until two agree, at most five": a full task on whose candidate fewer than `agree_at_least` answers say the same
    # gets one more slot, up to `overlap_most`. 0: the overlap is what it is.
    agree_at_least = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(9)],
        help_text="Ask one more person while fewer than so many agree. 0: never.",
    )
    overlap_most = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(9)],
        help_text="Never ask more people than this about one task.",
    )
    is_paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.agree_at_least and self.agree_at_least > self.overlap_most:
            raise ValidationError(
                {"agree_at_least": f"At most {self.overlap_most} people are asked: no more than that many can agree."}
            )
        if self.agree_at_least and self.overlap_most < self.overlap:
            raise ValidationError(
                {"overlap_most": f"Every task has {self.overlap} answers at least: ask for no fewer."}
            )


class TaskQuerySet(models.QuerySet):
    def open(self) -> TaskQuerySet:
        return self.filter(is_open=True)


class Task(models.Model):
    """One candidate waiting for people."""

    # Indexes of foreign keys are left out where a constraint below begins with them: every index costs each answer.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tasks", db_index=False)
    candidate = models.ForeignKey("generation.Candidate", on_delete=models.PROTECT, related_name="tasks")
    overlap = models.PositiveSmallIntegerField()
    priority = models.FloatField(default=0)
    tie = models.FloatField(default=a_random_key)
    # Why it was picked, for the report: "first", "random", "margin 0.12", ... and the probability it was picked with.
    reason = models.CharField(max_length=60, blank=True)
    acquisition_score = models.FloatField(null=True, blank=True)
    inclusion_probability = models.FloatField(null=True, blank=True)
    round_number = models.PositiveIntegerField(default=0)
    # Needs more answers. Kept by annotation.actions, in the same transaction as the answer.
    is_open = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "candidate"], name="task_once_per_project"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=9), name="task_overlap_in_range"),
        ]
        indexes = [
            models.Index(fields=["project", "-priority", "tie"], condition=Q(is_open=True), name="task_queue"),
            models.Index(fields=["project", "round_number"], name="task_round"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"


class Slot(models.Model):
    """One place for one person's answer in a task."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="slots", db_index=False)
    number = models.PositiveSmallIntegerField()
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="slots", db_index=False
    )
    lease_until = models.DateTimeField(null=True)
    is_filled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="slot_numbered_once"),
            models.UniqueConstraint(fields=["task", "annotator"], name="slot_one_per_person"),
            models.CheckConstraint(
                condition=Q(is_filled=False) | Q(annotator__isnull=False), name="slot_filled_by_somebody"
            ),
        ]
        indexes = [
            models.Index(fields=["annotator", "lease_until"], condition=Q(is_filled=False), name="slot_leases"),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of task {self.task_id}"


class AnnotationQuerySet(models.QuerySet):
    def standing(self) -> AnnotationQuerySet:
        """Those that count: not undone, not superseded, and not surplus."""
        return self.filter(state=Annotation.State.STANDING)


class Annotation(models.Model):
    """One person's label of one candidate. Never changed: an undo or a correction only alters its state."""

    class State(models.TextChoices):
        STANDING = "standing", "Counts"
        UNDONE = "undone", "Taken back"
        SUPERSEDED = "superseded", "Replaced by a review"
        SURPLUS = "surplus", "Came after the task was full"

    # Made by the browser, so that sending twice is safe.
    id = models.UUIDField(primary_key=True, editable=False)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    candidate = models.ForeignKey("generation.Candidate", on_delete=models.PROTECT, related_name="annotations")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="annotations", db_index=False
    )
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES)
    seconds = models.FloatField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.STANDING)
    guidelines_version = models.PositiveIntegerField(default=1)
    # What the annotator could see beside the picture: {"prompt": true, "verdict": null, "view": "generated"}.
    shown = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(label__lte=4), name="annotation_label_known"),
            models.UniqueConstraint(
                fields=["task", "annotator"],
                condition=Q(state="standing"),
                name="annotation_one_standing",
            ),
        ]
        indexes = [
            models.Index(fields=["annotator", "-created_at"], name="annotation_by_person"),
            models.Index(fields=["-created_at"], name="annotation_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.get_label_display()} by {self.annotator_id}"


class Handout(models.Model):
    """This task was on this person's desk once. An answer after the lease lapsed is told from a made-up one by it."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="handouts", db_index=False)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="handouts", db_index=False
    )
    first_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="handout_once")]

    def __str__(self) -> str:
        return f"task {self.task_id} was shown to {self.annotator_id}"


class Skip(models.Model):
    """Somebody did not want to judge this one: it goes to others, not back to them."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="skips", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="skips")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="skip_once")]

    def __str__(self) -> str:
        return f"task {self.task_id} skipped by {self.annotator_id}"


class Flag(models.Model):
    """Somebody found that the product's own picture is at fault. While one stands, the product is unsuitable."""

    product = models.ForeignKey("generation.Product", on_delete=models.CASCADE, related_name="flags")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="flags")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="flags")
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["product", "annotator"], name="flag_once")]

    def __str__(self) -> str:
        return f"{self.product_id} flagged by {self.annotator_id}"


class Consensus(models.Model):
    """What the standing annotations of a candidate add up to. Updated with every answer; refitted by a run."""

    candidate = models.OneToOneField("generation.Candidate", on_delete=models.CASCADE, related_name="consensus")
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES)
    posterior = models.JSONField()  # five probabilities
    method = models.CharField(max_length=20)  # "majority" until the next fit, then "dawid-skene"
    annotation_count = models.PositiveSmallIntegerField()
    agreement = models.FloatField()  # share of its annotations that gave the consensus label
    is_complete = models.BooleanField(default=False)  # has as many answers as its task needs
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [
            models.Index(fields=["label", "-id"], name="consensus_label"),
            models.Index(fields=["agreement"], name="consensus_agreement"),
        ]

    def __str__(self) -> str:
        return f"{self.get_label_display()} ({self.agreement:.0%} of {self.annotation_count})"


class AnnotatorQuality(models.Model):
    """How one annotator labels, from the last Dawid-Skene fit: row = true label, column = given label."""

    annotator = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quality")
    confusion = models.JSONField()
    annotation_count = models.PositiveIntegerField()
    accuracy = models.FloatField()  # expected share of right labels under the consensus mixture
    agreement = models.FloatField()  # share of their answers that equal the consensus
    median_seconds = models.FloatField()
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.annotator}: {self.accuracy:.0%}"
