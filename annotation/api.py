"""The desk over HTTP: lease tasks, send answers, and the rest. Tokens or a session; roles that may label."""

from __future__ import annotations

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from adproof.labels import LABELS
from annotation import actions, answers, desk_keys, own_figures, payload, serializers
from annotation.desk_api import AN_ID, REFUSED, MayLabel, body, project_of, refusals
from annotation.models import DeskSettings, Project
from generation.pictures import picture as serve_picture


@extend_schema(tags=["desk"], summary="Projects you can label", responses=serializers.ProjectOut(many=True))
@api_view(["GET"])
@permission_classes([MayLabel])
def projects(request: Request) -> Response:
    rows = Project.objects.order_by("id")
    return Response(
        [
            {
                "id": row.pk,
                "name": row.name,
                "overlap": row.overlap,
                "is_paused": row.is_paused,
                "labels": LABELS,
            }
            for row in rows
        ]
    )


@extend_schema(
    tags=["desk"],
    summary="Take tasks",
    description="Up to `count` tasks that you have not judged, held for you until `lease_until`. Renew them "
    "while you work, release them when you stop; else they lapse and go to others.",
    request=serializers.LeaseIn,
    responses=serializers.LeaseOut,
    examples=[OpenApiExample("Ten tasks", value={"project": 1, "count": 10}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def lease(request: Request) -> Response:
    asked = body(serializers.LeaseIn, request)
    project, now = project_of(asked), timezone.now()
    given = payload.lease(
        request.user, project, asked["count"], now, asked.get("today_from"), token=bool(request.auth), held=asked.get("held")
    )
    return Response(given)


@extend_schema(
    tags=["desk"],
    summary="A picture, for clients with a token",
    description="The pictures of a lease taken with a token have these addresses. They never change.",
    responses={(200, "image/*"): OpenApiTypes.BINARY},
)
@api_view(["GET"])
@permission_classes([MayLabel])
def picture(request: Request, sha256: str) -> HttpResponseBase:
    return serve_picture(request._request, sha256)


@extend_schema(
    tags=["desk"],
    summary="Send answers",
    description="1 to 100 answers, each with an id that you made (a random UUID). One result per answer, in "
    "order. Safe to send again: the same id gives the same result. `surplus`: your lease had lapsed and the task "
    "was full; `refused`: see its message, and do not send it again.",
    request=serializers.AnswersIn,
    responses=serializers.AnswersOut,
    examples=[
        OpenApiExample(
            "One answer",
            value={"annotations": [{"id": AN_ID, "task": 17, "label": "available", "seconds": 3.8, "view": "generated"}]},
            request_only=True,
        ),
        OpenApiExample(
            "Its result",
            value={"results": [{"id": AN_ID, "task": 17, "status": "saved", "message": ""}]},
            response_only=True,
        ),
    ],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def annotations(request: Request) -> Response:
    given = body(serializers.AnswersIn, request)
    outcomes = answers.save_annotations(request.user, given["annotations"], project_id=given.get("project"))
    return Response(payload.results(outcomes))


@extend_schema(
    tags=["desk"],
    summary="Hold tasks for longer",
    request=serializers.TasksIn,
    responses=serializers.RenewOut,
    examples=[OpenApiExample("Two tasks", value={"tasks": [17, 18]}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def renew(request: Request) -> Response:
    tasks = body(serializers.TasksIn, request)["tasks"]
    held = actions.renew(request.user, tasks)
    return Response({"held": held, "lost": sorted(set(tasks) - set(held))})


@extend_schema(
    tags=["desk"],
    summary="Give tasks back",
    request=serializers.TasksIn,
    responses=serializers.ReleaseOut,
    examples=[OpenApiExample("Two tasks", value={"tasks": [17, 18]}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def release(request: Request) -> Response:
    tasks = body(serializers.TasksIn, request)["tasks"]
    return Response({"released": actions.release(request.user, tasks)})


@extend_schema(
    tags=["desk"],
    summary="Take an answer, a skip or a flag back",
    description="Exactly one of `id`, `skipped`, `flagged`. The task is held for you again, if a place is free.",
    request=serializers.UndoIn,
    responses={200: serializers.HeldOut, 403: REFUSED},
    examples=[OpenApiExample("An answer", value={"id": AN_ID}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def undo(request: Request) -> Response:
    ((what, value),) = body(serializers.UndoIn, request).items()
    verbs = {"id": answers.undo, "skipped": actions.take_back_skip, "flagged": actions.take_back_flag}
    with refusals():
        until = verbs[what](request.user, value)
    return Response({"lease_until": until})


@extend_schema(
    tags=["desk"],
    summary="Pass a task to others",
    description="You will not be shown it again.",
    request=serializers.SkipIn,
    responses={200: serializers.DoneOut, 403: REFUSED},
    examples=[OpenApiExample("One task", value={"task": 17}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def skip(request: Request) -> Response:
    asked = body(serializers.SkipIn, request)
    with refusals():
        actions.skip(request.user, asked["task"])
    return Response({"done": True})


@extend_schema(
    tags=["desk"],
    summary="Flag the product of a task as unsuitable",
    description="The product's own picture is at fault (cut off, wrong, unreadable). Its candidates leave the "
    "queue and every later dataset version.",
    request=serializers.FlagIn,
    responses={200: serializers.DoneOut, 403: REFUSED},
    examples=[OpenApiExample("With a reason", value={"task": 17, "reason": "cut off"}, request_only=True)],
)
@api_view(["POST"])
@permission_classes([MayLabel])
def flag(request: Request) -> Response:
    asked = body(serializers.FlagIn, request)
    with refusals():
        actions.flag(request.user, asked["task"], asked["reason"])
    return Response({"done": True})


@extend_schema(
    methods=["GET"], tags=["desk"], summary="Your keys", request=None, responses=serializers.KeysOut
)
@extend_schema(
    methods=["PUT", "POST"],
    tags=["desk"],
    summary="Choose your keys",
    description="Those not named have their usual key; `{}` brings all usual keys back. One key each: a character, "
    f"or one of {', '.join(desk_keys.NAMED)}.",
    request=serializers.KeysIn,
    responses=serializers.KeysOut,
    examples=[OpenApiExample("Skip with X", value={"keys": {"skip": "x"}}, request_only=True)],
)
@api_view(["GET", "PUT", "POST"])
@permission_classes([MayLabel])
def keys(request: Request) -> Response:
    if request.method != "GET":
        try:
            own = desk_keys.check(body(serializers.KeysIn, request)["keys"])
        except desk_keys.BadKeys as error:
            raise ValidationError({"keys": error.by_action}) from None
        DeskSettings.objects.update_or_create(user=request.user, defaults={"keys": own})
    return Response({"keys": desk_keys.of(request.user), "usual": desk_keys.USUAL})


@extend_schema(
    tags=["desk"],
    summary="Your own figures",
    description="How many today, how fast, and, after enough answers, how often you agree with others and with labels "
    f"that were known. Those two are of whole hours that are over: from {own_figures.AGREEMENT_FROM} answers "
    f"and from {own_figures.GOLD_FROM} known labels, in steps of {own_figures.GOLD_STEP}.",
    parameters=[serializers.MeIn],
    responses=serializers.MeOut,
)
@api_view(["GET"])
@permission_classes([MayLabel])
def me(request: Request) -> Response:
    asked = serializers.MeIn(data=request.query_params)
    asked.is_valid(raise_exception=True)
    now = timezone.now()
    since = payload.since(asked.validated_data.get("today_from"), now)
    return Response(own_figures.own_figures(request.user.pk, since, now))
