"""The trainings, and the rounds of active learning."""

import shutil
from pathlib import Path
from typing import Any

from runs.context import BadInput, RunContext, StopRequested
from runs.kinds import kind


@kind("first_tasks", "Give the first pictures to people", queue="light", is_upkeep=True)
def first_tasks(ctx: RunContext) -> dict[str, Any]:
    """Every candidate of the generation run before this one becomes a task: on a fresh platform there is nothing to choose."""
    from annotation.actions import Pick, add_tasks
    from annotation.models import Project
    from generation.models import Candidate

    project = Project.objects.get(pk=ctx.params["project"])
    candidates = Candidate.objects.perceived().usable().filter(run=ctx.params["after"]).order_by("pk")
    with ctx.writing():
        made = add_tasks(project, [Pick(pk, reason="first") for pk in candidates.values_list("pk", flat=True)])
    return {"tasks": made}


@kind("open_round", "Pick what people label next", queue="light")
def open_round_run(ctx: RunContext) -> dict[str, Any]:
    from annotation.models import Project
    from generation.looks import hash_missing
    from training.actions import NothingToPick, open_round
    from training.models import Round

    done = (
        ctx.run.result.get("round")
        or Round.objects.filter(summary__run=ctx.run.pk).values_list("number", flat=True).first()
    )
    if done:
        return {"round": done}
    hash_missing(lambda done, total: ctx.stop_if_asked())  # so that alike products come to one side
    options = {
        key: ctx.params[key]
        for key in ("count", "strategy", "random_share", "holdout_share", "seed")
        if key in ctx.params
    }
    try:
        with ctx.writing():
            made = open_round(Project.objects.get(pk=ctx.params["project"]), **options)
            made.summary["run"] = ctx.run.pk
            made.save(update_fields=["summary"])
    except NothingToPick as error:
        raise BadInput(str(error)) from error
    return {"round": made.number, "picked": made.picked_count}


