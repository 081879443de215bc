"""Pages for data managers: the projects and their settings."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from annotation import disputes, figures, guidelines, queue_changes, queue_views
from annotation.models import Annotation, Gold, Project
from annotation.queue_changes import Which


class ProjectForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = [
            "name", "overlap", "agree_at_least", "overlap_most", "lease_minutes", "gold_percent", "shows_prompt",
            "asks_details", "assists",
        ]  # fmt: skip
        labels = {
            "overlap": "Answers per task",
            "agree_at_least": "Until so many agree",
            "overlap_most": "At most so many answers",
            "lease_minutes": "Minutes a task is held",
            "shows_prompt": "Show the prompt beside the picture",
            "gold_percent": "Gold, % of what is handed out",
            "asks_details": "Ask for secondary defects and a marker on the picture (optional for annotators)",
            "assists": "Show RFNet's verdict beside the labels: it leads people, so what they saw is stored",
        }
        help_texts = {
            "overlap": "1 to 9 people. Tasks made before a change keep their number.",
            "agree_at_least": "Where people differ, one more is asked until so many say the same. 0: never.",
            "overlap_most": "Where people differ, no task gets more answers than this.",
            "gold_percent": "Tasks whose label is known, mixed in unseen to measure annotators. 0 to 50.",
            "lease_minutes": "An open desk renews it by itself; after that, the task goes to others.",
        }
        error_messages = {
            "name": {
                "required": "Give the project a name.",
                "unique": "There is a project of this name already: choose another.",
            }
        }


@requires("see_quality")
@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    today = dict(
        Annotation.objects.standing()
        .filter(created_at__gte=midnight)
        .values_list("task__project")
        .annotate(n=Count("id"))
    )
    rows = [{**row, "today": today.get(row["project"].pk, 0)} for row in figures.progress()]
    return render(request, "annotation/projects.html", {"rows": rows})


@requires("see_quality")
@require_http_methods(["GET", "HEAD", "POST"])
def project(request: HttpRequest, pk: int) -> HttpResponse:
    """Everybody who sees quality may read the settings; only those who manage tasks may change them."""
    return _settings(request, get_object_or_404(Project, pk=pk))


@requires("manage_tasks")
@require_http_methods(["GET", "HEAD", "POST"])
def project_create(request: HttpRequest) -> HttpResponse:
    return _settings(request, Project())


def _settings(request: HttpRequest, project: Project) -> HttpResponse:
    name, is_new = project.name, project.pk is None
    form = ProjectForm(request.POST if request.method == "POST" else None, instance=project)
    if form.is_bound:
        return _save(request, form, name, is_new)
    return render(request, "annotation/project.html", _context(form, name, is_new))


@requires("manage_tasks")
def _save(request: HttpRequest, form: ProjectForm, name: str, is_new: bool) -> HttpResponse:
    if not form.is_valid():
        return render(request, "annotation/project.html", _context(form, name, is_new), status=422)
    # Only the form's own columns: a pause pressed meanwhile stays.
    saved = form.save(commit=False)
    saved.save(update_fields=None if is_new else ProjectForm.Meta.fields)
    messages.success(request, f"“{saved.name}” is saved.")
    return redirect("project", saved.pk)


def _context(form: ProjectForm, name: str, is_new: bool) -> dict[str, Any]:
    project = form.instance
    return {
        "parts": {} if is_new else parts_of(project),
        "form": form,
        "name": name,
        "project": None if is_new else project,
        "row": None if is_new else figures.progress_of(project),
        "disputed": 0 if is_new else disputes.count(project),
    }


def parts_of(project: Project) -> dict[str, Any]:
    """What stands on the doors to its queue, gold and guidelines. Every count ends at a most."""
    reserved = [row["count"] for row in queue_views.reserved_in(project)]
    most = queue_views.COUNT_AT_MOST + 1
    gold = Gold.objects.filter(task__project=project, is_retired=False)
    return {
        "most": queue_views.COUNT_AT_MOST,
        "free": queue_changes.count(Which(project.pk, free=True), most),
        "reserved": min(sum(reserved), most),
        "teams": len(reserved),
        "gold": gold[:most].count(),
        "guidelines": guidelines.in_force(project),
    }


@requires("manage_tasks")
@require_POST
def project_pause(request: HttpRequest, pk: int) -> HttpResponse:
    """The wanted state comes with the press, so that pressing twice changes nothing."""
    project = get_object_or_404(Project, pk=pk)
    wanted = request.POST.get("pause", "")
    if wanted not in ("0", "1"):
        messages.error(request, "Say whether to pause or to go on.")
        return redirect("project", pk)
    Project.objects.filter(pk=pk).update(is_paused=wanted == "1")
    said = "is paused: nobody is handed a task of it" if wanted == "1" else "goes on"
    messages.success(request, f"“{project.name}” {said}.")
    return redirect("project", pk)


@requires("manage_tasks")
@require_POST
def project_ask_on(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    reopened = disputes.ask_on(project)
    if reopened:
        messages.success(request, f"{reopened:,} finished task{'s' if reopened != 1 else ''} got one more place each.")
    else:
        messages.info(request, "No finished task is disputed.")
    return redirect("project", pk)
