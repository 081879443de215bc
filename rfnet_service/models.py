from django.db import models
from django.db.models import Q

from annotation.models import LABEL_CHOICES


class Checkpoint(models.Model):
    """RFNet weights that a run wrote (safetensors + config + sha256). Promoted = in use."""

    name = models.CharField(max_length=120, unique=True)
    folder = models.CharField(max_length=500)
    sha256 = models.CharField(max_length=64)
    config = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    dataset_version = models.ForeignKey(
        "datasets_app.DatasetVersion",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="checkpoints",
    )
    run = models.ForeignKey("runs.Run", null=True, on_delete=models.SET_NULL, related_name="checkpoints")
    is_promoted = models.BooleanField(default=False)
    promoted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_promoted"], condition=Q(is_promoted=True), name="checkpoint_one_promoted"
            ),
            models.UniqueConstraint(fields=["run"], name="checkpoint_one_per_run"),
        ]

    def __str__(self) -> str:
        return self.name


class Verdict(models.Model):
    """RFNet's five probabilities for a candidate, by one checkpoint."""

    candidate = models.ForeignKey("generation.Candidate", on_delete=models.CASCADE, related_name="verdicts")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="verdicts")
    probs = models.JSONField()
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES)
    p_available = models.FloatField()
    margin = models.FloatField()  # first minus second probability: small = unsure
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["candidate", "checkpoint"], name="verdict_once")]
        indexes = [
            models.Index(fields=["checkpoint", "margin"], name="verdict_unsure_first"),
            models.Index(fields=["checkpoint", "label", "candidate"], name="verdict_by_label"),
        ]

    def __str__(self) -> str:
        return f"{self.get_label_display()} {max(self.probs):.2f}"
