"""Runs of this station. Started by annotation.quality; the work itself is plain functions there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from annotation import (  # noqa: F401 - also what the clock counts
    bulk,
    figures,
    quality,
    queue_changes,
    sending,
    usual_examples,
)
from runs.clock import regularly
from runs.context import BadInput, RunContext
from runs.kinds import kind


@kind("fit_consensus", title="Refit the consensus", queue="light", is_upkeep=True)
def fit_consensus(ctx: RunContext) -> dict[str, Any]:
    return quality.fit(ctx.writing, ctx.progress)


@kind(bulk.KIND, title="Change many tasks", queue="light")
def bulk_labels(ctx: RunContext) -> dict[str, Any]:
    """Goes on after the last chunk that was done: its report so far is in the run's folder."""
    from annotation.models import Project, Snapshot, Team

    snapshot = Snapshot.objects.select_related("owner").filter(pk=ctx.params["snapshot"]).first()
    project = Project.objects.filter(pk=ctx.params["project"]).first()
    if snapshot is None or project is None:
        raise BadInput("Its snapshot or project was deleted meanwhile: choose the candidates again.")
    team = None
    if ctx.params["team"] is not None:
        team = Team.objects.filter(pk=ctx.params["team"]).first()
        if team is None:
            raise BadInput("Its team was deleted meanwhile: choose another.")
    values = {name: ctx.params[name] for name in ("overlap", "priority", "reason")}
    wish = bulk.Wish(project, snapshot.owner, team, **values)
    kept = ctx.folder / "report.json"
    at, report = 0, bulk.Report()
    if kept.exists():
        saved = json.loads(kept.read_text())
        at, report = saved["at"], bulk.Report(saved["done"], Counter(saved["left_out"]))
    while at < snapshot.count:
        ctx.stop_if_asked()
        with ctx.writing():
            report.add(bulk.do(ctx.params["action"], snapshot.candidates[at : at + bulk.CHUNK], wish))
        at = min(at + bulk.CHUNK, snapshot.count)
        draft = kept.with_suffix(".new")
        draft.write_text(json.dumps({"at": at, "done": report.done, "left_out": report.left_out}))
        draft.replace(kept)
        ctx.progress(at, snapshot.count, force=True)
    return {"done": report.done, "left_out": dict(report.left_out)}


@kind(sending.KIND, title="Send candidates to annotators", queue="light")
def send_candidates(ctx: RunContext) -> dict[str, Any]:
    return sending.work(ctx)


@kind(queue_changes.KIND, title="Change a queue", queue="light", max_attempts=10)
def change_queue(ctx: RunContext) -> dict[str, Any]:
    """How far it is stands in the run's result, written with each chunk: a killed one goes on where it was."""
    from annotation.models import Project, Team

    which = queue_changes.Which(**ctx.params["which"])
    how = queue_changes.How(**ctx.params["how"])
    if which.project is not None and not Project.objects.filter(pk=which.project).exists():
        raise BadInput("Its project was deleted meanwhile: choose another.")
    if how.team is not None and not Team.objects.filter(pk=how.team).exists():
        raise BadInput("Its team was deleted meanwhile: choose another.")
    place = queue_changes.Place(**{name: ctx.run.result.get(name, 0) for name in ("after", "changed")})
    seen, total = place.changed, place.changed + queue_changes.count(which)

    def keep(place: queue_changes.Place) -> None:
        ctx.run.held().update(result=asdict(place))

    def tell(place: queue_changes.Place) -> None:
        ctx.progress(place.changed, total)
        ctx.stop_if_asked()

    ctx.progress(seen, total, force=True)
    place = queue_changes.work(which, how, place, writing=ctx.writing, keep=keep, tell=tell)
    return {"changed": place.changed}


@regularly(seconds=60)
def refit_when_due() -> None:
    quality.fit_if_due()
