"""The kinds of run of this station."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from adproof.whole_files import forget_unfinished
from generation import costs, figures, prompt_results  # noqa: F401 - they declare what the clock counts
from generation.blobs import blobs
from runs.clock import regularly
from runs.context import BadInput, RunContext, StopRequested
from runs.kinds import kind, kind_in_parts


@regularly(seconds=3600)
def forget_unfinished_pictures() -> None:
    blobs().forget_unfinished()
    with suppress(FileNotFoundError):  # nobody has looked at one yet
        forget_unfinished(Path(settings.THUMBNAILS_DIR))


def _sum_of_parts(results: list[dict[str, Any]]) -> dict[str, Any]:
    keys = {key for result in results for key in result}
    return {key: sum(result.get(key, 0) for result in results) for key in sorted(keys)}


def gather_drawn(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of the parts; of Recurrent Generation also availability@1..K and the mean number of attempts."""
    total = _sum_of_parts(results)
    draws = total.get("draws", 0)
    if not draws:
        return total
    total = {key: round(value, 2) if isinstance(value, float) else value for key, value in total.items()}
    for key in [key for key in total if key.startswith("available_by_")]:
        total[key.replace("available_by_", "availability_at_")] = round(total[key] / draws, 4)
    # Not by pictures: those of a draw that waits to be tried again are there, and the draw is not counted yet.
    total["mean_attempts"] = round(total.get("attempts_drawn", total["images"]) / draws, 3)
    if total.get("passes"):
        total["share_of_passes_saved"] = round(total["passes_saved"] / total["passes"], 4)
    return total


# The generator's name stands in the panel, and a part's page names its run.
_UNSAID = {"generator": "", "plan": ""}
PART_WORDS = {
    **_UNSAID, "from": "after picture", "to": "up to picture", "attempts": "attempts at most",
    "base_seed": "seed of the whole run",
}  # fmt: skip

kind_in_parts(
    "generate", "Draw candidates", gather=gather_drawn, panel="generation-panel",
    words={
        **_UNSAID, "per_pair": "pictures of each product with each prompt", "images": "pictures planned",
        "attempts": "attempts at most",
    },
)  # fmt: skip


@kind("plan_generation", "Plan what to draw (part)", queue="light", words=_UNSAID)
def plan_generation(ctx: RunContext) -> dict[str, Any]:
    """The parts of a large plan: made by a worker, for it takes longer than a page may."""
    from generation.models import Plan
    from generation.planning import make_parts
    from runs.models import Run

    # Not in ctx.writing(): a stop locks the run before its parts, and so does this. The plan itself says that it is done.
    make_parts(Run.objects.get(pk=ctx.params["plan"]))
    if not Plan.objects.filter(run=ctx.params["plan"], is_planned=True).exists():
        raise StopRequested
    return {}


@kind("generate_part", "Draw candidates (part)", words=PART_WORDS)
def generate_part(ctx: RunContext) -> dict[str, Any]:
    from generation.drawing import batches, items_of
    from generation.models import Generator
    from generation.planned import planned
    from generation.working import Work

    generator = Generator.objects.get(pk=ctx.params["generator"])
    work = Work(ctx, generator)
    items = items_of(planned(ctx.params), generator, ctx.log)
    images, seconds, done = 0, 0.0, 0
    work.results = lambda: {"images": images, "seconds": round(seconds, 2)}
    for batch in batches(items):
        ctx.stop_if_asked()
        drawn = work.draw(batch)
        images, done = images + len(drawn), done + len(batch)
        seconds += sum(candidate.seconds for _, candidate in drawn)
        ctx.progress(images if work.is_short else done, len(items), force=True)
    return work.finish()


@kind("perceive", "Depth and saliency")
def perceive(ctx: RunContext) -> dict[str, Any]:
    """For candidates that came without them (imported ones)."""
    from generation.perceiving import perceive_candidates

    return perceive_candidates(ctx)


kind_in_parts("perceive_many", "Depth and saliency", gather=_sum_of_parts)


kind_in_parts("cut_out", "Cut products out", gather=_sum_of_parts, panel="cut-out-panel")


@kind("cut_out_items", "Cut products out (part)")
def cut_out_items(ctx: RunContext) -> dict[str, Any]:
    """Pictures without alpha: U2-Net finds the object. Where it finds none, a person cuts it out by hand."""
    from generation.cutting import cut_items

    return cut_items(ctx)


@kind("hash_looks", "Look for alike products", queue="light")
def hash_looks(ctx: RunContext) -> dict[str, Any]:
    """The hash of every product's picture that has none yet (those that came in before there was one)."""
    from generation.looks import hash_missing

    def after_each(done: int, total: int) -> None:
        ctx.stop_if_asked()
        ctx.progress(done, total)

    return {"without_picture": hash_missing(after_each)}


@kind("remake", "Make a candidate again", panel="candidate-remade")
def remake(ctx: RunContext) -> dict[str, Any]:
    """With its recorded settings; the picture goes into the store, so that both can be looked at side by side."""
    from generation.models import Candidate
    from generation.remaking import CannotRemake
    from generation.remaking import remake as draw_again

    candidate = Candidate.objects.select_related("product", "generator", "environment").get(pk=ctx.params["candidate"])
    try:
        made = draw_again(candidate)
    except CannotRemake as problem:
        raise BadInput(str(problem)) from problem
    return {
        "candidate": candidate.pk, "equal": made.equal, "sentence": made.sentence, "greatest": made.greatest,
        "share": round(made.share, 6), "image_sha256": blobs().put(made.png),
    }  # fmt: skip
