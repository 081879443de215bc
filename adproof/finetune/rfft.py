"""RFFT: tune a generator's ControlNet on RFNet's feedback, held to its prompts by Consistent Condition.

arXiv 2408.00418: run DDIM without gradient up to one step drawn from the last ones, take one step with gradient,
decode the clean image it points to, lay the product over it, and let RFNet judge. U-Net, VAE, text encoder and RFNet
stay frozen.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.diffusion.conditions import Uint8Array, edge_control, prepare, product_control
from adproof.diffusion.config import MINI as MINI_GENERATOR
from adproof.diffusion.generator import Generator
from adproof.finetune import objectives
from adproof.finetune.feedback import Feedback
from adproof.labels import Label
from adproof.whole_files import write_whole

STATE_FILE = "rfft_state.pt"


@dataclass(frozen=True)
class RFFTConfig:
    """One fine-tuning; the defaults are the paper's where it gives them (beta it does not: ours)."""

    objective: Literal["rfft", "kl", "none"] = "rfft"  # what holds the tuned ControlNet to the reference
    beta: float = 1.0  # weight of that regulariser
    reduction: objectives.Reduction = "mean"  # of the regulariser, see objectives.py
    scaled_direction: bool = True  # condition direction with its factor (1 - abar)^(-1/2)
    trainable: Literal["controlnet"] = "controlnet"
    steps: int = 40  # DDIM steps
    last: int = 10  # the step with gradient is drawn from this many last ones
    guidance: float = 7.5  # classifier-free guidance in the step with gradient
    chain_guidance: float | None = None  # in the steps without gradient; None: the same; 1.0 halves their cost
    updates: int = 1000  # optimiser steps
    batch: int = 4  # images per pass
    accumulation: int = 4  # passes per optimiser step
    lr: float = 1e-5  # AdamW
    weight_decay: float = 1e-2
    grad_clip: float = 1.0  # norm of the whole gradient
    depth_gradient: bool = True  # whether feedback flows through the depth net, see feedback.py
    saliency_gradient: bool = True  # ... and through the saliency net
    saliency_size: int | None = None  # px at which saliency looks at the image
    autocast: Literal["none", "bfloat16", "float16"] = "none"
    gradient_checkpointing: bool = False  # less memory for one more forward pass
    checkpoint_every: int = 20  # updates
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.last <= self.steps:
            raise ValueError(f"the step with gradient is one of the last {self.last}, but there are {self.steps}")
        if self.objective not in ("rfft", "kl", "none"):
            raise ValueError(f"objective {self.objective!r} is unknown; there are rfft, kl and none")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RFFTConfig:
        """Raises ValueError for unknown keys."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown RFFT settings: {', '.join(sorted(unknown))}")
        return cls(**values)


PAPER = RFFTConfig()
MINI = RFFTConfig(
    steps=12, last=3, guidance=MINI_GENERATOR.guidance, chain_guidance=1.0, updates=60, batch=8, accumulation=1, lr=3e-4,
    autocast="bfloat16", saliency_size=128,
)  # fmt: skip


@dataclass(frozen=True)
class RFFTSample:
    """One product and prompt to tune on."""

    product_rgba: Uint8Array  # (H, W, 4) uint8
    prompt: str
    caption: str
    image_scale: float = 0.72


@dataclass(frozen=True)
class RFFTResult:
    """controlnet: folder of the tuned ControlNet, None if stopped before the end; history: on_step's dicts."""

    controlnet: Path | None
    updates: int
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Batch:
    """What one pass needs, on the generator's device; B samples at the generator's canvas side S."""

    product: Tensor  # (B, 4, S, S) in [0, 1]
    control: Tensor  # (B, 3, S, S) in [0, 1]
    mask: Tensor  # (B, 1, S, S) 1 where the generator may paint
    text: Tensor  # (B, L, D)
    null: Tensor  # (B, L, D)
    captions: list[str]


@dataclass(frozen=True)
class Known:
    """What inpainting U-Nets are told of the picture besides the ControlNet's condition."""

    mask: Tensor  # (B, 1, h, w) at the latents' size
    latents: Tensor | None  # (B, 4, h, w): 4-channel U-Nets, blended in after every step
    unet_extra: tuple[Tensor, ...]  # 9-channel U-Nets: mask and masked latents, as further channels


