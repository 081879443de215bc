"""Train the independent judge on rendered scenes of its own kind.

python -m adproof.adworld.drawn data/train/rf/judge --kind judge --seed 7000 --scenes 12000
python -m adproof.adworld.train_judge data/train/rf/judge --work data/train/rf/judge_work --out OUT
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.adworld.drawn import DrawnScenes
from adproof.adworld.judge import JudgeNet, hashed_words, save_judge
from adproof.adworld.learning import (
    CAUSES,
    PictureHeads,
    Pictures,
    Scenes,
    Stage,
    Targets,
    logits_of,
    picture_loss,
    reference_names,
    run_stage,
)
from adproof.labels import N_LABELS
from adproof.rfnet.calibration import fit_temperature, softmax
from adproof.rfnet.checkpoint import read_weights
from adproof.rfnet.metrics import evaluate

NATURAL_MIX = (0.56, 0.12, 0.12, 0.10, 0.10)
_GRID = 4


def generator_like(pictures: Pictures, beside: Tensor) -> Pictures:
    """Backgrounds as a generator might draw them: smeared, grainy, other in brightness and contrast.

    The product keeps its pixels, because generation pastes them back.
    """
    del beside
    product, image = pictures["product"], pictures["generated"]
    n, alpha = len(image), product[:, 3:]

    def chance(share: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1) < share).float()

    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel[None]).div(16).expand(3, 1, 3, 3)
    smeared = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    coarse = F.interpolate(F.avg_pool2d(smeared, 2), image.shape[-2:], mode="bilinear", align_corners=False)
    changed = torch.lerp(torch.lerp(image, smeared, chance(0.5)), coarse, chance(0.2))
    grain = F.interpolate(torch.randn(n, 3, 32, 32), image.shape[-2:], mode="bilinear", align_corners=False)
    changed = changed + 0.04 * torch.rand(n, 1, 1, 1) * grain * chance(0.5)
    contrast = torch.empty(n, 1, 1, 1).uniform_(0.85, 1.15)
    changed = (changed - 0.5) * contrast + 0.5 + torch.empty(n, 1, 1, 1).uniform_(-0.06, 0.06)
    kept = torch.lerp(changed.clamp(0, 1), product[:, :3], alpha)
    return {**pictures, "generated": torch.lerp(image, kept, chance(0.7))}


class JudgeStage(Stage):
    """The judge with helping losses: what stands there, how big, and whether the caption agrees."""

    def __init__(self) -> None:
        super().__init__()
        self.network = JudgeNet()
        vector = self.network.vector_width
        self.picture = PictureHeads(self.network.out_channels, _GRID, len(reference_names()))
        self.cause = nn.Linear(vector, len(CAUSES))
        self.relation = nn.Linear(vector, 3)
        self.told = nn.Linear(vector, 1)

    def loss(self, pictures: Pictures, ids: Tensor, truth: Targets) -> tuple[Tensor, Tensor]:
        features, vector = self.network.features(pictures["product"], pictures["generated"], ids)
        logits = self.network.head(vector).float()
        loss = 1.5 * F.cross_entropy(logits, truth.label)
        loss = loss + 0.5 * F.cross_entropy(self.cause(vector).float(), truth.cause, ignore_index=-1)
        if bool((truth.relation >= 0).any()):
            loss = loss + F.cross_entropy(self.relation(vector).float(), truth.relation, ignore_index=-1)
        loss = loss + 0.5 * F.smooth_l1_loss(self.told(vector).float()[:, 0] + 4, truth.told)
        heads = self.picture(F.adaptive_avg_pool2d(features, _GRID))
        return loss + 0.5 * picture_loss(heads, truth, False), logits


def train_judge(
    drawn: DrawnScenes,
    held_out: dict[str, DrawnScenes],
    work: Path,
    out: Path,
    steps: int,
    seed: int,
    log: Callable[[str], None],
    start: Path | None = None,
) -> dict[str, Any]:
    """Train, calibrate on the first of held_out, measure on all, write `out`; goes on from `work`.

    The training mix has more of the rare labels; the logits are set back to the natural shares by
    log(natural / training), which is exact for a network that gives the posterior.
    """
    work.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    scenes = Scenes(drawn, hashed_words, generator_like)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stage = JudgeStage()
    if start is not None:
        take_over(stage.network, start)
    run_stage(stage, scenes, steps, seed, work / "judge.safetensors", log)
    network = stage.network.eval()
    _forget_unread_words(network, scenes)
    shares = np.bincount(drawn.labels, minlength=N_LABELS) / len(drawn)
    bias = np.log(np.array(NATURAL_MIX) / shares).astype(np.float32)

    def logits(others: DrawnScenes, described: bool = False) -> NDArray[np.float32]:
        def forward(pictures: Pictures, ids: Tensor) -> Tensor:
            result: Tensor = network(pictures["product"], pictures["generated"], ids)
            return result

        return logits_of(forward, Scenes(others, hashed_words, generator_like, described)) + bias

    temperature = 1.0
    about: dict[str, Any] = {"seed": seed, "steps": steps, "scenes": len(drawn)}
    for number, (name, others) in enumerate(held_out.items()):
        values = logits(others)
        if number == 0:
            temperature = fit_temperature(values, others.labels)
        about[name] = evaluate(softmax(values, temperature), others.labels).as_dict()
        by_description = softmax(logits(others, described=True), temperature)
        about[f"{name}, described"] = evaluate(by_description, others.labels).as_dict()
    about["minutes_of_this_run"] = (time.perf_counter() - started) / 60
    save_judge(out, network, temperature, bias, about)
    return about


def take_over(network: JudgeNet, start: Path) -> None:
    """Begin with what fits of another judge; a convolution that saw fewer channels gets zeros for those."""
    own = network.state_dict()
    for name, value in read_weights(start).items():
        if name in own and value.shape == own[name].shape:
            own[name] = value
        elif name in own and value.dim() == 4:
            own[name] = torch.zeros_like(own[name])
            own[name][:, : value.shape[1]] = value
    network.load_state_dict(own)


def _forget_unread_words(network: JudgeNet, scenes: Scenes) -> None:
    """Words that no training caption had keep their random start: make them say nothing."""
    read = torch.zeros(len(network.words.weight), dtype=torch.bool)
    read[torch.cat([scenes.ids, scenes.described_ids]).flatten()] = True
    with torch.no_grad():
        network.words.weight[~read] = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="folder of adproof.adworld.drawn --kind judge")
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="folders to measure on, first calibrates")
    parser.add_argument("--work", type=Path, required=True, help="resume file")
    parser.add_argument("--out", type=Path, required=True, help="the judge's folder")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=Path, help="model.safetensors of a judge to begin with")
    args = parser.parse_args()
    torch.set_num_threads(1)

    def log(line: str) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stdout.flush()

    held_out = {folder.name: DrawnScenes(folder) for folder in args.held_out}
    drawn = DrawnScenes(args.scenes)
    about = train_judge(drawn, held_out, args.work, args.out, args.steps, args.seed, log, args.start)
    log(json.dumps(about))


if __name__ == "__main__":
    main()
