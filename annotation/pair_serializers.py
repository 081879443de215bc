"""What the API of pairs takes and gives; strict as that of the desk."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from annotation.actions import COUNT_AT_MOST
from annotation.pair_actions import CHOICES, Choice
from annotation.serializers import DAY_S, MAX_ANSWERS, LeaseIn, ProductOut
from config.numbers import MAX_ID
from config.strict import Strict


class PairLeaseIn(LeaseIn):
    """As of tasks."""


class PairPicturesOut(serializers.Serializer):
    left = serializers.CharField()
    right = serializers.CharField()
    product = serializers.CharField()


class PairOut(serializers.Serializer):
    pair = serializers.IntegerField()
    lease_until = serializers.DateTimeField()
    pictures = PairPicturesOut(help_text="Which stands left was drawn at random for you: keep it.")
    product = ProductOut()


class PairLeaseOut(serializers.Serializer):
    pairs = PairOut(many=True)
    state = serializers.ChoiceField(choices=["ok", "empty", "not_ready", "paused"])
    left = serializers.IntegerField(help_text=f"Pairs you could still take, counted up to {COUNT_AT_MOST}.")
    done_today = serializers.IntegerField()
    lease_minutes = serializers.IntegerField()


class PreferenceIn(Strict):
    id = serializers.UUIDField(help_text="Made by the client, so that sending twice is safe.")
    pair = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    choice = serializers.ChoiceField(choices=CHOICES, help_text="Which you would rather use; tie: no difference.")
    seconds = serializers.FloatField(min_value=0, max_value=DAY_S, help_text="How long they were looked at.")

    def to_internal_value(self, data: Any) -> Choice:
        return Choice(**super().to_internal_value(data))


class PreferencesIn(Strict):
    project = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="When given, pairs of other projects are refused."
    )
    preferences = serializers.ListField(child=PreferenceIn(), min_length=1, max_length=MAX_ANSWERS)


class PreferenceResultOut(serializers.Serializer):
    id = serializers.UUIDField()
    pair = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["saved", "surplus", "undone", "refused"])
    message = serializers.CharField(allow_blank=True)


class PreferencesOut(serializers.Serializer):
    results = PreferenceResultOut(many=True)


class PairsIn(Strict):
    pairs = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID), min_length=1, max_length=MAX_ANSWERS
    )


class PairIn(Strict):
    pair = serializers.IntegerField(min_value=1, max_value=MAX_ID)


class PairUndoIn(Strict):
    id = serializers.UUIDField(required=False, help_text="A preference of yours.")
    skipped = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID, help_text="A pair you skipped.")

    def validate(self, attrs: Any) -> Any:
        if len(attrs) != 1:
            raise serializers.ValidationError("Give exactly one of id, skipped.")
        return attrs
