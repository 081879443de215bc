"""Candidates by a filter, newest first, a page at a time in either direction: a million cost what a thousand do.

A page walks an index that gives candidates in their order (the narrowest that the filter has) and looks at what else is
asked for in growing windows. It ends when the page is full, or after LOOK_S: then it shows what it found, says how far it
looked, and goes on from there. So no filter, however rare what it asks for, holds a page up; nothing is counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Prefetch, Q
from django.utils import timezone

from config.numbers import MAX_ID
from generation.models import Candidate, CandidateQuerySet, Product
from runs.models import Run

LOOK_S = 0.12
FIRST_WINDOW, LAST_WINDOW = 256, 8192
# So many products are named one by one; more of them are so many that their candidates are found on the way.
FEW_PRODUCTS = 500


@dataclass(frozen=True)
class Driver:
    """Candidates' ids in their order, from an index."""

    table: str
    column: str
    condition: str


@dataclass
class Where:
    """A filter as SQL: what may drive the walk, and what each candidate is held against."""

    drivers: list[Driver] = field(default_factory=list)
    conditions: list[tuple[str, str]] = field(default_factory=list)  # alias that it needs, SQL
    values: dict[str, Any] = field(default_factory=dict)
    low: int = 0
    high: int = MAX_ID
    is_empty: bool = False

    def also(self, alias: str, sql: str, driver: Driver | None = None, **values: Any) -> None:
        self.conditions.append((alias, sql))
        self.values |= values
        if driver:
            self.drivers.append(driver)


@dataclass(frozen=True)
class Found:
    """ids: newest first. edge: where to look on; empty at the end. is_full: the page has as many as it holds."""

    ids: list[int]
    edge: int | None
    is_full: bool


def with_labels(rows: CandidateQuerySet) -> CandidateQuerySet:
    """What a candidate's card shows, in a constant number of queries: its consensus and the verdict in use."""
    in_use = apps.get_model("rfnet_service", "Verdict").objects.filter(checkpoint__is_promoted=True)
    return rows.select_related("product", "generator", "prompt", "consensus").prefetch_related(
        Prefetch("verdicts", queryset=in_use, to_attr="verdicts_in_use")
    )


CANDIDATES = "generation_candidate"
# OFFSET 0: the planner would rather walk all ids from one end until it meets the day.
_DAY = f"SELECT id FROM {CANDIDATES} WHERE created_at >= %(day)s AND created_at < %(end)s OFFSET 0"
_JOINS = {
    "c": f"JOIN {CANDIDATES} c ON c.id = d.id",
    "p": f"JOIN {CANDIDATES} cp ON cp.id = d.id JOIN generation_product p ON p.id = cp.product_id",
    "k": "JOIN annotation_consensus k ON k.candidate_id = d.id",
    "no_k": "LEFT JOIN annotation_consensus nk ON nk.candidate_id = d.id",
    "v": "JOIN rfnet_service_verdict v ON v.candidate_id = d.id AND v.checkpoint_id = %(checkpoint)s",
    "no_v": "LEFT JOIN rfnet_service_verdict nv ON nv.candidate_id = d.id AND nv.checkpoint_id = %(checkpoint)s",
}


def where(chosen: dict[str, Any]) -> Where:
    """The filter's words (GalleryFilter.chosen) as SQL."""
    found = Where(values={"checkpoint": _checkpoint()})
    _products(found, chosen)
    for name in ("prompt", "generator"):
        if row := chosen.get(name):
            own = Driver(CANDIDATES, "id", f"{name}_id = %({name})s")
            found.also("c", f"c.{name}_id = %({name})s", own, **{name: row.pk})
    _people_and_rfnet(found, chosen)
    _drawing(found, chosen)
    return found


def _checkpoint() -> int | None:
    in_use = apps.get_model("rfnet_service", "Checkpoint").objects.filter(is_promoted=True)
    return in_use.values_list("pk", flat=True).first()


