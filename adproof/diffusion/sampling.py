"""The denoising loop: StableDiffusionControlNetInpaintPipeline's own, step by step, so that images can leave it early.

With the same text embeddings it draws what the pipeline draws, to the bit (tests/test_generator.py); it leaves out what
the pipeline computes and does not use, keeps text embeddings, and takes arrays in place of Pillow pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from adproof.diffusion import schedulers
from adproof.diffusion.conditions import Conditions, Uint8Array, edge_control, product_control
from adproof.diffusion.config import GeneratorConfig

_KEPT_TEXTS = 512
# The grey behind the product where the net may paint.
_GREY = 127


@dataclass
class Rows:
    """What the loop holds for each image in work; the tensors' first axis is the image, control's the second."""

    latents: Tensor  # (B, C, h, w)
    noise: Tensor  # (B, C, h, w) what they began as, before scaling
    text: Tensor  # (B, L, D)
    null: Tensor  # (B, L, D) the negative prompts
    control: Tensor  # (1 or 2, B, ...) what the ControlNet makes of its pictures, once for each half of the guidance
    mask: Tensor | None  # (B, 1, h, w); U-Nets with 4 or 9 channels
    image_latents: Tensor | None  # (B, C, h, w); 4 channels: blended in outside the mask
    masked_latents: Tensor | None  # (B, C, h, w); 9 channels: further channels
    streams: list[torch.Generator]  # one each

    def __len__(self) -> int:
        return self.latents.shape[0]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these only."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                place = torch.as_tensor(rows, dtype=torch.long, device=value.device)
                setattr(self, f.name, value[:, place] if f.name == "control" else value[place])
        self.streams = [self.streams[row] for row in rows]


# after_step(step from 1, x0_hat latents on demand) -> the rows that go on, None: all.
AfterStep = Callable[[int, Callable[[], Tensor]], "Sequence[int] | None"]


class Sampler:
    """A pipeline's nets with a loop of our own."""

    def __init__(self, pipeline: Any, cfg: GeneratorConfig) -> None:
        self.pipe, self.cfg = pipeline, cfg
        self.device = torch.device(cfg.device)
        self.dtype: torch.dtype = pipeline.unet.dtype
        self.channels = int(pipeline.unet.config.in_channels)
        self.guided = cfg.guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None
        self._texts: OrderedDict[str, Tensor] = OrderedDict()

    @torch.no_grad()
    def begin(
        self, conditions: Sequence[Conditions], prompts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]
    ) -> Rows:
        """Everything before the first step; each image has a random stream of its own."""
        pipe, side = self.pipe, self.cfg.canvas // self.pipe.vae_scale_factor
        streams = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        shape = (1, pipe.vae.config.latent_channels, side, side)
        pixels = self._stacked([c.on(_GREY) for c in conditions]) * 2 - 1
        painted = self._stacked([c.inpaint_mask[..., None] for c in conditions])
        image_latents = masked = mask = None
        if self.channels == 4:
            image_latents = self._encoded(pixels, streams)
        noise = torch.cat([torch.randn(shape, generator=s, dtype=self.dtype) for s in streams]).to(self.device)
        if self.channels == 9:
            masked = self._encoded(pixels * (painted < 0.5), streams)
        else:  # the pipeline encodes it all the same; schedulers that draw noise go on behind it
            for stream in streams:
                torch.randn(shape, generator=stream, dtype=self.dtype)
        if self.channels in (4, 9):
            mask = F.interpolate(painted, (side, side)).to(self.device, self.dtype)
        control = control_pictures(self.cfg, conditions)
        pipe.scheduler.set_timesteps(self.cfg.steps, device=self.device)
        return Rows(
            latents=noise * pipe.scheduler.init_noise_sigma,
            noise=noise,
            text=torch.cat([self._text(prompt) for prompt in prompts]),
            null=torch.cat([self._text(negative) for negative in negatives]),
            control=self._embedded(self._stacked(control).to(self.device, self.dtype)),
            mask=mask,
            image_latents=image_latents,
            masked_latents=masked,
            streams=streams,
        )

    def total_steps(self) -> int:
        """Passes through the net; some schedulers take more than one a step. After `begin`."""
        return len(self.pipe.scheduler.timesteps)

    def noised(self, latents: Tensor, noise: Tensor, first: int) -> Tensor:
        """Clean latents as they would be after step `first`, for `denoise` from there on. After `begin`."""
        scheduler = self.pipe.scheduler
        noised: Tensor = scheduler.add_noise(latents, noise, scheduler.timesteps[first].reshape(1))
        return noised

    @torch.no_grad()
    def denoise(self, rows: Rows, after_step: AfterStep, first: int = 0) -> None:
        """Run all steps, or those after the first so many (of a scheduler without memory of earlier ones); rows.latents
        are clean at the end (of those rows that after_step let go on)."""
        with _without_embedding(self.pipe.controlnet):
            self._denoise(rows, after_step, first)

    def _denoise(self, rows: Rows, after_step: AfterStep, first: int) -> None:
        scheduler = self.pipe.scheduler
        for place, t in enumerate(scheduler.timesteps):
            if place < first:
                continue
            if not len(rows):
                return
            before = rows.latents
            output = self._predict(rows, t)
            # A scheduler knows its place only while the step is on.
            index = scheduler.step_index if getattr(scheduler, "step_index", None) is not None else place

            def estimate(before: Tensor = before, output: Tensor = output, t: Tensor = t, at: int = index) -> Tensor:
                return schedulers.clean_estimate(scheduler, output, t, before, at)

            self._step(rows, output, t, place)
            kept = after_step(place + 1, estimate)
            if kept is not None and len(kept) < len(rows):
                schedulers.keep_rows(scheduler, kept, len(rows))
                rows.keep(kept)

    def _predict(self, rows: Rows, t: Tensor) -> Tensor:
        pipe, twice = self.pipe, 2 if self.guided else 1
        z = pipe.scheduler.scale_model_input(torch.cat([rows.latents] * twice), t)
        text = torch.cat([rows.null, rows.text]) if self.guided else rows.text
        down, mid = pipe.controlnet(
            z, t, encoder_hidden_states=text, controlnet_cond=rows.control.flatten(0, 1),
            conditioning_scale=self.cfg.conditioning_scale, return_dict=False,
        )  # fmt: skip
        if rows.masked_latents is not None and rows.mask is not None:
            z = torch.cat([z, torch.cat([rows.mask] * twice), torch.cat([rows.masked_latents] * twice)], dim=1)
        output: Tensor = pipe.unet(
            z, t, encoder_hidden_states=text, down_block_additional_residuals=down, mid_block_additional_residual=mid,
            return_dict=False,
        )[0]  # fmt: skip
        if not self.guided:
            return output
        plain, prompted = output.chunk(2)
        return plain + self.cfg.guidance * (prompted - plain)

    def _step(self, rows: Rows, output: Tensor, t: Tensor, place: int) -> None:
        scheduler, timesteps = self.pipe.scheduler, self.pipe.scheduler.timesteps
        extra = self.pipe.prepare_extra_step_kwargs(rows.streams, self.cfg.eta)
        latents: Tensor = scheduler.step(output, t, rows.latents, **extra, return_dict=False)[0]
        if rows.image_latents is not None and rows.mask is not None:
            known = rows.image_latents
            if place < len(timesteps) - 1:
                known = scheduler.add_noise(known, rows.noise, timesteps[place + 1].reshape(1))
            latents = (1 - rows.mask) * known + rows.mask * latents
        rows.latents = latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Uint8Array]:
        """Latents (B, C, h, w) as pictures (S, S, 3)."""
        vae = self.pipe.vae
        decoded = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype), return_dict=False)[0]
        pixels = (decoded * 0.5 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
        return [np.rint(picture * 255).astype(np.uint8) for picture in pixels]

    def _encoded(self, pixels: Tensor, streams: list[torch.Generator]) -> Tensor:
        encoded: Tensor = self.pipe._encode_vae_image(pixels.to(self.device, self.dtype), generator=streams)
        return encoded

    def _embedded(self, control: Tensor) -> Tensor:
        """The ControlNet's first layers see the same picture at every step: a sixth of the mini set's time, done once."""
        net = self.pipe.controlnet
        if net.config.controlnet_conditioning_channel_order != "rgb":
            raise ValueError("this ControlNet takes its picture's channels in another order than rgb: choose another one")
        twice = torch.cat([control] * 2) if self.guided else control
        embedded: Tensor = net.controlnet_cond_embedding(twice)
        return embedded.reshape(-1, len(control), *embedded.shape[1:])

    def _text(self, prompt: str) -> Tensor:
        """(1, L, D), each text by itself, so that it doesn't depend on its neighbours; kept."""
        if prompt not in self._texts:
            self._texts[prompt] = self.pipe.encode_prompt(prompt, self.device, 1, False)[0]
            if len(self._texts) > _KEPT_TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end(prompt)
        return self._texts[prompt]

    def _stacked(self, arrays: Sequence[Uint8Array]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous().float().div_(255)


@contextmanager
def _without_embedding(controlnet: Any) -> Iterator[None]:
    """Meanwhile the ControlNet takes its picture embedded already."""
    own = controlnet.controlnet_cond_embedding
    controlnet.controlnet_cond_embedding = torch.nn.Identity()
    try:
        yield
    finally:
        controlnet.controlnet_cond_embedding = own


def control_pictures(cfg: GeneratorConfig, conditions: Sequence[Conditions]) -> list[Uint8Array]:
    """(S, S, 3) each: what the ControlNet sees."""
    control = product_control if cfg.control == "product" else edge_control
    return [control(c) for c in conditions]
