"""Prompts over HTTP: what designers wrote and how it works; written and edited with the checks of the page."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from adproof.labels import Label
from config.paging import older_than
from config.strict import NEXT, PageIn, Strict, named, read
from generation import edits, prompt_library, prompt_results
from generation.models import MAX_PROMPT_CHARS, Prompt
from generation.prompt_forms import PromptForm
from generation.prompt_results import Results, Said


class MaySeeOrWrite(May):
    ability, changing = "see_candidates", "generate"
    message = "Your role can't do this (see or write prompts). Ask an operator for it."


class MayWrite(May):
    ability = "generate"
    message = "Your role can't do this (write prompts and their lists). Ask an operator for it."


class ChangedMeanwhile(APIException):
    status_code = 409
    default_code = "changed_meanwhile"
    default_detail = "Somebody has changed this prompt since you read it: read it again, then send your change."


class SaidOut(serializers.Serializer):
    total = serializers.IntegerField(help_text="Candidates that have a label of this side.")
    availability = serializers.FloatField(allow_null=True, help_text="null: it has none yet.")
    interval = serializers.ListField(
        child=serializers.FloatField(), min_length=2, max_length=2, help_text="95 %, Wilson."
    )
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="By label.")


class PromptOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    text = serializers.CharField(help_text="With its variables: `{product}`, `{category}`, and lists of your own.")
    negative_text = serializers.CharField(allow_blank=True)
    image_scale = serializers.FloatField(help_text="The product's longest side as a share of the picture's.")
    follows_category = serializers.BooleanField(help_text="Its category's size and negative text count too.")
    categories = serializers.ListField(child=serializers.CharField(), help_text="Empty: for products of all.")
    tags = serializers.ListField(child=serializers.CharField())
    notes = serializers.CharField(allow_blank=True, help_text="For colleagues; no generator reads it.")
    is_active = serializers.BooleanField(help_text="Offered when drawing.")
    version = serializers.CharField(help_text="Another one after every change.")
    candidates = serializers.IntegerField(help_text="Without those that early stop gave up.")
    people = SaidOut()
    rfnet = SaidOut(help_text="By the RFNet in use.")


class PromptsOut(serializers.Serializer):
    prompts = PromptOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)


class PromptEdit(Strict):
    """What a page of a prompt takes; it is checked by the page's own form."""

    name = serializers.CharField(max_length=120, required=False)
    text = serializers.CharField(max_length=MAX_PROMPT_CHARS, required=False, help_text="What stands around it.")
    negative_text = serializers.CharField(max_length=MAX_PROMPT_CHARS, required=False, allow_blank=True)
    image_scale = serializers.FloatField(min_value=0.1, max_value=0.95, required=False)
    categories = serializers.ListField(
        child=serializers.CharField(max_length=80),
        required=False,
        max_length=200,
        help_text="Of products that are there.",
    )
    follows_category = serializers.BooleanField(required=False)
    tags = serializers.ListField(
        child=serializers.RegexField(r"^[^,]+$", max_length=40, error_messages={"invalid": "A tag has no comma."}),
        required=False, max_length=40,
    )  # fmt: skip
    notes = serializers.CharField(max_length=5000, required=False, allow_blank=True)
    is_active = serializers.BooleanField(required=False)


class PromptIn(PromptEdit):
    name = serializers.CharField(max_length=120)
    text = serializers.CharField(max_length=MAX_PROMPT_CHARS, help_text="What stands around the product.")


class PromptChange(PromptEdit):
    version = serializers.CharField(
        required=False, max_length=64, help_text="As you read it: where somebody has changed it since, 409 says so."
    )


class WhichPrompts(PageIn):
    q = serializers.CharField(required=False, max_length=200, help_text="In the name or text, or a whole tag.")
    category = serializers.CharField(required=False, max_length=80, help_text="Those that fit its products.")
    is_active = serializers.BooleanField(required=False, allow_null=True, default=None)


def _said(said: Said) -> dict[str, Any]:
    counts = {label.name.lower(): said.counts[label] for label in Label}
    return {
        "total": said.total, "availability": said.availability, "interval": list(said.interval), "counts": counts,
    }  # fmt: skip


