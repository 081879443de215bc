"""What a part of a run of drawing has to do, read back from its plan: which pictures, and the words they are asked for.

Prompts, lists, categories' usual values and products' titles may be edited while a run is at work. What it was asked for
stays what it was: the plan holds the words, and only a run without a plan takes those of now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection

from generation.models import Plan, Product, Prompt
from generation.planning import Chosen, items_between
from generation.scenes import Scene, Words, unpacked


@dataclass(frozen=True)
class Asked:
    """What a plan holds of some of its prompts and products."""

    scenes: dict[int, Scene] = field(default_factory=dict)
    # By product; only where a scene says them.
    titles: dict[int, str] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)

    def words(self, product: Product, prompt: Prompt, seed: int) -> Words:
        """Raises WordingError; never for what a plan holds."""
        scene = self.scenes.get(prompt.pk) or prompt.scene
        title = self.titles.get(product.pk, product.title)
        return scene.words(title, self.categories.get(product.pk, product.category), seed)


def planned(params: dict[str, Any]) -> dict[str, Any]:
    """A part's params with its `items`: listed in it, or (of a large plan) those of its range."""
    if "items" in params:
        return params
    plan = Plan.objects.only("pk", "run__created_at").select_related("run").get(run=params["plan"])
    chosen = _chosen(plan.pk, plan.run.created_at)
    return {**params, "items": list(items_between(chosen, params["from"], params["to"], params["base_seed"]))}


@lru_cache(maxsize=2)
def _chosen(pk: int, _created_at: datetime) -> Chosen:
    """A worker takes part after part of the same run: read once, and put in order once."""
    plan = Plan.objects.only("products", "product_kinds", "prompts", "prompt_kinds").get(pk=pk)
    return Chosen(plan.products, plan.product_kinds, plan.prompts, plan.prompt_kinds)


def asked(params: dict[str, Any]) -> Asked:
    """The words that the part's plan holds for its `items`."""
    plan = Plan.objects.only("run", "wording").filter(run=params.get("plan")).first()
    if plan is None or not plan.wording:
        return Asked()
    scenes = unpacked(plan.wording, {item["prompt"] for item in params["items"]})
    if not plan.wording["says_product"]:
        return Asked(scenes)
    rows = _of_products(plan.pk, {item["product"] for item in params["items"]})
    names: list[str] = plan.wording["categories"]
    return Asked(
        scenes,
        {product: title for product, _, title in rows if title is not None},
        {product: names[kind] for product, kind, _ in rows},
    )


def _of_products(plan: int, products: Iterable[int]) -> list[tuple[int, int, str | None]]:
    """(product, kind, title or None) of some; the database looks through the arrays, a million are not sent."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.* FROM generation_plan, unnest(products, product_kinds, product_titles) AS u(product, kind, title)"
            " WHERE generation_plan.id = %s AND u.product = ANY(%s)",
            [plan, list(products)],
        )
        return cursor.fetchall()
