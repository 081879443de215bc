"""The kinds of run of this station."""

from typing import Any

from generation import figures  # noqa: F401 - declares what the clock counts
from generation.blobs import blobs
from runs.context import RunContext
from runs.kinds import kind, kind_in_parts


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
    total["mean_attempts"] = round(total["images"] / draws, 3)
    if total.get("steps"):
        total["share_of_steps_saved"] = round(total["steps_saved"] / total["steps"], 4)
    return total


kind_in_parts("generate", "Draw candidates", gather=gather_drawn)


@kind("generate_part", "Draw candidates (part)")
def generate_part(ctx: RunContext) -> dict[str, Any]:
    from generation.drawing import batches, draw_batch, items_of
    from generation.models import Generator

    generator = Generator.objects.get(pk=ctx.params["generator"])
    items = items_of(ctx.params)
    candidates = []
    for batch in batches(items):
        ctx.stop_if_asked()
        candidates += draw_batch(ctx, generator, batch)
        ctx.progress(len(candidates), len(items), force=True)
    return {
        "images": len(candidates),
        "seconds": round(sum(candidate.seconds for candidate in candidates), 2),
    }


@kind("perceive", "Depth and saliency")
def perceive(ctx: RunContext) -> dict[str, Any]:
    """For candidates that came without them (imported ones)."""
    from generation.perceiving import perceive_candidates

    return perceive_candidates(ctx)


kind_in_parts("perceive_many", "Depth and saliency", gather=_sum_of_parts)


@kind("cut_out", "Cut products out")
def cut_out(ctx: RunContext) -> dict[str, Any]:
    """Products whose picture has no alpha: U2-Net finds the object. What it can't find is listed, not fatal."""
    from adproof.perception.masks import confidence_to_png
    from adproof.perception.pictures import open_picture, picture_to_png
    from adproof.perception.saliency import cut_out_found
    from generation import runtime
    from generation.actions import PICTURE_IN_USE, Cut, save_product
    from generation.importing import ProductFile
    from generation.models import ImportProblem

    made = left_out = 0
    items = ctx.params["items"]
    for number, item in enumerate(items, start=1):
        ctx.stop_if_asked()
        try:
            rgba, found = cut_out_found(open_picture(blobs().get(item["sha256"]))[..., :3], runtime.saliency())
        except ValueError as error:
            with ctx.writing():
                ImportProblem.objects.get_or_create(run=ctx.run, where=item["where"][:300], problem=str(error)[:500])
            ctx.log(f"{item['where']}: {error}", "warning")
            left_out += 1
            continue
        cut = Cut(item["sha256"], blobs().put(confidence_to_png(found)))
        with ctx.writing():
            state = save_product(
                ProductFile(
                    item["where"],
                    item["sku"],
                    item["title"],
                    picture_to_png(rgba),
                    True,
                    rgba.shape[1],
                    rgba.shape[0],
                    item["values"],
                ),
                cut_out_by_model=True,
                cut=cut,
            )
            if state == "held":
                ImportProblem.objects.get_or_create(run=ctx.run, where=item["where"][:300], problem=PICTURE_IN_USE)
        made += 1
        ctx.progress(number, len(items))
    return {"products": made, "left_out": left_out}


@kind("hash_looks", "Look for alike products", queue="light")
def hash_looks(ctx: RunContext) -> dict[str, Any]:
    """The hash of every product's picture that has none yet (those that came in before there was one)."""
    from generation.looks import hash_missing

    def after_each(done: int, total: int) -> None:
        ctx.stop_if_asked()
        ctx.progress(done, total)

    return {"without_picture": hash_missing(after_each)}
