from typing import Any

from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from config.paging import newest_first
from datasets_app import versions
from datasets_app.actions import CannotFreeze, preview, start_freeze, start_verify
from datasets_app.downloads import is_small
from datasets_app.forms import FreezeForm, SampleFilter, newest_name
from datasets_app.models import SPLITS, DatasetVersion, VersionRow
from generation.models import Candidate
from runs.actions import resume_run
from runs.models import Run

PAGE_SIZE = 20
SAMPLES_SHOWN = 24
EXAMPLES = 12
GROUPS = [("Category", "category"), ("Source", "source")]


def written_now() -> list[Run]:
    return list(Run.objects.unfinished().filter(kind="freeze").order_by("pk")[:10])


@requires("freeze_datasets")
@require_http_methods(["GET", "HEAD", "POST"])
def datasets(request: HttpRequest) -> HttpResponse:
    """The versions, and the form that freezes the next one. htmx asks here for the runs that write just now."""
    if request.method == "POST":
        return freeze(request)
    if request.htmx and "now" in request.GET:
        return now(request)
    context = listed(request, FreezeForm(initial={"name": newest_name()}, user=request.user))
    return render(request, "datasets_app/datasets.html#rows" if request.htmx else "datasets_app/datasets.html", context)


def listed(request: HttpRequest, form: FreezeForm) -> dict[str, Any]:
    rows = DatasetVersion.objects.select_related("write_run", "created_by").defer("manifest")
    page = newest_first(request, rows, PAGE_SIZE)
    shown = [{"row": row, "labels": versions.label_totals(row)} for row in page.rows]
    return {"page": page, "versions": shown, "form": form, "writing": written_now()}


def now(request: HttpRequest) -> HttpResponse:
    """The runs at work; when the last one has ended the whole page is asked for anew."""
    writing = written_now()
    response = render(request, "datasets_app/datasets.html#now", {"writing": writing})
    if not writing:
        response["HX-Refresh"] = "true"
    return response


def freeze(request: HttpRequest) -> HttpResponse:
    """htmx posts the form while it is filled in, and gets back what it would freeze."""
    form = FreezeForm(request.POST, user=request.user)
    if request.htmx:
        context = preview_of(form) if form.is_valid() else {"form": form}
        return render(request, "datasets_app/datasets.html#preview", context)
    if form.is_valid():
        try:
            run = start_freeze(form.cleaned_data["name"], form.query(), user=request.user)
        except CannotFreeze as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(request, f"“{run.title}” is on its way; the version appears here when it is frozen.")
            return redirect("datasets")
    return render(request, "datasets_app/datasets.html", listed(request, form), status=422)


def preview_of(form: FreezeForm) -> dict[str, Any]:
    try:
        found = preview(form.query(), form.cleaned_data["name"])
    except CannotFreeze as problem:
        form.add_error(None, str(problem))
        return {"form": form}
    return {"form": form, "preview": found, "examples": found["examples"][:EXAMPLES]}


@requires("freeze_datasets")
@require_safe
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("parent", "write_run", "created_by"), pk=pk)
    if request.htmx and "state" in request.GET:
        return state(request, version)
    if request.htmx and "changes" in request.GET:
        return render(
            request,
            "datasets_app/dataset.html#changes",
            {"version": version, "changes": versions.changes(version), "looked": True},
        )
    chosen = SampleFilter(request.GET)
    chosen.is_valid()
    filled = [name for name in SPLITS if any(version.counts.get(name, {}).values())]
    split = chosen.cleaned_data.get("split") or (filled[0] if filled else SPLITS[0])
    label = chosen.cleaned_data.get("label")
    of = {name: chosen.cleaned_data[name] for name in ("source", "category") if chosen.cleaned_data.get(name)}
    context = {"version": version, "page": newest_first(request, samples(version, split, label, **of), SAMPLES_SHOWN)}
    if request.htmx:
        return render(request, "datasets_app/dataset.html#rows", context)
    check = versions.last_check(version)
    context |= {
        "split": split,
        "label": label,
        "of": of,
        "of_query": urlencode(of),
        "labels": SampleFilter.base_fields["label"].choices,
        "splits": SPLITS,
        "label_rows": versions.label_table(version),
        "split_totals": versions.split_totals(version),
        "label_totals": versions.label_totals(version),
        "group_tables": [(title, versions.groups(version, key)) for title, key in GROUPS],
        "files": versions.files(version),
        "agreement": version.manifest.get("agreement", {}),
        "leaks": version.manifest.get("leak_check", {}).get("shared_products"),
        "children": version.children.order_by("-pk")[:10],
        "checkpoints": version.checkpoints.order_by("-pk")[:10],
        "check": check,
        "is_busy": is_busy(version, check),
        "snippet": versions.snippet(version),
        "is_small": is_small(version),
    }
    return render(request, "datasets_app/dataset.html", context)


def samples(version: DatasetVersion, split: str, label: int | None, **of: str) -> QuerySet[VersionRow]:
    """One split at a time: the table's index begins with it, so a page costs the same however large the version is."""
    pictures = Candidate.objects.select_related("product").only(
        "image_sha256", "depth_sha256", "saliency_sha256", "product__image_sha256", "product__title", "product__sku"
    )
    rows = version.rows.filter(split=split).prefetch_related(Prefetch("candidate", queryset=pictures))
    for name, value in of.items():  # source, category
        rows = rows.filter(**{f"candidate__product__{name}": value})
    return rows if label is None else rows.filter(label=label)


def state(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    """The part of the page that changes while the version is written or verified; asked for until both are done."""
    check = versions.last_check(version)
    context = {"version": version, "check": check, "is_busy": is_busy(version, check)}
    response = render(request, "datasets_app/dataset.html#state", context)
    if not context["is_busy"]:
        response["HX-Refresh"] = "true"
    return response


def is_busy(version: DatasetVersion, check: Run | None) -> bool:
    return any(run is not None and not run.is_finished for run in (version.write_run, check))


@requires("freeze_datasets")
@require_POST
def dataset_verify(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion, pk=pk)
    if version.state != DatasetVersion.State.WRITTEN:
        messages.error(request, f"{version} has no files yet: write it first.")
        return redirect("dataset", pk)
    start_verify(version, user=request.user)
    return redirect("dataset", pk)


@requires("freeze_datasets")
@require_POST
def dataset_write(request: HttpRequest, pk: int) -> HttpResponse:
    """Go on writing a version whose run was stopped or failed."""
    version = get_object_or_404(DatasetVersion.objects.select_related("write_run"), pk=pk)
    if version.write_run is not None and resume_run(version.write_run):
        messages.success(request, "It goes on from the files that are already there.")
    else:
        messages.info(request, "There is no stopped run to go on with.")
    return redirect("dataset", pk)
