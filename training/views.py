from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from annotation.models import Project
from config.numbers import id_of
from config.paging import newest_first
from rfnet_service import figures
from rfnet_service.actions import promoted
from rfnet_service.models import Checkpoint
from rfnet_service.verdict_counts import verdict_counts
from rfnet_service.views import back
from runs.actions import resume_run, start_run, stop_run
from runs.models import Run
from runs.steering import may_steer, refuse_others
from training import rounds as round_facts
from training.actions import CannotTrain, start_training
from training.forms import FORMS, OpenRoundForm, judged_share_note
from training.models import Round, Training

PAGE_SIZE = 30
EVENTS_SHOWN = 8


@requires("train")
@require_safe
def trainings(request: HttpRequest) -> HttpResponse:
    rows = Training.objects.select_related(
        "run", "dataset_version", "generator", "checkpoint", "tuned_generator", "created_by"
    )
    page = newest_first(request, rows, PAGE_SIZE)
    shown = [
        {"row": row, "figures": figures.headline(row.checkpoint) if row.checkpoint else {}, "result": result_of(row)}
        for row in page.rows
    ]
    context = {"page": page, "rows": shown, "is_busy": any(row.run and not row.run.is_finished for row in page.rows)}
    if request.htmx:
        part = "table" if "now" in request.GET else "rows"
        return render(request, f"training/trainings.html#{part}", context)
    return render(request, "training/trainings.html", context)


def result_of(training: Training) -> dict[str, Any]:
    return training.run.result if training.run and training.run.state == Run.State.SUCCEEDED else {}


def live(training: Training, user: Any) -> dict[str, Any]:
    """What changes while it runs; the page here and the panel in the admin show the same."""
    run = training.run
    return {
        "training": training, "run": run, "events": list(run.events.order_by("-pk")[:EVENTS_SHOWN]) if run else [],
        "may_steer": bool(run and may_steer(user, run)),
    }  # fmt: skip


@requires("train")
@require_safe
def training(request: HttpRequest, pk: int) -> HttpResponse:
    rows = Training.objects.select_related(
        "run", "dataset_version", "generator", "feedback", "checkpoint", "tuned_generator", "created_by"
    )
    row = get_object_or_404(rows, pk=pk)
    context = live(row, request.user)
    if request.htmx:
        response = render(request, "training/live.html", context)
        if row.run is None or row.run.is_finished:
            response["HX-Refresh"] = "true"  # curves, figures and the checkpoint come with the whole page
        return response
    context |= {"result": result_of(row), "in_use": promoted()}
    if row.checkpoint:
        context |= figures.of(row.checkpoint)
    return render(request, "training/training.html", context)


@requires("train")
@require_http_methods(["GET", "HEAD", "POST"])
def training_start(request: HttpRequest) -> HttpResponse:
    kind = request.POST.get("kind") or request.GET.get("kind", "rfnet")
    kind = kind if kind in FORMS else "rfnet"
    initial = {
        name: request.GET[key]
        for name, key in (("dataset_version", "version"), ("feedback", "feedback"), ("generator", "generator"))
        if id_of(request.GET.get(key, "")) is not None
    }
    form = FORMS[kind](request.POST if request.method == "POST" else None, initial=initial)
    if form.is_bound and form.is_valid():
        made = form.training()
        try:
            start_training(made, user=request.user)
        except CannotTrain as problem:
            form.add_error(None, str(problem))
        else:
            return redirect("training", made.pk)
    context = {"form": form, "kind": kind, "missing": missing(kind)}
    return render(request, "training/start.html", context, status=422 if form.is_bound else 200)


def missing(kind: str) -> str:
    """What has to be there first: "version", "checkpoint", or nothing."""
    form = FORMS[kind]()
    if kind == "rfnet":
        return "" if form.fields["dataset_version"].queryset.exists() else "version"
    return "" if Checkpoint.objects.exists() else "checkpoint"


def _steered(request: HttpRequest, pk: int) -> Training:
    row = get_object_or_404(Training.objects.select_related("run"), pk=pk, run__isnull=False)
    refuse_others(request.user, row.run)
    return row


@requires("train")
@require_POST
def training_stop(request: HttpRequest, pk: int) -> HttpResponse:
    row = _steered(request, pk)
    if stop_run(row.run):
        messages.success(request, "It stops at its next step and can be resumed from there.")
    else:
        messages.info(request, "This training had already ended.")
    return back(request, "training", pk)


@requires("train")
@require_POST
def training_resume(request: HttpRequest, pk: int) -> HttpResponse:
    row = _steered(request, pk)
    if resume_run(row.run):
        messages.success(request, "It goes on from its last step.")
    else:
        messages.info(request, "There is nothing to resume: this training is not stopped or failed.")
    return back(request, "training", pk)


@requires("train")
@require_http_methods(["GET", "HEAD", "POST"])
def rounds(request: HttpRequest) -> HttpResponse:
    form = OpenRoundForm(request.POST if request.method == "POST" else None, initial={"seed": next_number()})
    if form.is_bound and form.is_valid():
        start_run(
            "open_round",
            form.params(),
            title=f"Pick {form.cleaned_data['count']:,} candidates for round {next_number()}",
            user=request.user,
            key=f"open_round/{form.cleaned_data['project'].pk}",
        )
        messages.success(request, "RFNet is picking. The round appears here in a moment.")
        return redirect("rounds")
    opening = Run.objects.unfinished().filter(kind="open_round").first()
    if request.htmx and "now" in request.GET:
        response = render(request, "training/rounds.html#now", {"opening": opening})
        if opening is None:
            response["HX-Refresh"] = "true"
        return response
    page = newest_first(request, Round.objects.select_related("picked_by", "dataset_version", "checkpoint"), PAGE_SIZE)
    done = round_facts.progress(page.rows)
    context: dict[str, Any] = {
        "page": page,
        "rows": [{"row": row, "progress": done[row.number], "effect": ap_of(row)} for row in page.rows],
    }
    if request.htmx:
        return render(request, "training/rounds.html#rows", context)
    in_use = promoted()
    context |= {
        "form": form, "opening": opening, "in_use": in_use, "who_picks": judged_share_note(),
        "unjudged": verdict_counts(in_use.pk)["unjudged"] if in_use else 0, "projects": Project.objects.exists(),
        "newest": round_facts.shown(page.rows[0]) if page.rows and page.is_first else None,
    }  # fmt: skip
    return render(request, "training/rounds.html", context, status=422 if form.is_bound else 200)


def next_number() -> int:
    return (Round.objects.order_by("-number").values_list("number", flat=True).first() or 0) + 1


def ap_of(row: Round) -> figures.Compared | None:
    return next((one for one in round_facts.effect(row) if one.title == "Average precision"), None)


@requires("train")
@require_safe
def round(request: HttpRequest, number: int) -> HttpResponse:
    rows = Round.objects.select_related("picked_by", "dataset_version", "checkpoint", "project")
    row = get_object_or_404(rows, number=number)
    return render(request, "training/round.html", {"shown": round_facts.shown(row), "row": row})


@requires("train")
@require_POST
def judge_all(request: HttpRequest) -> HttpResponse:
    """Verdicts of the RFNet in use on all that lack one: what a round picks by."""
    if promoted() is None:
        messages.error(request, "No RFNet is in use: train one and promote it.")
    else:
        start_run("score_all", {}, user=request.user, key="score_all")
        messages.success(request, "RFNet judges what it has not judged yet.")
    return redirect("rounds")