@kind("train_rfnet", "Train RFNet", max_attempts=5)
def train_rfnet(ctx: RunContext) -> dict[str, Any]:
    """Learn to judge from a dataset version; every metric goes to the run's curves, and a checkpoint comes out."""
    from adproof.rfnet.config import TrainConfig, mini_training, paper_training
    from adproof.rfnet.data import RFNetData
    from adproof.rfnet.train import TrainingStopped, train
    from rfnet_service.models import Checkpoint
    from training.models import Training

    training = Training.objects.select_related("dataset_version").get(pk=ctx.params["training"])
    version = training.dataset_version
    config = dict(training.config)
    base = paper_training() if config.pop("preset", "mini") == "paper" else mini_training()
    try:
        settings = TrainConfig.from_dict(_merged(base.to_dict(), {"threads": 1, **config}))
    except (TypeError, ValueError) as error:
        raise BadInput(f"The settings can't be used: {error}") from error
    out = ctx.folder / "checkpoint"

    def on_step(step: dict[str, Any]) -> None:
        if step["step"] % max(1, step["steps"] // 200) == 0:
            ctx.metric(
                step["step"],
                loss=step["loss"],
                learning_rate=step["learning_rate"],
                samples_per_s=step["samples_per_s"],
            )
        ctx.progress(step["step"], step["steps"])

    def on_epoch(epoch: dict[str, Any]) -> None:
        found = epoch["validation"]
        if found:
            ctx.metric(
                epoch["step"],
                **{
                    f"validation_{name}": found[name]
                    for name in ("f1", "average_precision", "nll")
                    if found[name] is not None
                },
            )
        ctx.stage(f"epoch {epoch['epoch']} of {epoch['epochs']}")
        ctx.log(
            f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}"
            + (f", validation F1 {found['f1'] or 0:.3f}" if found else "")
        )

    ctx.stage("reading the pictures")
    try:
        metrics = train(settings, RFNetData.of_version(version.uri), out, on_epoch, on_step, ctx.should_stop)
    except TrainingStopped as stopped:
        raise StopRequested from stopped
    except FileNotFoundError as error:
        raise BadInput(f"The dataset version can't be read: {error}") from error
    figures = metrics.as_dict()
    figures["in_use_before"] = _figures_of_the_one_in_use(ctx, version.uri)
    folder = keep_folder(out, "rfnet", ctx.run.pk)
    with ctx.writing():
        checkpoint, _ = Checkpoint.objects.get_or_create(
            run=ctx.run,
            defaults={
                "name": f"RFNet {ctx.run.pk}, on {version}", "folder": str(folder), "sha256": weights_sha256(folder),
                "config": settings.to_dict(), "metrics": figures, "dataset_version": version,
            },
        )  # fmt: skip
        Training.objects.filter(pk=training.pk).update(checkpoint=checkpoint)
        _tell_rounds(checkpoint)
        promote_if_better(checkpoint)
    test = figures["test"] or figures["validation"] or {}
    return {
        "checkpoint": checkpoint.pk,
        "f1": test.get("f1"),
        "average_precision": test.get("average_precision"),
        "promoted": checkpoint.is_promoted,
    }


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Changes over defaults; `network` is merged one level deeper."""
    merged = {**base, **changes}
    if isinstance(changes.get("network"), dict):
        merged["network"] = {**base["network"], **changes["network"]}
    return merged


def _figures_of_the_one_in_use(ctx: RunContext, folder: str) -> dict[str, Any] | None:
    """How the RFNet in use does on the same test samples: only so can the two be compared."""
    import numpy as np

    from adproof.rfnet.data import RFNetData
    from adproof.rfnet.metrics import evaluate
    from rfnet_service import runtime
    from rfnet_service.actions import promoted

    current = promoted()
    if current is None:
        return None
    ctx.stage("measuring the RFNet in use on the same samples")
    samples = [sample for sample, split in RFNetData.of_version(folder).rows() if split == "test"]
    if not samples:
        return None
    probs = runtime.scorer(current.folder, current.sha256)(samples)
    found = evaluate(probs, np.array([sample.label for sample in samples])).as_dict()
    return {"checkpoint": current.pk, "name": current.name, **found}


def promote_if_better(checkpoint: Any) -> bool:
    """The first checkpoint is put in use; a later one when its AP is higher than that of the one in use, on the same samples."""
    from rfnet_service.actions import promote, promoted

    if promoted() is None:
        promote(checkpoint)
        return True
    ours = (checkpoint.metrics.get("test") or {}).get("average_precision")
    theirs = (checkpoint.metrics.get("in_use_before") or {}).get("average_precision")
    if ours is None or theirs is None or ours <= theirs:
        return False
    promote(checkpoint)
    return True


def _tell_rounds(checkpoint: Any) -> None:
    """The newest round without a result was labelled for this checkpoint: write down what it changed."""
    from training.models import Round

    current = Round.objects.filter(checkpoint=None).order_by("-number").first()
    if current is None:
        return
    current.checkpoint, current.dataset_version = checkpoint, checkpoint.dataset_version
    keys = ("precision", "recall", "f1", "average_precision", "ece", "n")
    test, before = checkpoint.metrics.get("test") or {}, checkpoint.metrics.get("in_use_before") or {}
    current.summary["after"] = {key: test.get(key) for key in keys}
    current.summary["before"] = {key: before.get(key) for key in keys}
    current.save(update_fields=["checkpoint", "dataset_version", "summary"])


@kind("train_rfft", "Tune the generator (RFFT)", max_attempts=5)
def train_rfft(ctx: RunContext) -> dict[str, Any]:
    """Tune the generator's ControlNet on RFNet's feedback; a new generator comes out, not in use until somebody puts it."""

    from adproof.diffusion.generator import Generator as Drawer
    from adproof.finetune.rfft import MINI, PAPER, RFFTConfig, rfft
    from generation import runtime
    from generation.actions import register_generator
    from training.actions import tuned_name
    from training.models import Training

    training = Training.objects.select_related("generator", "feedback").get(pk=ctx.params["training"])
    base = training.generator
    values = dict(training.config)
    n_samples, sample_seed = values.pop("samples", 200), values.pop("sample_seed", 0)
    try:
        config = RFFTConfig.from_dict({**vars(MINI if base.kind == "mini" else PAPER), **values})
    except (TypeError, ValueError) as error:
        raise BadInput(f"The settings can't be used: {error}") from error
    drawer = runtime.drawer_of(base)
    out = ctx.folder / "rfft"

    def on_step(step: dict[str, float]) -> None:
        names = ("f_ac", "regulariser", "p_available", "grad_norm", "seconds")
        ctx.metric(int(step["update"]), **{name: step[name] for name in names})
        ctx.progress(
            int(step["update"]), config.updates, f"update {step['update']:.0f}: p(available) {step['p_available']:.2f}"
        )

    ctx.progress(0, config.updates, "collecting products and prompts")
    samples = tuning_samples(n_samples, sample_seed)
    result = rfft(config, drawer, feedback_of(training.feedback, config), samples, out, on_step, ctx.should_stop)
    if result.controlnet is None:
        raise StopRequested
    folder = keep_folder(result.controlnet, "controlnet", ctx.run.pk)
    settings = {**base.config, "controlnet": str(folder)}
    key = Drawer.load(settings).key
    with ctx.writing():
        tuned = register_generator(
            tuned_name(base, training),
            base.kind,
            settings,
            key,
            parent=base,
            note=f"{config.objective}, beta {config.beta:g}",
        )
        Training.objects.filter(pk=training.pk).update(tuned_generator=tuned)
    first, last = result.history[:5], result.history[-5:]
    return {
        "generator": tuned.pk,
        "updates": result.updates,
        "p_available_first": round(sum(step["p_available"] for step in first) / len(first), 4),
        "p_available_last": round(sum(step["p_available"] for step in last) / len(last), 4),
    }


def tuning_samples(n: int, seed: int) -> list[Any]:
    """Products of the training split with prompts: the holdout's products are never tuned on."""
    import numpy as np

    from adproof.finetune.rfft import RFFTSample
    from datasets_app.product_splits import give_splits, splits
    from generation.drawing import product_rgba
    from generation.models import Product, Prompt
    from training.actions import DATASET

    give_splits(DATASET)
    suitable = list(Product.objects.drawable().order_by("pk")[:20_000])
    split = splits(DATASET, [product.pk for product in suitable])
    products = [product for product in suitable if split.get(product.pk) == "train"]
    prompts = list(Prompt.objects.filter(is_active=True).order_by("pk"))
    if not products or not prompts:
        raise BadInput("There is no suitable product of the training split, or no active prompt, to tune on.")
    rng = np.random.default_rng(seed)
    chosen = [products[at] for at in rng.integers(len(products), size=n)]
    pictures = {product.pk: product_rgba(product) for product in set(chosen)}
    samples = []
    for product in chosen:
        prompt = prompts[int(rng.integers(len(prompts)))]
        words = prompt.words(product, int(rng.integers(2**31)) if prompt.lists else seed)
        samples.append(RFFTSample(pictures[product.pk], words.text, product.caption, words.image_scale))
    return samples


