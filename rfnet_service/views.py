from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.encoding import iri_to_uri
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from config.paging import newest_first
from rfnet_service import actions, figures
from rfnet_service.models import Checkpoint
from rfnet_service.verdict_counts import verdict_counts
from runs.models import Run

PAGE_SIZE = 30


def back(request: HttpRequest, otherwise: str, *args: Any) -> HttpResponse:
    """To the page that the form came from, when it is one of ours."""
    wanted = request.POST.get("next", "")
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
        return HttpResponseRedirect(iri_to_uri(wanted))
    return redirect(otherwise, *args)


@requires("train")
@require_safe
def checkpoints(request: HttpRequest) -> HttpResponse:
    page = newest_first(request, Checkpoint.objects.select_related("dataset_version").defer("config"), PAGE_SIZE)
    context = {
        "page": page,
        "rows": [{"row": row, "figures": figures.headline(row)} for row in page.rows],
        "in_use": actions.promoted(),
    }
    template = "rfnet_service/checkpoints.html"
    return render(request, f"{template}#rows" if request.htmx else template, context)


@requires("train")
@require_safe
def checkpoint(request: HttpRequest, pk: int) -> HttpResponse:
    """The page; what is counted over the verdicts is asked for apart, for it takes a moment with a million of them."""
    row = get_object_or_404(Checkpoint.objects.select_related("dataset_version", "run"), pk=pk)
    if request.htmx and "verdicts" in request.GET:
        return verdicts(request, row)
    context = {
        "checkpoint": row,
        "in_use": actions.promoted(),
        "training": row.made_by.order_by("pk").first(),
        "settings": settings_shown(row.config),
        **figures.of(row),
    }
    return render(request, "rfnet_service/checkpoint.html", context)


def settings_shown(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if isinstance(value, (str, int, float)) and value != ""}


def verdicts(request: HttpRequest, row: Checkpoint) -> HttpResponse:
    scoring = Run.objects.unfinished().filter(key=f"score/{row.pk}").first()
    response = render(
        request,
        "rfnet_service/checkpoint.html#verdicts",
        {"checkpoint": row, "scoring": scoring, **statistics(row)},
    )
    if scoring is None and "was-scoring" in request.GET:
        response["HX-Refresh"] = "true"
    return response


def statistics(row: Checkpoint) -> dict[str, Any]:
    found: dict[str, Any] = verdict_counts(row.pk)
    return found


@requires("promote")
@require_POST
def checkpoint_promote(request: HttpRequest, pk: int) -> HttpResponse:
    row = get_object_or_404(Checkpoint, pk=pk)
    earlier = actions.promoted()
    actions.promote(row)
    instead = f" instead of {earlier}" if earlier and earlier != row else ""
    messages.success(request, f"{row} is in use{instead}. Let it judge the candidates it has not seen.")
    return back(request, "checkpoint", pk)


@requires("train")
@require_POST
def checkpoint_score(request: HttpRequest, pk: int) -> HttpResponse:
    row = get_object_or_404(Checkpoint, pk=pk)
    try:
        run = actions.start_scoring(row, user=request.user)
    except actions.CannotScore as problem:
        messages.info(request, str(problem))
    else:
        messages.success(request, f"{run.title}: it is on its way.")
    return back(request, "checkpoint", pk)