def _products(found: Where, chosen: dict[str, Any]) -> None:
    if row := chosen.get("product"):
        found.also(
            "c", "c.product_id = %(product)s", Driver(CANDIDATES, "id", "product_id = %(product)s"), product=row.pk
        )
    wanted = Q()
    if text := chosen.get("q"):
        wanted &= Q(title__icontains=text) | Q(sku__icontains=text)
    for name in ("category", "source"):
        if value := chosen.get(name):
            wanted &= Q(**{name: value})
    if not wanted:
        return
    ids = list(Product.objects.filter(wanted).values_list("pk", flat=True)[: FEW_PRODUCTS + 1])
    if len(ids) <= FEW_PRODUCTS:
        found.is_empty |= not ids
        own = Driver(CANDIDATES, "id", "product_id = ANY(%(products)s)")
        found.also("c", "c.product_id = ANY(%(products)s)", own, products=ids)
        return
    if text:
        found.also("p", "(p.title ILIKE %(text)s OR p.sku ILIKE %(text)s)", text=f"%{_literal(text)}%")
    for name in ("category", "source"):
        if value := chosen.get(name):
            found.also("p", f"p.{name} = %({name})s", **{name: value})


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _people_and_rfnet(found: Where, chosen: dict[str, Any]) -> None:
    state = chosen.get("state")
    if label := chosen.get("label"):
        own = Driver("annotation_consensus", "candidate_id", "label = %(label)s")
        found.also("k", "k.label = %(label)s", own, label=int(label))
        found.is_empty |= state == "unlabelled"
    if verdict := chosen.get("verdict"):
        if verdict == "none":
            found.also("no_v", "nv.id IS NULL")
            found.is_empty |= state in ("agreed", "contradicted")
        else:
            own = Driver(
                "rfnet_service_verdict", "candidate_id", "checkpoint_id = %(checkpoint)s AND label = %(verdict)s"
            )
            found.also("v", "v.label = %(verdict)s", own, verdict=int(verdict))
    match state:
        case "unlabelled":
            found.also("no_k", "nk.id IS NULL")
        case "labelled":
            found.also("k", "k.is_complete")
        case "disagreed":
            found.also("k", "k.agreement < 0.75")
        case "agreed" | "contradicted":
            sign = "=" if state == "agreed" else "<>"
            found.also("v", "true")
            found.also("k", f"k.label {sign} v.label")
        case "unperceived":
            found.also("c", "c.depth_sha256 = ''", Driver(CANDIDATES, "id", "depth_sha256 = ''"))


def _drawing(found: Where, chosen: dict[str, Any]) -> None:
    match chosen.get("attempt"):
        case "1":
            found.also("c", "c.attempt = 1")
        case "again":
            found.also("c", "c.attempt > 1", Driver(CANDIDATES, "id", "attempt > 1"))
        case str(number):
            own = Driver(CANDIDATES, "id", "attempt > 1")
            found.also("c", "c.attempt = %(attempt)s", own, attempt=int(number))
    match chosen.get("abandoned"):
        case "yes":
            own = Driver(CANDIDATES, "id", "abandoned_at_step IS NOT NULL")
            found.also("c", "c.abandoned_at_step IS NOT NULL", own)
        case "no":
            found.also("c", "c.abandoned_at_step IS NULL")
    if run := chosen.get("run"):
        parts = [run.pk, *Run.objects.filter(parent=run).values_list("pk", flat=True)]
        found.also("c", "c.run_id = ANY(%(parts)s)", parts=parts)
        _between_its_ends(found, parts)
    if day := chosen.get("drawn_from"):
        _from_day(found, day)
    if day := chosen.get("drawn_to"):
        _until_day(found, day + timedelta(days=1))


def _from_day(found: Where, day: Any) -> None:
    found.also("c", "c.created_at >= %(drawn_from)s", drawn_from=_midnight(day))
    first = _one(f"SELECT min(id) FROM ({_DAY}) found", day=_midnight(day), end=_midnight(day + timedelta(days=1)))
    found.low = max(found.low, first or 0)


def _until_day(found: Where, end: Any) -> None:
    found.also("c", "c.created_at < %(drawn_to)s", drawn_to=_midnight(end))
    last = _one(f"SELECT max(id) FROM ({_DAY}) found", day=_midnight(end - timedelta(days=1)), end=_midnight(end))
    found.high = min(found.high, last or MAX_ID)


def _between_its_ends(found: Where, parts: list[int]) -> None:
    """A run's candidates lie between two ids, those of its parts' first and last: nothing else needs to be walked."""
    [(low, high)] = _rows(
        f"SELECT min(first.id), max(last.id) FROM unnest(%(parts)s::bigint[]) part,"
        f" LATERAL (SELECT id FROM {CANDIDATES} WHERE run_id = part ORDER BY id LIMIT 1) first,"
        f" LATERAL (SELECT id FROM {CANDIDATES} WHERE run_id = part ORDER BY id DESC LIMIT 1) last",
        {"parts": parts},
    )
    if low is None:
        found.is_empty = True
        return
    found.low, found.high = max(found.low, low), min(found.high, high)


