from django.conf import settings
from django.db import models

KINDS = [("rfnet", "RFNet: learn to judge"), ("rfft", "RFFT: tune the generator")]


class Training(models.Model):
    """One training that ML staff started: what goes in, the run that does it, what came out."""

    kind = models.CharField(max_length=8, choices=KINDS, default="rfnet")
    dataset_version = models.ForeignKey(
        "datasets_app.DatasetVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="trainings",
        help_text="What RFNet learns from. It must be written.",
    )  # fmt: skip
    generator = models.ForeignKey(
        "generation.Generator", null=True, blank=True, on_delete=models.PROTECT, related_name="trainings",
        help_text="RFFT: the generator to tune.",
    )  # fmt: skip
    feedback = models.ForeignKey(
        "rfnet_service.Checkpoint", null=True, blank=True, on_delete=models.PROTECT, related_name="trainings",
        help_text="RFFT: the RFNet whose feedback is used.",
    )  # fmt: skip
    # Only what differs from the defaults; unknown keys are refused by adproof's config classes.
    config = models.JSONField(default=dict, blank=True)
    run = models.OneToOneField("runs.Run", null=True, editable=False, on_delete=models.PROTECT, related_name="training")
    checkpoint = models.ForeignKey(
        "rfnet_service.Checkpoint",
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="made_by",
    )
    tuned_generator = models.ForeignKey(
        "generation.Generator", null=True, editable=False, on_delete=models.SET_NULL, related_name="made_by"
    )
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.get_kind_display().split(':')[0]} training {self.pk}"


class Round(models.Model):
    """One turn of the active-learning loop: what was picked, labelled, trained, and what it changed."""

    number = models.PositiveIntegerField(unique=True)
    project = models.ForeignKey("annotation.Project", on_delete=models.PROTECT, related_name="rounds")
    strategy = models.CharField(max_length=20)
    random_share = models.FloatField(default=0.1)
    seed = models.BigIntegerField(default=0)
    # The RFNet that picked; none in the first round, which covers the products instead.
    picked_by = models.ForeignKey(
        "rfnet_service.Checkpoint",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="rounds_picked",
    )
    picked_count = models.PositiveIntegerField(default=0)
    dataset_version = models.ForeignKey(
        "datasets_app.DatasetVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="rounds"
    )
    checkpoint = models.ForeignKey(
        "rfnet_service.Checkpoint", null=True, blank=True, on_delete=models.SET_NULL, related_name="rounds"
    )
    # {"margin_mean": ..., "available_share_random": ..., "metrics_before": ..., "metrics_after": ...}
    summary = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"round {self.number}"
