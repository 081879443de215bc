"""A project's pairs, for managers: make them, see how far they are, and what people prefer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.roles import requires
from annotation import pairs, preference_figures
from annotation.models import Preference, Project
from annotation.pair_forms import PairsForm, first_guess
from annotation.plots import Column, Plot, Row
from annotation.preference_figures import Results
from annotation.tables import as_csv, as_csv_stream

BY = {"generator": "Generators", "prompt": "Prompts"}


@requires("see_quality")
@require_http_methods(["GET", "HEAD", "POST"])
def project_pairs(request: HttpRequest, pk: int) -> HttpResponse:
    """Everybody who sees quality may read the results; only those who manage tasks may make pairs."""
    project = get_object_or_404(Project, pk=pk)
    return _make(request, project) if request.method == "POST" else _page(request, project)


@requires("manage_tasks")
def _make(request: HttpRequest, project: Project) -> HttpResponse:
    form = PairsForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form=form, status=422)
    if request.POST.get("do") != "make":
        return _page(request, project, form=form, plan=pairs.plan(project, form.wanted()))
    found = pairs.make_pairs(project, form.wanted())
    if found.made:
        preference_figures.forget(project)
        messages.success(request, f"{_count(found.made, 'pair')} of {_count(found.products, 'product')} made.")
    else:
        messages.warning(request, "No pair was made.")
    for count, what, which in found.left_out:
        messages.info(request, f"Left out: {_count(count, what)} {which}.")
    return redirect("project_pairs", project.pk)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _page(
    request: HttpRequest, project: Project, form: PairsForm | None = None, plan: pairs.Plan | None = None, status: int = 200
) -> HttpResponse:  # fmt: skip
    by, prompt = _asked(request)
    now = preference_figures.figures(project, by, prompt)
    found = now.found
    context = {
        "project": project,
        "form": form or PairsForm(initial=first_guess()),
        "plan": plan,
        "now": now,
        "progress": now.progress,
        "by": by,
        "prompt": prompt,
        "prompts": now.prompts,
        "found": found,
        "plot": strengths(found, by),
        "plot_url": f"{reverse('pairs_table', args=[project.pk, 'strengths'])}?{_query(by, prompt)}",
        "query": _query(by, prompt),
        "sides": now.sides,
        "agreement": now.agreement,
        "people": now.people,
        "rows": list(zip(found.things, found.matrix, strict=True)),
    }
    return render(request, "annotation/project_pairs.html", context, status=status)


def _asked(request: HttpRequest) -> tuple[str, int | None]:
    by, prompt = request.GET.get("by", "generator"), request.GET.get("prompt", "")
    if by not in BY or (prompt and not (prompt.isascii() and prompt.isdigit() and len(prompt) < 19)):
        raise Http404("There is no such comparison.")
    return by, int(prompt) if prompt and by == "generator" else None


def _query(by: str, prompt: int | None) -> str:
    return f"by={by}" + (f"&prompt={prompt}" if prompt is not None else "")


# --- the plot and the tables


def strengths(found: Results, by: str) -> Plot:
    return Plot(
        "strengths", f"Strength of {BY[by].lower()}", _says(found), "interval", (BY[by][:-1], by),
        [
            Column("Strength", "strength", "--accent", "0.00"),
            Column("From", "low", "--label-2-fill", "0.00"),
            Column("To", "high", "--label-2-fill", "0.00"),
            Column("Preferences", "preferences"),
            Column("Won", "wins"),
            Column("Lost", "losses"),
            Column("No difference", "ties"),
            Column("Won of decided", "won_share", unit="%"),
        ],
        [
            Row(
                thing.name, thing.name,
                (thing.strength, thing.low, thing.high, thing.compared, thing.wins, thing.losses, thing.ties, thing.share),
            )
            for thing in found.things
        ],
        empty="Nobody has compared any two yet.",
    )  # fmt: skip


def _says(found: Results) -> str:
    if found.best is None:
        return "Some of them were never compared with the others, not even through a third." if found.things else ""
    share, low, high = found.best
    first, second = found.things[:2]
    sure = "clearly" if low > 0.5 else "perhaps by chance"
    return (
        f"{first.name} is preferred to {second.name} in {share:.0%} of decided choices "
        f"(95 % interval {low:.0%} to {high:.0%}): {sure}."
    )


@requires("see_quality")
@require_safe
def pairs_table(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    project = get_object_or_404(Project, pk=pk)
    file = f"adproof-pairs-{project.pk}-{name}"
    by, prompt = _asked(request)
    if name == "strengths":
        return strengths(preference_figures.results(project, by, prompt), by).csv(f"adproof-pairs-{project.pk}")
    if name == "counts":
        return as_csv(file, *_counts_table(preference_figures.results(project, by, prompt), by))
    if name == "people":
        return as_csv(file, *_people_table(project))
    if name == "preferences":
        return as_csv_stream(file, _PREFERENCES, _preferences(project))
    raise Http404("There is no such table.")


def _counts_table(found: Results, by: str) -> tuple[list[str], list[list[Any]]]:
    rows = [
        [row.name, column.name, cell.wins, cell.losses, cell.ties, cell.share]
        for row, cells in zip(found.things, found.matrix, strict=True)
        for column, cell in zip(found.things, cells, strict=True)
        if cell is not None
    ]
    return [by, "compared_with", "wins", "losses", "ties", "won_share"], rows


def _people_table(project: Project) -> tuple[list[str], list[list[Any]]]:
    head = ["person", "preferences", "ties", "left", "left_share", "median_seconds", "agreement", "simulated"]
    return head, [
        [
            row.name, row.count, row.ties, row.left, row.left_share, round(row.median_seconds, 2), row.agreement,
            int(row.is_simulated),
        ]
        for row in preference_figures.people(project)
    ]  # fmt: skip


_PREFERENCES = [
    "pair", "sku", "first_candidate", "second_candidate", "first_generator", "second_generator", "first_prompt",
    "second_prompt", "choice", "first_was_left", "person", "seconds", "answered_at",
]  # fmt: skip


def _preferences(project: Project) -> Iterator[tuple[Any, ...]]:
    rows = Preference.objects.standing().filter(pair__project=project).order_by("created_at", "id")
    columns = rows.values_list(
        "pair", "pair__first__product__sku", "pair__first", "pair__second", "pair__first__generator__name",
        "pair__second__generator__name", "pair__first__prompt__name", "pair__second__prompt__name", "choice",
        "first_was_left", "annotator__username", "seconds", "created_at",
    )  # fmt: skip
    for row in columns.iterator(2000):
        yield (*row[:9], int(row[9]), *row[10:12], row[12].isoformat())