class Tuner:
    """The frozen parts, the tuned ControlNet and its frozen reference."""

    def __init__(self, cfg: RFFTConfig, generator: Generator) -> None:
        self.cfg, self.generator = cfg, generator
        pipe = generator.pipeline
        self.unet, self.vae = pipe.unet, pipe.vae
        self.device = torch.device(generator.config.device)
        for part in (pipe.unet, pipe.vae, pipe.text_encoder, pipe.controlnet):
            part.requires_grad_(False).eval()
        self.reference: ControlNetModel = pipe.controlnet
        self.tuned: ControlNetModel = copy.deepcopy(pipe.controlnet).float().requires_grad_(True)
        if cfg.gradient_checkpointing:
            self.tuned.enable_gradient_checkpointing()
            self.unet.enable_gradient_checkpointing()
        self.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        self.scheduler.set_timesteps(cfg.steps, device=self.device)
        self.optimiser = torch.optim.AdamW(self.tuned.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)

    def autocast(self, rounding_matters: bool = False) -> torch.autocast:
        """cfg.autocast; left out where rounding matters and all weights are float32.

        Tuned and reference predictions differ by less than bfloat16's rounding at first: rounded, Consistent
        Condition would measure, and follow, mostly noise.
        """
        dtype = torch.float16 if self.cfg.autocast == "float16" else torch.bfloat16
        exact = rounding_matters and self.unet.dtype == torch.float32
        return torch.autocast(self.device.type, dtype, enabled=self.cfg.autocast != "none" and not exact)

    @torch.no_grad()
    def batch(self, samples: Sequence[RFFTSample]) -> Batch:
        config, pipe = self.generator.config, self.generator.pipeline
        conditions = [prepare(s.product_rgba, s.image_scale, config.canvas) for s in samples]
        control = product_control if config.control == "product" else edge_control
        text, null = pipe.encode_prompt([s.prompt for s in samples], self.device, 1, True, [""] * len(samples))
        return Batch(
            product=self._stacked([c.canvas_rgba for c in conditions]),
            control=self._stacked([control(c) for c in conditions]),
            mask=self._stacked([c.inpaint_mask[..., None] for c in conditions]),
            text=text,
            null=null,
            captions=[s.caption for s in samples],
        )

    def _stacked(self, arrays: Sequence[Uint8Array]) -> Tensor:
        stacked = torch.from_numpy(np.stack(arrays)).to(self.device)
        return stacked.permute(0, 3, 1, 2).float().div_(255)

    def eps(
        self, controlnet: ControlNetModel, z: Tensor, t: Tensor, batch: Batch, known: Known, texts: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """eps(z, text, y) for each of the texts (B, L, D), each like z."""
        n, text = len(texts), torch.cat(list(texts))
        z_in, control = torch.cat([z] * n), torch.cat([batch.control] * n)
        with self.autocast(rounding_matters=torch.is_grad_enabled() or controlnet is self.reference):
            down, mid = controlnet(
                z_in, t, encoder_hidden_states=text, controlnet_cond=control,
                conditioning_scale=self.generator.config.conditioning_scale, return_dict=False,
            )  # fmt: skip
            unet_in = torch.cat([z_in, *(torch.cat([extra] * n) for extra in known.unet_extra)], dim=1)
            output = self.unet(
                unet_in, t, encoder_hidden_states=text, down_block_additional_residuals=down,
                mid_block_additional_residual=mid, return_dict=False,
            )[0]  # fmt: skip
        eps = objectives.noise_of(output.float(), z_in, self.abar(t), self.scheduler.config.prediction_type)
        return eps.chunk(n)

    def abar(self, t: Tensor) -> Tensor:
        """alpha-bar at these steps of the training schedule, shaped like t."""
        at_t: Tensor = self.scheduler.alphas_cumprod.to(self.device)[t]
        return at_t

    @torch.no_grad()
    def latents_before(self, stop: int, batch: Batch, known: Known, noise: Tensor) -> Tensor:
        """z_t (B, C, h, w) before DDIM step `stop`, drawn from `noise` with the tuned ControlNet and without gradient."""
        guidance = self.cfg.guidance if self.cfg.chain_guidance is None else self.cfg.chain_guidance
        texts = [batch.text] if guidance == 1.0 else [batch.text, batch.null]
        z = noise
        for i, t in enumerate(self.scheduler.timesteps[:stop]):
            found = self.eps(self.tuned, z, t, batch, known, texts)
            eps = found[0] if len(found) == 1 else objectives.guided(found[0], found[1], guidance)
            z = ddim_step(z, eps, self.abar(t), self.abar(self.scheduler.timesteps[i + 1]))
            if known.latents is not None:
                placed = self.scheduler.add_noise(known.latents, noise, self.scheduler.timesteps[i + 1 : i + 2])
                z = (1 - known.mask) * placed + known.mask * z
        return z

    def image_of(self, z0: Tensor, batch: Batch) -> Tensor:
        """x0_hat (B,3,S,S) in [0,1]: decoded, and the product's own pixels laid over it."""
        with self.autocast():
            decoded: Tensor = self.vae.decode((z0 / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        background = (decoded.float() / 2 + 0.5).clamp(0, 1)
        alpha = batch.product[:, 3:]
        return background * (1 - alpha) + batch.product[:, :3] * alpha

    def losses(self, batch: Batch, feedback: Feedback, stop: int, noise: Tensor) -> tuple[Tensor, dict[str, float]]:
        """(loss () with gradient to the tuned ControlNet, its figures) of one pass from `noise` (B, C, h, w)."""
        cfg = self.cfg
        known = known_of(self, batch)
        z = self.latents_before(stop, batch, known, noise)
        t = self.scheduler.timesteps[stop]
        abar = self.abar(t)
        texts = [batch.text, batch.null]
        eps_prompt, eps_null = self.eps(self.tuned, z, t, batch, known, texts)
        z0 = objectives.clean_latents(z, objectives.guided(eps_prompt, eps_null, cfg.guidance), abar)
        with self.autocast():
            logits = feedback(batch.product, self.image_of(z0, batch), batch.captions).float()
        reward = objectives.f_ac(logits)
        held = torch.zeros((), device=self.device)
        if cfg.objective != "none" and cfg.beta != 0:
            with torch.no_grad():
                ref_prompt, ref_null = self.eps(self.reference, z, t, batch, known, texts)
            if cfg.objective == "rfft":
                held = objectives.consistent_condition_loss(
                    objectives.condition_direction(eps_prompt, eps_null, abar, cfg.scaled_direction),
                    objectives.condition_direction(ref_prompt, ref_null, abar, cfg.scaled_direction),
                    cfg.reduction,
                )
            else:
                held = objectives.kl_loss(eps_prompt, ref_prompt, cfg.reduction)
        available = logits.softmax(1)[:, Label.AVAILABLE].mean()
        figures = {"f_ac": reward.item(), "regulariser": held.item(), "p_available": available.item()}
        return reward + cfg.beta * held, figures


@torch.no_grad()
def known_of(tuner: Tuner, batch: Batch) -> Known:
    """As the inpainting pipeline does it; nets with other channel counts (the mini ones) are told nothing."""
    side = batch.product.shape[-1] // tuner.generator.pipeline.vae_scale_factor
    mask = F.interpolate(batch.mask, (side, side))
    channels = tuner.unet.config.in_channels
    if channels not in (4, 9):
        return Known(mask, None, ())
    grey = torch.full_like(batch.product[:, :3], 127 / 255)
    alpha = batch.product[:, 3:]
    picture = (grey * (1 - alpha) + batch.product[:, :3] * alpha) * 2 - 1
    shown = picture if channels == 4 else picture * (batch.mask < 0.5)
    with tuner.autocast():
        latents = tuner.vae.encode(shown.to(tuner.vae.dtype)).latent_dist.mode().float()
    latents = latents * tuner.vae.config.scaling_factor
    return Known(mask, latents, ()) if channels == 4 else Known(mask, None, (mask, latents))


def ddim_step(z: Tensor, eps: Tensor, abar: Tensor, abar_next: Tensor) -> Tensor:
    """One deterministic DDIM step of z (B, C, h, w) from noise level abar to abar_next, both ()."""
    return abar_next.sqrt() * objectives.clean_latents(z, eps, abar) + (1 - abar_next).sqrt() * eps


def rfft(
    cfg: RFFTConfig,
    generator: Generator,
    feedback: Feedback,
    data: Sequence[RFFTSample],
    out: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RFFTResult:
    """Tune the generator's ControlNet on the feedback.

    Everything random follows from (cfg.seed, update, pass), so a run that was stopped and goes on from `out` ends
    with the weights of an unbroken one. out: receives rfft_state.pt (for going on), and at the end controlnet/
    (safetensors folder, to be named in a generator's config) and rfft.json (config, generator key, history).
    on_step gets, after each update: update, f_ac, regulariser, p_available, grad_norm, seconds.
    Raises ValueError for no data, or if `out` holds the state of another config or generator.
    """
    if not data:
        raise ValueError("there is nothing to tune on: data is empty")
    out.mkdir(parents=True, exist_ok=True)
    tuner = Tuner(cfg, generator)
    origin = {"config": asdict(cfg), "generator": generator.key}
    update, history = _resume(tuner, out / STATE_FILE, origin)
    while update < cfg.updates:
        if should_stop is not None and should_stop():
            _save_state(tuner, out / STATE_FILE, origin, update, history)
            return RFFTResult(None, update, history)
        started = time.monotonic()
        figures = _update(tuner, feedback, data, update)
        update += 1
        history.append({"update": float(update), **figures, "seconds": time.monotonic() - started})
        if on_step is not None:
            on_step(history[-1])
        if update % cfg.checkpoint_every == 0:
            _save_state(tuner, out / STATE_FILE, origin, update, history)
    folder = _save_controlnet(tuner, out)
    write_whole(out / "rfft.json", json.dumps({**origin, "history": history}, indent=1).encode())
    return RFFTResult(folder, update, history)


def _update(tuner: Tuner, feedback: Feedback, data: Sequence[RFFTSample], update: int) -> dict[str, float]:
    cfg, total = tuner.cfg, dict[str, float]()
    tuner.optimiser.zero_grad(set_to_none=True)
    for number in range(cfg.accumulation):
        rng = np.random.default_rng([cfg.seed, update, number])
        batch = tuner.batch([data[i] for i in rng.choice(len(data), cfg.batch, replace=len(data) < cfg.batch)])
        side = tuner.generator.config.canvas // tuner.generator.pipeline.vae_scale_factor
        shape = (cfg.batch, tuner.vae.config.latent_channels, side, side)
        noise = torch.from_numpy(rng.standard_normal(shape, np.float32)).to(tuner.device)
        stop = cfg.steps - cfg.last + int(rng.integers(cfg.last))
        loss, figures = tuner.losses(batch, feedback, stop, noise)
        (loss / cfg.accumulation).backward()  # type: ignore[no-untyped-call]
        for name, value in figures.items():
            total[name] = total.get(name, 0.0) + value / cfg.accumulation
    norm = nn.utils.clip_grad_norm_(tuner.tuned.parameters(), cfg.grad_clip)
    tuner.optimiser.step()
    return {**total, "grad_norm": float(norm)}


def _save_state(tuner: Tuner, path: Path, origin: dict[str, Any], update: int, history: list[dict[str, float]]) -> None:
    temporary = path.with_suffix(".tmp")
    state = {"origin": json.dumps(origin), "update": update, "history": history, "controlnet": tuner.tuned.state_dict(),
             "optimiser": tuner.optimiser.state_dict()}  # fmt: skip
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _resume(tuner: Tuner, path: Path, origin: dict[str, Any]) -> tuple[int, list[dict[str, float]]]:
    if not path.exists():
        return 0, []
    state = torch.load(path, map_location=tuner.device, weights_only=True)
    if state["origin"] != json.dumps(origin):
        raise ValueError(f"{path} belongs to another fine-tuning (config or generator differ): use an empty folder")
    tuner.tuned.load_state_dict(state["controlnet"])
    tuner.optimiser.load_state_dict(state["optimiser"])
    return state["update"], state["history"]


def _save_controlnet(tuner: Tuner, out: Path) -> Path:
    """Write controlnet/ whole: beside it first, then renamed."""
    folder, temporary = out / "controlnet", out / "controlnet.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    tuner.tuned.save_pretrained(temporary, safe_serialization=True)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder
