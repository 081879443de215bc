"""The trainings, and the rounds of active learning."""

import shutil
from pathlib import Path
from typing import Any

from runs.context import BadInput, RunContext, StopRequested
from runs.kinds import kind


@kind("open_round", "Pick what people label next", queue="light")
def open_round_run(ctx: RunContext) -> dict[str, Any]:
    from annotation.models import Project
    from training.actions import open_round
    from training.models import Round

    done = (
        ctx.run.result.get("round")
        or Round.objects.filter(summary__run=ctx.run.pk).values_list("number", flat=True).first()
    )
    if done:
        return {"round": done}
    options = {
        key: ctx.params[key]
        for key in ("count", "strategy", "random_share", "holdout_share", "seed")
        if key in ctx.params
    }
    with ctx.writing():
        made = open_round(Project.objects.get(pk=ctx.params["project"]), **options)
        made.summary["run"] = ctx.run.pk
        made.save(update_fields=["summary"])
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
        if step["step"] % 5 == 0 or step["step"] == step["steps"]:
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
    """The first checkpoint is put in use; a later one when its AP on the same test samples is higher than that of the one in use."""
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
