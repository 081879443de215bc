"""Drawing: the form that starts it, and what a run's page shows of it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from accounts.roles import may, requires
from config.numbers import id_of
from config.paging import newest_first
from config.tables import as_csv_stream
from generation import costs, failures, ordering
from generation.generate_form import BudgetForm, GenerateForm
from generation.models import Generator, Plan, Product, Prompt
from generation.planning import MOST_TICKED, Budget, CannotStart, give_more
from generation.prompt_library import default_prompts
from runs.actions import resume_run
from runs.models import Run
from runs.steering import may_steer, refuse_others

# So many prompts are ticked when the drawing form opens.
MANY_PROMPTS = 8
NEWEST_SHOWN = 24
FAILURES_SHOWN = 50


def _ids(text: str) -> list[int]:
    ids = map(id_of, text.split(",")[:MOST_TICKED])
    return [pk for pk in ids if pk is not None]


def _initial(request: HttpRequest) -> dict[str, Any]:
    """?products=1,2 or ?product=1, ?prompts=3,4, ?category=…: what was ticked where the form was asked for."""
    ids = _ids(request.GET.get("products", "") or request.GET.get("product", ""))
    found = list(Product.objects.filter(pk__in=ids).order_by("pk").values_list("sku", "category"))
    skus = [sku for sku, _ in found]
    offered = Prompt.objects.filter(is_active=True)
    wanted = _ids(request.GET.get("prompts", "") or request.GET.get("prompt", ""))
    category = request.GET.get("category", "")[:80]
    # A category may have prompts of its own; products of several categories have none in common.
    own = {category} if category else {name for _, name in found}
    usual = default_prompts(own.pop()) if len(own) == 1 else []
    chosen = offered.filter(pk__in=wanted) if wanted else usual or offered.order_by("name")[:MANY_PROMPTS]
    return {
        "skus": " ".join(skus), "category": category, "prompts": [prompt.pk for prompt in chosen],
        "most_products": None if skus or category else 12,
    }  # fmt: skip


@requires("generate")
@require_http_methods(["GET", "HEAD", "POST"])
def generate(request: HttpRequest) -> HttpResponse:
    """The form; htmx posts it while it is filled in, and gets back how much that would make."""
    form = GenerateForm(request.POST if request.method == "POST" else None, initial=_initial(request))
    generator = Generator.objects.filter(is_in_use=True).first()
    prompts = Prompt.objects.filter(is_active=True).exists()
    context: dict[str, Any] = {"form": form, "generator": generator, "prompts": prompts}
    if form.is_bound and form.is_valid():
        wish = form.wish()
        try:
            if not request.htmx:
                run = ordering.start(wish, request.user, once=True)
                return redirect(reverse("run", args=[run.pk]))
            found = ordering.estimate(wish)
            context |= {"estimate": found, "money": costs.money(found.seconds)}
        except CannotStart as problem:
            form.add_error(None, str(problem))
    if request.htmx:
        return render(request, "generation/generate.html#estimate", context)
    return render(request, "generation/generate.html", context, status=422 if form.is_bound else 200)


@requires("see_runs")
@require_safe
def panel(request: HttpRequest, pk: int) -> HttpResponse:
    """A part of the run's page: the newest pictures, pace, cost, budget, and what failed."""
    run = get_object_or_404(Run, pk=pk)
    plan = Plan.objects.light().filter(run=run).first()
    newest = costs.newest_of(run, max(NEWEST_SHOWN, costs.PACE_OVER))
    pace = costs.pace(run, newest)
    cost = costs.cost_of(run)
    failed = (
        list(plan.failures.select_related("product", "prompt").order_by("-pk")[: FAILURES_SHOWN + 1]) if plan else []
    )
    context = {
        "run": run, "plan": plan, "newest": newest[:NEWEST_SHOWN], "cost": cost,
        "per_minute": pace * 60 if pace else None, "left_s": _left(run, plan, cost, pace),
        "failures": sorted(failed[:FAILURES_SHOWN], key=lambda one: one.problem), "has_more_failures": len(failed) > FAILURES_SHOWN,
        "recurrent": _recurrent(run), "waits": _waits(run),
        "may_steer": _may_steer(request, run), "form": BudgetForm(initial=_budget_now(plan)),
        "placeholders": range(max(0, min(NEWEST_SHOWN, _most(run, plan)) - len(newest))) if not run.is_finished else (),
    }  # fmt: skip
    content = render_to_string("generation/run_panel.html", context, request=request)
    return HttpResponseStopPolling(content) if run.is_finished and request.htmx else HttpResponse(content)


