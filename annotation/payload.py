"""What the desk's two busiest endpoints answer, as plain values ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.urls import reverse

from annotation import actions, assist, prepared, statements
from annotation.actions import Leased
from annotation.answers import Outcome
from annotation.models import Project

_SHA256 = "0" * 64
THUMBNAIL_PX = 384


def lease(
    user: Any,
    project: Project,
    count: int,
    now: datetime,
    today_from: datetime | None,
    *,
    token: bool,
    held: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Take tasks, and say everything that the desk shows. token: the client has no session for the pictures."""
    taken = actions.take(user, project, count, now, held)
    verdicts = assist.verdicts_to_show([task.candidate_id for task in taken.tasks]) if project.assists else {}
    [[(done,)]] = prepared.run(statements.COUNT_DONE, values={"person": user.pk, "since": since(today_from, now)})
    return {
        "tasks": [
            {**_task(task, project, token), "verdict": verdicts.get(task.candidate_id)} for task in taken.tasks
        ],
        "state": "ok" if taken.tasks else why_empty(project, project.tasks),
        "left": actions.left_to_tell(taken.left, project, user.pk, now),
        "done_today": done,
        "lease_minutes": project.lease_minutes,
        "guidelines_version": project.guidelines_version,
        "asks_details": project.asks_details,
    }


def midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def results(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    rows = [{"id": str(row.id), "task": row.task, "status": row.status, "message": row.message} for row in outcomes]
    return {"results": rows}


def since(today_from: datetime | None, now: datetime) -> datetime:
    """When somebody's day began, as far as a day lasts."""
    return max(today_from or midnight(now), now - timedelta(days=1))


def why_empty(project: Project, things: Any) -> str:
    """things: the project's tasks, or its pairs."""
    if project.is_paused:
        return "paused"
    return "empty" if things.exists() else "not_ready"


def _task(task: Leased, project: Project, token: bool) -> dict[str, Any]:
    name = "desk-picture" if token else "picture"
    return {
        "task": task.task_id,
        "lease_until": task.lease_until.isoformat(),
        "pictures": {
            "generated": address(task.image_sha256, name),
            "product": address(task.product_sha256, name),
            "depth": address(task.depth_sha256, name),
            "saliency": address(task.saliency_sha256, name),
            "thumbnail": address(task.image_sha256, "thumbnail", THUMBNAIL_PX),
        },
        "product": {"id": task.product_id, "title": task.product_title, "description": task.product_description},
        "image_scale": task.image_scale,
        "prompt": task.prompt_text if project.shows_prompt else None,
        "comment": task.comment,
    }


def address(sha256: str, name: str, *args: int) -> str | None:
    return _pattern(name, *args).replace(_SHA256, sha256) if sha256 else None


@cache
def _pattern(name: str, *args: int) -> str:
    """Looking an address up fifty times a lease costs more than the lease."""
    return reverse(name, args=[*args, _SHA256])
