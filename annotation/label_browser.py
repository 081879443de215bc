"""Candidates by what people say of them: pages in several orders, a count with an end, and snapshots.

A query is what stands in the label browser's address: {"label": "1", "state": "disputed"} (label_filter.py has the
words). A snapshot keeps the ids that it means at one moment.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan
from django.utils import timezone

from accounts.roles import may
from annotation.label_filter import ORDER_FIELDS, BadFilter, LabelFilter
from annotation.models import Annotation, Snapshot
from generation.models import Candidate

COUNT_AT_MOST = 10_000
SNAPSHOT_AT_MOST = 100_000
KEEP_SNAPSHOTS = timedelta(days=30)


@dataclass(frozen=True)
class Page:
    rows: list[Candidate]
    # What ?after= says on the next page; empty on the last one.
    after: str


def read(query: Mapping[str, Any], *, sees_gold: bool = True) -> LabelFilter:
    """The filter of this query; raises BadFilter. Who does not see gold has no word for it."""
    form = LabelFilter(query, sees_gold=sees_gold)
    if not form.is_valid():
        raise BadFilter(form.problem())
    return form


def page(form: LabelFilter, size: int, after: str = "") -> Page:
    """Each candidate comes with product and consensus, and `.votes`: the answers that stand, oldest first."""
    rows = ordered(form)
    if after:
        rows = rows.filter(_beyond(form.order_name, after))
    found = list(rows.select_related("product", "consensus")[: size + 1])
    more = len(found) > size
    found = found[:size]
    attach_votes(found)
    return Page(found, _place(form.order_name, found[-1]) if more else "")


def ordered(form: LabelFilter) -> QuerySet[Candidate]:
    rows = form.narrow()
    if form.order_name in ORDER_FIELDS:
        # The consensus row's own column: with it an index gives the order.
        return rows.order_by(ORDER_FIELDS[form.order_name], "consensus__candidate_id")
    return rows.order_by("pk" if form.order_name == "oldest" else "-pk")


def count(form: LabelFilter) -> int:
    """Counted up to COUNT_AT_MOST + 1."""
    return form.narrow().order_by()[: COUNT_AT_MOST + 1].count()


def _beyond(order: str, after: str) -> Any:
    value, _, pk = after.rpartition(":")
    if not (pk.isascii() and pk.isdigit() and len(pk) < 19):
        raise BadFilter("This page does not exist: begin with the first.")
    if order not in ORDER_FIELDS:
        return Q(pk__gt=int(pk)) if order == "oldest" else Q(pk__lt=int(pk))
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise BadFilter("This page does not exist: begin with the first.")
    return TupleGreaterThan((F(ORDER_FIELDS[order]), F("consensus__candidate_id")), (number, int(pk)))


def _place(order: str, candidate: Candidate) -> str:
    if order not in ORDER_FIELDS:
        return f":{candidate.pk}"
    return f"{getattr(candidate.consensus, ORDER_FIELDS[order].removeprefix('consensus__'))!r}:{candidate.pk}"


def attach_votes(rows: Sequence[Candidate]) -> None:
    votes = defaultdict(list)
    answers = Annotation.objects.standing().filter(candidate__in=[row.pk for row in rows])
    for answer in answers.select_related("annotator").order_by("created_at"):
        votes[answer.candidate_id].append(answer)
    for row in rows:
        row.votes = votes[row.pk]


def make_snapshot(owner: Any, query: Mapping[str, Any], most: int | None = None) -> Snapshot:
    """The first `most` (or SNAPSHOT_AT_MOST) candidates that the query means now, in its order; raises BadFilter.

    Snapshots are for the work of a day or two: the owner's older ones go.
    """
    form = read(query, sees_gold=may(owner, "manage_tasks"))
    now = timezone.now()
    Snapshot.objects.filter(owner=owner, created_at__lt=now - KEEP_SNAPSHOTS).delete()
    ids, values = ordered(form).values("pk")[: most or SNAPSHOT_AT_MOST].query.sql_with_params()
    with connection.cursor() as cursor:
        # The ids stay in the database: taking 100,000 of them out and in again took a second.
        cursor.execute(
            "INSERT INTO annotation_snapshot (owner_id, query, candidates, count, created_at)"
            " SELECT %s, %s, ids, coalesce(cardinality(ids), 0), %s"
            f" FROM (SELECT ARRAY({ids})::bigint[] AS ids) found RETURNING id",
            [owner.pk, json.dumps(form.query), now, *values],
        )
        [(pk,)] = cursor.fetchall()
    return Snapshot.objects.defer("candidates").get(pk=pk)


def is_cut(snapshot: Snapshot) -> bool:
    """There may have been more than fit into it."""
    return snapshot.count >= SNAPSHOT_AT_MOST
