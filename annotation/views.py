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
from annotation import desk_keys
from annotation.actions import COUNT_AT_MOST
from annotation.models import Consensus, Project

EXAMPLES_PER_LABEL = 3
# What desk.js imports, named so that the browser fetches all of it at once.
DESK_MODULES = (
    "api", "details", "figures", "history", "keys", "notices", "outbox", "panel", "pictures", "queue", "store", "viewer",
)  # fmt: skip


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
        return get_object_or_404(Project, pk=int(asked) if asked.isdigit() and len(asked) < 19 else 0)
    projects = Project.objects.order_by("id")
    return projects.filter(is_paused=False).first() or projects.first()


@requires("label")
@require_safe
@ensure_csrf_cookie
def desk(request: HttpRequest) -> HttpResponse:
    project = _chosen_project(request)
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
    labels = [{**label, "action": f"label-{label['number']}"} for label in labels_with_examples()]
    context = {
        "project": project,
        "projects": Project.objects.order_by("id"),
        "labels": [{**label, "key": desk_keys.sign(keys[label["action"]])} for label in labels],
        "signs": {action: desk_keys.sign(key) for action, key in keys.items()},
        "modules": DESK_MODULES,
        "settings": settings,
    }
    return render(request, "annotation/desk.html", context)


@requires("label")
@require_safe
def guidelines(request: HttpRequest) -> HttpResponse:
    labels = labels_with_examples()
    for label in labels:
        label["examples"] = _agreed(label["number"]) or [
            static(f"annotation/examples/{label['number']}-{number}.webp")
            for number in range(1, EXAMPLES_PER_LABEL + 1)
        ]
    context = {"project": _chosen_project(request), "labels": labels}
    return render(request, "annotation/guidelines.html", context)


def _agreed(label: int) -> list[str]:
    """Real candidates on which three people or more agree; few pictures would teach chance, so all or none."""
    rows = (
        Consensus.objects.filter(label=label, agreement=1, annotation_count__gte=3, is_complete=True)
        .filter(candidate__product__unsuitable=False)
        .order_by("-id")
        .values_list("candidate__image_sha256", flat=True)[:EXAMPLES_PER_LABEL]
    )
    urls = [reverse("thumbnail", args=[384, sha256]) for sha256 in rows]
    return urls if len(urls) == EXAMPLES_PER_LABEL else []
