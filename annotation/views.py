from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import LABELS, RULES, TITLES, Label
from annotation import desk_keys, figures, quality
from annotation.actions import COUNT_AT_MOST
from annotation.models import Consensus, Project
from annotation.tables import as_csv

EXAMPLES_PER_LABEL = 3
SURE = 0.9
DISPUTED_A_PAGE = 12
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


@requires("see_quality")
@require_safe
def quality_page(request: HttpRequest) -> HttpResponse:
    quality.fit_if_due()
    rows = figures.disputed(DISPUTED_A_PAGE + 1, _after(request))
    context = {
        "progress": figures.progress(),
        "throughput": figures.bars(figures.throughput()),
        "mix": figures.label_mix(),
        "annotators": figures.annotators(),
        "disputed": rows[:DISPUTED_A_PAGE],
        "next_disputed": rows[DISPUTED_A_PAGE - 1] if len(rows) > DISPUTED_A_PAGE else None,
        **_fit_state(),
    }
    if request.htmx and request.GET.get("part") == "disputed":
        return render(request, "annotation/quality.html#disputed", context)
    return render(request, "annotation/quality.html", context)


def _after(request: HttpRequest) -> tuple[float, int] | None:
    """Where the next page of disputed candidates begins: "agreement:id" of the last one shown."""
    asked = request.GET.get("after", "")
    if not asked:
        return None
    try:
        agreement, pk = asked.split(":")
        return float(agreement), int(pk)
    except ValueError:
        raise Http404("There is no such page.") from None


def _fit_state() -> dict[str, Any]:
    return {"fit": quality.last_fit(), "running": quality.running_fit()}


@requires("see_quality")
@require_safe
def fit_status(request: HttpRequest) -> HttpResponse:
    """Polled while a fit runs; when it is done the whole page is loaded again with the new numbers."""
    state = _fit_state()
    response = render(request, "annotation/quality.html#fit", state)
    if state["running"] is None:
        response["HX-Refresh"] = "true"
    return response


@requires("see_quality")
@require_POST
def refit(request: HttpRequest) -> HttpResponse:
    quality.start_fit(request.user)
    messages.success(request, "The consensus is being fitted anew. This page shows it when it is done.")
    return redirect("quality")


@requires("see_quality")
@require_safe
def quality_table(request: HttpRequest, name: str) -> HttpResponse:
    if name not in _TABLES:
        raise Http404("There is no such table.")
    head, rows = _TABLES[name]()
    return as_csv(f"adproof-{name}", head, rows)


def _annotator_table() -> tuple[list[str], list[list[Any]]]:
    head = ["annotator", "answers", "median_seconds", "agreement_with_consensus", "accuracy", "simulated"]
    return head, [
        [
            row.annotator.username, row.annotation_count, row.median_seconds, row.agreement, row.accuracy,
            int(row.annotator.is_simulated),
        ]
        for row in figures.annotators()
    ]  # fmt: skip


def _throughput_table() -> tuple[list[str], list[list[Any]]]:
    return ["hour_utc", "answers"], [[row["hour"].isoformat(), row["count"]] for row in figures.throughput()]


def _mix_table() -> tuple[list[str], list[list[Any]]]:
    return ["label", "candidates", "share"], [
        [LABELS[row["number"]], row["count"], row["share"]] for row in figures.label_mix()
    ]


def _disputed_table() -> tuple[list[str], list[list[Any]]]:
    head = ["candidate", "product", "consensus", "agreement", "answers", "who_said_what"]
    return head, [
        [
            row.candidate_id, row.candidate.product.title, LABELS[row.label], row.agreement, row.annotation_count,
            "; ".join(f"{vote.annotator.username}: {LABELS[vote.label]}" for vote in row.votes),
        ]
        for row in figures.disputed(1000)
    ]  # fmt: skip


_TABLES = {
    "annotators": _annotator_table,
    "throughput": _throughput_table,
    "labels": _mix_table,
    "disputed": _disputed_table,
}
