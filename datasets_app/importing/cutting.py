"""Products cut out of generated pictures by the hundred thousand: parts of an import, done by whichever workers are free.

Each part writes what it made into the rows of its pictures, eight at a time; done again, it begins after those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from datasets_app.importing.items import CutOut
from datasets_app.models import StagedPicture
from generation.blobs import blobs
from generation.importing import Problem, ProductFile, read_picture
from runs.context import RunContext
from runs.kinds import kind
from runs.parts import work_in_parts

PART = "cut_out_staged"
PART_SIZE = 1024
TOGETHER = 8
PIXELS_TOGETHER = 20_000_000


def cut_out_staged(ctx: RunContext, pictures: list[int]) -> None:
    """Have every one of these staged pictures cut out. Raises PartFailed, StopRequested."""
    ctx.progress(0, len(pictures), "cutting products out", force=True)
    parts = [pictures[at : at + PART_SIZE] for at in range(0, len(pictures), PART_SIZE)]
    work_in_parts(ctx, PART, [({"pictures": part}, len(part)) for part in parts])


@kind(PART, "Cut products out (part)")
def cut_out_part(ctx: RunContext) -> dict[str, Any]:
    ids = ctx.params["pictures"]
    found = 0
    for at in range(0, len(ids), TOGETHER):
        ctx.stop_if_asked()
        rows = list(StagedPicture.objects.filter(pk__in=ids[at : at + TOGETHER], cut__isnull=True))
        for row, cut in zip(rows, _cut_all(rows), strict=True):
            row.cut = asdict(cut)
            found += not cut.problem
        with ctx.writing():
            StagedPicture.objects.bulk_update(rows, ["cut"])
        ctx.progress(min(at + TOGETHER, len(ids)), len(ids))
    return {"cut_out": found}


def _cut_all(rows: list[StagedPicture]) -> list[CutOut]:
    from adproof.perception.masks import confidence_to_png
    from adproof.perception.pictures import open_picture, picture_to_png
    from adproof.perception.saliency import cut_out_all
    from generation import runtime

    read = [read_picture(row.member, blobs().get(row.sha256), row.stem[:80] or "x", "") for row in rows]
    made: list[CutOut] = [CutOut(problem=one.text) if isinstance(one, Problem) else CutOut() for one in read]
    for group in _groups([(place, one) for place, one in enumerate(read) if not isinstance(one, Problem)]):
        images = [open_picture(file.picture)[..., :3] for _, file in group]
        for (place, file), cut in zip(group, cut_out_all(images, runtime.saliency()), strict=True):
            if isinstance(cut, ValueError):
                made[place] = CutOut(problem=str(cut))
                continue
            rgba, confidence = cut
            made[place] = CutOut(
                sha256=blobs().put(picture_to_png(rgba)), original_sha256=blobs().put(file.picture),
                confidence_sha256=blobs().put(confidence_to_png(confidence)), width_px=file.width_px, height_px=file.height_px,
            )  # fmt: skip
    return made


def _groups(files: list[tuple[int, ProductFile]]) -> Iterator[list[tuple[int, ProductFile]]]:
    """So many together that their pixels find room: a few of the largest, or all that are of a usual size."""
    group: list[tuple[int, ProductFile]] = []
    for place, file in files:
        if group and sum(one.width_px * one.height_px for _, one in [*group, (place, file)]) > PIXELS_TOGETHER:
            yield group
            group = []
        group.append((place, file))
    if group:
        yield group
