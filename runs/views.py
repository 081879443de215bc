import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Case, Q, Value, When
from django.db.models.expressions import Window
from django.db.models.functions import Mod, RowNumber
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from accounts.roles import requires
from config.paging import newest_first
from runs import actions
from runs.kinds import alike, panel_of, title_of, titles, upkeep, words_of
from runs.models import Run
from runs.steering import may_steer, refuse_others

PAGE_SIZE = 40
EVERY_KIND = "every"
PARTS_SHOWN = 64
EVENTS_SHOWN = 100
LOG_TAIL_BYTES = 24_000
CURVE_POINTS = 400
FIGURES_IN_A_TILE = 12
_AT_WORK_FIRST = Case(
    When(state=Run.State.RUNNING, then=Value(0)), When(state=Run.State.FAILED, then=Value(1)), default=Value(2)
)


def _steered_run(request: HttpRequest, pk: int) -> Run:
    run = get_object_or_404(Run, pk=pk)
    refuse_others(request.user, run)
    return run


@requires("see_runs")
@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    state, kind = request.GET.get("state", ""), request.GET.get("kind", "")
    rows = Run.objects.top_level().select_related("created_by").light()
    if state == "unfinished":
        rows = rows.unfinished()
    elif state == Run.State.RUNNING:
        rows = rows.filter(state__in=[state, Run.State.WAITING])  # by itself or by its parts: one word for both
    elif state in Run.State.values:
        rows = rows.filter(state=state)
    if kind and kind != EVERY_KIND:
        rows = rows.filter(kind__in=alike(kind))
    elif not kind and not state:
        rows = rows.exclude(kind__in=upkeep(), state=Run.State.SUCCEEDED)
    states = [(value, title) for value, title in Run.State.choices if value != Run.State.WAITING]
    context = {
        "page": newest_first(request, rows, PAGE_SIZE), "state": state, "kind": kind, "states": states,
        "kinds": [(EVERY_KIND, "Any, with upkeep"), *titles()],
    }  # fmt: skip
    return render(request, "runs/runs.html#rows" if request.htmx else "runs/runs.html", context)


@requires("see_runs")
@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """The page, or for htmx its live part; the last of these ends the polling."""
    run = get_object_or_404(Run.objects.select_related("created_by", "parent"), pk=pk)
    # Those at work first, then what is still to come.
    parts = list(run.parts.light().order_by(_AT_WORK_FIRST, "pk")[: PARTS_SHOWN + 1])
    panel = panel_of(run.kind)
    context = {
        "run": run,
        "parts": parts[:PARTS_SHOWN],
        "has_more_parts": len(parts) > PARTS_SHOWN,
        "events": run.events.order_by("-pk")[:EVENTS_SHOWN],
        "problems": run.import_problems.order_by("pk")[:EVENTS_SHOWN],
        "facts": _facts(run),
        "result": {} if panel else _figures(run.result or {}),
        "kind": title_of(run.kind),
        "panel_url": reverse(panel, args=[run.pk]) if panel else "",
        "may_pause": run.state == Run.State.WAITING and not run.stop_requested and bool(parts),
        # With its budget used up it would end at once: its panel asks for another budget.
        "may_resume": run.state in {Run.State.PAUSED, *Run.RESUMABLE} - {Run.State.SPENT if panel else None},
        "may_steer": may_steer(request.user, run),
        "has_metrics": (not run.is_finished and not panel) or run.metrics.exists(),
    }
    if not request.htmx:
        return render(request, "runs/run.html", {**context, "log": _tail(run)})
    if run.is_finished:
        return HttpResponseStopPolling(render_to_string("runs/run.html#live", context, request=request))
    return render(request, "runs/run.html#live", context)


def _facts(run: Run) -> dict[str, Any]:
    """What was asked for, in the words of its kind and in their order; the rest under the names it has."""
    words = words_of(run.kind)
    names = [*words, *(name for name in run.params if name not in words and name != "asked")]
    told = {words.get(name, name.replace("_", " ")): run.params.get(name) for name in names}
    return {called: value for called, value in told.items() if called and isinstance(value, (str, int, float))}


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    """What fits into a tile. The tables that a run leaves for pages of their own (people, hours, pairs) do not."""

    def is_plain(value: Any) -> bool:
        return not isinstance(value, (dict, list))

    def fits(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return len(inner) <= FIGURES_IN_A_TILE and all(map(is_plain, inner))

    return {name: value for name, value in result.items() if fits(value)}


def _tail(run: Run) -> str:
    path = Path(settings.RUN_LOGS_DIR) / f"{run.pk}.log"
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text if size <= LOG_TAIL_BYTES else text.partition("\n")[2]


@requires("see_runs")
@require_safe
def log_tail(request: HttpRequest, pk: int) -> HttpResponse:
    run = get_object_or_404(Run, pk=pk)
    content = render_to_string("runs/run.html#log", {"run": run, "log": _tail(run)}, request=request)
    return HttpResponseStopPolling(content) if run.is_finished else HttpResponse(content)


@requires("see_runs")
@require_safe
def metrics(request: HttpRequest, pk: int) -> JsonResponse:
    """{"finished": bool, "series": {name: [[step, value], ...]}}, thinned to CURVE_POINTS steps."""
    run = get_object_or_404(Run, pk=pk)
    every = max(1, math.ceil(run.metrics.count() / CURVE_POINTS))
    rows = run.metrics.annotate(place=Mod(Window(RowNumber(), order_by="pk"), every))
    # A resumed run reports some steps again: the later report counts.
    by_step: dict[int, dict[str, Any]] = {}
    for step, values in rows.filter(Q(place=0)).order_by("pk").values_list("step", "values"):
        by_step[step] = {**by_step.get(step, {}), **values}
    series: dict[str, list[list[float]]] = defaultdict(list)
    for step in sorted(by_step):
        for name, value in by_step[step].items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                series[name].append([step, value])
    return JsonResponse({"finished": run.is_finished, "series": series})


@requires("see_runs")
@require_POST
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    run = _steered_run(request, pk)
    if actions.stop_run(run):
        messages.success(request, "It stops at its next step. What is done stays, and it can be resumed.")
    else:
        messages.info(request, "This run had already ended.")
    return redirect("run", run.parent_id or run.pk)


@requires("see_runs")
@require_POST
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    run = _steered_run(request, pk)
    if actions.pause_run(run):
        messages.success(request, "Paused. What is in hand is finished; the rest waits until you resume it.")
    else:
        messages.info(request, "Only a run that is working in parts can be paused.")
    return redirect("run", run.pk)


@requires("see_runs")
@require_POST
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    run = _steered_run(request, pk)
    if actions.resume_run(run):
        messages.success(request, "It goes on from what is already there.")
    else:
        messages.info(
            request, "There is nothing to resume: this run is not at rest, or another one does the same by now."
        )
    return redirect("run", run.pk)
