"""Pairs over HTTP: lease them, send preferences, and the rest. Who may label may choose."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import pair_actions, pair_serializers, payload, serializers
from annotation.desk_api import AN_ID, REFUSED, MayLabel, body, project_of, refusals
from annotation.models import PairSlot, Preference


@extend_schema(
    tags=["pairs"],
    summary="Take pairs",
    description="Up to `count` pairs that you have not judged, held for you until `lease_until`. Renew them while you "
    "work, release them when you stop; else they lapse and go to others.",
    request=pair_serializers.PairLeaseIn,
    responses=pair_serializers.PairLeaseOut,
    examples=[OpenApiExample("Ten pairs", value={"project": 1, "count": 10}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def lease(request: Request) -> Response:
    asked = body(pair_serializers.PairLeaseIn, request)
    project, now = project_of(asked), timezone.now()
    slots = pair_actions.lease(request.user, project, asked["count"], now, asked.get("held"))
    since = payload.since(asked.get("today_from"), now)
    done = Preference.objects.filter(annotator=request.user, created_at__gte=since, is_undone=False)
    url_name = "desk-picture" if request.auth else "picture"
    return Response(
        {
            "pairs": [_pair(slot, url_name) for slot in slots],
            "state": "ok" if slots else payload.why_empty(project, project.pairs),
            "left": pair_actions.count_left(request.user, project, now),
            "done_today": done.count(),
            "lease_minutes": project.lease_minutes,
        }
    )


def _pair(slot: PairSlot, url_name: str) -> dict[str, Any]:
    first, second = slot.pair.first, slot.pair.second
    left, right = (first, second) if slot.first_is_left else (second, first)
    product = first.product
    return {
        "pair": slot.pair_id,
        "lease_until": slot.lease_until,
        "pictures": {
            "left": payload.address(left.image_sha256, url_name),
            "right": payload.address(right.image_sha256, url_name),
            "product": payload.address(product.image_sha256, url_name),
        },
        "product": {"id": product.pk, "title": product.title, "description": product.description},
    }


@extend_schema(
    tags=["pairs"],
    summary="Send preferences",
    description="1 to 100, each with an id that you made (a random UUID). One result each, in order. Safe to send again: "
    "the same id gives the same result. `surplus`: your lease had lapsed and the pair was full; `refused`: see its "
    "message, and do not send it again.",
    request=pair_serializers.PreferencesIn,
    responses=pair_serializers.PreferencesOut,
    examples=[
        OpenApiExample(
            "The left one",
            value={"preferences": [{"id": AN_ID, "pair": 17, "choice": "left", "seconds": 3.8}]},
            request_only=True,
        ),
        OpenApiExample(
            "Its result",
            value={"results": [{"id": AN_ID, "pair": 17, "status": "saved", "message": ""}]},
            response_only=True,
        ),
    ],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def preferences(request: Request) -> Response:
    given = body(pair_serializers.PreferencesIn, request)
    outcomes = pair_actions.save_preferences(request.user, given["preferences"], project_id=given.get("project"))
    return Response(
        {
            "results": [
                {"id": str(row.id), "pair": row.pair, "status": row.status, "message": row.message} for row in outcomes
            ]
        }
    )


_TWO = [OpenApiExample("Two pairs", value={"pairs": [17, 18]}, request_only=True)]


@extend_schema(
    tags=["pairs"],
    summary="Hold pairs for longer",
    request=pair_serializers.PairsIn,
    responses=serializers.RenewOut,
    examples=_TWO,
)
@api_view(["POST"])
@permission_classes([MayLabel])
def renew(request: Request) -> Response:
    pairs = body(pair_serializers.PairsIn, request)["pairs"]
    held = pair_actions.renew(request.user, pairs)
    return Response({"held": held, "lost": sorted(set(pairs) - set(held))})


@extend_schema(
    tags=["pairs"],
    summary="Give pairs back",
    request=pair_serializers.PairsIn,
    responses=serializers.ReleaseOut,
    examples=_TWO,
)
@api_view(["POST"])
@permission_classes([MayLabel])
def release(request: Request) -> Response:
    pairs = body(pair_serializers.PairsIn, request)["pairs"]
    return Response({"released": pair_actions.release(request.user, pairs)})


@extend_schema(
    tags=["pairs"],
    summary="Pass a pair to others",
    description="You will not be shown it again.",
    request=pair_serializers.PairIn,
    responses={200: serializers.DoneOut, 403: REFUSED},
    examples=[OpenApiExample("One pair", value={"pair": 17}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def skip(request: Request) -> Response:
    asked = body(pair_serializers.PairIn, request)
    with refusals():
        pair_actions.skip(request.user, asked["pair"])
    return Response({"done": True})


@extend_schema(
    tags=["pairs"],
    summary="Take a preference or a skip back",
    description="Exactly one of `id`, `skipped`. The pair is held for you again, if a place is free.",
    request=pair_serializers.PairUndoIn,
    responses={200: serializers.HeldOut, 403: REFUSED},
    examples=[OpenApiExample("A preference", value={"id": AN_ID}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def undo(request: Request) -> Response:
    ((what, value),) = body(pair_serializers.PairUndoIn, request).items()
    verbs = {"id": pair_actions.undo, "skipped": pair_actions.take_back_skip}
    with refusals():
        until = verbs[what](request.user, value)
    return Response({"lease_until": until})
