"""What is in a version: plots, near-duplicate products, and its card as people will see it."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.shards import card
from adproof.shards.manifest import Manifest
from annotation.plots import Plot
from config.paging import newest_first
from datasets_app import kept, markdown
from datasets_app.models import DatasetVersion, ProductSplit
from datasets_app.statistics import plots
from datasets_app.versions import leaks

PAIRS_SHOWN = 12


@requires("freeze_datasets")
@require_safe
def inspect(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)
    if request.htmx and "state" in request.GET:
        return _state(request, version)
    twins = newest_first(request, near_duplicates(version), PAIRS_SHOWN)
    context: dict[str, Any] = {"version": version, "twins": twins}
    if request.htmx:
        return render(request, "datasets_app/inspect.html#twins", context)
    found, run = kept.description(version)
    context |= {"found": found, "run": run, "plots": _with_url(version, found), "leaks": leaks(version)}
    return render(request, "datasets_app/inspect.html", context)


def near_duplicates(version: DatasetVersion) -> Any:
    """Products that were put on the side of another that looks like them, newest first."""
    rows = ProductSplit.objects.filter(name=version.name).exclude(product=F("decided_by"))
    return rows.select_related("product", "decided_by")


def _with_url(version: DatasetVersion, found: dict[str, Any] | None) -> list[tuple[Plot, str]]:
    drawn = plots(found) if found else []
    return [(plot, reverse("dataset_table", args=[version.pk, plot.name])) for plot in drawn]


def _state(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    _, run = kept.description(version)
    response = render(request, "datasets_app/inspect.html#state", {"run": run, "version": version})
    if run is None or run.is_finished:
        response["HX-Refresh"] = "true"
    return response


@requires("freeze_datasets")
@require_POST
def inspect_start(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)
    if kept.description(version)[0] is None:
        kept.start_description(version, request.user)
    return redirect("dataset_inspect", pk)


@requires("freeze_datasets")
@require_safe
def table(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)
    found, _ = kept.description(version)
    plot = next((plot for plot in plots(found) if plot.name == name), None) if found else None
    if plot is None:
        raise Http404("There is no such table: a large version is counted once, from its page.")
    return plot.csv(f"{version.name}-v{version.number}")


@requires("freeze_datasets")
@require_safe
def dataset_card(request: HttpRequest, pk: int) -> HttpResponse:
    """README.md as it was written: the manifest makes the same bytes again."""
    version = get_object_or_404(DatasetVersion, pk=pk)
    text = card_text(version)
    head, body = markdown.front_matter(text)
    context = {"version": version, "head": head, "body": markdown.html(body, top=2) if text else ""}
    return render(request, "datasets_app/card.html", context)


def card_text(version: DatasetVersion) -> str:
    """Empty while nothing is written."""
    try:
        return card.write(Manifest.of(json.dumps(version.manifest).encode())).decode()
    except (ValueError, KeyError, TypeError):
        return ""
