"""The pages of imports: what to import, what it would do, what it did."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from adproof.imports.problems import BadImport
from annotation.tables import as_csv_stream
from config.paging import newest_first
from datasets_app.importing.forms import ImportForm, forget
from datasets_app.importing.order import KIND, KINDS, start, start_looked_at
from datasets_app.importing.shown import shown
from generation.models import ImportProblem
from runs.models import Run

PAGE_SIZE = 15
PROBLEMS_SHOWN = 50


@requires("import_data")
@require_http_methods(["GET", "HEAD", "POST"])
def imports(request: HttpRequest) -> HttpResponse:
    """The form, and what was imported lately."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST":
        form = ImportForm(request.POST, request.FILES)
        if form.is_valid():
            run = _start(form, request.user)
            if run is not None:
                return redirect("import", run.pk)
    page = newest_first(request, Run.objects.filter(kind=KIND).select_related("created_by"), PAGE_SIZE)
    rows = [{"run": run, "shown": shown(run)} for run in page.rows]
    context = {"form": form, "page": page, "rows": rows, "kinds": KINDS}
    if request.htmx and request.method != "POST":
        return render(request, "datasets_app/imports.html#rows", context)
    return render(request, "datasets_app/imports.html", context, status=422 if request.method == "POST" else 200)


def _start(form: ImportForm, user: Any) -> Run | None:
    order = None
    try:
        order = form.order()
        return start(order, user=user)
    except BadImport as problem:
        if order is not None:
            forget(order)
        form.add_error(None, str(problem))
        return None


@requires("import_data")
@require_safe
def one(request: HttpRequest, pk: int) -> HttpResponse:
    run = get_object_or_404(Run.objects.filter(kind=KIND).select_related("created_by"), pk=pk)
    context = {
        "run": run,
        "shown": shown(run),
        "order": run.params["order"],
        "kind": KINDS[run.params["order"]["kind"]][0],
    }
    if request.htmx:
        response = render(request, "datasets_app/import.html#now", context)
        if run.is_finished:
            response["HX-Refresh"] = "true"
        return response
    context["listed"] = run.result.get("tally", {}).get("listed", 0)
    context["problems"] = ImportProblem.objects.filter(run=run).order_by("pk")[:PROBLEMS_SHOWN]
    return render(request, "datasets_app/import.html", context)


@requires("import_data")
@require_safe
def left_out(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Every file and row that was left out, as far as they are listed."""
    run = get_object_or_404(Run, kind=KIND, pk=pk)
    problems = ImportProblem.objects.filter(run=run).order_by("pk").values_list("where", "problem")
    return as_csv_stream(f"adproof-import-{run.pk}-left-out", ["where", "why"], problems.iterator(chunk_size=2000))


@requires("import_data")
@require_POST
def start_it(request: HttpRequest, pk: int) -> HttpResponse:
    """What the dry run has shown, in earnest."""
    run = get_object_or_404(Run, kind=KIND, pk=pk)
    try:
        made = start_looked_at(run, user=request.user)
    except BadImport as problem:
        messages.error(request, str(problem))
        return redirect("import", pk)
    return redirect("import", made.pk)