def _midnight(day: Any) -> Any:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def _rows(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def _one(sql: str, **values: Any) -> Any:
    return _rows(sql, values)[0][0]


def _narrowest(found: Where) -> Driver:
    """Of the indexes that give this filter in order, the one with the fewest rows, as the planner estimates them."""
    every = Driver(CANDIDATES, "id", "true")
    if not found.drivers:
        return every
    if len(found.drivers) == 1:
        return found.drivers[0]
    costs = []
    for place, driver in enumerate(found.drivers):
        [(plan,)] = _rows(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {driver.table} WHERE {driver.condition}", found.values)
        costs.append((plan[0]["Plan"]["Plan Rows"], place))
    return found.drivers[min(costs)[1]]


def _statement(found: Where, driver: Driver, *, newer: bool) -> str:
    order, beyond = ("ASC", ">") if newer else ("DESC", "<")
    joins = " ".join(_JOINS[alias] for alias in dict.fromkeys(alias for alias, _ in found.conditions))
    conditions = " AND ".join(sql for _, sql in found.conditions) or "true"
    return f"""
        WITH d AS MATERIALIZED (
            SELECT {driver.column} AS id FROM {driver.table}
            WHERE {driver.condition} AND {driver.column} {beyond} %(edge)s
              AND {driver.column} BETWEEN %(low)s AND %(high)s
            ORDER BY {driver.column} {order} LIMIT %(window)s
        ), hits AS (SELECT d.id FROM d {joins} WHERE {conditions} ORDER BY d.id {order} LIMIT %(wanted)s)
        SELECT coalesce((SELECT array_agg(id ORDER BY id {order}) FROM hits), '{{}}'),
               (SELECT count(*) FROM d), (SELECT {"max" if newer else "min"}(id) FROM d)"""


def look(
    chosen: dict[str, Any],
    size: int,
    *,
    before: int | None = None,
    after: int | None = None,
    look_s: float | None = None,
) -> Found:
    """Up to `size` candidates older than `before`, or newer than `after`. look_s: LOOK_S, if nothing is said."""
    started, look_s = time.monotonic(), LOOK_S if look_s is None else look_s
    found = where(chosen)
    if found.is_empty:
        return Found([], None, False)
    newer = after is not None
    edge = after if after is not None else MAX_ID if before is None else before
    sql = _statement(found, _narrowest(found), newer=newer)
    ids: list[int] = []
    window = FIRST_WINDOW
    with transaction.atomic(), connection.cursor() as cursor:
        # Each window is a few thousand rows: looked up by index. The planner would rather read a million into a hash.
        cursor.execute(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
        )
        while True:
            values = {
                "edge": edge, "window": window, "wanted": size + 1 - len(ids), "low": found.low, "high": found.high,
            }  # fmt: skip
            cursor.execute(sql, {**found.values, **values})
            hits, seen, last = cursor.fetchone()
            ids += hits
            if len(ids) > size:
                return Found(_newest_first(ids[:size], newer), ids[size - 1], True)
            if seen < window:
                return Found(_newest_first(ids, newer), None, False)
            edge = last
            if time.monotonic() - started > look_s:
                return Found(_newest_first(ids, newer), edge, False)
            window = min(window * 4, LAST_WINDOW)


def _newest_first(ids: list[int], newer: bool) -> list[int]:
    return ids[::-1] if newer else ids


def rows_of(ids: list[int]) -> list[Candidate]:
    """With what a card shows, in the order of the ids."""
    by_id = {row.pk: row for row in with_labels(Candidate.objects.filter(pk__in=ids))}
    return [by_id[pk] for pk in ids if pk in by_id]


def walk(chosen: dict[str, Any], before: int, size: int = 500) -> Iterator[tuple[list[int], int]]:
    """All that match and are older than `before`, for work in the background: (ids, where it goes on; 0 at the end)."""
    edge: int | None = before
    while edge:
        found = look(chosen, size, before=edge, look_s=5.0)
        edge = found.edge
        yield found.ids, edge or 0
