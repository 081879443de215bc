"""Train the denoiser of a shipped mini generator further, on several one-thread processes.

    python -m adproof.adworld.drawn data/train/scenes --simple --scenes 24000 --seed 400
    python -m adproof.diffusion.train_further --generator adproof/models/mini/generator --scenes data/train/scenes \
        --out data/train/further --minutes 100 --processes 2
    python -m adproof.diffusion.train_further --out data/train/further --generator adproof/models/mini/generator \
        --export data/train/further/generator

The autoencoder and the ControlNet's condition embedding stay as they are, so what they make of every scene is computed
once: an update then costs about half of what it costs in `train_mini`. Each process takes its own scenes; gradients are
averaged at every update. Hidden weight matrices learn by Muon (Jordan et al. 2024; step size after Liu et al. 2025,
"Muon is scalable for LLM training", section 2.2), the rest by AdamW. Minutes are minutes of the clock over all parts: run
the same command again to go on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from adproof.adworld.drawn import DrawnScenes, Truth
from adproof.adworld.words import VOCABULARY
from adproof.diffusion import mini_nets
from adproof.diffusion.stages import LOG_EVERY_S, SAVE_EVERY_S, Average
from adproof.diffusion.train_mini import (
    PRODUCT_WEIGHT,
    PROMPT_DROPOUT,
    Denoiser,
    averaged,
    controls_of,
    denoising_loss,
    natural_shares,
    to_signed,
    tokens_of,
)
from adproof.processes import DiesWithParent

RATE = 1e-3
STEADY = 0.2  # share of the time before the learning rate begins to fall
MUON_MOMENTUM, WEIGHT_DECAY = 0.95, 1e-3
AVERAGE_DECAY = 0.999
BATCH = 48  # of each process
# What it learns from: a little more of the defects than it is to show, because guidance favours what is common.
LABEL_MIX = (0.42, 0.13, 0.13, 0.08, 0.24)
# Things beside the product and parts grown on it are a twentieth of the picture. They count for more while a noisy
# latent still shows where they are; at higher noise that would teach the net to see them everywhere.
DETAIL_WEIGHT, DETAIL_BELOW = 4.0, 800  # the latter a timestep
LEARNT_BY_ADAM = ("embedding", "conv_in", "conv_out")  # inputs, outputs and embeddings, as Muon's authors advise

CELL = mini_nets.CANVAS // mini_nets.LATENT_SIDE  # px that one latent sees
HalfArray = npt.NDArray[np.float16]


def load_pipeline(folder: Path) -> StableDiffusionControlNetInpaintPipeline:
    pipeline: StableDiffusionControlNetInpaintPipeline = StableDiffusionControlNetInpaintPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, use_safetensors=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def denoiser_of(pipeline: StableDiffusionControlNetInpaintPipeline) -> Denoiser:
    """The pipeline's U-Net, ControlNet and text encoder as the one module that is trained."""
    denoiser = Denoiser(mini_nets.build_tokenizer(VOCABULARY))
    denoiser.unet.load_state_dict(pipeline.unet.state_dict())
    denoiser.controlnet.load_state_dict(pipeline.controlnet.state_dict())
    denoiser.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())
    return denoiser


def encoders_digest(pipeline: StableDiffusionControlNetInpaintPipeline) -> str:
    """Sha256 (hex) over the weights that further training leaves as they are: the autoencoder's, the condition's."""
    digest = hashlib.sha256()
    for module in (pipeline.vae, pipeline.controlnet.controlnet_cond_embedding):
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


# --- what is computed once -----------------------------------------------------------------------------------------


@torch.no_grad()
def prepare_part(generator: Path, scenes_folder: Path, out: Path, part: int, parts: int) -> None:
    """Write latents, condition features, loss weights and details of scenes part, part + parts, ...

    Arrays of N x 16, 64, 1 and 1 x 16 x 16, float16, and `made_by`: what they depend on of the generator.
    """
    torch.set_num_threads(1)
    pipeline, scenes = load_pipeline(generator), DrawnScenes(scenes_folder)
    embedding, vae = pipeline.controlnet.controlnet_cond_embedding.eval(), pipeline.vae.eval()
    rows = np.arange(part, len(scenes), parts)
    arrays: dict[str, list[HalfArray]] = {"latents": [], "condition": [], "weight": [], "detail": []}
    for start in range(0, len(rows), 50):
        planes = scenes.planes(rows[start : start + 50])
        alpha = torch.from_numpy(planes[:, 3:4].astype(np.float32)) / 255
        covered = F.avg_pool2d(alpha, CELL)
        latents = vae.encode(to_signed(planes[:, 4:7])).latent_dist.mean * vae.config.scaling_factor
        arrays["latents"].append(latents.numpy().astype(np.float16))
        arrays["condition"].append(embedding(controls_of(planes[:, :4])).numpy().astype(np.float16))
        arrays["weight"].append((1 - (1 - PRODUCT_WEIGHT) * covered).numpy().astype(np.float16))
        truths = [scenes.truths[row] for row in rows[start : start + 50]]
        arrays["detail"].append(details_of(planes, truths).astype(np.float16))
    temporary = out / f"prepared-{part}-of-{parts}.tmp.npz"
    whole = {name: np.concatenate(chunks) for name, chunks in arrays.items()}
    np.savez(temporary, allow_pickle=False, made_by=np.array(encoders_digest(pipeline)), **whole)
    temporary.replace(out / f"prepared-{part}-of-{parts}.npz")


