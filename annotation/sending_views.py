"""“Send to annotators” of the gallery and of a candidate's page."""

from __future__ import annotations

from math import isfinite
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.roles import requires
from annotation import sending
from annotation.models import Project
from generation.gallery_filter import GalleryFilter
from generation.models import Candidate


def _priority(text: str) -> float | None:
    try:
        value = float(text or 0)
    except ValueError:
        return None
    return value if isfinite(value) and abs(value) <= 1e9 else None


@requires("manage_tasks")
@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """what=ticked: the `candidate`s named; what=all: everything that `query` finds, after a look at what that means."""
    form = GalleryFilter(dict(parse_qsl(request.POST.get("query", "")[:4000])))
    ids = [int(value) for value in request.POST.getlist("candidate") if value.isascii() and value.isdigit() and len(value) < 19]
    is_of_one = len(ids) == 1 and request.POST.get("page") == "candidate"
    back = reverse("candidate", args=ids) if is_of_one else reverse("candidates")
    back = f"{back}?{urlencode(form.query)}" if form.query else back
    project, priority = request.POST.get("project", ""), _priority(request.POST.get("priority", ""))
    if priority is None:
        messages.error(request, "The priority is a number: the higher, the sooner it is shown.")
        return redirect(back)
    chosen = get_object_or_404(Project, pk=project) if project.isascii() and project.isdigit() and len(project) < 19 else None
    if chosen is None:
        messages.error(request, "Choose the project that they go to.")
        return redirect(back)
    if request.POST.get("what") == "all":
        if request.POST.get("sure") != "yes":
            context = {"project": chosen, "priority": priority, "form": form, "query": urlencode(form.query), "back": back}
            return render(request, "annotation/send_sure.html", context)
        return redirect("run", sending.start(form.query, chosen, priority, request.user).pk)
    if not ids or len(ids) > sending.MOST_TICKED:
        messages.error(request, f"Tick 1 to {sending.MOST_TICKED:,} candidates first.")
        return redirect(back)
    if len(ids) == 1 and not Candidate.objects.filter(pk=ids[0]).exists():
        back = reverse("candidates")
    report = sending.send(ids, chosen, priority, request.user)
    (messages.success if report.done else messages.warning)(request, f"To “{chosen}”. {report.in_words()}")
    return redirect(back)
