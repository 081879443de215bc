"""RFNet's work: judge candidates, and draw with its judgement (Recurrent Generation)."""

from typing import Any

from annotation.classifier import Verdicts, brings_verdicts
from generation.tasks import PART_WORDS
from rfnet_service import verdict_counts  # noqa: F401 - declares what the clock counts
from runs.context import BadInput, RunContext
from runs.kinds import kind, kind_in_parts


@brings_verdicts
def _verdicts() -> Verdicts | None:
    from rfnet_service.out_of_sample import out_of_sample

    return out_of_sample()


kind_in_parts(
    "score",
    "RFNet judges candidates",
    gather=lambda results: {"verdicts": sum(r.get("verdicts", 0) for r in results)},
)


@kind("score_part", "RFNet judges candidates (part)")
def score_part(ctx: RunContext) -> dict[str, Any]:
    from generation.models import Candidate
    from rfnet_service.judging import judge
    from rfnet_service.models import Checkpoint

    checkpoint = Checkpoint.objects.get(pk=ctx.params["checkpoint"])
    candidates = list(
        Candidate.objects.filter(pk__in=ctx.params["candidates"]).perceived().select_related("product").order_by("pk")
    )
    for at in range(0, len(candidates), 32):
        ctx.stop_if_asked()
        judge(ctx, checkpoint, candidates[at : at + 32])
        ctx.progress(at + 32, len(candidates), force=True)
    return {"verdicts": len(candidates)}


@kind("recurrent_part", "Recurrent Generation (part)", words=PART_WORDS)
def recurrent_part(ctx: RunContext) -> dict[str, Any]:
    """Draw, perceive, judge; what RFNet calls available stops, the rest is drawn again, up to `attempts` times.

    Every attempt is kept as a candidate of the same draw, with its attempt number; so are those that early stop gave up.
    """
    from generation.drawing import batches, items_of
    from generation.models import Generator
    from generation.planned import planned
    from generation.working import Work
    from rfnet_service.actions import promoted
    from rfnet_service.recurrent import Tally, draw_and_judge, early_look, passes_of

    checkpoint = promoted()
    if checkpoint is None:
        raise BadInput("Recurrent Generation needs an RFNet to judge: train one and promote it, then resume this run.")
    generator = Generator.objects.get(pk=ctx.params["generator"])
    work = Work(ctx, generator)  # says how to get a generator that is not there
    work.early = early = early_look(checkpoint, generator, ctx.params.get("early_stop"))
    items = items_of(planned(ctx.params), generator, ctx.log)
    tally, passes = Tally(ctx.params["attempts"], early.step if early else None), passes_of(generator)
    work.results = lambda: tally.result(passes, work.failed_draws)
    done = 0
    for batch in batches(items):
        waiting = list(batch)
        while waiting:  # what is tried again after a failure may stand at a later attempt than the others
            ctx.stop_if_asked()
            left = draw_and_judge(ctx, checkpoint, work, waiting, tally)
            waiting = [again(ctx, item) for item in left if item.attempt < ctx.params["attempts"]]
        done += len(batch)
        ctx.progress(done, len(items), force=True)
    return work.finish()


def again(ctx: RunContext, item: Any) -> Any:
    """The same draw with a new seed."""
    from dataclasses import replace

    from generation.planning import seed_of

    attempt = item.attempt + 1
    seed = seed_of(ctx.params["base_seed"], item.product, item.prompt, item.number, attempt)
    return replace(item, attempt=attempt, seed=seed)


@kind("score_all", "RFNet judges what it has not judged", queue="light")
def score_all(ctx: RunContext) -> dict[str, Any]:
    """Start the scoring of every candidate that lacks the verdict of the RFNet in use."""
    from rfnet_service.actions import CannotScore, promoted, start_scoring

    checkpoint = promoted()
    if checkpoint is None:
        raise BadInput("No RFNet is in use: train one and promote it.")
    try:
        run = start_scoring(checkpoint, user=ctx.run.created_by, then=ctx.params.get("after_scoring"))
    except CannotScore as nothing:
        ctx.log(str(nothing))
        return {"verdicts": 0}
    return {"started": run.pk}


@kind("find_label_errors", "Look for label errors in a dataset version", queue="light")
def find_label_errors(ctx: RunContext) -> dict[str, Any]:
    from datasets_app.models import DatasetVersion
    from rfnet_service.label_errors import CannotLook, look
    from rfnet_service.models import Checkpoint

    version = DatasetVersion.objects.get(pk=ctx.params["version"])
    ctx.stage("reading verdicts")
    try:
        return look(version, Checkpoint.objects.get(pk=ctx.params["checkpoint"]))
    except CannotLook as problem:
        raise BadInput(str(problem)) from problem
