"""Two versions of one name beside each other: what changed, how much of it where, and each change with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import LABELS, TITLES
from annotation.tables import as_csv, as_csv_stream
from datasets_app import kept
from datasets_app.compare import GROUPS, WHAT, WHY, Change, Event, changed
from datasets_app.forms import LABELS as LABEL_CHOICES
from datasets_app.models import SPLITS, DatasetVersion
from generation.models import Candidate
from runs.models import Run

PAGE_SIZE = 24
MOST_GROUPS = 20  # shown of each table; the CSV has all
MOST_VERSIONS = 100  # to choose from
TITLES_OF = {"added": "Added", "removed": "Removed", "relabelled": "Relabelled", "moved": "Moved"}
HEADS = {"label": "Label", "split": "Split", "source": "Source", "category": "Category"}
DID = {
    "confirmed": "confirmed",
    "changed": "changed it to",
    "sent_back": "sent it back",
    "withdrawn": "withdrew a decision",
}


class ChangeFilter(forms.Form):
    """What does not make sense is ignored: an old address still shows something."""

    what = forms.ChoiceField(choices=[(what, TITLES_OF[what]) for what in WHAT], required=False)
    label = forms.TypedChoiceField(choices=LABEL_CHOICES, coerce=int, empty_value=None, required=False)
    label_before = forms.TypedChoiceField(
        choices=LABEL_CHOICES, coerce=int, empty_value=None, required=False, label="Label before"
    )
    split = forms.ChoiceField(choices=[("", "Any split"), *((name, name) for name in SPLITS)], required=False)
    why = forms.ChoiceField(choices=[("", "Any reason"), *WHY.items()], required=False)
    source = forms.CharField(max_length=80, required=False)
    category = forms.CharField(max_length=80, required=False)

    def chosen(self, fullest: str) -> tuple[str, dict[str, Any]]:
        """What to list, and the conditions."""
        self.is_valid()
        given = {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}
        what = given.pop("what", fullest)
        if what != "relabelled":
            given.pop("why", None)
            given.pop("label_before", None)
        return what, given


def _two(pk: int, other: int) -> tuple[DatasetVersion, DatasetVersion]:
    """(old, new) as the address names them."""
    new = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)
    old = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=other)
    if old.name != new.name:
        raise Http404(f"{old} and {new} are versions of two datasets: compare two of one name.")
    return old, new


@requires("freeze_datasets")
@require_safe
def choose(request: HttpRequest, pk: int) -> HttpResponse:
    """To the comparison with ?against=ID; without it with the parent, or the version before, or after."""
    version = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)
    others = DatasetVersion.objects.filter(name=version.name).exclude(pk=pk)
    asked = request.GET.get("against", "")
    if asked.isascii() and asked.isdigit() and len(asked) < 19:
        other = others.filter(pk=int(asked)).first()
    else:
        other = version.parent or others.filter(pk__lt=pk).last() or others.first()
    if other is None:
        messages.info(request, f"{version} is the only version of {version.name} that it could be compared with.")
        return redirect("dataset", pk)
    return redirect("dataset_compare", pk, other.pk)


@requires("freeze_datasets")
@require_safe
def compared(request: HttpRequest, pk: int, other: int) -> HttpResponse:
    old, new = _two(pk, other)
    found, run = kept.comparison(old, new)
    if request.htmx and "state" in request.GET:
        return _state(request, old, new, run)
    what, only = ChangeFilter(request.GET).chosen(_fullest(found))
    context: dict[str, Any] = {"old": old, "new": new, "what": what, "only": only, "whys": WHY}
    context |= _listed(request, old, new, what, only, found)
    if request.htmx:
        return render(request, "datasets_app/compare.html#rows", context)
    context |= {
        "found": found, "run": run, "tabs": _tabs(request, found, what), "groups": _groups(found),
        "filter": ChangeFilter(request.GET),
        "matrix": _matrix(found), "reasons": _reasons(found), "examples": _examples(found), "query": request.GET.urlencode(),
        "others": DatasetVersion.objects.filter(name=new.name).exclude(pk=new.pk).order_by("-number")[:MOST_VERSIONS],
    }  # fmt: skip
    return render(request, "datasets_app/compare.html", context)


def _fullest(found: dict[str, Any] | None) -> str:
    """What the page begins with: labels that changed are the news, if there are any."""
    totals = found["totals"] if found else {"relabelled": 1}
    return "relabelled" if totals.get("relabelled") else max(WHAT, key=lambda what: totals.get(what, 0))


def _state(request: HttpRequest, old: DatasetVersion, new: DatasetVersion, run: Run | None) -> HttpResponse:
    response = render(request, "datasets_app/compare.html#state", {"run": run, "old": old, "new": new})
    if run is None or run.is_finished:
        response["HX-Refresh"] = "true"
    return response


def _after(request: HttpRequest) -> int:
    asked = request.GET.get("after", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else 0


def _listed(
    request: HttpRequest,
    old: DatasetVersion,
    new: DatasetVersion,
    what: str,
    only: dict[str, Any],
    found: dict[str, Any] | None,
) -> dict[str, Any]:
    if found and not found["totals"][what]:
        return {"rows": []}
    page = changed(old, new, what, after=_after(request), size=PAGE_SIZE, **only)
    pictures = Candidate.objects.select_related("product").only("image_sha256", "product__title")
    by_id = pictures.in_bulk([row.candidate for row in page.rows])
    query = request.GET.copy()
    query["what"], query["after"] = what, str(page.after)
    more = f"{request.path}?{query.urlencode()}" if page.after is not None else ""
    return {"rows": [_shown(row, by_id[row.candidate]) for row in page.rows], "more_url": more}


def _shown(row: Change, candidate: Candidate) -> dict[str, Any]:
    label = row.label if row.label is not None else row.label_before
    return {
        "row": row, "candidate": candidate, "label": label, "title": TITLES[label] if label is not None else "",  # type: ignore[index]
        "before": TITLES[row.label_before] if row.label_before is not None else "",  # type: ignore[index]
        "split": row.split or row.split_before, "why": WHY.get(row.why, ""),
        "events": [_told(event) for event in row.events],
    }  # fmt: skip


def _told(event: Event) -> dict[str, Any]:
    return {
        "who": event.who, "at": event.at, "did": DID.get(event.did, event.did), "label": event.label,
        "title": TITLES[event.label] if event.label is not None else "", "comment": event.comment,
    }  # fmt: skip


def _tabs(request: HttpRequest, found: dict[str, Any] | None, what: str) -> list[dict[str, Any]]:
    tabs = []
    for name in WHAT:
        query = request.GET.copy()
        query.pop("after", None)
        query["what"] = name
        count = found["totals"][name] if found else None
        tabs.append(
            {"name": name, "title": TITLES_OF[name], "query": query.urlencode(), "count": count, "on": name == what}
        )
    return tabs


def _group_rows(found: dict[str, Any], group: str) -> list[dict[str, Any]]:
    rows = [
        {"name": name, "title": _value_title(group, name), "counts": [counts[what] for what in WHAT]}
        for name, counts in found["by"][group].items()
    ]
    order = {name: place for place, name in enumerate([*LABELS, *SPLITS])}
    return sorted(rows, key=lambda row: (order.get(row["name"], 99), -sum(row["counts"]), row["name"]))


def _value_title(group: str, name: str) -> str:
    if group == "label":
        return TITLES[LABELS.index(name)]  # type: ignore[index]
    return name or "(none)"


def _groups(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not found:
        return []
    groups = []
    for group in GROUPS:
        rows = _group_rows(found, group)
        groups.append(
            {"name": group, "title": HEADS[group], "rows": rows[:MOST_GROUPS], "more": len(rows) - MOST_GROUPS}
        )
    return groups


def _matrix(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Labels before, down, by labels now, across; empty where nothing was relabelled."""
    if not found or not found["labels"]:
        return []
    counts = {(row["before"], row["after"]): row["count"] for row in found["labels"]}
    most = max(counts.values())
    return [
        {"label": int(before), "title": title, "cells": [
            {"before": int(before), "after": int(after), "count": counts.get((before, after), 0), "title": TITLES[after],
             "share": -(-5 * counts.get((before, after), 0) // most)}
            for after in TITLES
        ]}
        for before, title in TITLES.items()
    ]  # fmt: skip


def _reasons(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not found:
        return []
    total = sum(found["why"].values()) or 1
    return [
        {"why": why, "title": WHY[why], "count": count, "share": count / total}
        for why, count in found["why"].items()
        if count
    ]


def _examples(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not found:
        return []
    ids = {pk for some in found["examples"].values() for pk in some}
    by_id = Candidate.objects.select_related("product").only("image_sha256", "product__title").in_bulk(ids)
    return [
        {"title": TITLES_OF[what], "what": what, "candidates": [by_id[pk] for pk in found["examples"][what] if pk in by_id]}
        for what in WHAT
        if found["examples"][what]
    ]  # fmt: skip


@requires("freeze_datasets")
@require_POST
def compare_start(request: HttpRequest, pk: int, other: int) -> HttpResponse:
    old, new = _two(pk, other)
    found, _ = kept.comparison(old, new)
    if found is None:
        kept.start_comparison(old, new, request.user)
    return redirect("dataset_compare", pk, other)


# --- tables


@requires("freeze_datasets")
@require_safe
def compare_counts(request: HttpRequest, pk: int, other: int) -> HttpResponse:
    """All the counts by label, split, source and category."""
    old, new = _two(pk, other)
    found, _ = kept.comparison(old, new)
    if found is None:
        raise Http404("These two are not compared yet: press “Compare them” on their page first.")
    rows = [[group, row["name"], *row["counts"]] for group in GROUPS for row in _group_rows(found, group)]
    return as_csv(
        f"{new.name}-v{old.number}-v{new.number}",
        ["by", "value", *WHAT],
        [["all", "", *(found["totals"][what] for what in WHAT)], *rows],
    )


@requires("freeze_datasets")
@require_safe
def compare_rows(request: HttpRequest, pk: int, other: int) -> StreamingHttpResponse:
    """Every changed row of the filter, one page in memory at a time."""
    old, new = _two(pk, other)
    what, only = ChangeFilter(request.GET).chosen("relabelled")
    head = [
        "candidate", "image_sha256", "sku", "source", "category", "label_before", "label", "split_before", "split", "why",
        "method_before", "method", "who_when",
    ]  # fmt: skip
    return as_csv_stream(f"{new.name}-v{old.number}-v{new.number}-{what}", head, _lines(old, new, what, only))


def _lines(old: DatasetVersion, new: DatasetVersion, what: str, only: dict[str, Any]) -> Iterator[list[Any]]:
    after: int | None = 0
    while after is not None:
        page = changed(old, new, what, after=after, size=500, **only)
        hashes = dict(
            Candidate.objects.filter(pk__in=[row.candidate for row in page.rows]).values_list("pk", "image_sha256")
        )
        for row in page.rows:
            yield [
                row.candidate, hashes[row.candidate], row.sku, row.source, row.category, _name(row.label_before),
                _name(row.label), row.split_before or "", row.split or "", row.why, row.method_before, row.method,
                "; ".join(map(_line, row.events)),
            ]  # fmt: skip
        after = page.after


def _line(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M} {event.who} {event.did} {_name(event.label)}".strip()


def _name(label: int | None) -> str:
    return "" if label is None else LABELS[label]
