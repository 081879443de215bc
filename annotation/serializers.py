"""What the desk API takes and gives. Anything it does not know is refused with a sentence, never ignored."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from adproof.labels import N_LABELS, parse_label
from annotation.actions import COUNT_AT_MOST
from annotation.answers import Answer
from config.numbers import MAX_ID
from config.strict import Strict

MAX_ANSWERS = 100
MAX_LEASE = 50
MAX_HELD = 500
HELD_HELP = (
    "What you hold already and have not answered yet. If given and nothing else is left, you get what is held for you "
    "beside these: a page that was closed has left it behind."
)
VIEWS = ("generated", "product", "depth", "saliency")
DAY_S = 86_400


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 0, "maximum": N_LABELS - 1}, {"type": "string"}]})
class LabelField(serializers.Field):
    """A label by its number 0..4 or its name; the message of a wrong one names the five."""

    def to_internal_value(self, data: Any) -> int:
        try:
            return int(parse_label(data))
        except (ValueError, TypeError) as error:
            raise serializers.ValidationError(str(error)[:300]) from None

    def to_representation(self, value: int) -> int:
        return int(value)


@extend_schema_field(
    {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2}
)
class MarkerField(serializers.Field):
    """[x, y] as shares of the picture's width and height."""

    def to_internal_value(self, data: Any) -> list[float]:
        numbers = isinstance(data, list) and len(data) == 2 and all(type(value) in (int, float) for value in data)
        if not numbers or not all(0 <= value <= 1 for value in data):
            raise serializers.ValidationError("Give [x, y], both from 0 to 1.")
        return [round(float(value), 4) for value in data]

    def to_representation(self, value: list[float]) -> list[float]:
        return value


class DetailsIn(Strict):
    secondary = serializers.ListField(
        child=LabelField(), required=False, max_length=4, help_text="Defects besides the label, each once."
    )
    marker = MarkerField(required=False, help_text="Where the defect is: [x, y] as shares of width and height.")

    def validate_secondary(self, labels: list[int]) -> list[int]:
        if 0 in labels:
            raise serializers.ValidationError("“available” is no defect.")
        if len(set(labels)) < len(labels):
            raise serializers.ValidationError("Give each defect once.")
        return sorted(labels)


class AnswerIn(Strict):
    id = serializers.UUIDField(help_text="Made by the client, so that sending twice is safe.")
    task = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    label = LabelField(help_text="0..4 or a name: available, space_mismatch, size_mismatch, ...")
    seconds = serializers.FloatField(min_value=0, max_value=DAY_S, help_text="How long it was looked at.")
    view = serializers.ChoiceField(choices=VIEWS, default="generated", help_text="What was on the screen.")
    details = DetailsIn(required=False, help_text="Only where the project asks for details.")
    guidelines = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="The version you saw. Default: the one in force."
    )
    verdict = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_ID,
        help_text="`checkpoint` of RFNet's verdict, if you showed it beside the picture.",
    )  # fmt: skip

    def _with_details(self, attrs: dict[str, Any]) -> dict[str, Any]:
        details = attrs.get("details", {})
        if attrs["label"] in details.get("secondary", []):
            raise serializers.ValidationError({"details": "A secondary defect is another one than the label."})
        attrs["details"] = {name: value for name, value in details.items() if value}
        return attrs

    def to_internal_value(self, data: Any) -> Answer:
        return Answer(**self._with_details(super().to_internal_value(data)))


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
    project = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    count = serializers.IntegerField(min_value=1, max_value=MAX_LEASE, default=10)
    today_from = serializers.DateTimeField(
        required=False, help_text="When the annotator's day began, for done_today. Default: midnight UTC."
    )
    held = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID), required=False, max_length=MAX_HELD, help_text=HELD_HELP
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


class VerdictOut(serializers.Serializer):
    checkpoint = serializers.IntegerField()
    label = serializers.IntegerField()
    probs = serializers.ListField(child=serializers.FloatField(), help_text="Five probabilities, one per label.")


class TaskOut(serializers.Serializer):
    task = serializers.IntegerField()
    lease_until = serializers.DateTimeField()
    pictures = PicturesOut()
    product = ProductOut()
    image_scale = serializers.FloatField(help_text="Longest side of the product as a share of the picture.")
    prompt = serializers.CharField(allow_null=True, help_text="null when the project hides it.")
    comment = serializers.CharField(allow_null=True, help_text="What a reviewer who sent it back to you says.")
    verdict = VerdictOut(allow_null=True, help_text="RFNet's, when the project assists and there is one.")


class LeaseOut(serializers.Serializer):
    tasks = TaskOut(many=True)
    state = serializers.ChoiceField(choices=["ok", "empty", "not_ready", "paused"])
    left = serializers.IntegerField(
        help_text=f"Tasks you could still take, counted up to {COUNT_AT_MOST}; in some projects rounded up to tens."
    )
    done_today = serializers.IntegerField()
    lease_minutes = serializers.IntegerField()
    guidelines_version = serializers.IntegerField(help_text="In force now. Say with your answer which one you saw.")
    asks_details = serializers.BooleanField(help_text="Whether answers may carry `details`.")


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


class KeysIn(Strict):
    keys = serializers.DictField(child=serializers.CharField(max_length=20, trim_whitespace=False))


class KeysOut(serializers.Serializer):
    keys = serializers.DictField(child=serializers.CharField(), help_text="The key of each action.")
    usual = serializers.DictField(child=serializers.CharField(), help_text="What it is unless you choose another.")


class ShareOut(serializers.Serializer):
    share = serializers.FloatField(help_text="From 0 to 1.")
    of = serializers.IntegerField(help_text="Of so many answers.")


class MeIn(serializers.Serializer):
    today_from = serializers.DateTimeField(required=False, help_text="When your day began. Default: midnight UTC.")


class MeOut(serializers.Serializer):
    done_today = serializers.IntegerField()
    median_seconds = serializers.FloatField(allow_null=True, help_text="Of your newest answers.")
    agreement = ShareOut(
        allow_null=True, help_text="Your answers that equal the consensus of several people. null: too few yet."
    )
    known = ShareOut(
        allow_null=True,
        help_text="Your answers that are right where the label was known. Only as a share of many, in steps.",
    )


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
