"""Tasks for people, and what people answered.

A task of overlap n has n slots, made with it. A slot is free, leased to one annotator until a time, or filled by one
annotation. So a task can't get more leases and answers than its overlap, and (task, annotator) is unique: one person
never has two slots of a task. The schema says so; no code has to be careful.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from adproof.labels import LABELS, TITLES
from annotation.pair_models import Pair, PairHandout, PairSlot, Preference  # noqa: F401 - models of this app, too
from annotation.random_key import a_random_key

LABEL_CHOICES = [(number, TITLES[number]) for number in range(len(LABELS))]


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
    # Lets annotators add secondary defects and a marker on the defect's place.
    asks_details = models.BooleanField(default=False)
    # Of the tasks handed out, the share whose label is known already and that measure the annotator.
    gold_percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(50)])
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


class Guidelines(models.Model):
    """One version of a project's guidelines. Never changed: an edit is a new version."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guidelines_versions", db_index=False)
    version = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    # Own example candidates by label, {"0": [candidate id, ...]}; labels without any show the built-in ones.
    examples = models.JSONField(default=dict, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="guidelines_version_once")]
        verbose_name_plural = "guidelines"

    def __str__(self) -> str:
        return f"{self.project}, version {self.version}"

    @property
    def example_count(self) -> int:
        return sum(map(len, self.examples.values()))


class Team(models.Model):
    """People of one skill, or a few named ones: tasks reserved for a team go to its members only."""

    name = models.CharField(max_length=120, unique=True)
    # "12,15" for a team made for just these people by reserving tasks for them; its members stay.
    people_key = models.CharField(max_length=200, unique=True, null=True, blank=True, editable=False)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="teams", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


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
    # Reserved for its members. Empty: for everybody.
    team = models.ForeignKey(
        Team, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks", db_index=False
    )
    # Its label is known (Gold). Never in the queue (is_open is false): annotation.actions mixes it in, and gives each
    # annotator a slot of their own, so its overlap is no limit.
    is_gold = models.BooleanField(default=False)
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
            # Two indexes: with "team is null" as a key Postgres would not know that the rest is in order. Both rise, so
            # that one comparison, (rank, tie) >= (a, b), finds a place in them (statements.py).
            models.Index(
                "project", F("priority") * Value(-1), "tie", condition=Q(is_open=True, team=None), name="task_queue"
            ),
            models.Index(
                "project", "team", F("priority") * Value(-1), "tie",
                condition=Q(is_open=True, team__isnull=False), name="task_queue_of_team",
            ),  # fmt: skip
            models.Index(fields=["project", "id"], condition=Q(is_gold=True), name="task_gold"),
            models.Index(fields=["project", "round_number"], name="task_round"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"


class QueuePlace(models.Model):
    """Where in everybody's queue of a project the tasks that this person may take begin.

    Kept only when many open tasks before it are none of theirs, so that somebody who works alone does not walk past
    everything they have answered. Forgotten after some minutes, when they give tasks back, or when something more
    urgent than `head_rank` comes.
    """

    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    head_rank = models.FloatField()  # of the first open task at that time; the rank is minus the priority
    rank = models.FloatField()
    tie = models.FloatField()
    set_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "project"], name="queue_place_once")]

    def __str__(self) -> str:
        return f"{self.annotator_id} in {self.project_id}"


class LeftTold(models.Model):
    """How many tasks this person was told are left in a project with gold, and when: kept here, so that every web process
    tells them the same."""

    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    told = models.PositiveIntegerField()
    told_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "project"], name="left_told_once")]

    def __str__(self) -> str:
        return f"{self.told} to {self.annotator_id} in {self.project_id}"


