"""Which products a run draws, counted and kept by the database: a request that chooses 200,000 of them reads none.

One statement sees one state of the catalogue, so what a plan counts is what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Func, QuerySet, Value

from generation.models import Plan, Product, Prompt

_NAMES = ("id", "category", "unsuitable", "is_waiting", "title")
_COUNTS = """
    SELECT category, count(*) FILTER (WHERE NOT unsuitable AND NOT is_waiting),
           count(*) FILTER (WHERE unsuitable), count(*) FILTER (WHERE is_waiting AND NOT unsuitable)
    FROM chosen GROUP BY category ORDER BY category COLLATE "C"
"""
# The kinds are places in the order of names, which is Python's too. MATERIALIZED: read once, in its own order.
_FILL = """
    WITH chosen AS MATERIALIZED ({rows}),
    kinds AS (
        SELECT category, (row_number() OVER (ORDER BY category COLLATE "C") - 1)::int AS kind
        FROM (SELECT DISTINCT category FROM chosen WHERE NOT unsuitable AND NOT is_waiting) drawn
    ),
    placed AS (SELECT id, category, title, row_number() OVER () AS place FROM chosen WHERE NOT unsuitable AND NOT is_waiting),
    filled AS (
        UPDATE generation_plan SET products = found.ids, product_kinds = found.kinds, product_titles = found.titles
        FROM (
            SELECT coalesce(array_agg(id ORDER BY place), '{{}}') AS ids, coalesce(array_agg(kind ORDER BY place), '{{}}') AS kinds,
                   coalesce(array_agg(title ORDER BY place) FILTER (WHERE %s), '{{}}') AS titles
            FROM placed JOIN kinds USING (category)
        ) found WHERE generation_plan.id = %s
    )
    {counts}
"""


@dataclass
class Counted:
    """How many products of each category are drawn, by which prompts, and what is left out."""

    by_category: dict[str, int]
    prompts: list[Prompt]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def products(self) -> int:
        return sum(self.by_category.values())

    @property
    def pairs(self) -> int:
        return sum(
            sum(self.by_category.get(name, 0) for name in set(prompt.categories))
            if prompt.categories
            else self.products
            for prompt in self.prompts
        )

    @property
    def categories(self) -> list[str]:
        """By kind: those of the products in their order, as `fill` numbers them, then those that only a prompt names."""
        own = sorted(self.by_category)
        return own + sorted({name for prompt in self.prompts for name in prompt.categories} - set(own))

    @property
    def prompt_kinds(self) -> list[list[int]]:
        """Of each prompt the kinds it is for; empty: for all."""
        codes = {name: code for code, name in enumerate(self.categories)}
        return [sorted({codes[name] for name in prompt.categories}) for prompt in self.prompts]


def count(products: Iterable[Product] | QuerySet[Product], prompts: Iterable[Prompt]) -> Counted:
    """Unsuitable products, and those that wait for somebody's look at their cut-out, are left out and counted."""
    return _counted("WITH chosen AS ({rows})" + _COUNTS, products, prompts)


def fill(
    plan: Plan, products: Iterable[Product] | QuerySet[Product], prompts: Iterable[Prompt], titles: bool
) -> Counted:
    """As `count`, and the plan's row holds the products: their ids and kinds in the order given; with `titles` also those."""
    return _counted(_FILL.replace("{counts}", _COUNTS), products, prompts, titles, plan.pk)


def some_of_them(products: QuerySet[Product], most: int) -> list[Product]:
    """The first that are drawn."""
    ids = products.values("pk")
    return list(Product.objects.drawable().filter(pk__in=ids).order_by("-pk")[:most])


def _counted(
    statement: str, products: Iterable[Product] | QuerySet[Product], prompts: Iterable[Prompt], *values: object
) -> Counted:
    offered = [prompt for prompt in prompts if prompt.is_active]
    try:
        sql, of_rows = _as_rows(products).values_list(*_NAMES).query.sql_with_params()
    except EmptyResultSet:  # none can be meant: an empty list
        return Counted({}, offered)
    with connection.cursor() as cursor:
        cursor.execute(statement.format(rows=sql), [*of_rows, *values])
        rows = cursor.fetchall()
    left_out = {"unsuitable": sum(row[2] for row in rows), "waiting for a look": sum(row[3] for row in rows)}
    return Counted(
        {category: drawn for category, drawn, *_ in rows if drawn}, offered,
        {why: number for why, number in left_out.items() if number},
    )  # fmt: skip


def _as_rows(products: Iterable[Product] | QuerySet[Product]) -> QuerySet[Product]:
    if isinstance(products, QuerySet):
        return products
    ids = [product.pk for product in products]
    return Product.objects.filter(pk__in=ids).order_by(Func(Value(ids), F("pk"), function="array_position"))
