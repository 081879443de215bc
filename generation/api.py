"""Drawing over HTTP: start runs, look at them, pause, resume and stop them. Tokens or a session; roles that may generate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Count
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from config.paging import older_than
from config.strict import named, read
from generation import api_serializers as serializers
from generation import failures
from generation.costs import Cost, cost_of, costs_of
from generation.models import Failure, Plan
from generation.ordering import Wish, start
from generation.planning import Budget, CannotStart, give_more
from generation.steering_api import steer, steering
from runs.actions import pause_run, resume_run, stop_run
from runs.models import Run
from runs.steering import refuse_others


class MayGenerate(May):
    ability = "generate"
    message = "Your role can't draw candidates. Ask an operator for it."


def _plan(run: int) -> Plan:
    return named(Plan.objects.light().select_related("run"), run, "run", by="run")


def _told(plan: Plan) -> dict[str, Any]:
    return _in_words(plan, cost_of(plan.run), plan.failures.count())


def _in_words(plan: Plan, cost: Cost, failed: int) -> dict[str, Any]:
    run = plan.run
    return {
        "id": run.pk, "title": run.title, "state": run.state, "generator": plan.generator_id, "done": run.done,
        "total": run.total, "images": cost.images, "already_there": cost.already_there, "seconds": round(cost.seconds, 2),
        "seconds_per_image": cost.seconds_per_image, "available": cost.available, "failed": failed,
        "left_out": plan.left_out, "error": run.error, "page": reverse("run", args=[run.pk]),
        "budget": {
            "images": plan.budget_images,
            "minutes": None if plan.budget_seconds is None else plan.budget_seconds / 60,
        },
    }  # fmt: skip


def _budget(asked: dict[str, Any]) -> Budget:
    return Budget(asked.get("images"), asked.get("minutes"))


@extend_schema(
    methods=["GET"], tags=["generation"], operation_id="generation_runs", summary="Runs of drawing, newest first",
    parameters=[serializers.RunsIn], responses=serializers.GenerationRunsOut,
)  # fmt: skip
@extend_schema(
    methods=["POST"], tags=["generation"], operation_id="generation_start", summary="Have candidates drawn",
    description="Products x prompts x seeds, worked off by all free workers. Products flagged unsuitable are left out"
    " and counted. With a budget the run ends as `spent` and can be given more. The same body from you within a minute, as a"
    " client sends it again whose answer was lost, is answered with the run that is there, unless its prompts, products or the"
    " generator in use have changed since: name another `base_seed` for another one.",
    request=serializers.GenerateIn, responses=serializers.GenerationRunOut,
    examples=[
        OpenApiExample("Everything once", value={}, request_only=True),
        OpenApiExample(
            "Some, within a budget",
            value={"newest": 3, "per_pair": 2, "budget": {"images": 4, "minutes": 5}},
            request_only=True,
        ),
    ],
)  # fmt: skip
@api_view(["GET", "POST"])
@permission_classes([MayGenerate])
def runs(request: Request) -> Response:
    if request.method == "GET":
        return _listed(read(serializers.RunsIn, request.query_params.dict()))
    asked = read(serializers.GenerateIn, request.data)
    budget = _budget(asked.pop("budget", {}))
    if "early_stop" in asked:
        asked["early_stop"] = dict(asked["early_stop"])
    try:
        run = start(Wish(**asked, budget=budget), request.user, once=True)
    except CannotStart as problem:
        raise ValidationError({"detail": str(problem)}) from problem
    return Response(_told(_plan(run.pk)))


def _listed(asked: dict[str, Any]) -> Response:
    rows = Plan.objects.light().select_related("run")
    found, last = older_than(rows, asked.get("before"), asked["limit"], by="run_id")
    costs = costs_of([plan.run for plan in found])
    failed = dict(Failure.objects.filter(plan__in=found).order_by().values_list("plan").annotate(Count("pk")))
    told = [_in_words(plan, costs[plan.run_id], failed.get(plan.pk, 0)) for plan in found]
    return Response({"runs": told, "next": last})


@extend_schema(
    tags=["generation"], operation_id="generation_run", summary="One run of drawing",
    responses=serializers.GenerationRunOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayGenerate])
def one(request: Request, run: int) -> Response:
    return Response(_told(_plan(run)))


def _steered(request: Request, pk: int, do: Callable[[Run], Any]) -> Response:
    steer(request, _plan(pk).run, do)
    return Response(_told(_plan(pk)))


_STEERING = steering("generation", serializers.GenerationRunOut)


@extend_schema(
    operation_id="generation_pause", summary="Pause: what is in hand is finished, the rest waits", **_STEERING
)
@api_view(["POST"])
@permission_classes([MayGenerate])
def pause(request: Request, run: int) -> Response:
    return _steered(request, run, pause_run)


@extend_schema(
    operation_id="generation_resume", summary="Go on after a pause, a stop, a failure or a larger budget", **_STEERING
)
@api_view(["POST"])
@permission_classes([MayGenerate])
def resume(request: Request, run: int) -> Response:
    return _steered(request, run, resume_run)


@extend_schema(operation_id="generation_stop", summary="Stop: what is made stays", **_STEERING)
@api_view(["POST"])
@permission_classes([MayGenerate])
def stop(request: Request, run: int) -> Response:
    return _steered(request, run, stop_run)


@extend_schema(operation_id="generation_retry", summary="Try what failed again", **_STEERING)
@api_view(["POST"])
@permission_classes([MayGenerate])
def retry(request: Request, run: int) -> Response:
    return _steered(request, run, failures.retry)


@extend_schema(
    tags=["generation"], operation_id="generation_budget", summary="Another budget, from the next picture on",
    description="What is left out has no limit. A run whose budget was used up goes on by `resume`.",
    request=serializers.BudgetIn, responses=serializers.GenerationRunOut,
    examples=[OpenApiExample("A hundred pictures", value={"images": 100}, request_only=True)],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayGenerate])
def budget(request: Request, run: int) -> Response:
    asked = read(serializers.BudgetIn, request.data)
    plan = _plan(run)
    refuse_others(request.user, plan.run)
    give_more(plan.run, _budget(asked))
    return Response(_told(_plan(run)))


@extend_schema(
    tags=["generation"], operation_id="generation_failures", summary="What could not be drawn, and why",
    parameters=[serializers.RunsIn], responses=serializers.FailuresOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayGenerate])
def failed(request: Request, run: int) -> Response:
    asked = read(serializers.RunsIn, request.query_params.dict())
    rows = Failure.objects.filter(plan=_plan(run)).select_related("product", "prompt")
    found, last = older_than(rows, asked.get("before"), asked["limit"])
    told = [
        {"sku": row.product.sku, "prompt": row.prompt.name, "seed": row.seed, "problem": row.problem} for row in found
    ]
    return Response({"failures": told, "next": last})
