"""A project's queue: what waits in it and for whom, another order for it, and whom it is reserved for."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from annotation import queue_changes, teams
from annotation.models import Project, Team
from annotation.queue_changes import Busy, Which
from annotation.queue_forms import FORMS
from runs.models import Run

COUNT_AT_MOST = 10_000


@requires("manage_tasks")
@require_safe
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, get_object_or_404(Project, pk=pk))


def _page(request: HttpRequest, project: Project, bound: dict[str, Any] | None = None) -> HttpResponse:
    forms = {name: (bound or {}).get(name) or kind(auto_id=f"{name}_%s") for name, kind in FORMS.items()}
    context = {
        "project": project,
        "most": COUNT_AT_MOST,
        "free": queue_changes.count(Which(project.pk, free=True), COUNT_AT_MOST + 1),
        "reserved": reserved_in(project),
        "forms": forms,
        "change": change_under_way(project),
    }
    return render(request, "annotation/queue.html", context, status=422 if bound else 200)


def reserved_in(project: Project) -> list[dict[str, Any]]:
    """The teams for which open tasks of this project are reserved, with their number up to a most."""
    known = list(Team.objects.order_by("name"))
    found = teams.reserved(known, project)
    return [{"team": team, "count": row.count} for team in known for row in found[team.pk]]


def change_under_way(project: Project) -> Run | None:
    found: Run | None = Run.objects.unfinished().filter(key=queue_changes.key_of(Which(project.pk))).first()
    return found


@requires("manage_tasks")
@require_POST
def queue_change(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    """Asked first, with the count; a run when the press says so."""
    project = get_object_or_404(Project, pk=pk)
    if action not in FORMS:
        raise Http404("There is no such action.")
    form = FORMS[action](request.POST, auto_id=f"{action}_%s")
    if not form.is_valid():
        return _page(request, project, {action: form})
    if request.POST.get("sure") != "yes":
        count = queue_changes.count(form.which(project), COUNT_AT_MOST + 1)
        if not count:
            messages.error(request, "No open task is like that: choose others.")
            return redirect("queue", pk)
        context = {"project": project, "form": form, "sentence": form.sentence(_many(form, count), project)}
        return render(request, "annotation/queue_sure.html", context)
    try:
        run = form.start(project, request.user)
    except Busy as busy:
        messages.error(request, str(busy))
        return redirect("run", busy.run.pk)
    return redirect("run", run.pk)


def _many(form: Any, count: int) -> str:
    number = f"more than {COUNT_AT_MOST:,}" if count > COUNT_AT_MOST else f"{count:,}"
    words = form.which_in_words()
    return f"{number} open task{'s' if count != 1 else ''}{f' {words}' if words else ''}"
