"""Imports over HTTP: the same dry runs and runs as on the page."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from adproof.imports.problems import BadImport
from config.strict import NothingIn, Strict, named, read
from datasets_app.importing.order import KIND, KINDS, Order, start, start_looked_at
from datasets_app.importing.shown import shown
from runs.models import Run

LISTED = 50


class MayImport(May):
    ability = "import_data"
    message = "Your role can't do this (import data). Ask an operator for it."


class ImportIn(Strict):
    kind = serializers.ChoiceField(choices=list(KINDS))
    path = serializers.CharField(required=False, max_length=500, help_text="Below the server's import folder.")
    url = serializers.CharField(required=False, max_length=2000, help_text="Of a host in IMPORT_HOSTS.")
    source = serializers.CharField(required=False, max_length=60)
    category = serializers.CharField(required=False, max_length=80)
    labels = serializers.CharField(required=False, max_length=4000, help_text="0=available, 1=unsuitable, ...")
    cuts_out = serializers.BooleanField(required=False, default=True)
    dry_run = serializers.BooleanField(required=False, default=True)


class CountOut(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    count = serializers.IntegerField()


class LabelOut(serializers.Serializer):
    raw = serializers.CharField()
    label = serializers.CharField()
    title = serializers.CharField()
    count = serializers.IntegerField()


class LeftOutOut(serializers.Serializer):
    reason = serializers.CharField()
    count = serializers.IntegerField()
    examples = serializers.ListField(child=serializers.CharField())


class ImportOut(serializers.Serializer):
    run = serializers.IntegerField()
    title = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()
    stage = serializers.CharField(allow_blank=True)
    done = serializers.IntegerField()
    total = serializers.IntegerField(help_text="0: not known.")
    error = serializers.CharField(allow_blank=True)
    dry_run = serializers.BooleanField()
    counts = CountOut(many=True)
    labels = LabelOut(many=True)
    left_out = LeftOutOut(many=True)
    left_out_count = serializers.IntegerField()
    notes = serializers.ListField(child=serializers.CharField())


def _found(run: int) -> Run:
    return named(Run.objects.filter(kind=KIND), run, "import")


def _out(run: Run) -> dict[str, Any]:
    table = shown(run)
    del table["writes"]
    return {
        "run": run.pk, "title": run.title, "kind": run.params["order"]["kind"], "state": run.state, "stage": run.stage,
        "done": run.done, "total": run.total, "error": run.error, **table,
    }  # fmt: skip


@extend_schema(
    methods=["GET"],
    tags=["datasets"],
    summary="The last imports",
    responses=ImportOut(many=True),
    operation_id="imports_list",
)
@extend_schema(
    methods=["POST"], tags=["datasets"], summary="Import", request=ImportIn, responses=ImportOut,
    description="Starts a run: a dry run unless `dry_run` is false. Ask for it by its number until its `state` is final.",
    examples=[OpenApiExample("RF1M", value={"kind": "rf1m", "path": "RF1M", "source": "rf1m"}, request_only=True)],
    operation_id="imports_start",
)  # fmt: skip
@api_view(["GET", "POST"])
@permission_classes([MayImport])
def imports(request: Request) -> Response:
    if request.method == "GET":
        return Response([_out(run) for run in Run.objects.filter(kind=KIND).order_by("-pk")[:LISTED]])
    values = read(ImportIn, request.data)
    try:
        run = start(Order(**{**values, "source": values.get("source") or values["kind"]}), user=request.user)
    except BadImport as problem:
        raise ValidationError({"detail": str(problem)}) from problem
    return Response(_out(run))


@extend_schema(tags=["datasets"], summary="One import", responses=ImportOut)
@api_view(["GET"])
@permission_classes([MayImport])
def one(request: Request, run: int) -> Response:
    return Response(_out(_found(run)))


@extend_schema(
    tags=["datasets"],
    summary="Import what a dry run has shown",
    request=None,
    responses=ImportOut,
)
@api_view(["POST"])
@permission_classes([MayImport])
def start_it(request: Request, run: int) -> Response:
    read(NothingIn, request.data)
    try:
        made = start_looked_at(_found(run), user=request.user)
    except BadImport as problem:
        raise ValidationError({"detail": str(problem)}) from problem
    return Response(_out(made))
