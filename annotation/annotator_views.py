"""Who labels, how, and a page of each. Reasons to look and to talk, for those who see quality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.models import User
from accounts.roles import requires
from annotation import annotator_figures, annotator_page, figures
from annotation.tables import as_csv

MOST_SHOWN = 500
PICTURES = 10


@requires("see_quality")
@require_safe
def annotators(request: HttpRequest) -> HttpResponse:
    now = figures.facts()
    sort = request.GET.get("sort", "")
    if sort.removeprefix("-") not in annotator_figures.SORTS:
        sort = annotator_figures.USUAL
    rows = annotator_figures.people(now)
    context = {
        "fit": now.fit,
        "crowd_seconds": now.result.get("median_seconds"),
        "rows": annotator_figures.ordered(rows, sort)[:MOST_SHOWN],
        "count": len(rows),
        "most": MOST_SHOWN,
        "heads": [_head(name, title, sort) for name, title in annotator_figures.SORTS.items()],
    }
    return render(request, "annotation/annotators.html", context)


def _head(name: str, title: str, sort: str) -> dict[str, str]:
    """A column's head: pressed once, most first (names: A first); again, the other way."""
    falling, rising = sort == f"-{name}", sort == name
    first = name if name == "name" else f"-{name}"
    other = name if falling else f"-{name}"
    return {
        "name": name,
        "title": title,
        "sort": other if falling or rising else first,
        "aria": "descending" if falling else "ascending" if rising else "",
    }


@requires("see_quality")
@require_safe
def annotator(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    now = figures.facts()
    history = annotator_page.History.of(user)
    differing, n_compared = annotator_page.differing(user)
    context = {
        "person": annotator_figures.person(now, user),
        "crowd_seconds": now.result.get("median_seconds"),
        "fit": now.fit,
        "counts": annotator_page.counts(user),
        "plots": [
            (plot, reverse("annotator-table", args=[pk, plot.name]))
            for plot in annotator_page.plots_of(now, user, history)
        ],
        "is_cut": history.answers >= annotator_page.MOST_ANSWERS,
        "most_answers": annotator_page.MOST_ANSWERS,
        "confusion": annotator_page.confusion(now, user),
        "differing": annotator_page.with_pictures(differing[:PICTURES]),
        "n_differing": len(differing),
        "n_compared": n_compared,
        "latest": annotator_page.latest(user, PICTURES // 2),
        "sent_back": annotator_page.sent_back(user),
        "pairs": annotator_page.pairs(now, user),
        "sees_gold": _sees_gold(request),
        "may_review": request.user.may("review"),
    }
    if context["sees_gold"]:
        missed, n_gold = annotator_page.gold_answers(user)
        context |= {
            "missed": annotator_page.with_pictures(missed[:PICTURES]), "n_missed": len(missed), "n_gold": n_gold,
        }  # fmt: skip
    return render(request, "annotation/annotator.html", context)


def _sees_gold(request: HttpRequest) -> bool:
    """Reviewers label as well: which candidates are gold is for those who manage tasks."""
    return bool(request.user.may("manage_tasks"))


@requires("see_quality")
@require_safe
def annotator_table(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    now = figures.facts()
    if name in ("answers", "pace", "labels"):
        found = annotator_page.plots_of(now, user, annotator_page.History.of(user))
        return next(plot for plot in found if plot.name == name).csv(f"adproof-annotator-{pk}")
    if name not in _TABLES:
        raise Http404("There is no such table.")
    if name == "gold" and not _sees_gold(request):
        raise PermissionDenied("Which candidates are gold is for those who manage tasks.")
    head, rows = _TABLES[name](now, user)
    return as_csv(f"adproof-annotator-{pk}-{name}", head, rows)


_Table = tuple[list[str], list[list[Any]]]
_TABLES: dict[str, Callable[[figures.Facts, User], _Table]] = {
    "confusion": annotator_page.confusion_table,
    "gold": lambda now, user: annotator_page.compared_table(annotator_page.gold_answers(user)[0], "gold"),
    "differing": lambda now, user: annotator_page.compared_table(annotator_page.differing(user)[0], "consensus"),
    "sent-back": lambda now, user: annotator_page.sent_back_table(user),
    "pairs": annotator_page.pairs_table,
}
