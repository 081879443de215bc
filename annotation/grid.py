"""Snapshots that a reviewer goes through 24 pictures at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import FloatField
from django.db.models.expressions import RawSQL

from adproof.labels import TITLES
from annotation import review
from annotation.models import Consensus, Project, Snapshot

A_PAGE = 24
AT_MOST = 100 * A_PAGE  # candidates in a snapshot made here: what nobody gets through would only grow old
_SURENESS = "(annotation_consensus.posterior ->> annotation_consensus.label::int)::float8"


class GridForm(forms.Form):
    label = forms.TypedChoiceField(
        label="Consensus",
        choices=[("", "Any label"), *((int(label), title) for label, title in TITLES.items())],
        coerce=int,
        empty_value=None,
        required=False,
    )
    project = forms.ModelChoiceField(Project.objects.order_by("name"), required=False, empty_label="All")
    sure = forms.ChoiceField(
        label="How sure the consensus is",
        choices=[("", "However sure"), ("0.6", "60% and more"), ("0.8", "80% and more"), ("0.95", "95% and more")],
        required=False,
    )
    decided = forms.ChoiceField(
        label="Decisions", choices=[("", "Undecided"), ("any", "Decided ones too")], required=False
    )


def make_snapshot(owner: Any, filters: dict[str, Any]) -> Snapshot:
    """What the filters match now, newest first, without the owner's own work."""
    rows = Consensus.objects.filter(candidate__product__unsuitable=False).exclude(candidate__in=review.own_work(owner))
    if filters.get("label") is not None:
        rows = rows.filter(label=filters["label"])
    if filters.get("project"):
        rows = rows.filter(candidate__in=filters["project"].tasks.values("candidate"))
    if filters.get("sure"):
        sureness = RawSQL(_SURENESS, [], output_field=FloatField())
        rows = rows.annotate(sureness=sureness).filter(sureness__gte=float(filters["sure"]))
    if filters.get("decided") != "any":
        rows = rows.exclude(method="review")
    candidates = list(rows.order_by("-candidate").values_list("candidate", flat=True)[:AT_MOST])
    query = {name: getattr(value, "pk", value) for name, value in filters.items() if value not in (None, "")}
    return Snapshot.objects.create(owner=owner, query=query, candidates=candidates, count=len(candidates))


@dataclass(frozen=True)
class Page:
    number: int
    count: int
    rows: list[Consensus]  # each with its candidate and product, and `.changed`
    own: int  # left out: the owner labelled them
    gone: int  # left out: nobody's answer stands any more


def page(snapshot: Snapshot, number: int) -> Page:
    """Page `number`, from 1, as it is now. Raises ValueError when there is no such page."""
    count = max(1, -(-len(snapshot.candidates) // A_PAGE))
    if not 1 <= number <= count:
        raise ValueError(f"There are {count} pages.")
    ids = snapshot.candidates[(number - 1) * A_PAGE : number * A_PAGE]
    own = set(review.own_work(snapshot.owner).filter(candidate__in=ids).values_list("candidate", flat=True))
    found = {
        row.candidate_id: row
        for row in Consensus.objects.filter(candidate__in=ids).select_related("candidate__product")
    }
    changed = review.changed_since(ids, snapshot.created_at)
    rows = [found[pk] for pk in ids if pk in found and pk not in own]
    for row in rows:
        row.changed = row.candidate_id in changed
    return Page(number, count, rows, own=len(own), gone=len(ids) - len(rows) - len(own))
