"""Prompts over HTTP, to be read: what designers wrote, and how it works. They are written on the pages, where a preview helps."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import may
from adproof.labels import Label
from config.strict import Strict, read
from generation import prompt_results
from generation.models import Prompt
from generation.prompt_results import Results, Said

MOST = 2**63


class MaySeePrompts(BasePermission):
    ability = "see_candidates"
    message = "Your role can't see prompts. Ask an operator for it."

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user is not None and may(request.user, self.ability)


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
    is_active = serializers.BooleanField(help_text="Offered when drawing.")
    candidates = serializers.IntegerField(help_text="Without those that early stop gave up.")
    people = SaidOut()
    rfnet = SaidOut(help_text="By the RFNet in use.")


class PromptsOut(serializers.Serializer):
    prompts = PromptOut(many=True)
    next_before = serializers.IntegerField(allow_null=True, help_text="Send it as `before` for the next page.")


class WhichPrompts(Strict):
    before = serializers.IntegerField(required=False, min_value=1, max_value=MOST - 1, help_text="An id.")
    count = serializers.IntegerField(required=False, min_value=1, max_value=200, default=50)
    q = serializers.CharField(required=False, max_length=200, help_text="In the name or text, or a whole tag.")
    category = serializers.CharField(required=False, max_length=80, help_text="Those that fit its products.")
    is_active = serializers.BooleanField(required=False, allow_null=True, default=None)


def _said(said: Said) -> dict[str, Any]:
    counts = {label.name.lower(): said.counts[label] for label in Label}
    return {
        "total": said.total, "availability": said.availability, "interval": list(said.interval), "counts": counts,
    }  # fmt: skip


def _out(row: Prompt, results: Results) -> dict[str, Any]:
    own = [name for name in PromptOut().fields if name not in {"candidates", "people", "rfnet"}]
    return {
        **{name: getattr(row, name) for name in own},
        "candidates": results.candidates, "people": _said(results.people), "rfnet": _said(results.judge),
    }  # fmt: skip


@extend_schema(
    tags=["prompts"], summary="Prompts, the newest first, with how they work", parameters=[WhichPrompts],
    responses=PromptsOut, operation_id="prompts_list",
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MaySeePrompts])
def prompts(request: Request) -> Response:
    which = read(WhichPrompts, request.query_params.dict())
    rows = Prompt.objects.order_by("-pk")
    if "before" in which:
        rows = rows.filter(pk__lt=which["before"])
    if text := which.get("q"):
        rows = rows.filter(Q(name__icontains=text) | Q(text__icontains=text) | Q(tags__contains=[text[:40]]))
    if category := which.get("category"):
        rows = rows.filter(Q(categories=[]) | Q(categories__contains=[category]))
    if which["is_active"] is not None:
        rows = rows.filter(is_active=which["is_active"])
    found = list(rows[: which["count"] + 1])
    more = len(found) > which["count"]
    found, results = found[: which["count"]], prompt_results.by_prompt()
    told = [_out(row, results.get(row.pk, Results())) for row in found]
    return Response({"prompts": told, "next_before": found[-1].pk if more else None})


@extend_schema(tags=["prompts"], summary="One prompt", responses=PromptOut, operation_id="prompts_one")
@api_view(["GET"])
@permission_classes([MaySeePrompts])
def prompt(request: Request, prompt_id: int) -> Response:
    row = Prompt.objects.filter(pk=prompt_id).first() if prompt_id < MOST else None
    if row is None:
        raise NotFound("There is no such prompt.")
    return Response(_out(row, prompt_results.by_prompt().get(row.pk, Results())))