def details_of(planes: npt.NDArray[np.uint8], truths: Sequence[Truth]) -> npt.NDArray[np.float32]:
    """(N,1,16,16): how much of each latent cell is a thing beside the product, or a part that it does not have."""
    grown = (planes[:, 8] > planes[:, 3]).astype(np.float32)  # salient, and not in the cut-out
    for plane, truth in zip(grown, truths, strict=True):
        for _, _, (x0, y0, x1, y1) in truth.references:
            plane[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
    found: npt.NDArray[np.float32] = F.avg_pool2d(torch.from_numpy(grown[:, None]), CELL).numpy()
    return found


def prepare(generator: Path, scenes: Path, out: Path, processes: int) -> None:
    missing = [k for k in range(processes) if not (out / f"prepared-{k}-of-{processes}.npz").is_file()]
    together(prepare_part, [(generator, scenes, out, k, processes) for k in missing])


def together(work: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Each call in a process of its own. Raises RuntimeError: one failed, which says why."""
    target, spawning = DiesWithParent(work), multiprocessing.get_context("spawn")
    workers = [spawning.Process(target=target, args=call) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"preparing the scenes ended with {worker.exitcode}; see above")


def load_prepared(out: Path, processes: int, n_scenes: int, made_by: str) -> dict[str, HalfArray]:
    """What `prepare` wrote, in the order of the scenes. Raises ValueError: it is of other scenes or encoders."""
    parts = [np.load(out / f"prepared-{k}-of-{processes}.npz") for k in range(processes)]
    rows = [np.arange(k, n_scenes, processes) for k in range(processes)]
    if any(len(part["weight"]) != len(those) for part, those in zip(parts, rows, strict=True)):
        raise ValueError(f"{out} was prepared from other scenes than these {n_scenes}: remove its prepared-*.npz")
    if any("made_by" not in part or str(part["made_by"]) != made_by for part in parts):
        raise ValueError(f"{out} was prepared with another generator's encoders: remove its prepared-*.npz")
    order = np.argsort(np.concatenate(rows))
    names = [name for name in parts[0].files if name != "made_by"]
    return {name: np.concatenate([part[name] for part in parts])[order] for name in names}


# --- optimiser -----------------------------------------------------------------------------------------------------


def orthogonal(matrix: Tensor) -> Tensor:
    """(m,n) -> (m,n), its singular values brought near 1 by five Newton-Schulz iterations in bfloat16 (Jordan et al.)."""
    x: Tensor = matrix.bfloat16()
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    x = x.T if tall else x
    orthogonal_: Tensor = x.float()
    return orthogonal_


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, of RMS 0.2 as AdamW's updates have; convolutions are matrices of (out, in x k x k)."""

    def __init__(self, params: list[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - MUON_MOMENTUM)
                update = orthogonal(p.grad.lerp(momentum, MUON_MOMENTUM).flatten(1))
                scale = 0.2 * max(update.shape) ** 0.5
                p.mul_(1 - group["lr"] * WEIGHT_DECAY).add_(update.view_as(p), alpha=-group["lr"] * scale)


def optimisers_of(denoiser: nn.Module) -> list[torch.optim.Optimizer]:
    by_muon: list[Tensor] = []
    by_adam: list[Tensor] = []
    for name, p in denoiser.named_parameters():
        adam = p.ndim < 2 or any(part in name for part in LEARNT_BY_ADAM)
        (by_adam if adam else by_muon).append(p)
    return [
        Muon(by_muon, RATE),
        torch.optim.AdamW(by_adam, lr=RATE, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY),
    ]


# --- training ------------------------------------------------------------------------------------------------------


class Run:
    """The training of one process; process 0 keeps the average, the log and the checkpoint."""

    def __init__(self, generator: Path, scenes: Path, out: Path, minutes: float, seed: int) -> None:
        self.out, self.total_s, self.seed = out, minutes * 60, seed
        self.rank, self.processes = distributed.get_rank(), distributed.get_world_size()
        pipeline = load_pipeline(generator)
        self.made_by = encoders_digest(pipeline)
        self.denoiser = denoiser_of(pipeline)
        self.denoiser.controlnet.controlnet_cond_embedding = nn.Identity()
        self.optimisers = optimisers_of(self.denoiser)
        self.average = Average(self.denoiser, AVERAGE_DECAY)
        self.step, self.before_s = 0, 0.0
        if (out / "further.pt").is_file():
            self._resume()
        self.start = time.monotonic()
        self._load_scenes(scenes)

    @property
    def spent_s(self) -> float:
        return self.before_s + time.monotonic() - self.start

    def _load_scenes(self, folder: Path) -> None:
        scenes = DrawnScenes(folder)
        self.arrays = load_prepared(self.out, self.processes, len(scenes), self.made_by)
        tokenizer = mini_nets.build_tokenizer(VOCABULARY)
        self.tokens = tokens_of(tokenizer, [truth.prompt for truth in scenes.truths])
        self.empty = tokens_of(tokenizer, [""])
        self.shares = natural_shares(scenes.labels, LABEL_MIX)

    def loss(self, rng: np.random.Generator, scheduler: Any) -> Tensor:
        rows = rng.choice(len(self.shares), BATCH, p=self.shares)
        dropped = torch.from_numpy(rng.random(BATCH) < PROMPT_DROPOUT)
        text = torch.where(dropped[:, None], self.empty, self.tokens[torch.from_numpy(rows)])
        z0, condition, weight, detail = (
            torch.from_numpy(self.arrays[name][rows]).float() for name in ("latents", "condition", "weight", "detail")
        )

        def weight_at(t: Tensor) -> Tensor:
            return 1 + (DETAIL_WEIGHT - 1) * detail * (t < DETAIL_BELOW).float()[:, None, None, None]

        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slower here
            return denoising_loss(self.denoiser, (z0, text, condition, weight), scheduler, rng, weight_at)[0]

    def train(self) -> None:
        rng = np.random.default_rng([self.seed, self.step, self.rank])
        scheduler = mini_nets.build_scheduler()
        saved = logged = time.monotonic()
        losses: list[float] = []
        while (left := self._left()) > 0:
            factor = min(1.0, (self.step + 1) / 100, left / (1 - STEADY))
            for optimiser in self.optimisers:
                optimiser.param_groups[0]["lr"] = RATE * factor
                optimiser.zero_grad(set_to_none=True)
            loss = self.loss(rng, scheduler)
            loss.backward()  # type: ignore[no-untyped-call]
            self._share_gradients()
            nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
            self.step += 1
            losses.append(loss.item())
            if self.rank == 0:
                self.average.update(self.denoiser)
                now = time.monotonic()
                if now - logged > LOG_EVERY_S:
                    self._log(losses)
                    logged, losses = now, []
                if now - saved > SAVE_EVERY_S:
                    self.save()
                    saved = now
        if self.rank == 0:
            self.save()

    def _left(self) -> float:
        """Share of the time left, the same in every process: process 0's."""
        left = torch.tensor([max(0.0, 1 - self.spent_s / self.total_s)])
        distributed.broadcast(left, 0)
        return float(left)

    def _share_gradients(self) -> None:
        grads = [p.grad for p in self.denoiser.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads]).div_(self.processes)
        distributed.all_reduce(flat)
        for grad, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def save(self) -> None:
        state = {
            "model": self.denoiser.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "average": self.average.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
        }
        temporary = self.out / "further.tmp"
        torch.save(state, temporary)
        temporary.replace(self.out / "further.pt")

    def _resume(self) -> None:
        state = torch.load(self.out / "further.pt", weights_only=True)
        self.denoiser.load_state_dict(state["model"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.average.load_state_dict(state["average"])
        self.step, self.before_s = state["step"], state["spent_s"]

    def _log(self, losses: list[float]) -> None:
        samples = self.step * BATCH * self.processes
        line = {
            "step": self.step,
            "samples": samples,
            "s": round(self.spent_s),
            "loss": round(float(np.mean(losses)), 5),
        }
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)  # noqa: T201


def train_process(rank: int, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    distributed.init_process_group(
        "gloo", init_method=f"file://{(args.out / 'meeting').resolve()}", rank=rank, world_size=args.processes
    )
    Run(args.generator, args.scenes, args.out, args.minutes, args.seed).train()
    distributed.destroy_process_group()


def export(generator: Path, out: Path, folder: Path) -> None:
    """Write the generator with the averaged further weights as a diffusers folder in float16."""
    pipeline = load_pipeline(generator)
    denoiser = denoiser_of(pipeline)
    embedding = denoiser.controlnet.controlnet_cond_embedding
    denoiser.controlnet.controlnet_cond_embedding = nn.Identity()
    averaged(denoiser, torch.load(out / "further.pt", weights_only=True))
    denoiser.controlnet.controlnet_cond_embedding = embedding
    # The rest is copied, not saved again: diffusers would write down which folder it was loaded from.
    shutil.copytree(generator, folder, dirs_exist_ok=True)
    for name in ("unet", "controlnet", "text_encoder"):
        getattr(denoiser, name).half().save_pretrained(folder / name, safe_serialization=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, required=True, help="diffusers folder to start from")
    parser.add_argument("--scenes", type=Path, help="folder written by adproof.adworld.drawn")
    parser.add_argument("--out", type=Path, required=True, help="prepared scenes, checkpoint and log")
    parser.add_argument("--minutes", type=float, default=100.0, help="of the clock, over all resumed parts")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write the generator here, and do nothing else")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.export:
        export(args.generator, args.out, args.export)
        return
    if args.scenes is None:
        parser.error("--scenes is needed to train")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare(args.generator, args.scenes, args.out, args.processes)
    (args.out / "meeting").unlink(missing_ok=True)
    spawn(DiesWithParent(train_process), (args,), args.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
