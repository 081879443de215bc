"""Pairs of candidates, and which of the two people would rather use.

A pair has slots as a task has: so it gets no more leases and preferences than its overlap, and one person never two.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from annotation.random_key import a_random_key


class Pair(models.Model):
    """Two candidates of one product: which would you rather use?"""

    project = models.ForeignKey("annotation.Project", on_delete=models.CASCADE, related_name="pairs", db_index=False)
    first = models.ForeignKey("generation.Candidate", on_delete=models.PROTECT, related_name="+")
    second = models.ForeignKey("generation.Candidate", on_delete=models.PROTECT, related_name="+")
    overlap = models.PositiveSmallIntegerField(default=3)
    tie = models.FloatField(default=a_random_key)
    is_open = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "first", "second"], name="pair_once"),
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="pair_ordered"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=9), name="pair_overlap_in_range"),
        ]
        indexes = [models.Index(fields=["project", "tie"], condition=Q(is_open=True), name="pair_queue")]

    def __str__(self) -> str:
        return f"pair {self.pk}"


class PairSlot(models.Model):
    """One place for one person's preference: what Slot is to a task."""

    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, related_name="slots", db_index=False)
    number = models.PositiveSmallIntegerField()
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    lease_until = models.DateTimeField(null=True)
    is_filled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pair", "number"], name="pair_slot_numbered_once"),
            models.UniqueConstraint(fields=["pair", "annotator"], name="pair_slot_one_per_person"),
            models.CheckConstraint(
                condition=Q(is_filled=False) | Q(annotator__isnull=False), name="pair_slot_filled_by_somebody"
            ),
            models.CheckConstraint(condition=Q(number__lt=9), name="pair_slot_number_in_range"),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of pair {self.pair_id}"


class PairHandout(models.Model):
    """This pair was on this person's screen once, and which of the two stood left: drawn at random, then kept."""

    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, related_name="handouts", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    first_is_left = models.BooleanField()
    first_at = models.DateTimeField(default=timezone.now)
    # They did not want to judge this one: it goes to others, not back to them.
    skipped_at = models.DateTimeField(null=True, blank=True)
    # Neither answered nor skipped. Kept by annotation.pair_actions, in the same transaction.
    is_open = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pair", "annotator"], name="pair_handout_once")]
        indexes = [models.Index(fields=["annotator", "pair"], condition=Q(is_open=True), name="pair_handout_open")]

    def __str__(self) -> str:
        return f"pair {self.pair_id} was shown to {self.annotator_id}"


class PreferenceQuerySet(models.QuerySet):
    def standing(self) -> PreferenceQuerySet:
        """Those that count: not undone and not surplus."""
        return self.filter(is_undone=False, is_surplus=False)


class Preference(models.Model):
    """Which of a pair one person would rather use. Never changed, only taken back."""

    class Choice(models.TextChoices):
        FIRST = "first", "The first"
        SECOND = "second", "The second"
        TIE = "tie", "Neither more than the other"

    id = models.UUIDField(primary_key=True, editable=False)
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, related_name="preferences", db_index=False)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="preferences")
    choice = models.CharField(max_length=6, choices=Choice.choices)
    first_was_left = models.BooleanField()
    seconds = models.FloatField()
    # The place it fills. One that counts has one, and no two have the same: so no pair gets more than its overlap.
    slot = models.ForeignKey(PairSlot, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    is_undone = models.BooleanField(default=False)
    is_surplus = models.BooleanField(default=False)  # came after the pair was full
    created_at = models.DateTimeField(default=timezone.now)

    objects = PreferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["pair", "annotator"], condition=Q(is_undone=False), name="preference_one_standing"
            ),
            models.UniqueConstraint(fields=["slot"], condition=Q(is_undone=False), name="preference_one_per_slot"),
            models.CheckConstraint(
                condition=Q(is_undone=True) | Q(is_surplus=True) | Q(slot__isnull=False), name="preference_has_a_slot"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_choice_display()} of pair {self.pair_id}"