@requires("see_runs")
@require_safe
def failed(request: HttpRequest, pk: int) -> HttpResponse:
    """All that could not be drawn: which reasons, how often, and every picture."""
    plan = get_object_or_404(Plan.objects.light().select_related("run"), run=pk)
    rows = plan.failures.select_related("product", "prompt")
    why = [] if request.htmx else failures.reasons(plan)
    context = {
        "run": plan.run, "page": newest_first(request, rows, FAILURES_SHOWN), "reasons": why,
        "told": failures.not_counted(why), "may_steer": _may_steer(request, plan.run),
    }  # fmt: skip
    return render(request, f"generation/failures.html{'#rows' if request.htmx else ''}", context)


@requires("see_runs")
@require_safe
def failed_table(request: HttpRequest, pk: int) -> HttpResponse:
    plan = get_object_or_404(Plan.objects.light(), run=pk)
    names = ("product__sku", "product__title", "prompt__name", "seed", "attempt", "problem")
    rows = plan.failures.order_by("pk").values_list(*names).iterator(2000)
    return as_csv_stream(f"run-{pk}-failures", ["sku", "title", "prompt", "seed", "attempt", "problem"], rows)


def _recurrent(run: Run) -> dict[str, Any]:
    """What Recurrent Generation found, once the run has ended; empty for a run of single attempts, and for a part."""
    result = run.result
    if not run.is_finished or "mean_attempts" not in result:
        return {}
    name = "availability_at_"
    within = sorted((int(key.removeprefix(name)), share) for key, share in result.items() if key.startswith(name))
    return {
        "draws": result["draws"], "mean": result["mean_attempts"], "abandoned": result.get("abandoned"),
        # Runs from before passes were counted have the share of steps.
        "saved": 100 * result.get("share_of_passes_saved", result.get("share_of_steps_saved", 0)),
        "within": [{"attempts": attempts, "percent": 100 * share} for attempts, share in within],
    }  # fmt: skip


def _waits(run: Run) -> bool:
    """No worker has begun it: others come first, or there is none."""
    return run.state == Run.State.WAITING and not run.parts.exclude(state=Run.State.QUEUED).exists()


def _most(run: Run, plan: Plan | None) -> int:
    """How many pictures it makes at most, not counting attempts."""
    return run.total if plan is None or plan.budget_images is None else min(run.total, plan.budget_images)


def _budget_now(plan: Plan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    minutes = None if plan.budget_seconds is None else round(plan.budget_seconds / 60, 2)
    return {"images": plan.budget_images, "minutes": minutes}


def _left(run: Run, plan: Plan | None, cost: costs.Cost, pace: float | None) -> float | None:
    """Seconds until it is through, or its budget is used up."""
    if not pace or plan is None:
        return None
    left = max(0, run.total - run.done)
    if plan.budget_images is not None:
        left = min(left, max(0, plan.budget_images - cost.images))
    return left / pace


def _may_steer(request: HttpRequest, run: Run) -> bool:
    return may(request.user, "generate") and may_steer(request.user, run)


def _steered(request: HttpRequest, pk: int) -> Run:
    run = get_object_or_404(Run, pk=pk)
    refuse_others(request.user, run)
    return run


@requires("generate")
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    run = _steered(request, pk)
    count = failures.retry(run)
    if count:
        messages.success(request, f"{count:,} picture{'' if count == 1 else 's'} will be tried again.")
    else:
        messages.info(request, "Nothing to try again: nothing failed, or the run is paused or being stopped.")
    return redirect("run", pk)


def _too_little(run: Run, wanted: Budget) -> str:
    """Why a run that has used its budget up would end at once with this one; empty: it can go on."""
    cost = costs.cost_of(run)
    if wanted.images is not None and wanted.images <= cost.images:
        return f"It has made {cost.images:,} pictures already: give it more than that, or leave the field empty."
    if wanted.seconds is not None and wanted.seconds <= cost.seconds:
        return f"It has computed {cost.seconds / 60:,.1f} minutes already: give it more than that, or leave the field empty."
    return ""


@requires("generate")
@require_POST
def budget(request: HttpRequest, pk: int) -> HttpResponse:
    """Another budget; a run that had used its own up goes on."""
    run = _steered(request, pk)
    form = BudgetForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(f"{form.fields[name].label}: {said[0]}" for name, said in form.errors.items()))
        return redirect("run", pk)
    if run.state == Run.State.SPENT and (problem := _too_little(run, form.budget)):
        messages.error(request, problem)
        return redirect("run", pk)
    give_more(run, form.budget)
    if run.state == Run.State.SPENT and resume_run(run):
        messages.success(request, "It goes on with the new budget.")
    else:
        messages.success(request, "The new budget counts from the next picture on.")
    return redirect("run", pk)