def feedback_of(checkpoint: Any, config: Any) -> Any:
    """RFNet's logits on a half-finished image, with depth and saliency taken of that image, and a gradient to its pixels."""
    from adproof.finetune.feedback import rfnet_feedback
    from adproof.perception.depth import TorchDepth
    from adproof.perception.u2netp import TorchU2NetP
    from adproof.rfnet.scoring import differentiable
    from generation.model_sets import path_in_use
    from rfnet_service import runtime

    scorer = runtime.scorer(checkpoint.folder, checkpoint.sha256)
    network = differentiable(scorer)

    def judge(product: Any, image: Any, depth: Any, saliency: Any, captions: Any) -> Any:
        pictures = (product.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        return network(scorer.products(list(pictures)), image, depth, saliency, scorer.tokens(captions))

    nets = TorchDepth(path_in_use("depth")), TorchU2NetP(path_in_use("saliency").with_suffix(".safetensors"))
    for net in nets:
        net.requires_grad_(False)
    return rfnet_feedback(judge, *nets, config.depth_gradient, config.saliency_gradient, config.saliency_size)


def keep_folder(made: Path, kind_name: str, run_id: int) -> Path:
    """Move a finished folder to where checkpoints stay, in one rename; a second attempt finds it there."""
    from django.conf import settings

    place = Path(settings.CHECKPOINTS_DIR) / f"{kind_name}-run-{run_id}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(made, temporary)
        temporary.rename(place)
    return place


def weights_sha256(folder: Path) -> str:
    """sha256 over the names and bytes of all safetensors files of a folder."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
