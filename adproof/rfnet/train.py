"""Train RFNet on people's labels: resumable to the bit, watched through callbacks.

Everything random in a step comes from (seed, step), so a training that was killed and started again ends with
the same weights as one that was not (same machine, same number of threads).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from adproof.rfnet import checkpoint as files
from adproof.rfnet.calibration import fit_temperature, softmax
from adproof.rfnet.checkpoint import Checkpoint
from adproof.rfnet.config import TrainConfig
from adproof.rfnet.data import Packed, RFNetData
from adproof.rfnet.head import fit_head
from adproof.rfnet.metrics import Evaluation, Metrics, evaluate
from adproof.rfnet.network import RFNet
from adproof.rfnet.preprocess import mirrored, unpack
from adproof.rfnet.text import CaptionTokenizer, pretrained_tokenizer, train_tokenizer

RESUME_FILE = "resume.safetensors"
_CACHE_FILE = "pictures.npy"
_HEAD = "classifier."
_EVALUATION_BATCH = 64

Callback = Callable[[dict[str, Any]], None]


class TrainingStopped(Exception):
    """`should_stop` said so; the resume file is written, and the same call goes on from there."""

    def __init__(self, step: int) -> None:
        super().__init__(f"training stopped at step {step}; it resumes from there")
        self.step = step


def learning_rate_at(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of a step (0 = the first): warm-up, then divided by drop_factor from each drop epoch on."""
    drops = sum(step >= epoch * steps_per_epoch for epoch in config.drop_epochs)
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return config.learning_rate * warm / float(config.drop_factor) ** drops


def step_seed(seed: int, step: int) -> int:
    """A seed of its own for every step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def start_network(config: TrainConfig, captions: list[str]) -> tuple[RFNet, CaptionTokenizer]:
    """The network before its first step, and its tokenizer.

    From `config.init` all but the classifier is taken; what the config's modalities do not use is left out.
    Raises: ValueError: the weights of `init` do not fit config.network.
    """
    network_config = config.network
    devices = [torch.cuda.current_device()] if config.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        network = RFNet(network_config, pretrained=not config.init)
    length = network_config.max_caption_tokens
    if config.init:
        folder = files.shipped("rfnet_init") if config.init == "mini" else Path(config.init)
        start = files.load_checkpoint(folder)
        wanted = network.state_dict()
        given = {k: v for k, v in start.network.state_dict().items() if k in wanted and not k.startswith(_HEAD)}
        unfit = [k for k in wanted if not k.startswith(_HEAD) and (k not in given or given[k].shape != wanted[k].shape)]
        if unfit:
            raise ValueError(
                f"the weights of {config.init!r} do not fit the network's settings (first: {unfit[0]}); "
                "take the network settings of its config.json, or set init to ''"
            )
        network.load_state_dict({**wanted, **given})
        tokenizer = start.tokenizer
    elif network_config.pretrained_text:
        tokenizer = pretrained_tokenizer(network_config.pretrained_text, length)
    else:
        tokenizer = train_tokenizer(captions, int(network_config.text["vocab_size"]), length)
    return network.to(config.device).to(memory_format=torch.channels_last), tokenizer  # type: ignore[call-overload]


def autocast(precision: str, device: str) -> Any:
    """bf16 autocast, or nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], torch.bfloat16)


class _Progress:
    """Where the training stands; all of it in the resume file."""

    def __init__(self) -> None:
        self.step = 0
        self.loss_sum = 0.0
        self.loss_count = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []


