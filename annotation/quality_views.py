"""The quality of labels: progress, throughput, agreement, and where one more answer is worth it."""

from __future__ import annotations

import math
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import LABELS
from annotation import annotator_figures, figures, label_browser, plots, quality
from annotation.tables import as_csv
from config.numbers import MAX_ID

DISPUTED_A_PAGE = 10
SUSPECTS = 6
# How many of the least sure may be chosen at once.
CHOICES = (50, 200, 1000, 5000)
UNSURE = {"state": "complete", "order": "unsure"}

Table = tuple[list[str], list[list[Any]]]


@requires("see_quality")
@require_safe
def quality_page(request: HttpRequest) -> HttpResponse:
    rows = figures.disputed(DISPUTED_A_PAGE + 1, _after(request))
    context = {
        "disputed": rows[:DISPUTED_A_PAGE],
        "next_disputed": rows[DISPUTED_A_PAGE - 1] if len(rows) > DISPUTED_A_PAGE else None,
    }
    if request.htmx and request.GET.get("part") == "disputed":
        return render(request, "annotation/quality.html#disputed", context)
    quality.fit_if_due()
    now = figures.facts()
    context |= _fit_state(now) | {
        "progress": _progress(now),
        "throughput": _with_url([plots.by_hour(now), plots.by_day(now)]),
        "mix": _with_url([plots.label_mix(now)]),
        "agreement": _with_url([plots.by_label(now), plots.by_category(now)]),
        "alpha": figures.alpha_in_words(now.result),
        "method": figures.method_in_words(now.result),
        "suspects": annotator_figures.suspects(now)[:SUSPECTS],
        "unsure": figures.worth_one_more(now),
        "choices": CHOICES,
        "may_ask": request.user.may("manage_tasks"),
        "may_review": request.user.may("review"),
    }
    return render(request, "annotation/quality.html", context)


def _progress(now: figures.Facts) -> list[dict[str, Any]]:
    today = figures.answers_by_project(now)
    return [{**row, "answers": today.get(row["project"].pk, 0)} for row in figures.progress()]


def _with_url(found: list[plots.Plot]) -> list[tuple[plots.Plot, str]]:
    return [(plot, reverse("quality-table", args=[plot.name])) for plot in found]


def _after(request: HttpRequest) -> tuple[float, int] | None:
    """Where the next page of disputed candidates begins: "agreement:candidate" of the last one shown."""
    asked = request.GET.get("after", "")
    if not asked:
        return None
    agreement, _, candidate = asked.partition(":")
    try:
        found = float(agreement), int(candidate)
    except ValueError:
        raise Http404("There is no such page.") from None
    if not (math.isfinite(found[0]) and 0 <= found[1] <= MAX_ID):
        raise Http404("There is no such page.")
    return found


def _fit_state(now: figures.Facts) -> dict[str, Any]:
    news = sum(row.count for row in now.news)
    return {"fit": now.fit, "news": news, "most_news": figures.MOST_NEWS, "running": quality.running_fit()}


@requires("see_quality")
@require_safe
def fit_status(request: HttpRequest) -> HttpResponse:
    """Polled while a fit runs; when it is done the whole page is loaded again with the new numbers."""
    running = quality.running_fit()
    if running is not None:
        return render(request, "annotation/quality.html#fit", {"running": running})
    response = render(request, "annotation/quality.html#fit", _fit_state(figures.facts()))
    response["HX-Refresh"] = "true"
    return response


@requires("see_quality")
@require_POST
def refit(request: HttpRequest) -> HttpResponse:
    quality.start_fit(request.user)
    messages.success(request, "The consensus is being fitted anew. This page shows it when it is done.")
    return redirect("quality")


@requires("manage_tasks")
@require_POST
def ask_on(request: HttpRequest) -> HttpResponse:
    """Choose the finished candidates most worth one more label; what to do with them is asked on their own page."""
    asked = request.POST.get("most", "")
    if asked not in map(str, CHOICES):
        messages.error(request, f"Choose how many: {', '.join(f'{n:,}' for n in CHOICES)}.")
        return redirect("quality")
    chosen = label_browser.make_snapshot(request.user, UNSURE, most=int(asked))
    if not chosen.count:
        chosen.delete()
        messages.error(request, "No finished candidate has a score yet: refit the consensus first.")
        return redirect("quality")
    messages.success(request, "These are the least sure. “Ask more people” raises how many answers each gets.")
    return redirect("snapshot", chosen.pk)


# --- tables


@requires("see_quality")
@require_safe
def quality_table(request: HttpRequest, name: str) -> HttpResponse:
    now = figures.facts()
    if name in plots.QUALITY:
        return plots.QUALITY[name](now).csv()
    if name not in _TABLES:
        raise Http404("There is no such table.")
    head, rows = _TABLES[name](now)
    return as_csv(f"adproof-{name}", head, rows)


def _agreement_table(now: figures.Facts) -> Table:
    result, fleiss = now.result, now.result.get("fleiss") or {}
    rows = [
        ["krippendorff_alpha", result.get("alpha"), result.get("alpha_low"), result.get("alpha_high"),
         result.get("alpha_items")],
        ["fleiss_kappa", fleiss.get("kappa"), None, None, fleiss.get("candidates")],
        ["cohen_kappa_median_of_pairs", result.get("pair_median"), None, None, result.get("pair_count")],
    ]  # fmt: skip
    head = ["measure", "value", "low", "high", "candidates_or_pairs"]
    return head, rows


def _disputed_table(now: figures.Facts) -> Table:
    return _candidate_table(figures.disputed(1000))


def _unsure_table(now: figures.Facts) -> Table:
    return _candidate_table(figures.worth_one_more(now, most=1000))


def _candidate_table(rows: Any) -> Table:
    head = ["candidate", "product", "consensus", "agreement", "activelab_score", "answers", "who_said_what"]
    return head, [
        [
            row.candidate_id, row.candidate.product.title, LABELS[row.label], row.agreement,
            row.activelab_score, row.annotation_count,
            "; ".join(f"{vote.annotator.username}: {LABELS[vote.label]}" for vote in row.votes),
        ]
        for row in rows
    ]  # fmt: skip


_TABLES = {
    "agreement": _agreement_table,
    "annotators": annotator_figures.table,
    "disputed": _disputed_table,
    "unsure": _unsure_table,
}