class Gold(models.Model):
    """The known label of a task, and why it is that one."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="gold")
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES)
    reason = models.CharField(max_length=500, blank=True)
    # Retired gold is handed out no more; its answers go on counting for their annotators.
    is_retired = models.BooleanField(default=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "gold"
        constraints = [models.CheckConstraint(condition=Q(label__lte=4), name="gold_label_known")]

    def __str__(self) -> str:
        return f"{self.get_label_display()} is the gold of task {self.task_id}"


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
    """One person's label of one candidate. Never changed: an undo or a review only alters its state."""

    class State(models.TextChoices):
        STANDING = "standing", "Counts"
        UNDONE = "undone", "Taken back"
        SUPERSEDED = "superseded", "Replaced by a review"
        SENT_BACK = "sent_back", "Sent back by a reviewer"
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
    # What else was said, if the project asks: {"secondary": [1, 3], "marker": [0.4, 0.7]} (labels; x, y as shares of
    # the picture's width and height).
    details = models.JSONField(default=dict)
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
    # "majority" until the first fit, then "dawid-skene" or "crowdlab"; "gold": the label was known before; "review": a
    # reviewer decided, and no fit alters it; "imported": it came from elsewhere, until a person answers.
    method = models.CharField(max_length=20)
    annotation_count = models.PositiveSmallIntegerField()
    agreement = models.FloatField()  # share of its annotations that gave the consensus label
    is_complete = models.BooleanField(default=False)  # has as many answers as its task needs
    # ActiveLab: the lower, the more one further label is worth. Written by the fit.
    activelab_score = models.FloatField(null=True, blank=True)
    # CROWDLAB: the probability that the label is right, where RFNet's out-of-sample verdict is known.
    crowdlab_quality = models.FloatField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "consensus"
        indexes = [
            # In the order of candidates: the gallery walks it.
            models.Index(fields=["label", "candidate"], name="consensus_by_label"),
            models.Index(fields=["agreement", "candidate"], name="consensus_agreement"),
            models.Index(fields=["activelab_score", "candidate"], name="consensus_activelab"),
            # The order of review_queue: what has no score comes last.
            models.Index(
                "agreement", Coalesce("activelab_score", Value(1e9)), "candidate", name="consensus_review",
                condition=Q(annotation_count__gte=2, agreement__lt=1),
            ),  # fmt: skip
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
    gold_count = models.PositiveIntegerField(default=0)
    gold_right = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "annotator quality"

    def __str__(self) -> str:
        return f"{self.annotator}: {self.accuracy:.0%}"


class Decision(models.Model):
    """What a reviewer decided about one candidate. The history of reviews: rows are only ever added."""

    class Action(models.TextChoices):
        CONFIRMED = "confirmed", "Confirmed"  # the consensus as it was
        CHANGED = "changed", "Changed"
        SENT_BACK = "sent_back", "Sent back"
        WITHDRAWN = "withdrawn", "Withdrawn"  # the decision before: the annotators' consensus counts again

    # Made by the browser, so that sending twice is safe.
    id = models.UUIDField(primary_key=True, editable=False)
    candidate = models.ForeignKey("generation.Candidate", on_delete=models.PROTECT, related_name="decisions")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="decisions")
    action = models.CharField(max_length=10, choices=Action.choices)
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES, null=True, blank=True)
    comment = models.CharField(max_length=1000, blank=True)
    # "review" or "grid".
    made_in = models.CharField(max_length=10, default="review")
    # The consensus and everyone's standing answers at that moment.
    before = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(label=None) | Q(label__lte=4), name="decision_label_known")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="decision_newest")]

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.reviewer_id}"


class SentBack(models.Model):
    """A reviewer asks this annotator to look again: their slot is held for them, and the desk shows it first."""

    annotation = models.OneToOneField(Annotation, on_delete=models.CASCADE, related_name="sent_back")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="sent_back", db_index=False)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sent_back", db_index=False
    )
    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, related_name="sent_back")
    comment = models.CharField(max_length=1000, blank=True)
    # An open page of theirs holds it until then.
    shown_until = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)  # or skipped

    class Meta:
        indexes = [models.Index(fields=["annotator", "task"], condition=Q(answered_at=None), name="sent_back_waiting")]
        verbose_name_plural = "sent back"

    def __str__(self) -> str:
        return f"task {self.task_id} sent back to {self.annotator_id}"


class Look(models.Model):
    """A reviewer has this candidate on the screen, or as the next one: others are led past it for some minutes."""

    candidate = models.OneToOneField(
        "generation.Candidate", on_delete=models.CASCADE, primary_key=True, related_name="look"
    )
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="looks")
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.reviewer_id} looks at {self.candidate_id}"


class SavedFilter(models.Model):
    """A named filter of the label browser."""

    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_filters")
    query = models.JSONField()
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="saved_filter_named_once")]

    def __str__(self) -> str:
        return self.name


class Snapshot(models.Model):
    """The candidates that a filter matched at one moment: what a bulk action or a grid works on, whatever changes."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="snapshots")
    query = models.JSONField()
    candidates = ArrayField(models.BigIntegerField())
    count = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.count} candidates"


class DeskSettings(models.Model):
    """What a person chose at the desk: {"label-0": "1", "skip": "s", ...}; empty means the usual keys."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="desk_settings")
    keys = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "desk settings"

    def __str__(self) -> str:
        return f"the desk of {self.user_id}"