def _out(row: Prompt, results: Results) -> dict[str, Any]:
    counted = {"version", "candidates", "people", "rfnet"}
    return {
        **{name: getattr(row, name) for name in PromptOut().fields if name not in counted},
        "version": edits.version(row, PromptForm.SEEN),
        "candidates": results.candidates, "people": _said(results.people), "rfnet": _said(results.judge),
    }  # fmt: skip


@extend_schema(
    methods=["GET"], tags=["prompts"], summary="Prompts, the newest first, with how they work",
    parameters=[WhichPrompts], responses=PromptsOut, operation_id="prompts_list",
)  # fmt: skip
@extend_schema(
    methods=["POST"], tags=["prompts"], summary="Write a prompt", request=PromptIn, responses=PromptOut,
    description="Checked as on its page: its variables must be known, its name is its own.",
    examples=[
        OpenApiExample(
            "With a variable",
            value={"name": "Oak, morning", "text": "{product} on an oak table, soft light", "tags": ["wood"]},
            request_only=True,
        )
    ],
    operation_id="prompts_write",
)  # fmt: skip
@api_view(["GET", "POST"])
@permission_classes([MaySeeOrWrite])
def prompts(request: Request) -> Response:
    if request.method == "POST":
        return _told(_written(request, read(PromptIn, request.data)))
    which = read(WhichPrompts, request.query_params.dict())
    rows = Prompt.objects.all()
    if text := which.get("q"):
        rows = rows.filter(Q(name__icontains=text) | Q(text__icontains=text) | Q(tags__contains=[text[:40]]))
    if category := which.get("category"):
        rows = rows.filter(Q(categories=[]) | Q(categories__contains=[category]))
    if which["is_active"] is not None:
        rows = rows.filter(is_active=which["is_active"])
    found, last = older_than(rows, which.get("before"), which["limit"])
    results = prompt_results.by_prompt()
    told = [_out(row, results.get(row.pk, Results())) for row in found]
    return Response({"prompts": told, "next": last})


@extend_schema(methods=["GET"], tags=["prompts"], summary="One prompt", responses=PromptOut, operation_id="prompts_one")
@extend_schema(
    methods=["PATCH"], tags=["prompts"], summary="Edit a prompt", request=PromptChange, responses=PromptOut,
    description="What is named is changed, the rest stays. Candidates keep the words they were drawn with, runs at work "
    "those they were planned with, and its page lists what it said before. With `version`, a change that somebody else "
    "made since is not overwritten: 409.",
    examples=[OpenApiExample("Another text", value={"text": "on a marble table", "tags": []}, request_only=True)],
    operation_id="prompts_edit",
)  # fmt: skip
@api_view(["GET", "PATCH"])
@permission_classes([MaySeeOrWrite])
def prompt(request: Request, prompt_id: int) -> Response:
    row = named(Prompt.objects.all(), prompt_id, "prompt")
    if request.method == "PATCH":
        row = _written(request, read(PromptChange, request.data), row.pk)
    return _told(row)


def _told(row: Prompt) -> Response:
    return Response(_out(row, prompt_results.by_prompt().get(row.pk, Results())))


def _written(request: Request, asked: dict[str, Any], pk: int | None = None) -> Prompt:
    seen = asked.pop("version", "")
    with transaction.atomic():
        before = named(Prompt.objects.select_for_update(), pk, "prompt") if pk else None
        if before is not None and seen and seen != edits.version(before, PromptForm.SEEN):
            raise ChangedMeanwhile
        form = PromptForm.of_values(Prompt.objects.get(pk=pk) if pk else Prompt(), asked)
        if not form.is_valid():
            raise ValidationError({name: [str(said) for said in found] for name, found in form.errors.items()})
        made: Prompt = form.save(commit=False)
        try:
            prompt_library.save_prompt(made, before, request.user)
        except prompt_library.CannotSave as problem:
            raise ValidationError({problem.field or "detail": [str(problem)]}) from problem
    return made
