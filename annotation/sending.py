"""Candidates of the gallery sent to annotators: those that were ticked, or all that a filter finds, as a run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from django.db.models import Max

from annotation import bulk
from annotation.models import Project
from generation import gallery
from generation.gallery_filter import GalleryFilter
from generation.models import Candidate
from runs.actions import start_run
from runs.context import RunContext
from runs.models import Run

KIND = "send_candidates"
REASON = "sent from the gallery"
MOST_TICKED = 1000


def send(ids: list[int], project: Project, priority: float, author: Any) -> bulk.Report:
    """Tasks of those that have none in this project yet."""
    return bulk.do("add", ids, bulk.Wish(project, author=author, priority=priority, reason=REASON))


def start(query: dict[str, str], project: Project, priority: float, user: Any) -> Run:
    """All that the filter finds and that are there now. Pressed twice while it works: the same run."""
    params = {
        "query": query, "project": project.pk, "priority": priority,
        "before": (Candidate.objects.aggregate(top=Max("pk"))["top"] or 0) + 1,
    }  # fmt: skip
    known = json.dumps([query, project.pk, priority], sort_keys=True)
    key = f"{KIND}/{hashlib.sha256(known.encode()).hexdigest()[:32]}"
    return start_run(KIND, params, title=f"Send candidates to “{project}”"[:200], user=user, key=key)


def work(ctx: RunContext) -> dict[str, Any]:
    """Chunk by chunk; the row remembers how far, so that a kill costs one chunk."""
    project = Project.objects.get(pk=ctx.params["project"])
    chosen = GalleryFilter(ctx.params["query"]).chosen()
    done, left_out = ctx.params.get("done", 0), Counter(ctx.params.get("left_out", {}))
    for ids, place in gallery.walk(chosen, ctx.params["before"], bulk.CHUNK):
        ctx.stop_if_asked()
        with ctx.writing():
            report = send(ids, project, ctx.params["priority"], ctx.run.created_by)
            done, left_out = done + report.done, left_out + report.left_out
            ctx.params |= {"before": place, "done": done, "left_out": dict(left_out)}
            ctx.run.held().update(params=ctx.params)
        ctx.progress(done, stage=f"{done:,} sent, {left_out.total():,} left out")
        if not place:
            break
    return {"sent": done, "left_out": dict(left_out)}
