"""The gallery: candidates by a filter, one candidate with everything about it, and what can be had from it."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from accounts.roles import requires
from adproof.labels import TITLES
from config.numbers import id_of
from config.paging import Page
from generation import gallery
from generation.gallery import with_labels
from generation.gallery_filter import GalleryFilter
from generation.models import Candidate, Prompt
from generation.planning import CannotStart, start_generation
from generation.settings_of import settings_of
from runs.actions import digest_of, start_run
from runs.models import Run

PAGE_SIZE = 40
MOST_MORE = 50
REMAKE = "remake"


def _id(request: HttpRequest, name: str) -> int | None:
    return id_of(request.GET.get(name, ""))


def _address(path: str, query: dict[str, Any], **more: Any) -> str:
    return f"{path}?{urlencode({**query, **more})}" if query or more else path


@requires("see_candidates")
@require_safe
def candidates(request: HttpRequest) -> HttpResponse:
    """?before=ID or ?after=ID: the page older or newer than that one."""
    form = GalleryFilter(request.GET)
    before, after = _id(request, "before"), _id(request, "after")
    found = gallery.look(form.chosen(), PAGE_SIZE, before=before, after=None if before else after)
    query, rows = form.query, gallery.rows_of(found.ids)
    oldest, newest = found.edge, None
    if before:
        newest = found.ids[0] if found.ids else before - 1
    elif after is not None:
        oldest, newest = (found.ids[-1] if found.ids else after + 1), found.edge
    older_url = _address(request.path, query, before=oldest) if oldest is not None else ""
    context: dict[str, Any] = {
        "form": form, "page": Page(rows, older_url, not (before or after)), "query": urlencode(query),
        "newer_url": _address(request.path, query, after=newest) if newest is not None else "",
        "ticks": request.user.may("manage_tasks"), "looked_on": bool(before),
        "looked_to": None if found.is_full or found.edge is None else found.edge,
    }  # fmt: skip
    if request.htmx:
        return render(request, "generation/candidates.html#rows", context)
    if request.user.may("manage_tasks"):
        context["projects"] = apps.get_model("annotation", "Project").objects.order_by("name")
    return render(request, "generation/candidates.html", context)


@requires("see_candidates")
@require_safe
def candidate(request: HttpRequest, pk: int) -> HttpResponse:
    rows = Candidate.objects.select_related("product", "prompt", "generator", "run", "consensus")
    row = get_object_or_404(rows, pk=pk)
    attempts = list(with_labels(Candidate.objects.filter(draw=row.draw)).order_by("attempt", "pk"))
    verdicts = list(row.verdicts.select_related("checkpoint").order_by("-checkpoint__is_promoted", "-pk")[:10])
    annotations = []
    if request.user.may("see_quality"):
        annotations = list(row.annotations.select_related("annotator").order_by("-created_at")[:50])
    consensus = getattr(row, "consensus", None)
    form = GalleryFilter(request.GET)
    context = {
        "candidate": row,
        "attempts": attempts if len(attempts) > 1 else [],
        "consensus": consensus,
        "consensus_bars": bars(consensus.posterior) if consensus else [],
        "verdict_in_use": next((verdict for verdict in verdicts if verdict.checkpoint.is_promoted), None),
        "verdicts": [{"row": verdict, "bars": bars(verdict.probs)} for verdict in verdicts],
        "annotations": annotations,
        "says_now": _says_now(row),
        "settings_json": json.dumps(settings_of(row), indent=2, ensure_ascii=False),
        "once": secrets.token_hex(8),
        "query": urlencode(form.query),
        "back_url": _address(reverse("candidates"), form.query),
        "remade": Run.objects.filter(kind=REMAKE, key=_remake_key(row)).order_by("-pk").first(),
        **_neighbours(form, row),
    }
    if request.user.may("manage_tasks"):
        context["projects"] = apps.get_model("annotation", "Project").objects.order_by("name")
        context["tasks"] = list(row.tasks.select_related("project").order_by("project__name"))
    return render(request, "generation/candidate.html", context)


def _says_now(row: Candidate) -> dict[str, Any]:
    """What its prompt would ask for today, where that is something else; "more like this" draws with that."""
    if row.generator.kind == row.generator.IMPORTED:
        return {}
    try:
        words = row.prompt.words(row.product, row.seed)
    except ValueError as problem:
        return {"problem": str(problem)}
    drawn_with = (row.prompt_text, row.negative_text, row.image_scale)
    return {} if drawn_with == (words.text, words.negative, words.image_scale) else {"words": words}


def _neighbours(form: GalleryFilter, row: Candidate) -> dict[str, str]:
    """The next ones of the filter that the page was come to with."""
    query, chosen = form.query, form.chosen()
    older = gallery.look(chosen, 1, before=row.pk).ids
    newer = gallery.look(chosen, 1, after=row.pk).ids
    return {
        "older_url": _address(reverse("candidate", args=[older[0]]), query) if older else "",
        "newer_url": _address(reverse("candidate", args=[newer[0]]), query) if newer else "",
    }


def bars(probabilities: list[float]) -> list[dict[str, Any]]:
    return [{"label": int(label), "title": title, "p": probabilities[label]} for label, title in TITLES.items()]


def _remake_key(row: Candidate) -> str:
    return f"{REMAKE}/{row.pk}"


@requires("generate")
@require_POST
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Draw it once more with its recorded settings; the run says whether the picture is equal to the bit."""
    row = get_object_or_404(Candidate.objects.select_related("generator"), pk=pk)
    if row.generator.kind == row.generator.IMPORTED:
        messages.error(request, f"{row.generator} stands for a generator elsewhere: its pictures can't be drawn here.")
        return redirect("candidate", pk)
    run = start_run(
        REMAKE, {"candidate": row.pk}, title=f"Make candidate {row.pk} again", user=request.user, key=_remake_key(row)
    )
    return redirect("run", run.pk)


@requires("generate")
@require_POST
def more(request: HttpRequest, pk: int) -> HttpResponse:
    """More of this product with this prompt by this generator, with new seeds."""
    row = get_object_or_404(Candidate.objects.select_related("product", "prompt", "generator"), pk=pk)
    count = id_of(request.POST.get("count", "4"))
    if count is None or not 1 <= count <= MOST_MORE:
        messages.error(request, f"Ask for 1 to {MOST_MORE} pictures.")
        return redirect("candidate", pk)
    prompts, once = Prompt.objects.filter(pk=row.prompt_id), request.POST.get("once", "")[:32]
    try:
        run = start_generation(
            products=[row.product], prompts=prompts, generator=row.generator, per_pair=count, user=request.user,
            base_seed=secrets.randbelow(2**31), asked=digest_of(request.user, "more", pk, count, once) if once else "",
        )  # fmt: skip
    except CannotStart as problem:
        messages.error(request, str(problem))
        return redirect("candidate", pk)
    return redirect("run", run.pk)


@requires("see_runs")
@require_safe
def remade(request: HttpRequest, pk: int) -> HttpResponse:
    """A part of the page of the run that made it again: both pictures and whether they are equal."""
    run = get_object_or_404(Run, pk=pk, kind=REMAKE)
    row = Candidate.objects.select_related("product").filter(pk=run.params.get("candidate")).first()
    content = render_to_string("generation/remade.html", {"run": run, "candidate": row}, request=request)
    return HttpResponseStopPolling(content) if run.is_finished and request.htmx else HttpResponse(content)