class _Trainer:
    def __init__(self, config: TrainConfig, packed: Packed, out: Path) -> None:
        self.config = config
        self.packed = packed
        self.out = out
        self.train_rows = packed.indices("train")
        if not len(self.train_rows):
            raise ValueError("the training split is empty: label some candidates and freeze a new dataset version")
        self.steps_per_epoch = -(-len(self.train_rows) // config.batch_size)
        self.n_steps = self.steps_per_epoch * config.epochs
        self.network, self.tokenizer = start_network(config, [packed.captions[i] for i in self.train_rows])
        self.ids = torch.from_numpy(self.tokenizer(packed.captions))
        self.labels = torch.from_numpy(packed.labels)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.weights = _class_weights(packed.labels[self.train_rows], config)
        self.progress = _Progress()
        self._order = (-1, self.train_rows)

    def rows_of(self, step: int) -> NDArray[np.int64]:
        """The rows of a step's batch: each epoch goes through all, in an order of its own."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.config.seed, epoch])
            self._order = (epoch, rng.permutation(self.train_rows))
        size = self.config.batch_size
        return self._order[1][place * size : (place + 1) * size]

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        device = self.config.device
        planes = torch.from_numpy(np.ascontiguousarray(self.packed.planes[rows]))
        return planes.to(device), self.ids[rows].to(device), self.labels[rows].to(device)

    def _set_mode(self) -> None:
        self.network.train()
        if self.config.freeze_batchnorm:
            for module in self.network.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def step(self) -> float:
        """One optimiser step; returns its loss."""
        config, step = self.config, self.progress.step
        planes, ids, labels = self.batch(self.rows_of(step))
        rate = learning_rate_at(config, step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        devices = [torch.cuda.current_device()] if config.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(step_seed(config.seed, step))
            if config.flip:
                chosen = torch.rand(len(planes)) < 0.5
                planes[chosen] = mirrored(planes[chosen])
            with autocast(config.precision, config.device):
                logits = self.network(unpack(planes), ids)
            loss = F.cross_entropy(logits, labels, self.weights, label_smoothing=config.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.optimizer.step()
        return float(loss.detach())

    def logits(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The network's logits (N, 5) and the labels (N,) of a split."""
        rows = self.packed.indices(split)
        self.network.eval()
        parts = [np.empty((0, self.config.network.n_labels), np.float32)]
        with torch.no_grad(), autocast(self.config.precision, self.config.device):
            for start in range(0, len(rows), _EVALUATION_BATCH):
                planes, ids, _ = self.batch(rows[start : start + _EVALUATION_BATCH])
                parts.append(self.network(unpack(planes), ids).cpu().numpy())
        self._set_mode()
        return np.concatenate(parts), self.packed.labels[rows]

    def fit_head(self) -> None:
        """Before the first step: see TrainConfig.head_first."""
        if not self.config.head_first or self.progress.step:
            return
        classifier, parts = self.network.classifier, []
        watched = classifier.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0].float()))
        _, labels = self.logits("train")
        watched.remove()
        fit_head(classifier, torch.cat(parts), torch.from_numpy(labels).to(self.config.device),
                 self.config.head_first, self.weights)  # fmt: skip

    def run(self, on_epoch: Callback | None, on_step: Callback | None, should_stop: Callable[[], bool] | None) -> None:
        config, progress = self.config, self.progress
        self._set_mode()
        while progress.step < self.n_steps:
            if should_stop is not None and should_stop():
                self.save()
                raise TrainingStopped(progress.step)
            started = time.perf_counter()
            loss = self.step()
            taken = time.perf_counter() - started
            epoch = progress.step // self.steps_per_epoch
            n = len(self.rows_of(progress.step))
            rate = learning_rate_at(config, progress.step, self.steps_per_epoch)
            progress.step += 1
            progress.seconds += taken
            progress.loss_sum += loss * n
            progress.loss_count += n
            if on_step is not None:
                on_step(
                    {
                        "step": progress.step,
                        "steps": self.n_steps,
                        "epoch": epoch + 1,
                        "epochs": config.epochs,
                        "loss": loss,
                        "learning_rate": rate,
                        "samples_per_s": n / taken,
                    }
                )
            if progress.step % self.steps_per_epoch == 0:
                self._end_epoch(epoch, rate, on_epoch)
                self.save()
            elif progress.step % config.checkpoint_steps == 0:
                self.save()

    def _end_epoch(self, epoch: int, rate: float, on_epoch: Callback | None) -> None:
        progress = self.progress
        started = time.perf_counter()
        logits, labels = self.logits("validation")
        figures = evaluate(softmax(logits), labels).as_dict() if len(labels) else None
        progress.seconds += time.perf_counter() - started
        record = {
            "epoch": epoch + 1,
            "epochs": self.config.epochs,
            "step": progress.step,
            "loss": progress.loss_sum / max(1, progress.loss_count),
            "learning_rate": rate,
            "samples_per_s": progress.step * len(self.train_rows) / self.steps_per_epoch / max(progress.seconds, 1e-9),
            "validation": figures,
        }
        progress.loss_sum, progress.loss_count = 0.0, 0
        progress.history.append(record)
        if on_epoch is not None:
            on_epoch(record)

    def _identity(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "digest": self.packed.digest}

    def save(self) -> None:
        """Write the resume file, whole."""
        about = {"identity": self._identity(), "progress": vars(self.progress)}
        files.write_state(self.out / RESUME_FILE, self.network, self.optimizer, about)

    def resume(self) -> None:
        """Go on from the resume file, if there is one. Raises ValueError when it is of another training."""
        path = self.out / RESUME_FILE
        if not path.is_file():
            return
        if files.read_about(path)["identity"] != self._identity():
            raise ValueError(f"{path} is of a training with other settings or data: give another folder or delete it")
        about = files.read_state(path, self.network, self.optimizer)
        vars(self.progress).update(about["progress"])

    def metrics(self) -> tuple[Metrics, float]:
        """Calibrate on validation and measure both held-out splits."""
        logits, labels = self.logits("validation")
        temperature = fit_temperature(logits, labels)
        test_logits, test_labels = self.logits("test")

        def measured(z: NDArray[np.float32], y: NDArray[np.int64], t: float) -> Evaluation | None:
            return evaluate(softmax(z, t), y) if len(y) else None

        before, test_before = measured(logits, labels, 1.0), measured(test_logits, test_labels, 1.0)
        return (
            Metrics(
                validation=measured(logits, labels, temperature),
                test=measured(test_logits, test_labels, temperature),
                validation_ece_before=before.ece if before else float("nan"),
                test_ece_before=test_before.ece if test_before else float("nan"),
                temperature=temperature,
                n_train=len(self.train_rows),
                n_parameters=sum(p.numel() for p in self.network.parameters()),
                seconds=self.progress.seconds,
                history=self.progress.history,
            ),
            temperature,
        )


