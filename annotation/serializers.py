"""What the desk API takes and gives. Anything it does not know is refused with a sentence, never ignored."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from adproof.labels import parse_label
from annotation.actions import COUNT_AT_MOST, Answer

MAX_ANSWERS = 100
MAX_LEASE = 50
VIEWS = ("generated", "product", "depth", "saliency")
DAY_S = 86_400


class Strict(serializers.Serializer):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(
                    {name[:60]: [f"Unknown field. Known: {', '.join(self.fields)}."] for name in map(str, unknown)}
                )
        return super().to_internal_value(data)


class LabelField(serializers.Field):
    """A label by its number 0..4 or its name; the message of a wrong one names the five."""

    def to_internal_value(self, data: Any) -> int:
        try:
            return int(parse_label(data))
        except (ValueError, TypeError) as error:
            raise serializers.ValidationError(str(error)[:300]) from None

    def to_representation(self, value: int) -> int:
        return int(value)


class AnswerIn(Strict):
    id = serializers.UUIDField(help_text="Made by the client, so that sending twice is safe.")
    task = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    label = LabelField(help_text="0..4 or a name: available, space_mismatch, size_mismatch, ...")
    seconds = serializers.FloatField(min_value=0, max_value=DAY_S, help_text="How long it was looked at.")
    view = serializers.ChoiceField(choices=VIEWS, default="generated", help_text="What was on the screen.")

    def to_internal_value(self, data: Any) -> Answer:
        return Answer(**super().to_internal_value(data))


class AnswersIn(Strict):
    project = serializers.IntegerField(required=False, min_value=1, help_text="If given, tasks of others are refused.")
    annotations = serializers.ListField(child=AnswerIn(), min_length=1, max_length=MAX_ANSWERS)


class OutcomeOut(serializers.Serializer):
    id = serializers.UUIDField()
    task = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["saved", "surplus", "undone", "refused"])
    message = serializers.CharField(help_text="Why, when it is not simply saved.")


class AnswersOut(serializers.Serializer):
    results = OutcomeOut(many=True)


class LeaseIn(Strict):
    project = serializers.IntegerField(min_value=1)
    count = serializers.IntegerField(min_value=1, max_value=MAX_LEASE, default=10)
    today_from = serializers.DateTimeField(
        required=False, help_text="When the annotator's day began, for done_today. Default: midnight UTC."
    )


class PicturesOut(serializers.Serializer):
    generated = serializers.CharField()
    product = serializers.CharField()
    depth = serializers.CharField(allow_null=True)
    saliency = serializers.CharField(allow_null=True)
    thumbnail = serializers.CharField()


class ProductOut(serializers.Serializer):
    id = serializers.IntegerField()
    title = serializers.CharField()
    description = serializers.CharField()


class TaskOut(serializers.Serializer):
    task = serializers.IntegerField()
    lease_until = serializers.DateTimeField()
    pictures = PicturesOut()
    product = ProductOut()
    image_scale = serializers.FloatField(help_text="Longest side of the product as a share of the picture.")
    prompt = serializers.CharField(allow_null=True, help_text="null when the project hides it.")
    comment = serializers.CharField(allow_null=True, help_text="What a reviewer who sent it back to you says.")


class LeaseOut(serializers.Serializer):
    tasks = TaskOut(many=True)
    state = serializers.ChoiceField(choices=["ok", "empty", "not_ready", "paused"])
    left = serializers.IntegerField(
        help_text=f"Tasks you could still take, counted up to {COUNT_AT_MOST}; in some projects rounded up to tens."
    )
    done_today = serializers.IntegerField()
    lease_minutes = serializers.IntegerField()


class TasksIn(Strict):
    tasks = serializers.ListField(child=serializers.IntegerField(min_value=1), min_length=1, max_length=MAX_ANSWERS)


class RenewOut(serializers.Serializer):
    held = serializers.ListField(child=serializers.IntegerField())
    lost = serializers.ListField(child=serializers.IntegerField())


class ReleaseOut(serializers.Serializer):
    released = serializers.IntegerField()


class UndoIn(Strict):
    id = serializers.UUIDField(required=False, help_text="An answer of yours.")
    skipped = serializers.IntegerField(required=False, min_value=1, help_text="A task you skipped.")
    flagged = serializers.IntegerField(required=False, min_value=1, help_text="A task at which you flagged.")

    def validate(self, attrs: Any) -> Any:
        if len(attrs) != 1:
            raise serializers.ValidationError("Give exactly one of id, skipped, flagged.")
        return attrs


class HeldOut(serializers.Serializer):
    lease_until = serializers.DateTimeField(
        allow_null=True, help_text="Your task again until then; null when others have filled it meanwhile."
    )


class SkipIn(Strict):
    task = serializers.IntegerField(min_value=1)


class FlagIn(Strict):
    task = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")


class DoneOut(serializers.Serializer):
    done = serializers.BooleanField()


class RefusedOut(serializers.Serializer):
    detail = serializers.CharField()


class ProjectOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    overlap = serializers.IntegerField()
    is_paused = serializers.BooleanField()
    labels = serializers.ListField(child=serializers.CharField())
