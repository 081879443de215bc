"""Depth and saliency of candidates that came without them. Runs in a worker's child."""

from collections.abc import Sequence
from typing import Any

from generation.blobs import blobs
from generation.models import Candidate, ImportProblem
from runs.context import RunContext

STORED_TOGETHER = 64
MAPS = ["depth_sha256", "depth_model", "saliency_sha256", "saliency_model"]


def perceive_candidates(ctx: RunContext) -> dict[str, Any]:
    """Those of ctx.params["candidates"] that still lack a map. A picture that can't be read is listed, not fatal."""
    ids = ctx.params["candidates"]
    left_out = 0
    for at in range(0, len(ids), STORED_TOGETHER):
        ctx.stop_if_asked()
        some = ids[at : at + STORED_TOGETHER]
        rows = list(Candidate.objects.filter(pk__in=some).lacking_maps().order_by("pk"))
        left_out += _perceive(ctx, rows)
        ctx.progress(at + len(some), len(ids))
    return {"candidates": len(ids), "left_out": left_out}


def _perceive(ctx: RunContext, rows: Sequence[Candidate]) -> int:
    """Store the maps of these rows; how many pictures could not be read."""
    from adproof.perception.perceiver import Unseen
    from generation import runtime

    if not rows:
        return 0
    depth_model, saliency_model = runtime.perceived_by()
    problems = []
    seen = runtime.perceiver()(_file_of(row) for row in rows)
    for row, maps in zip(rows, seen, strict=True):
        if isinstance(maps, Unseen):
            problems.append((f"candidate {row.pk}", maps.why))
            continue
        row.depth_sha256, row.depth_model = blobs().put(maps.depth_png), depth_model
        row.saliency_sha256, row.saliency_model = blobs().put(maps.saliency_png), saliency_model
    with ctx.writing():
        Candidate.objects.bulk_update([row for row in rows if row.is_perceived], MAPS)
        for where, why in problems:
            ImportProblem.objects.get_or_create(run=ctx.run, where=where, problem=why[:500])
    for where, why in problems:
        ctx.log(f"{where}: {why}", "warning")
    return len(problems)


def _file_of(row: Candidate) -> bytes:
    """Empty where the store has lost it: the perceiver then says so of this picture alone."""
    try:
        return blobs().get(row.image_sha256)
    except FileNotFoundError:
        return b""