def _class_weights(labels: NDArray[np.int64], config: TrainConfig) -> Tensor | None:
    if not config.class_weights:
        return None
    counts = np.maximum(np.bincount(labels, minlength=config.network.n_labels), 1)
    weights = torch.from_numpy((1 / counts).astype(np.float32))
    return (weights / weights.mean()).to(config.device)


def train(
    config: TrainConfig,
    data: RFNetData,
    out: Path | str,
    on_epoch: Callback | None = None,
    on_step: Callback | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Metrics:
    """Train, calibrate, measure, and write a checkpoint folder.

    Called again with the same `out` it goes on where it stopped, or returns the metrics of the finished
    checkpoint at once.

    Args:
        config: the settings; written resolved into the checkpoint.
        data: labelled samples; "train" is learnt from, "validation" calibrated on, "test" only measured.
        out: the checkpoint's folder; while training it also holds resume.safetensors and the shrunk pictures.
        on_epoch: called after each epoch with epoch, epochs, step, loss, learning_rate, samples_per_s and
            validation (Evaluation.as_dict(), uncalibrated, or None).
        on_step: called after each step with step, steps, epoch, epochs, loss, learning_rate, samples_per_s.
        should_stop: asked before each step.
    Raises:
        TrainingStopped: should_stop said so; the state is saved.
        ValueError: `out` belongs to another training, the training split is empty, or init does not fit.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / files.SUMS_FILE).is_file():
        return _finished(config, data, out)
    if config.threads:
        torch.set_num_threads(config.threads)
    cache = out / _CACHE_FILE
    trainer = _Trainer(config, data.pack(config.network, cache), out)
    trainer.resume()
    trainer.fit_head()
    trainer.run(on_epoch, on_step, should_stop)
    metrics, temperature = trainer.metrics()
    files.save_checkpoint(
        out,
        Checkpoint(trainer.network, trainer.tokenizer, temperature, config.to_dict(), trainer.packed.digest),
        metrics.as_dict(),
    )
    (out / RESUME_FILE).unlink(missing_ok=True)
    cache.unlink(missing_ok=True)
    return metrics


def _finished(config: TrainConfig, data: RFNetData, out: Path) -> Metrics:
    done = files.load_checkpoint(out)
    if done.training != config.to_dict() or done.dataset_digest != data.digest:
        raise ValueError(f"{out} holds a finished checkpoint of another training: give another folder")
    return Metrics.from_dict(json.loads((out / files.METRICS_FILE).read_text()))


def main() -> None:
    """python -m adproof.rfnet.train VERSION OUT [--config FILE.json] [--paper] [--seed N]"""
    import argparse

    from adproof.rfnet.config import mini_training, paper_training

    parser = argparse.ArgumentParser(description="Train RFNet on a dataset version.")
    parser.add_argument("version", type=Path, help="dataset version folder (with manifest.json)")
    parser.add_argument("out", type=Path, help="checkpoint folder; an interrupted training there goes on")
    parser.add_argument("--config", type=Path, help="JSON of TrainConfig settings that differ from the preset")
    parser.add_argument("--paper", action="store_true", help="the paper's network and schedule (wants a GPU)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = (paper_training() if args.paper else mini_training()).with_seed(args.seed)
    if args.config:
        config = TrainConfig.from_dict({**config.to_dict(), **json.loads(args.config.read_text())})

    def show(epoch: dict[str, Any]) -> None:
        figures = epoch["validation"] or {}
        print(  # noqa: T201
            f"epoch {epoch['epoch']}/{epoch['epochs']}  loss {epoch['loss']:.3f}  "
            f"F1 {figures.get('f1')}  AP {figures.get('average_precision')}",
            flush=True,
        )

    metrics = train(config, RFNetData.of_version(args.version), args.out, on_epoch=show)
    print(json.dumps(metrics.as_dict()))  # noqa: T201


if __name__ == "__main__":
    main()
