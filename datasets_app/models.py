from django.conf import settings
from django.db import models

from annotation.models import LABEL_CHOICES

SPLITS = ["train", "validation", "test"]


def default_shares() -> list[float]:
    return [0.7, 0.1, 0.2]


class DatasetVersion(models.Model):
    """An immutable list of (sample, label, split), and the files written from it."""

    class State(models.TextChoices):
        FROZEN = "frozen", "Frozen"
        WRITTEN = "written", "Written"

    name = models.CharField(max_length=80)
    number = models.PositiveIntegerField()
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    # The filter that chose the samples, as it was: {"generator": 3, "min_annotations": 2, ...}.
    query = models.JSONField(default=dict)
    salt = models.CharField(max_length=80)
    # Shares of train, validation, test. A version keeps its parent's, so that no product ever changes sides.
    shares = models.JSONField(default=default_shares)
    state = models.CharField(max_length=8, choices=State.choices, default=State.FROZEN)
    digest = models.CharField(max_length=64)
    row_count = models.PositiveIntegerField()
    # {"train": {"available": 12, ...}, ...}
    counts = models.JSONField(default=dict)
    uri = models.CharField(max_length=500, blank=True)
    manifest = models.JSONField(default=dict, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    # Taken with the rows, and repeated in the manifest: what was looked for over two splits, and what was left out.
    leak_check = models.JSONField(default=dict, blank=True)
    write_run = models.ForeignKey("runs.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "number"], name="version_number_once"),
            models.UniqueConstraint(fields=["write_run"], name="version_once_per_run"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"


class VersionFiles(models.Model):
    """A version written, or being written, to one place: a folder or s3://bucket/folder."""

    VARIANTS = [("full", "Full"), ("labels", "Labels only"), ("webdataset", "WebDataset tars")]

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="written")
    variant = models.CharField(max_length=10, choices=VARIANTS, default="full")
    uri = models.CharField(max_length=500, unique=True)
    # How it is cut into shards, decided once: {"shard_bytes": ..., "sizes": [[split, rows, bytes], ...]}.
    plan = models.JSONField(default=dict)
    manifest = models.JSONField(default=dict, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    run = models.ForeignKey("runs.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    # Set when its manifest is there.
    written_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.version}, {self.get_variant_display().lower()}, at {self.uri}"


class ProductSplit(models.Model):
    """The split of a product in every version of one name. Given once, never changed (product_splits.py)."""

    name = models.CharField(max_length=80)
    product = models.ForeignKey("generation.Product", on_delete=models.PROTECT, related_name="splits", db_index=False)
    split = models.CharField(max_length=10, choices=[(name, name) for name in SPLITS])
    # The product whose key was hashed: itself, or the near-duplicate that was there first.
    decided_by = models.ForeignKey("generation.Product", on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["product", "name"], name="product_split_once")]

    def __str__(self) -> str:
        return f"product {self.product_id} is in {self.split} of {self.name}"


class VersionRow(models.Model):
    """One sample of a version, with its label as it was when the version was frozen."""

    # Its constraint and its index begin with the version: a third index would only cost a million rows their time.
    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="rows", db_index=False)
    # No constraint in the database: checking a million rows at commit takes half as long as making them, and locks (so writes)
    # every candidate. Candidates are never deleted, and a freeze takes its ids from their table in the same statement.
    candidate = models.ForeignKey(
        "generation.Candidate", on_delete=models.PROTECT, related_name="version_rows", db_constraint=False
    )
    label = models.PositiveSmallIntegerField(choices=LABEL_CHOICES)
    posterior = models.JSONField()
    agreement = models.FloatField()
    annotation_count = models.PositiveSmallIntegerField()
    # Consensus.method then: "majority", "dawid-skene", "crowdlab", "gold" or "review".
    method = models.CharField(max_length=20, blank=True, default="")
    split = models.CharField(max_length=10, choices=[(name, name) for name in SPLITS])
    row_digest = models.CharField(max_length=64)
    # [{"annotator": pseudonym, "label": 0, "seconds": 3.1, "at": "..."}], frozen with the row.
    annotations = models.JSONField(default=list)

    class Meta:
        constraints = [
            # With label and split in it, two versions are compared without their rows being read.
            models.UniqueConstraint(
                fields=["version", "candidate"], include=["label", "split"], name="versionrow_sample_once"
            )
        ]
        indexes = [models.Index(fields=["version", "split", "id"], name="versionrow_split")]

    def __str__(self) -> str:
        return f"{self.version_id}/{self.candidate_id}"


class StagedPicture(models.Model):
    """A picture out of an archive, already in the store, while its import looks for what belongs to it."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="+", db_index=False)
    archive = models.PositiveIntegerField()
    member = models.CharField(max_length=500)
    stem = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    has_alpha = models.BooleanField()
    # What U2-Net cut out of it, where its product came without a picture (importing.items.CutOut).
    cut = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "archive", "member"], name="staged_picture_once"),
        ]
        indexes = [models.Index(fields=["run", "stem"], name="staged_picture_stem")]

    def __str__(self) -> str:
        return self.member
