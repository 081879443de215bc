"""Cutting many out anew over HTTP: start it, look at it, pause, resume and stop it; also runs that an import began."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from adproof.perception.masks import THRESHOLD
from config.strict import Strict, named, read
from generation import cutting
from generation.api_serializers import MOST_NAMED
from generation.product_api import MayEditProducts
from generation.steering_api import steer, steering
from runs.actions import pause_run, resume_run, stop_run
from runs.models import Run


class CutOutIn(Strict):
    """All that every given condition fits; without any: all that wait as U2-Net cut them out."""

    q = serializers.CharField(required=False, max_length=200, help_text="In the SKU, title or description.")
    category = serializers.CharField(required=False, max_length=80)
    source = serializers.CharField(required=False, max_length=80)
    skus = serializers.ListField(
        child=serializers.CharField(max_length=80), required=False, max_length=MOST_NAMED, min_length=1
    )
    threshold = serializers.IntegerField(
        default=round(100 * THRESHOLD), min_value=5, max_value=95, help_text="In percent; a lower one keeps more."
    )


class CutOutRunOut(serializers.Serializer):
    id = serializers.IntegerField()
    title = serializers.CharField()
    state = serializers.CharField(help_text=", ".join(f"`{value}`" for value in Run.State.values))
    done = serializers.IntegerField(help_text="Of `total` products.")
    total = serializers.IntegerField()
    problems = serializers.ListField(
        child=serializers.CharField(), help_text="What could not be cut out, and why: the first hundred."
    )
    error = serializers.CharField(allow_blank=True)
    page = serializers.CharField()


def _told(run: Run) -> dict[str, Any]:
    problems = [f"{row.where}: {row.problem}" for row in run.import_problems.order_by("pk")[:100]]
    return {
        "id": run.pk, "title": run.title, "state": run.state, "done": run.done, "total": run.total, "problems": problems,
        "error": run.error, "page": reverse("run", args=[run.pk]),
    }  # fmt: skip


def _run(pk: int) -> Run:
    return named(Run.objects.filter(kind="cut_out"), pk, "run")


@extend_schema(
    tags=["products"], operation_id="cut_outs_anew", summary="Have U2-Net cut products out anew", request=CutOutIn,
    description="In a run, by the U2-Net in use; they wait for a look again. What somebody has accepted or cut by hand, and "
    "what has candidates, stays as it is.",
    responses=CutOutRunOut,
    examples=[
        OpenApiExample("All that wait", value={}, request_only=True),
        OpenApiExample("More of the lamps", value={"category": "lamps", "threshold": 35}, request_only=True),
    ],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayEditProducts])
def anew(request: Request) -> Response:
    asked = read(CutOutIn, request.data)
    threshold, skus = asked.pop("threshold") / 100, asked.pop("skus", ())
    try:
        return Response(_told(cutting.cut_anew_matching(asked, threshold, skus=skus, user=request.user)))
    except cutting.NothingToCut as problem:
        raise ValidationError({"detail": str(problem)}) from problem


@extend_schema(
    tags=["products"], operation_id="cut_outs_run", summary="One run that cuts products out", responses=CutOutRunOut
)
@api_view(["GET"])
@permission_classes([MayEditProducts])
def one(request: Request, run: int) -> Response:
    return Response(_told(_run(run)))


def _steered(request: Request, pk: int, do: Callable[[Run], Any]) -> Response:
    steer(request, _run(pk), do)
    return Response(_told(_run(pk)))


_STEERING = steering("products", CutOutRunOut)


@extend_schema(operation_id="cut_outs_pause", summary="Pause: what is in hand is finished, the rest waits", **_STEERING)
@api_view(["POST"])
@permission_classes([MayEditProducts])
def pause(request: Request, run: int) -> Response:
    return _steered(request, run, pause_run)


@extend_schema(operation_id="cut_outs_resume", summary="Go on after a pause, a stop or a failure", **_STEERING)
@api_view(["POST"])
@permission_classes([MayEditProducts])
def resume(request: Request, run: int) -> Response:
    return _steered(request, run, resume_run)


@extend_schema(operation_id="cut_outs_stop", summary="Stop: what is cut out stays", **_STEERING)
@api_view(["POST"])
@permission_classes([MayEditProducts])
def stop(request: Request, run: int) -> Response:
    return _steered(request, run, stop_run)
