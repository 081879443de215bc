"""The page where people choose between two pictures."""

from __future__ import annotations

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from accounts.roles import requires
from annotation.actions import COUNT_AT_MOST
from annotation.models import Pair, Project


@requires("label")
@require_safe
@ensure_csrf_cookie
def pairs(request: HttpRequest) -> HttpResponse:
    projects = list(Project.objects.filter(Exists(Pair.objects.filter(project=OuterRef("pk")))).order_by("id"))
    asked = request.GET.get("project", "")
    if asked:
        is_number = asked.isascii() and asked.isdigit() and len(asked) < 19
        project = get_object_or_404(Project, pk=int(asked) if is_number else 0)
    else:
        project = next((row for row in projects if not row.is_paused), projects[0] if projects else None)
    settings = {
        "user": request.user.pk,
        "project": project.pk if project else None,
        "api": reverse("pairs-lease").removesuffix("lease"),
        "countAtMost": COUNT_AT_MOST,
    }
    return render(request, "annotation/pairs.html", {"project": project, "projects": projects, "settings": settings})
