"""Pictures of a run that could not be drawn: seen, and tried again once their cause is mended."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Count

from generation.models import Failure, Plan
from generation.planning import part_kind, seed_of
from runs.actions import add_parts
from runs.models import Run

MOST_AT_ONCE = 10_000
REASONS_SHOWN = 20


def retry(run: Run) -> int:
    """Make further parts of what failed, and set the run to work again. Returns how many pictures are tried again."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run.pk)
        plan = Plan.objects.filter(run=run).first()
        rows = list(Failure.objects.filter(plan=plan).order_by("pk")[:MOST_AT_ONCE]) if plan else []
        if plan is None or not rows or run.state == Run.State.PAUSED or run.stop_requested and not run.is_finished:
            return 0
        items = [_item(row, plan) for row in rows]
        cuts = range(0, len(items), plan.part_size)
        chunks = [items[at : at + plan.part_size] for at in cuts]
        params = {**plan.part_params, "plan": run.pk}
        add_parts(run, part_kind(plan), (({**params, "items": chunk}, len(chunk)) for chunk in chunks))
        Failure.objects.filter(pk__in=[row.pk for row in rows]).delete()
        Run.objects.filter(pk=run.pk).update(
            state=Run.State.WAITING, finished_at=None, error="", stop_requested=False
        )  # fmt: skip
    return len(rows)


def reasons(plan: Plan) -> list[tuple[str, int]]:
    """Which problems, and how often among the newest MOST_AT_ONCE; the most frequent first."""
    newest = Failure.objects.filter(plan=plan).order_by("-pk").values("pk")[:MOST_AT_ONCE]
    counted = Failure.objects.filter(pk__in=newest).order_by().values_list("problem").annotate(n=Count("pk"))
    return list(counted.order_by("-n", "problem")[:REASONS_SHOWN])


def not_counted(found: list[tuple[str, int]]) -> str:
    """What `reasons` leaves out, as a sentence; empty: nothing."""
    if sum(count for _, count in found) >= MOST_AT_ONCE:
        return f"Counted over the newest {MOST_AT_ONCE:,}."
    return f"The {REASONS_SHOWN} most frequent are shown." if len(found) == REASONS_SHOWN else ""


def _item(row: Failure, plan: Plan) -> dict[str, Any]:
    item = {"product": row.product_id, "prompt": row.prompt_id, "number": row.number, "seed": row.seed}
    if row.attempt == 1:
        return item
    # A later attempt goes on with the draw that its first one began.
    first = seed_of(plan.part_params["base_seed"], row.product_id, row.prompt_id, row.number)
    return {**item, "attempt": row.attempt, "first_seed": first}
