from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie

from accounts.roles import requires
from adproof.labels import LABELS, RULES, TITLES, Label
from annotation.models import Project

EXAMPLES_PER_LABEL = 3


def labels_with_examples() -> list[dict[str, Any]]:
    return [
        {
            "number": int(label),
            "key": str(label + 1),
            "title": TITLES[label],
            "rule": RULES[label],
            "example": static(f"annotation/examples/{label}-1.webp"),
        }
        for label in Label
    ]


def _chosen_project(request: HttpRequest) -> Project | None:
    asked = request.GET.get("project", "")
    if asked:
        return get_object_or_404(Project, pk=int(asked) if asked.isdigit() else 0)
    return Project.objects.filter(is_paused=False).order_by("id").first() or Project.objects.first()


@requires("label")
@ensure_csrf_cookie
def desk(request: HttpRequest) -> HttpResponse:
    project = _chosen_project(request)
    api = reverse("desk-lease").removesuffix("lease")
    return render(
        request,
        "annotation/desk.html",
        {
            "project": project,
            "projects": Project.objects.order_by("id"),
            "labels": labels_with_examples(),
            "settings": {
                "user": request.user.pk,
                "project": project.pk if project else None,
                "api": api,
                "labels": [TITLES[label] for label in Label],
            },
        },
    )


@requires("label")
def guidelines(request: HttpRequest) -> HttpResponse:
    return render(request, "annotation/guidelines.html", {"project": _chosen_project(request), "labels": LABELS})
