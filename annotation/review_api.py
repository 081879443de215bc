"""Decisions of reviewers over HTTP. Tokens or a session; roles that may review."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from annotation import review
from annotation.actions import Refused
from annotation.models import Decision
from annotation.serializers import MAX_ANSWERS, LabelField
from config.numbers import MAX_ID
from config.strict import Strict, read

_ID = "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a11"


class MayReview(May):
    ability = "review"
    message = "Your role can't review. Ask an operator for it."


class DecisionIn(Strict):
    id = serializers.UUIDField(help_text="Made by the client, so that sending twice is safe.")
    candidate = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    action = serializers.ChoiceField(choices=Decision.Action.values)
    label = LabelField(
        required=False, allow_null=True, help_text="0..4 or a name. `confirmed`: refused if the consensus is another."
    )
    comment = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=review.COMMENT_AT_MOST, help_text="For `sent_back`."
    )
    annotators = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID), required=False, allow_null=True, min_length=1,
        max_length=MAX_ANSWERS, help_text="Whose answers go back. Default: those that differ from the consensus.",
    )  # fmt: skip
    made_in = serializers.ChoiceField(choices=review.MADE_IN, default="api")
    seen_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Refused if somebody answered or decided after this."
    )


class DecisionsIn(Strict):
    decisions = serializers.ListField(child=DecisionIn(), min_length=1, max_length=MAX_ANSWERS)


class DecisionOut(serializers.Serializer):
    id = serializers.UUIDField()
    candidate = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["saved", "refused"])
    message = serializers.CharField(help_text="Why, when it was refused.")


class DecisionsOut(serializers.Serializer):
    results = DecisionOut(many=True)


@extend_schema(
    tags=["review"],
    operation_id="review_decisions",
    summary="Decide about candidates",
    description="1 to 100 decisions, each with an id that you made (a random UUID); a single one may come without "
    "the list around it. One result per id, in order; each is done or refused by itself. Safe to send again: the same "
    "id gives the same result. Never about a candidate that you have labelled yourself.",
    request=DecisionsIn,
    responses=DecisionsOut,
    examples=[
        OpenApiExample(
            "Another label",
            value={"decisions": [{"id": _ID, "candidate": 17, "action": "changed", "label": "available"}]},
            request_only=True,
        ),
        OpenApiExample(
            "Ask again",
            value={
                "decisions": [
                    {"id": _ID, "candidate": 17, "action": "sent_back", "comment": "Look at the shadow again."}
                ]
            },
            request_only=True,
        ),
        OpenApiExample(
            "Its result",
            value={"results": [{"id": _ID, "candidate": 17, "status": "saved", "message": ""}]},
            response_only=True,
        ),
    ],
)
@api_view(["POST"])
@permission_classes([MayReview])
def decisions(request: Request) -> Response:
    data = request.data
    if isinstance(data, dict) and "decisions" not in data:
        data = {"decisions": [data]}
    wishes = read(DecisionsIn, data)["decisions"]
    return Response({"results": [_decide(request.user, wish) for wish in wishes]})


def _decide(user: Any, wish: dict[str, Any]) -> dict[str, Any]:
    outcome = {"id": str(wish["id"]), "candidate": wish["candidate"], "status": "saved", "message": ""}
    try:
        review.decide(
            user, wish["id"], wish["candidate"], wish["action"], wish.get("label"), wish["comment"],
            wish.get("annotators"), wish["made_in"], wish.get("seen_at"),
        )  # fmt: skip
    except Refused as error:
        outcome |= {"status": "refused", "message": str(error)}
    return outcome
