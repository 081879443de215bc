"""Train the mini generator on rendered ad-world scenes, on one CPU thread.

    python -m adproof.adworld.drawn data/train/scenes --scenes 14000
    python -m adproof.diffusion.train_mini vae    --scenes data/train/scenes --out data/train/generator --minutes 6.5
    python -m adproof.diffusion.train_mini encode --scenes data/train/scenes --out data/train/generator
    python -m adproof.diffusion.train_mini decoder --scenes data/train/scenes --out data/train/generator --minutes 6
    python -m adproof.diffusion.train_mini unet   --scenes data/train/scenes --out data/train/generator --minutes 30
    python -m adproof.diffusion.train_mini export --out data/train/generator --folder adproof/models/mini/generator

Minutes are minutes of CPU time over all parts of a stage: `--resume` goes on where the last checkpoint was written.
The learning rate is constant and falls to zero over the last part; the exported weights are running averages, so that
a run can be exported at any time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from adproof.adworld.drawn import DrawnScenes
from adproof.adworld.words import VOCABULARY
from adproof.diffusion import mini_nets
from adproof.diffusion.conditions import from_canvas, product_control
from adproof.diffusion.stages import COOLDOWN, Clock, Stage

Uint8Array = npt.NDArray[np.uint8]

NATURAL_MIX = (0.56, 0.12, 0.12, 0.10, 0.10)  # the labels' shares that the untuned generator is to have
VAE_RATE, UNET_RATE = 2e-3, 1e-3
UNET_BATCH = 32
DECODER_NOISE = 0.35  # most noise on latents of standard deviation 1
PROMPT_DROPOUT = 0.1
PRODUCT_WEIGHT = 0.2  # of the loss on latents that the product covers: its pixels are pasted back anyway


# --- autoencoder -------------------------------------------------------------------------------------------------


def to_signed(images: Uint8Array) -> Tensor:
    """uint8 (B,3,H,W) -> float32 in [-1,1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().div_(127.5).sub_(1)


def gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """(): mean absolute difference of the horizontal and vertical gradients of a and b (B, C, h, w), at full and at half
    size."""
    total = torch.zeros(())
    for _ in range(2):
        total = total + F.l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total


def crops(scenes: DrawnScenes, batch: int, side: int, rng: np.random.Generator) -> Uint8Array:
    """(batch, 3, side, side): random square crops of random pictures, half of them mirrored."""
    pictures = scenes.planes(rng.integers(len(scenes), size=batch))[:, 4:7]
    out = np.empty((batch, 3, side, side), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = rng.integers(0, picture.shape[-1] - side + 1, size=2)
        crop = picture[:, y : y + side, x : x + side]
        out[i] = crop[..., ::-1] if rng.random() < 0.5 else crop
    return out


def vae_loss(vae: AutoencoderKL, x: Tensor, kl_weight: float = 1e-4) -> tuple[Tensor, float]:
    """(L1 + gradient L1 + kl_weight x mean KL per latent number, L1 on the [0,1] scale)."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.mean + posterior.std * torch.randn_like(posterior.mean)).sample
    y = y.float()
    l1 = F.l1_loss(y, x)
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return l1 + gradient_l1(y, x) + kl_weight * kl, l1.item() / 2


def train_vae(out: Path, scenes: DrawnScenes, minutes: float, seed: int, resume: bool) -> None:
    torch.manual_seed(seed)
    vae = mini_nets.build_vae()
    stage = Stage("vae", out, vae, VAE_RATE, 0.998, Clock(minutes), seed)
    if resume and stage.path.exists():
        stage.resume(minutes)
    rng = np.random.default_rng([seed, stage.step])

    def loss_of(left: float) -> tuple[Tensor, float]:
        # Crops first: more pictures per second; whole pictures at the end, as normalisation sees them in use.
        side, batch = (64, 12) if left > COOLDOWN else (128, 4)
        return vae_loss(vae, to_signed(crops(scenes, batch, side, rng)))

    stage.run(loss_of)


def averaged(module: nn.Module, state: dict[str, Any]) -> nn.Module:
    """The module with a checkpoint's weights, the running averages in place of its parameters."""
    module.load_state_dict(state["model"] | state["average"]["shadow"])
    return module.eval()


def load_vae(out: Path, name: str = "vae") -> AutoencoderKL:
    vae = mini_nets.build_vae()
    averaged(vae, torch.load(out / f"{name}.pt", weights_only=True))
    return vae


@torch.no_grad()
def encode(out: Path, scenes: DrawnScenes, batch: int = 50) -> None:
    """Write latents.npy (N,16,16,16) float16, scaled to standard deviation 1, and scaling.json."""
    vae = load_vae(out)
    side = mini_nets.LATENT_SIDE
    latents = np.empty((len(scenes), mini_nets.LATENT_CHANNELS, side, side), np.float16)
    for start in range(0, len(scenes), batch):
        rows = np.arange(start, min(start + batch, len(scenes)))
        x = to_signed(scenes.planes(rows)[:, 4:7])
        latents[rows] = vae.encode(x).latent_dist.mean.numpy()
    spread = float(latents.astype(np.float32).std())
    latents = (latents / spread).astype(np.float16)
    np.save(out / "latents.npy", latents)
    (out / "scaling.json").write_text(json.dumps({"scaling_factor": 1 / spread}))


def train_decoder(out: Path, scenes: DrawnScenes, minutes: float, seed: int, resume: bool) -> None:
    """Go on training the decoder alone, on latents with noise, so that it forgives what the denoiser leaves behind."""
    torch.manual_seed(seed)
    vae = load_vae(out).train()
    stage = Stage("decoder", out, vae, VAE_RATE / 2, 0.998, Clock(minutes), seed)
    if resume and stage.path.exists():
        stage.resume(minutes)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    rng = np.random.default_rng([seed, stage.step])
    latents = np.load(out / "latents.npy", mmap_mode="r")
    spread = 1 / json.loads((out / "scaling.json").read_text())["scaling_factor"]

    def loss_of(left: float) -> tuple[Tensor, float]:
        side, batch = (8, 12) if left > COOLDOWN else (mini_nets.LATENT_SIDE, 4)
        z, x = aligned_crops(latents, scenes, batch, side, rng)
        noise = torch.randn_like(z) * torch.from_numpy(rng.uniform(0, DECODER_NOISE, (batch, 1, 1, 1))).float()
        with torch.autocast("cpu", torch.bfloat16):
            y = vae.decode((z + noise) * spread).sample
        l1 = F.l1_loss(y.float(), x)
        return l1 + gradient_l1(y.float(), x), l1.item() / 2

    stage.run(loss_of)


def aligned_crops(
    latents: npt.NDArray[np.float16], scenes: DrawnScenes, batch: int, side: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(latents (B,16,side,side), pictures (B,3,8 side,8 side) in [-1,1]) of the same places."""
    rows = rng.integers(len(latents), size=batch)
    pictures, cells = scenes.planes(rows)[:, 4:7], mini_nets.CANVAS // mini_nets.LATENT_SIDE
    z, x = [], []
    for row, picture in zip(rows, pictures, strict=True):
        top, left = rng.integers(0, mini_nets.LATENT_SIDE - side + 1, size=2)
        z.append(latents[row, :, top : top + side, left : left + side].astype(np.float32))
        x.append(picture[:, top * cells : (top + side) * cells, left * cells : (left + side) * cells])
    return torch.from_numpy(np.stack(z)), to_signed(np.stack(x))


# --- denoiser and ControlNet -------------------------------------------------------------------------------------


class Denoiser(nn.Module):
    """U-Net, ControlNet and text encoder, which are trained as one."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = mini_nets.build_unet()
        self.controlnet: ControlNetModel = mini_nets.build_controlnet(self.unet)
        self.text_encoder: CLIPTextModel = mini_nets.build_text_encoder(tokenizer)

    def forward(self, z: Tensor, t: Tensor, tokens: Tensor, control: Tensor) -> Tensor:
        """z (B,16,16,16), t (B,), tokens (B,32), control (B,3,128,128) in [0,1] -> v (B,16,16,16)."""
        text = self.text_encoder(tokens).last_hidden_state
        down, mid = self.controlnet(z, t, encoder_hidden_states=text, controlnet_cond=control, return_dict=False)
        v: Tensor = self.unet(
            z, t, encoder_hidden_states=text, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        return v


def tokens_of(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """(N, 32) int64, padded as the pipeline pads."""
    ids: Tensor = tokenizer(
        list(prompts), padding="max_length", max_length=mini_nets.TEXT_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def natural_shares(
    labels: npt.NDArray[np.int64], mix: Sequence[float] = NATURAL_MIX
) -> npt.NDArray[np.float64]:
    """(N,) probability of each scene with which the labels come in this mixture."""
    counts = np.bincount(labels, minlength=len(mix))
    shares = np.array(mix)[labels] / counts[labels]
    return np.asarray(shares / shares.sum())


def controls_of(rgba: Uint8Array) -> Tensor:
    """(B,4,S,S) uint8 product planes -> ControlNet pictures (B,3,S,S) in [0,1]."""
    pictures = [product_control(from_canvas(np.ascontiguousarray(p.transpose(1, 2, 0)))) for p in rgba]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)


def timesteps(batch: int, rng: np.random.Generator) -> Tensor:
    """(batch,) int64 steps of the noise scale: half uniform, half logit-normal (its middle, where layout is decided)."""
    uniform = rng.random(batch)
    middle = 1 / (1 + np.exp(-rng.normal(0.3, 1.0, batch)))
    chosen = np.where(rng.random(batch) < 0.5, uniform, middle)
    return torch.from_numpy(np.minimum((chosen * 1000).astype(np.int64), 999))


def batches(
    scenes: DrawnScenes, latents: npt.NDArray[np.float16], tokens: Tensor, empty: Tensor, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless (latents, tokens, control, weight (B,1,16,16)) in the natural mixture, a tenth of the prompts empty."""
    n = len(latents)
    shares = natural_shares(scenes.labels[:n])
    while True:
        rows = rng.choice(n, UNET_BATCH, p=shares)
        rgba = scenes.planes(rows)[:, :4]
        dropped = torch.from_numpy(rng.random(UNET_BATCH) < PROMPT_DROPOUT)
        text = torch.where(dropped[:, None], empty, tokens[torch.from_numpy(rows)])
        alpha = torch.from_numpy(rgba[:, 3:].astype(np.float32)) / 255
        weight = 1 - (1 - PRODUCT_WEIGHT) * F.avg_pool2d(alpha, mini_nets.CANVAS // mini_nets.LATENT_SIDE)
        yield torch.from_numpy(latents[rows].astype(np.float32)), text, controls_of(rgba), weight


def denoising_loss(
    denoiser: Denoiser,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    scheduler: Any,
    rng: np.random.Generator,
    weight_at: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, float]:
    """(weighted mean squared error of v, the same unweighted). weight_at: by which the weight is multiplied, given t."""
    z0, tokens, control, weight = batch
    t = timesteps(len(z0), rng)
    noise = torch.from_numpy(rng.standard_normal(z0.shape, np.float32))
    z = scheduler.add_noise(z0, noise, t)
    with torch.autocast("cpu", torch.bfloat16):
        v = denoiser(z, t, tokens, control)
    squared = (v.float() - scheduler.get_velocity(z0, noise, t)) ** 2
    if weight_at is not None:
        weight = weight * weight_at(t)
    return (weight * squared).mean(), squared.mean().item()


def train_unet(out: Path, scenes: DrawnScenes, minutes: float, seed: int, resume: bool) -> None:
    torch.manual_seed(seed)
    tokenizer = mini_nets.build_tokenizer(VOCABULARY)
    denoiser = Denoiser(tokenizer)
    stage = Stage("unet", out, denoiser, UNET_RATE, 0.999, Clock(minutes), seed)
    if resume and stage.path.exists():
        stage.resume(minutes)
    rng = np.random.default_rng([seed, stage.step])
    scheduler = mini_nets.build_scheduler()
    latents = np.load(out / "latents.npy")
    tokens = tokens_of(tokenizer, [truth.prompt for truth in scenes.truths])
    source = batches(scenes, latents, tokens, tokens_of(tokenizer, [""]), rng)
    stage.run(lambda _left: denoising_loss(denoiser, next(source), scheduler, rng))


def export(out: Path, folder: Path) -> None:
    """Write the averaged weights as a diffusers folder in float16."""
    tokenizer = mini_nets.build_tokenizer(VOCABULARY)
    denoiser = Denoiser(tokenizer)
    averaged(denoiser, torch.load(out / "unet.pt", weights_only=True))
    vae = load_vae(out, "decoder" if (out / "decoder.pt").exists() else "vae")
    vae.register_to_config(scaling_factor=json.loads((out / "scaling.json").read_text())["scaling_factor"])
    pipeline = mini_nets.assemble(vae, denoiser.unet, denoiser.controlnet, denoiser.text_encoder, tokenizer)
    mini_nets.save_half(pipeline, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("vae", "encode", "decoder", "unet", "export"))
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and log")
    parser.add_argument("--scenes", type=Path, help="folder written by adproof.adworld.drawn")
    parser.add_argument("--folder", type=Path, help="where export writes the diffusers folder")
    parser.add_argument("--minutes", type=float, default=20.0, help="of CPU time, over all resumed parts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.stage == "export":
        export(args.out, args.folder)
        return
    scenes = DrawnScenes(args.scenes)
    if args.stage == "vae":
        train_vae(args.out, scenes, args.minutes, args.seed, args.resume)
    elif args.stage == "encode":
        encode(args.out, scenes)
    elif args.stage == "decoder":
        train_decoder(args.out, scenes, args.minutes, args.seed, args.resume)
    else:
        train_unet(args.out, scenes, args.minutes, args.seed, args.resume)


if __name__ == "__main__":
    main()
