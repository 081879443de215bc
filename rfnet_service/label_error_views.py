"""Samples of a version whose label RFNet doubts, for people to look at again."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import LABELS, TITLES
from annotation.models import Snapshot
from annotation.tables import as_csv
from datasets_app.models import DatasetVersion
from generation.models import Candidate
from rfnet_service import label_errors
from rfnet_service.label_errors import CannotLook

PAGE_SIZE = 24
CHOICES = (50, 200, 1000)


def _version(pk: int) -> DatasetVersion:
    return get_object_or_404(DatasetVersion.objects.defer("manifest"), pk=pk)


@requires("freeze_datasets")
@require_safe
def suspects(request: HttpRequest, pk: int) -> HttpResponse:
    version = _version(pk)
    found, newest = label_errors.newest(version)
    if request.htmx and "state" in request.GET:
        response = render(request, "rfnet_service/label_errors.html#state", {"version": version, "newest": newest})
        if newest is None or newest.is_finished:
            response["HX-Refresh"] = "true"
        return response
    result: dict[str, Any] = found.result if found else {}
    start = _start(request)
    context: dict[str, Any] = {"version": version, "rows": _shown(result.get("worst", [])[start : start + PAGE_SIZE])}
    if start + PAGE_SIZE < len(result.get("worst", [])):
        context["more_url"] = f"{request.path}?after={start + PAGE_SIZE}"
    context["may_review"] = request.user.may("review")
    if request.htmx:
        return render(request, "rfnet_service/label_errors.html#rows", context)
    context |= {
        "found": found, "newest": newest, "result": result, "choices": CHOICES, "matrix": _matrix(result),
        "judges": label_errors.judges(version)[:1], "kept": len(result.get("worst", [])),
    }  # fmt: skip
    return render(request, "rfnet_service/label_errors.html", context)


def _start(request: HttpRequest) -> int:
    asked = request.GET.get("after", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 0


def _shown(worst: list[list[Any]]) -> list[dict[str, Any]]:
    by_id = (
        Candidate.objects.select_related("product")
        .only("image_sha256", "product__title")
        .in_bulk([row[0] for row in worst])
    )
    return [
        {"candidate": by_id[pk], "label": label, "title": TITLES[label], "guess": guess, "guess_title": TITLES[guess],  # type: ignore[index]
         "own": own, "other": other}
        for pk, label, guess, own, other in worst
        if pk in by_id
    ]  # fmt: skip


def _matrix(result: dict[str, Any]) -> list[dict[str, Any]]:
    """How many have label i and are j, as estimated; shaded by the share of the row."""
    rows = []
    for (label, title), counts in zip(TITLES.items(), result.get("joint", []), strict=False):
        total = sum(counts) or 1
        cells = [
            {"count": count, "share": min(5, round(5 * count / total)), "same": other == int(label)}
            for other, count in enumerate(counts)
        ]
        rows.append({"title": title, "cells": cells, "threshold": result["thresholds"][int(label)]})
    return rows


@requires("freeze_datasets")
@require_POST
def suspects_start(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        label_errors.start(_version(pk), request.user)
    except CannotLook as problem:
        messages.error(request, str(problem))
    return redirect("label_errors", pk)


@requires("freeze_datasets")
@require_POST
def suspects_send(request: HttpRequest, pk: int) -> HttpResponse:
    """The worst of them as a snapshot: on its page they are looked at again, one by one or on the grid."""
    version = _version(pk)
    found, _ = label_errors.newest(version)
    asked = request.POST.get("most", "")
    if found is None or not found.result.get("worst"):
        messages.error(request, "There is nothing to send: look for label errors first.")
        return redirect("label_errors", pk)
    if asked not in map(str, CHOICES):
        messages.error(request, f"Choose how many: {', '.join(f'{n:,}' for n in CHOICES)}.")
        return redirect("label_errors", pk)
    ids = [row[0] for row in found.result["worst"][: int(asked)]]
    snapshot = Snapshot.objects.create(owner=request.user, query={}, candidates=ids, count=len(ids))
    messages.success(
        request, f"These are the {len(ids):,} labels of {version} that RFNet doubts most, the most doubtful first."
    )
    return redirect("snapshot", snapshot.pk)


@requires("freeze_datasets")
@require_safe
def suspects_table(request: HttpRequest, pk: int) -> HttpResponse:
    version = _version(pk)
    found, _ = label_errors.newest(version)
    if found is None:
        raise Http404("Nobody has looked for label errors in this version yet.")
    rows = [[pk, LABELS[label], LABELS[guess], own, other] for pk, label, guess, own, other in found.result["worst"]]
    head = ["candidate", "label", "rfnet_says", "probability_of_label", "probability_of_rfnets"]
    return as_csv(f"{version.name}-v{version.number}-label-errors", head, rows)
