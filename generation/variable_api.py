"""Lists of values over HTTP: what prompts draw from. Written and edited with the checks of the page."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from config.paging import older_than
from config.strict import NEXT, NothingIn, PageIn, Strict, named, read
from generation import edits, prompt_library
from generation.models import VariableList
from generation.prompt_api import ChangedMeanwhile, MaySeeOrWrite, MayWrite
from generation.prompt_forms import VariableListForm

CHANGED = "Somebody has changed this list since you read it: read it again, then send your change."


class VariableOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField(help_text="In a prompt it stands in braces.")
    values = serializers.ListField(child=serializers.CharField())
    prompts = serializers.IntegerField(help_text="So many prompts draw from it.")
    version = serializers.CharField(help_text="Another one after every change.")


class VariablesOut(serializers.Serializer):
    variables = VariableOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)


class VariableDeletedOut(serializers.Serializer):
    deleted = serializers.CharField()


def _values(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=200), max_length=prompt_library.MAX_VALUES,
        help_text="One of them is drawn for each picture, by its seed. Each counts once.", **kwargs,
    )  # fmt: skip


class VariableIn(Strict):
    name = serializers.CharField(max_length=40, help_text="Small letters, digits and _.")
    values = _values()


class VariableChange(Strict):
    name = serializers.CharField(max_length=40, required=False, help_text="Stays while prompts draw from the list.")
    values = _values(required=False)
    version = serializers.CharField(
        required=False, max_length=64, help_text="As you read it: where somebody has changed it since, 409 says so."
    )


def _out(row: VariableList, used: dict[str, int]) -> dict[str, Any]:
    return {
        "id": row.pk, "name": row.name, "values": row.values, "prompts": used.get(row.name, 0),
        "version": edits.version(row, VariableListForm.SEEN),
    }  # fmt: skip


@extend_schema(
    methods=["GET"], tags=["prompts"], summary="Lists that prompts draw from, the newest first",
    parameters=[PageIn], responses=VariablesOut, operation_id="variables_list",
)  # fmt: skip
@extend_schema(
    methods=["POST"], tags=["prompts"], summary="Make a list that prompts draw from", request=VariableIn,
    responses=VariableOut, operation_id="variables_make",
    examples=[
        OpenApiExample("Surfaces", value={"name": "surface", "values": ["oak table", "marble"]}, request_only=True)
    ],
)  # fmt: skip
@api_view(["GET", "POST"])
@permission_classes([MaySeeOrWrite])
def variables(request: Request) -> Response:
    if request.method == "POST":
        return Response(_written(read(VariableIn, request.data)))
    which = read(PageIn, request.query_params.dict())
    found, last = older_than(VariableList.objects.all(), which.get("before"), which["limit"])
    used = prompt_library.uses()
    return Response({"variables": [_out(row, used) for row in found], "next": last})


@extend_schema(
    methods=["GET"], tags=["prompts"], summary="One list", responses=VariableOut, operation_id="variables_one"
)
@extend_schema(
    methods=["PATCH"], tags=["prompts"], summary="Edit a list", request=VariableChange, responses=VariableOut,
    description="What is named is changed, the rest stays; `values` are all of its values. Candidates keep the words they "
    "were drawn with, runs at work those they were planned with.",
    examples=[OpenApiExample("Other values", value={"values": ["sand", "sage", "slate"]}, request_only=True)],
    operation_id="variables_edit",
)  # fmt: skip
@api_view(["GET", "PATCH"])
@permission_classes([MaySeeOrWrite])
def variable(request: Request, variable_id: int) -> Response:
    row = _found(variable_id)
    if request.method == "PATCH":
        return Response(_written(read(VariableChange, request.data), row.pk))
    return Response(_out(row, prompt_library.uses()))


@extend_schema(
    tags=["prompts"], summary="Delete a list that no prompt draws from", request=NothingIn,
    responses=VariableDeletedOut, operation_id="variables_delete",
    examples=[OpenApiExample("Just so", value={}, request_only=True)],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayWrite])
def delete(request: Request, variable_id: int) -> Response:
    read(NothingIn, request.data)
    try:
        return Response({"deleted": prompt_library.delete_list(_found(variable_id).pk)})
    except prompt_library.CannotSave as problem:
        raise ValidationError({"detail": str(problem)}) from problem


def _found(pk: int) -> VariableList:
    return named(VariableList.objects.all(), pk, "list")


def _written(asked: dict[str, Any], pk: int | None = None) -> dict[str, Any]:
    with transaction.atomic():
        locked = VariableList.objects.select_for_update()
        now = named(locked, pk, "list") if pk else VariableList(name="", values=[])
        if (seen := asked.get("version", "")) and seen != edits.version(now, VariableListForm.SEEN):
            raise ChangedMeanwhile(CHANGED)
        values = [" ".join(value.split()) for value in asked.get("values", now.values)]
        form = VariableListForm({"name": asked.get("name", now.name), "values": "\n".join(values)}, instance=now)
        if not form.is_valid():
            raise ValidationError({name: [str(said) for said in found] for name, found in form.errors.items()})
        made: VariableList = form.save(commit=False)
        try:
            prompt_library.save_list(made)
        except prompt_library.CannotSave as problem:
            raise ValidationError({problem.field or "detail": [str(problem)]}) from problem
    return _out(made, prompt_library.uses())
