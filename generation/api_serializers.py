"""What the API of drawing takes and gives."""

from __future__ import annotations

from rest_framework import serializers

from config.strict import NEXT, PageIn, Strict
from generation.ordering import MAX_SEEDS
from generation.planning import MAX_ATTEMPTS, MAX_CANDIDATES_A_RUN
from runs.models import Run

MOST_NAMED = 10_000


def _images(**values: object) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=1, max_value=MAX_CANDIDATES_A_RUN, **values)


class BudgetIn(Strict):
    images = _images(allow_null=True, help_text="The run ends when so many are made.")
    minutes = serializers.FloatField(
        required=False, allow_null=True, min_value=0.01, max_value=10_000_000,
        help_text="Of computing, all workers together; the batch in hand is finished.",
    )  # fmt: skip


class EarlyStopIn(Strict):
    step = serializers.IntegerField(min_value=1, max_value=1000, help_text="RFNet looks after this step.")
    threshold = serializers.FloatField(min_value=0, max_value=1, help_text="Below this p(available) it is given up.")


class GenerateIn(Strict):
    skus = serializers.ListField(
        child=serializers.CharField(max_length=80), required=False, max_length=MOST_NAMED,
        help_text="Only these products. Without any condition: all that are suitable.",
    )  # fmt: skip
    category = serializers.CharField(required=False, max_length=80, help_text="Only products of this category.")
    source = serializers.CharField(required=False, max_length=80, help_text="Only products from there.")
    q = serializers.CharField(required=False, max_length=200, help_text="A word of title or SKU.")
    newest = serializers.IntegerField(required=False, min_value=1, max_value=MAX_CANDIDATES_A_RUN)
    prompts = serializers.ListField(
        child=serializers.CharField(max_length=120), required=False, max_length=MOST_NAMED,
        help_text="Names or ids. Without: all active ones.",
    )  # fmt: skip
    prompt_category = serializers.CharField(
        required=False, allow_blank=True, max_length=80, help_text="Only prompts of this category."
    )
    per_pair = serializers.IntegerField(default=1, min_value=1, max_value=MAX_SEEDS)
    attempts = serializers.IntegerField(default=1, min_value=1, max_value=MAX_ATTEMPTS)
    generator = serializers.CharField(required=False, max_length=120, help_text="Name or id. Without: the one in use.")
    base_seed = serializers.IntegerField(required=False, min_value=0, max_value=2**31)
    limit = _images(help_text="Plan no more than so many.")
    budget = BudgetIn(required=False)
    early_stop = EarlyStopIn(required=False, help_text="Needs an RFNet in use.")


class RunsIn(PageIn):
    limit = serializers.IntegerField(default=20, min_value=1, max_value=100)


class BudgetOut(serializers.Serializer):
    images = serializers.IntegerField(allow_null=True)
    minutes = serializers.FloatField(allow_null=True)


class GenerationRunOut(serializers.Serializer):
    id = serializers.IntegerField()
    title = serializers.CharField()
    state = serializers.CharField(help_text=", ".join(f"`{value}`" for value in Run.State.values))
    generator = serializers.IntegerField()
    done = serializers.IntegerField(help_text="Of `total` planned draws.")
    total = serializers.IntegerField()
    images = serializers.IntegerField(help_text="Pictures made, all attempts.")
    already_there = serializers.IntegerField(
        help_text="Pictures it was to make that were there already: not drawn again."
    )
    seconds = serializers.FloatField(help_text="Of computing, all workers together.")
    seconds_per_image = serializers.FloatField(allow_null=True)
    available = serializers.IntegerField(
        allow_null=True,
        help_text="By the RFNet in use; null: it has judged none, or (in the list) they are still counted: ask again.",
    )
    failed = serializers.IntegerField(help_text="Pictures that could not be drawn.")
    left_out = serializers.DictField(child=serializers.IntegerField(), help_text="Products not drawn, by why.")
    budget = BudgetOut()
    error = serializers.CharField(allow_blank=True)
    page = serializers.CharField()


class GenerationRunsOut(serializers.Serializer):
    runs = GenerationRunOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)


class FailureOut(serializers.Serializer):
    sku = serializers.CharField()
    prompt = serializers.CharField()
    seed = serializers.IntegerField()
    problem = serializers.CharField()


class FailuresOut(serializers.Serializer):
    failures = FailureOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)
