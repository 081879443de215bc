"""A run at work that shares its work out: other workers take its parts, and it does what nobody has taken.

With one worker it does all of them one after the other; with twenty, twenty are done at once. Each part is a run of its own:
claimed, resumed and stopped like any other.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from runs.actions import requeue, send, worker_lost
from runs.context import BadInput, RunContext, StopRequested
from runs.kinds import kind_of
from runs.models import Run, settle_parent

POLL_S = 0.3  # when nothing has happened for a while; at first more often
FIRST_POLL_S = 0.02
Part = tuple[dict[str, Any], int]


class PartFailed(BadInput):
    """A part can't be done; the message is the part's own. What is done is kept, and the run can be resumed."""


def work_in_parts(
    ctx: RunContext,
    part_kind: str,
    parts: Sequence[Part],
    still_done: Callable[[dict[str, Any]], bool] = lambda _: True,
    on_done: Callable[[dict[str, Any]], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Have every part done, and return their results in order.

    Args: parts: (params, total) of each; the same ones in every attempt of this run. still_done: asked of the parts that an
        earlier attempt finished; those that are not are done again. on_done: told the params of each part once, soon after
        it has ended well, while others are still being done.
    Raises: PartFailed. StopRequested: the run was stopped, and with it its parts.
    """
    _make(ctx, part_kind, parts, still_done)
    name = f"{socket.gethostname()}:{os.getpid()}:part of {ctx.run.pk}"
    told: set[int] = set()
    pause = FIRST_POLL_S
    while True:
        ctx.stop_if_asked()
        if _tell(ctx, told, on_done):
            pause = FIRST_POLL_S
        mine = ctx.run.parts.filter(state=Run.State.QUEUED).order_by("pk").first()
        if mine is not None:
            if mine.claim(name):
                _work_on(mine)
            continue
        _raise_failure(ctx)
        if not ctx.run.parts.unfinished().exists():
            break
        for part_id, fence in Run.objects.lapsed().filter(parent=ctx.run).values_list("pk", "fence"):
            worker_lost(part_id, fence, "its worker was not heard of any more")
        time.sleep(pause)
        pause = min(POLL_S, 1.5 * pause)
    if ctx.run.parts.exclude(state=Run.State.SUCCEEDED).exists():
        if Run.objects.filter(pk=ctx.run.pk, stop_requested=True).exists():
            raise StopRequested
        raise PartFailed("One of its parts was stopped: resume the run to do it.")
    settle_parent(ctx.run.pk)
    return list(ctx.run.parts.order_by("pk").values_list("result", flat=True))


def _tell(ctx: RunContext, told: set[int], on_done: Callable[[dict[str, Any]], object]) -> bool:
    """Whether there was anything to tell."""
    before = len(told)
    done = ctx.run.parts.filter(state=Run.State.SUCCEEDED).exclude(pk__in=told).order_by("pk")
    for pk, params in done.values_list("pk", "params"):
        told.add(pk)
        on_done(params)
    return len(told) > before


def _work_on(part: Run) -> None:
    from runs.child import work_on

    work_on(part.pk, part.fence)


def _make(ctx: RunContext, part_kind: str, parts: Sequence[Part], still_done: Callable[[dict[str, Any]], bool]) -> None:
    made = list(ctx.run.parts.order_by("pk"))
    again = [
        part
        for part in made
        if part.state in {Run.State.STOPPED, Run.State.FAILED}
        or (part.state == Run.State.SUCCEEDED and not still_done(part.params))
    ]
    with ctx.writing():
        if Run.objects.filter(pk=ctx.run.pk, stop_requested=True).exists():
            raise StopRequested  # parts begun now would go on without it
        for part in again:
            requeue(part, reset_attempts=True)
        if made:
            return
        most = kind_of(part_kind).max_attempts
        for number, (params, total) in enumerate(parts):
            part = Run.objects.create(
                kind=part_kind, title=f"{ctx.run.title}, part {number + 1} of {len(parts)}"[-200:], params=params, total=total,
                parent=ctx.run, created_by=ctx.run.created_by, max_attempts=most,
            )  # fmt: skip
            send(part)


def _raise_failure(ctx: RunContext) -> None:
    """One failure ends the run: most often (disk full, store away) the others would fail alike."""
    failed = list(ctx.run.parts.filter(state=Run.State.FAILED).order_by("pk").values_list("error", flat=True))
    if not failed:
        return
    ctx.run.parts.filter(state=Run.State.QUEUED).update(state=Run.State.STOPPED)
    raise PartFailed(f"{len(failed)} of {ctx.run.parts.count()} parts failed. The first: {failed[0]}")
