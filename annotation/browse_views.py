"""The label browser: filtered candidates, saved filters, snapshots and what is done to them at once."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import LABELS
from annotation import bulk, label_browser
from annotation.bulk_forms import FORMS, BulkForm
from annotation.label_filter import BadFilter, LabelFilter
from annotation.models import Project, SavedFilter, Snapshot
from annotation.tables import safe
from generation.models import Candidate

PAGE_SIZE = 36
MOST_FILTERS = 100
FIRST_SHOWN = 12
_CSV_HEAD = [
    "candidate", "image_sha256", "sku", "product", "category", "prompt", "generator", "consensus", "confidence",
    "agreement", "answers", "method", "complete", "who_said_what",
]  # fmt: skip


def _sees_gold(request: HttpRequest) -> bool:
    return bool(request.user.may("manage_tasks"))


@requires("see_quality")
@require_safe
def labels(request: HttpRequest) -> HttpResponse:
    form = LabelFilter(request.GET.dict(), sees_gold=_sees_gold(request))
    context: dict[str, Any] = {"form": form, "problem": "", "page": None, "most": label_browser.COUNT_AT_MOST}
    try:
        found = label_browser.page(form, PAGE_SIZE, request.GET.get("after", "")) if form.is_valid() else None
    except BadFilter as problem:
        context["problem"], found = str(problem), None
    if found is None:
        context["problem"] = context["problem"] or form.problem()
    else:
        context["page"], context["example_of"] = found, _example_project(request, form)
        if found.after:
            context["more_url"] = f"{request.path}?{urlencode({**form.query, 'after': found.after})}"
    if request.htmx and found is not None:
        return render(request, "annotation/labels.html#rows", context)
    if found is not None:
        context["count"] = label_browser.count(form)
        context["query"] = form.query
    mine = SavedFilter.objects.filter(owner=request.user).order_by("name")
    shared = SavedFilter.objects.filter(is_shared=True).exclude(owner=request.user).select_related("owner")
    context["saved"] = [_link(row, request) for row in [*mine, *shared.order_by("name", "pk")[:MOST_FILTERS]]]
    return render(request, "annotation/labels.html", context, status=200 if found is not None else 400)


def _example_project(request: HttpRequest, form: LabelFilter) -> Project | None:
    """The project whose guidelines a picture may become an example of: the one filtered by, or the only one."""
    if not request.user.may("manage_tasks"):
        return None
    if chosen := form.cleaned_data.get("project"):
        return chosen
    projects = list(Project.objects.order_by("pk")[:2])
    return projects[0] if len(projects) == 1 else None


def _link(row: SavedFilter, request: HttpRequest) -> dict[str, Any]:
    return {"row": row, "url": f"{reverse('labels')}?{urlencode(row.query)}", "mine": row.owner_id == request.user.pk}


def _address(form: LabelFilter) -> str:
    return f"{reverse('labels')}?{urlencode(form.query)}"


# --- saved filters


@requires("see_quality")
@require_POST
def filter_save(request: HttpRequest) -> HttpResponse:
    """The name of an own filter again: it means this from now on."""
    try:
        form = label_browser.read(request.POST.dict(), sees_gold=_sees_gold(request))
    except BadFilter as problem:
        messages.error(request, f"Not saved. {problem}")
        return redirect("labels")
    name = request.POST.get("name", "").strip()
    if not name or len(name) > 120 or "\0" in name:
        messages.error(request, "Give the filter a name of 1 to 120 characters.")
    elif SavedFilter.objects.filter(owner=request.user).exclude(name=name).count() >= MOST_FILTERS:
        messages.error(request, f"You have {MOST_FILTERS} filters: delete one first.")
    else:
        SavedFilter.objects.update_or_create(
            owner=request.user, name=name,
            defaults={"query": form.query, "is_shared": request.POST.get("is_shared") == "on"},
        )  # fmt: skip
        messages.success(request, f"The filter “{name}” is saved.")
    return redirect(_address(form))


@requires("see_quality")
@require_POST
def filter_delete(request: HttpRequest, pk: int) -> HttpResponse:
    row = get_object_or_404(SavedFilter, pk=pk, owner=request.user)
    row.delete()
    messages.success(request, f"The filter “{row.name}” is deleted.")
    return redirect("labels")


# --- snapshots


@requires("see_quality")
@require_POST
def snapshot_make(request: HttpRequest) -> HttpResponse:
    try:
        snapshot = label_browser.make_snapshot(request.user, request.POST.dict())
    except BadFilter as problem:
        messages.error(request, str(problem))
        return redirect("labels")
    if not snapshot.count:
        snapshot.delete()
        messages.error(request, "No candidate is like that: change the filter.")
        return redirect("labels")
    return redirect("snapshot", snapshot.pk)


def _own(request: HttpRequest, pk: int) -> Snapshot:
    return get_object_or_404(Snapshot.objects.defer("candidates"), pk=pk, owner=request.user)


@requires("see_quality")
@require_safe
def snapshot(request: HttpRequest, pk: int) -> HttpResponse:
    return _snapshot_page(request, _own(request, pk))


def _snapshot_page(request: HttpRequest, row: Snapshot, bound: dict[str, BulkForm] | None = None) -> HttpResponse:
    form = LabelFilter(row.query)
    forms = {
        name: (bound or {}).get(name) or kind(auto_id=f"{name}_%s", initial=_first_project(form))
        for name, kind in FORMS.items()
    }
    first = Snapshot.objects.values_list(f"candidates__0_{FIRST_SHOWN}", flat=True).get(pk=row.pk)
    shown = Candidate.objects.in_bulk(first)
    context = {
        "snapshot": row,
        "words": form.in_words() if form.is_valid() else [],
        "labels_url": f"{reverse('labels')}?{urlencode(row.query)}",
        "grid_url": _grid(row) if request.user.may("review") else "",
        "is_cut": label_browser.is_cut(row),
        "forms": forms,
        "first": [shown[pk] for pk in first if pk in shown],
    }
    return render(request, "annotation/snapshot.html", context, status=422 if bound else 200)


def _first_project(form: LabelFilter) -> dict[str, Any]:
    """The project that was filtered by is the one most likely meant; so is the only one that works."""
    chosen = form.cleaned_data.get("project") if form.is_valid() else None
    working = list(Project.objects.filter(is_paused=False)[:2]) if chosen is None else []
    return {"project": chosen or (working[0] if len(working) == 1 else None)}


def _grid(row: Snapshot) -> str:
    try:
        return reverse("grid", args=[row.pk])
    except NoReverseMatch:
        return ""


@requires("manage_tasks")
@require_POST
def snapshot_act(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    """Asked first, with the count; done when the press says so."""
    row = _own(request, pk)
    if action not in FORMS:
        raise Http404("There is no such action.")
    form = FORMS[action](request.POST, auto_id=f"{action}_%s")
    if not form.is_valid():
        return _snapshot_page(request, row, {action: form})
    if request.POST.get("sure") != "yes":
        context = {"snapshot": row, "form": form, "action": action, "sentence": form.sentence(row.count)}
        return render(request, "annotation/snapshot_sure.html", context)
    wish = form.wish(request.user)
    if row.count > bulk.AT_ONCE:
        return redirect("run", bulk.start(action, row, wish, f"{form.title}: {row.count:,} candidates").pk)
    with transaction.atomic():
        report = bulk.do_all(action, row, wish)
    (messages.success if report.done else messages.warning)(request, f"{form.title}. {report.in_words()}")
    return redirect("snapshot", pk)


@requires("see_quality")
@require_safe
def snapshot_csv(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    row = _own(request, pk)
    writer = csv.writer(_Echo())
    lines = (writer.writerow([safe(value) for value in line]) for line in chain([_CSV_HEAD], _csv_rows(row)))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="adproof-candidates-{row.pk}.csv"'
    return response


class _Echo:
    def write(self, value: str) -> str:
        return value


def _csv_rows(row: Snapshot) -> Iterator[list[Any]]:
    for start in range(0, row.count, bulk.CHUNK):
        ids = row.candidates[start : start + bulk.CHUNK]
        found = list(Candidate.objects.filter(pk__in=ids).select_related("product", "prompt", "generator", "consensus"))
        label_browser.attach_votes(found)
        by_id = {candidate.pk: candidate for candidate in found}
        yield from (_csv_row(by_id[pk]) for pk in ids if pk in by_id)


def _csv_row(candidate: Any) -> list[Any]:
    says = getattr(candidate, "consensus", None)
    return [
        candidate.pk, candidate.image_sha256, candidate.product.sku, candidate.product.title,
        candidate.product.category, candidate.prompt.name, candidate.generator.name,
        *(
            [LABELS[says.label], says.posterior[says.label], says.agreement, says.annotation_count, says.method,
             int(says.is_complete)] if says else [""] * 6
        ),
        "; ".join(f"{vote.annotator.username}: {LABELS[vote.label]}" for vote in candidate.votes),
    ]  # fmt: skip
