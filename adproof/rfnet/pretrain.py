r"""Where RFNet's training starts from: trunks, text encoder and fusion taught on rendered scenes.

The paper starts from ResNet50 (ImageNet) and RoBERTa. Neither fits a laptop's CPU, so the mini network gets
its start from the ad world's scenes, whose truth is known by construction, in two stages:

1. one trunk, on single pictures: label and cause, which things of known size stand there and how tall, the
   surface's back edge, the product's identity;
2. the whole RFNet (the product's and the generated image's trunks begin as that one): label, cause, the
   product's height by its caption and by the things beside it, and whether they agree.

The classifier's head is thrown away afterwards (see train.start_network): verdicts on candidates are learnt
from people's labels only. Depth and saliency of a scene are its truth, made worse on purpose so that the maps
of the depth and saliency nets will not look strange: blurred, with the things beside the product salient as
well, and sometimes blind to an extension.

    python -m adproof.adworld.drawn data/train/rf/feedback --kind feedback --seed 100 --scenes 14000
    python -m adproof.rfnet.pretrain data/train/rf/feedback --work data/train/rf/init --out FIRST

Then the second stage once more, from there, on scenes as the mini generator would have drawn them (adproof.diffusion.redrawn)
together with as many of those:

    python -m adproof.rfnet.pretrain data/train/rf/feedback data/train/rf/redrawn --of-each 4000 --start FIRST \
        --work data/train/rf/further --out OUT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.adworld.drawn import DrawnScenes
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
from adproof.rfnet import checkpoint as files
from adproof.rfnet.calibration import softmax
from adproof.rfnet.checkpoint import Checkpoint
from adproof.rfnet.config import RFNetConfig, mini_network
from adproof.rfnet.metrics import evaluate
from adproof.rfnet.network import RFNet, build_trunk, load_widened
from adproof.rfnet.text import CaptionTokenizer, train_tokenizer


def worsened(pictures: Pictures, beside: Tensor) -> Pictures:
    """A scene's pictures as depth and saliency nets, and a generator, might give them.

    Args:
        pictures: of unpack, B samples.
        beside: (B, 1, S, S) float in [0, 1], where the things beside the product are.
    """
    product, image = pictures["product"], pictures["generated"]
    n, alpha = len(image), product[:, 3:]

    def chance(share: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1) < share).float()

    def blurred(x: Tensor, factor: int) -> Tensor:
        small = F.avg_pool2d(x, factor)
        return F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False)

    soft = torch.lerp(blurred(image, 2), blurred(image, 4), chance(0.4))
    soft = soft + 0.03 * torch.rand(n, 1, 1, 1) * torch.randn_like(image)
    image = torch.lerp(image, torch.lerp(soft, product[:, :3], alpha), chance(0.4)).clamp(0, 1)
    salient = torch.maximum(pictures["saliency"], beside * torch.rand(n, 1, 1, 1).mul(1.6).clamp(max=1))
    salient = torch.lerp(salient, alpha, chance(0.12))
    salient = torch.lerp(salient, blurred(salient, 4), chance(0.4)) * (1 - chance(0.08))
    depth = pictures["depth"].clamp_min(1e-3) ** torch.empty(n, 1, 1, 1).uniform_(0.8, 1.25)
    depth = torch.lerp(depth, blurred(depth, 4), chance(0.6))
    wave = F.interpolate(torch.randn(n, 1, 4, 4), depth.shape[-2:], mode="bilinear", align_corners=False)
    depth = (depth + 0.03 * wave).clamp(0, 1)
    return {"product": product, "generated": image, "depth": depth, "saliency": salient}


class TrunkStage(Stage):
    """Stage 1: one trunk on the scene's picture and on the product's."""

    def __init__(self, config: RFNetConfig, n_products: int) -> None:
        super().__init__()
        self.network = RFNet(config)  # for its `pixels`; only the trunk below is trained
        self.network.requires_grad_(False)
        self.trunk = build_trunk(config)
        channels = self.trunk.out_channels
        self.picture = PictureHeads(channels, config.grid, len(reference_names()))
        self.product = nn.Linear(channels * config.grid**2, n_products)

    def loss(self, pictures: Pictures, ids: Tensor, truth: Targets) -> tuple[Tensor, Tensor]:
        del ids
        product = self.network.pixels("product", pictures["product"])[:, :3]
        x = torch.cat([self.network.pixels("generated", pictures["generated"]), product])
        scene, alone = self.trunk(x).chunk(2)
        heads = self.picture(scene)
        loss = picture_loss(heads, truth, True)
        return loss + 0.3 * F.cross_entropy(self.product(alone.flatten(1)).float(), truth.product), heads["label"]


class NetworkStage(Stage):
    """Stage 2: the whole RFNet with helping losses."""

    def __init__(self, config: RFNetConfig) -> None:
        super().__init__()
        self.network = RFNet(config)
        self.picture = PictureHeads(config.width, config.grid, len(reference_names()))
        self.told_text = nn.Linear(config.width, 1)
        self.told = nn.Linear(config.width, 1)
        self.cause = nn.Linear(config.width, len(CAUSES))
        self.relation = nn.Linear(config.width, 3)

    def loss(self, pictures: Pictures, ids: Tensor, truth: Targets) -> tuple[Tensor, Tensor]:
        network = self.network
        maps = network.encode_images(pictures)
        caption = network.encode_caption(ids)
        assert caption is not None
        maps["product"] = network.filter_caption(maps["product"], caption, ids)
        fused = network.fused(maps, caption, ids)
        logits = network.classifier(fused).float()
        loss = 1.5 * F.cross_entropy(logits, truth.label)
        loss = loss + 0.5 * F.cross_entropy(self.cause(fused).float(), truth.cause, ignore_index=-1)
        if bool((truth.relation >= 0).any()):
            loss = loss + F.cross_entropy(self.relation(fused).float(), truth.relation, ignore_index=-1)
        for head, features in ((self.told_text, caption[:, 0]), (self.told, maps["product"].mean((2, 3)))):
            loss = loss + 0.5 * F.smooth_l1_loss(head(features).float()[:, 0] + 4, truth.told)
        return loss + 0.5 * picture_loss(self.picture(maps["generated"]), truth, False), logits


def first_network(
    config: RFNetConfig, drawn: DrawnScenes, work: Path, steps: int, seed: int, log: Callable[[str], None]
) -> tuple[NetworkStage, CaptionTokenizer]:
    """Stage 1: gives the second stage, its trunks in place, and a tokenizer learnt from the captions."""
    captions = sorted({t.caption for t in drawn.truths})
    tokenizer = train_tokenizer(captions, int(config.text["vocab_size"]), config.max_caption_tokens)
    scenes = Scenes(drawn, tokenizer, worsened)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = TrunkStage(config, scenes.n_products)
        second = NetworkStage(config)
    run_stage(first, scenes, steps, seed, work / "trunk.safetensors", log)
    for name in ("product", "generated"):
        load_widened(second.network.trunks[name], first.trunk.state_dict())
    return second, tokenizer


def network_from(folder: Path, config: RFNetConfig, seed: int) -> tuple[NetworkStage, CaptionTokenizer]:
    """The second stage with the weights and the tokenizer of an earlier pretraining."""
    start = files.load_checkpoint(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stage = NetworkStage(config)
    stage.network.load_state_dict(start.network.state_dict())
    return stage, CaptionTokenizer.load(folder, config.max_caption_tokens)


def pretrain(
    drawn: DrawnScenes,
    held_out: dict[str, DrawnScenes],
    work: Path,
    out: Path,
    steps: tuple[int, int],
    seed: int,
    log: Callable[[str], None],
    start: Path | None = None,
) -> dict[str, Any]:
    """Both stages; writes the checkpoint folder `out` (fp16) and returns its metrics.

    Args:
        drawn: scenes to learn from.
        held_out: scenes to measure on, by name.
        work: folder of the resume files; the same call goes on from there.
        steps: of the two stages, 32 scenes each.
        log: gets progress lines.
        start: checkpoint folder of an earlier pretraining to go on from with other scenes: no stage 1 then,
            and a third of the learning rate.
    """
    work.mkdir(parents=True, exist_ok=True)
    config = mini_network()
    if start is None:
        stage, tokenizer = first_network(config, drawn, work, steps[0], seed, log)
    else:
        stage, tokenizer = network_from(start, config, seed)
    rate = 1.5e-3 if start is None else 5e-4
    run_stage(stage, Scenes(drawn, tokenizer, worsened), steps[1], seed + 1, work / "network.safetensors", log, rate)
    metrics: dict[str, Any] = {"seed": seed, "scenes": len(drawn), "steps": list(steps)}
    network = stage.network.eval()
    for name, others in held_out.items():
        for described in (False, True):
            logits = logits_of(network, Scenes(others, tokenizer, worsened, described))
            key = f"{name}, described" if described else name
            metrics[key] = evaluate(softmax(logits), others.labels).as_dict()
    training = {"command": "adproof.rfnet.pretrain", "seed": seed, "steps": list(steps), "scenes": len(drawn)}
    made = Checkpoint(network, tokenizer, 1.0, training, "rendered scenes")
    files.save_checkpoint(out, made, metrics, torch.float16)
    return metrics


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+", help="folders of adproof.adworld.drawn, or of diffusion.redrawn")
    parser.add_argument("--of-each", type=int, help="learn from the first so many scenes of each folder only")
    parser.add_argument("--held-out", type=Path, nargs="*", default=[], help="folders to measure on")
    parser.add_argument("--work", type=Path, required=True, help="resume files")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--trunk-steps", type=int, default=1500, help="of the first stage; with --start there is none")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="checkpoint folder of an earlier pretraining")
    args = parser.parse_args()
    torch.set_num_threads(1)

    def log(line: str) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stdout.flush()

    held_out = {folder.name: DrawnScenes(folder) for folder in args.held_out}
    steps = (0 if args.start else args.trunk_steps, args.steps)
    drawn = DrawnScenes(*args.scenes, of_each=args.of_each)
    metrics = pretrain(drawn, held_out, args.work, args.out, steps, args.seed, log, args.start)
    log(json.dumps(metrics))


if __name__ == "__main__":
    main()
