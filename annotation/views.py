from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from accounts.roles import requires
from adproof.labels import RULES, TITLES, Label
from annotation import desk_keys, guidelines
from annotation.actions import COUNT_AT_MOST
from annotation.models import Project
from config.numbers import id_of

# What desk.js imports, named so that the browser fetches all of it at once.
DESK_MODULES = (
    "api", "details", "figures", "history", "keys", "notices", "outbox", "panel", "pictures", "queue", "store", "viewer",
    "watch",
)  # fmt: skip


def labels_with_examples(project: Project | None = None) -> list[dict[str, Any]]:
    """One example each: the first that the project's guidelines choose, or a built-in one."""
    own = guidelines.examples_of(guidelines.in_force(project)) if project else {}
    return [
        {
            "number": int(label),
            "key": str(label + 1),
            "title": TITLES[label],
            "rule": RULES[label],
            "example": reverse("thumbnail", args=[192, own[label][0].image_sha256])
            if own.get(label)
            else static(f"annotation/examples/{label}-1.webp"),
        }
        for label in Label
    ]


def chosen_project(request: HttpRequest) -> Project | None:
    asked = request.GET.get("project", "")
    if asked:
        return get_object_or_404(Project, pk=id_of(asked) or 0)
    projects = Project.objects.order_by("id")
    return projects.filter(is_paused=False).first() or projects.first()


@requires("label")
@require_safe
@ensure_csrf_cookie
def desk(request: HttpRequest) -> HttpResponse:
    project = chosen_project(request)
    keys = desk_keys.of(request.user)
    settings = {
        "user": request.user.pk,
        "project": project.pk if project else None,
        "api": reverse("desk-lease").removesuffix("lease"),
        "labels": [TITLES[label] for label in Label],
        "countAtMost": COUNT_AT_MOST,
        "asksDetails": bool(project and project.asks_details),
        "assists": bool(project and project.assists),
        "keys": keys,
        "usualKeys": desk_keys.USUAL,
        "alsoKeys": desk_keys.ALSO,
        "actions": desk_keys.ACTIONS,
        "signs": desk_keys.SIGNS,
    }
    labels = [{**label, "action": f"label-{label['number']}"} for label in labels_with_examples(project)]
    context = {
        "project": project,
        "projects": Project.objects.order_by("id"),
        "labels": [{**label, "key": desk_keys.sign(keys[label["action"]])} for label in labels],
        "signs": {action: desk_keys.sign(key) for action, key in keys.items()},
        "modules": DESK_MODULES,
        "settings": settings,
    }
    return render(request, "annotation/desk.html", context)
