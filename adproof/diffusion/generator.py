"""Generators: fixed weights and settings that draw advertising images around a product.

Both kinds run StableDiffusionControlNetInpaintPipeline as methods.md describes; they differ in weights and size:

* "sd-controlnet": Stable Diffusion 1.5 class weights (hub ids or local folders) with ControlNet canny, 512 px.
* "mini": the small nets shipped with the project, 128 px; the background is enlarged to 512 px and the product laid
  over it in full resolution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetInpaintPipeline
from huggingface_hub import snapshot_download
from PIL import Image

from adproof.diffusion.conditions import (
    Conditions,
    Uint8Array,
    composite,
    edge_control,
    prepare,
    product_control,
)

MINI_FOLDER = Path(__file__).resolve().parent.parent / "models" / "mini" / "generator"
WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt")
PIPELINE_PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
# Raised when the drawing code itself changes what a seed gives.
DRAWING_VERSION = 1

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that decides the pictures, and where and how fast they are drawn."""

    kind: Literal["mini", "sd-controlnet"]
    base: str  # diffusers folder or hub id: VAE, U-Net, text encoder, tokenizer
    controlnet: str | None = None  # folder or hub id; None: the base folder's own controlnet/
    lora: str | None = None  # folder or hub id of a LoRA
    lora_scale: float = 0.8
    steps: int = 40  # DDIM steps
    guidance: float = 7.5  # classifier-free guidance weight
    conditioning_scale: float = 1.0  # weight of the ControlNet's residuals
    eta: float = 0.0  # 0: deterministic DDIM
    canvas: int = 512  # side at which the nets draw, px
    size: int = 512  # side of the finished picture, px
    control: Literal["edges", "product"] = "edges"  # what the ControlNet sees, see conditions.py
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device: str = "cpu"
    batch: int = 4  # images per batch

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GeneratorConfig:
        """The preset of values["kind"] with these values over it; raises ValueError for unknown kinds and keys."""
        kind = values.get("kind")
        if kind not in PRESETS:
            raise ValueError(f"generator kind {kind!r} is unknown; there are: {', '.join(PRESETS)}")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown generator settings: {', '.join(sorted(unknown))}")
        return replace(PRESETS[kind], **values)


MINI = GeneratorConfig(
    kind="mini", base=str(MINI_FOLDER), steps=16, guidance=2.0, canvas=128, control="product", batch=8
)
PAPER = GeneratorConfig(
    kind="sd-controlnet",
    base="digiplay/majicMIX_realistic_v7",
    controlnet="lllyasviel/control_v11p_sd15_canny",
    dtype="float16",
    device="cuda",
)
PRESETS: dict[str, GeneratorConfig] = {"mini": MINI, "sd-controlnet": PAPER}


@dataclass(frozen=True)
class DrawRequest:
    """One image to draw; (generator, request) decides it."""

    product_rgba: Uint8Array  # (H, W, 4) uint8
    prompt: str
    seed: int  # 0 .. 2^63-1
    negative_prompt: str = ""
    image_scale: float = 0.72  # longer side of the product / canvas


@dataclass
class Generator:
    """Loaded weights, ready to draw. `key` names the generator: equal keys, equal pictures for equal requests."""

    config: GeneratorConfig
    pipeline: StableDiffusionControlNetInpaintPipeline
    key: str

    @classmethod
    def load(cls, config: Mapping[str, Any] | GeneratorConfig) -> Generator:
        """Load a generator; never downloads.

        config: a GeneratorConfig, or a dict with "kind" and whatever differs from that kind's preset (MINI, PAPER).
        Raises ValueError for a wrong config, FileNotFoundError (naming the command to get it) for missing weights.
        """
        cfg = config if isinstance(config, GeneratorConfig) else GeneratorConfig.from_dict(config)
        base = local_folder(cfg.base)
        control = local_folder(cfg.controlnet) if cfg.controlnet else base / "controlnet"
        dtype = getattr(torch, cfg.dtype)
        pipeline = StableDiffusionControlNetInpaintPipeline.from_pretrained(
            base,
            controlnet=ControlNetModel.from_pretrained(control, dtype=dtype, use_safetensors=True),
            dtype=dtype,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        lora = local_folder(cfg.lora) if cfg.lora else None
        if lora:
            pipeline.load_lora_weights(lora, use_safetensors=True)
            pipeline.fuse_lora(lora_scale=cfg.lora_scale)
        pipeline.to(cfg.device)
        return cls(cfg, pipeline, generator_key(cfg, base, control, lora))

    def generate(self, requests: Sequence[DrawRequest], on_step: OnStep | None = None) -> list[Uint8Array]:
        """Draw the requests, in their order: (size, size, 3) uint8 each.

        on_step(done, total) is called after every denoising step of every batch; what it raises stops the drawing at
        once and is passed on. Each image has a random stream of its own, so its pixels do not depend on the order
        of the requests; its batch neighbours can move a channel by one grey level through float rounding (batch=1
        rules that out).
        Raises ValueError for a product without pixels or a bad image_scale, before anything is drawn.
        """
        for request in requests:
            prepare(request.product_rgba, request.image_scale, self.config.canvas)
        batches = [requests[i : i + self.config.batch] for i in range(0, len(requests), self.config.batch)]
        images: list[Uint8Array] = []
        for number, batch in enumerate(batches):
            images += self._draw(batch, on_step, number * self.config.steps, len(batches) * self.config.steps)
        return images

    def _draw(self, requests: Sequence[DrawRequest], on_step: OnStep | None, done: int, total: int) -> list[Uint8Array]:
        cfg = self.config
        conditions = [prepare(r.product_rgba, r.image_scale, cfg.canvas) for r in requests]
        control = product_control if cfg.control == "product" else edge_control

        def after_step(_pipe: Any, step: int, _t: Any, _tensors: Any) -> dict[str, Any]:
            if on_step is not None:
                on_step(done + step + 1, total)
            return {}

        drawn = self.pipeline(
            prompt=[r.prompt for r in requests],
            negative_prompt=[r.negative_prompt for r in requests],
            image=[Image.fromarray(c.on(127)) for c in conditions],
            mask_image=[Image.fromarray(c.inpaint_mask) for c in conditions],
            control_image=[Image.fromarray(control(c)) for c in conditions],
            height=cfg.canvas,
            width=cfg.canvas,
            strength=1.0,
            num_inference_steps=cfg.steps,
            guidance_scale=cfg.guidance,
            eta=cfg.eta,
            controlnet_conditioning_scale=cfg.conditioning_scale,
            generator=[torch.Generator("cpu").manual_seed(r.seed) for r in requests],
            output_type="np",
            callback_on_step_end=after_step,
        ).images
        backgrounds = [np.rint(image * 255).astype(np.uint8) for image in np.asarray(drawn)]
        return [self._finish(b, c, r) for b, c, r in zip(backgrounds, conditions, requests, strict=True)]

    def _finish(self, background: Uint8Array, conditions: Conditions, request: DrawRequest) -> Uint8Array:
        if self.config.size == self.config.canvas:
            return composite(background, conditions)
        full = prepare(request.product_rgba, request.image_scale, self.config.size)
        return composite(enlarge(background, conditions.alpha, self.config.size), full)


def enlarge(background: Uint8Array, alpha: Uint8Array, size: int) -> Uint8Array:
    """A small background (S, S, 3) brought to (size, size, 3).

    What the product covers (alpha (S, S)), and the pixel around it, is first filled from its surroundings, so that
    its blurred copy in the small picture leaves no rim around the sharp product that is laid over it.
    """
    covered = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    filled = _filled(background.astype(np.float32), (covered == 0).astype(np.float32))
    large = cv2.resize(filled, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(np.clip(large, 0, 255)), np.uint8)


def _filled(picture: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """picture (H, W, 3) where known (H, W) is 1, elsewhere smoothly continued from there (push-pull pyramid)."""
    height, width = known.shape
    if known.min() == 1 or min(height, width) == 1:
        return picture
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(picture * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = _filled(colour / np.maximum(weight, 1e-6)[..., None], (weight > 0).astype(np.float32))
    behind = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(known[..., None] > 0, picture, behind), np.float32)


def local_folder(source: str) -> Path:
    """The folder of a local path, or of a hub id that was downloaded before.

    Raises FileNotFoundError that names the command which gets the model.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        try:
            return Path(snapshot_download(source, local_files_only=True))
        except Exception as error:  # noqa: BLE001  (the hub client raises many kinds; all mean "not here")
            raise FileNotFoundError(
                f"the model {source} is not on this machine: get it with `hf download {source}`, or name a local folder"
            ) from error
    raise FileNotFoundError(f"there is no model folder {source}: name a diffusers folder or a hub id (owner/name)")


def generator_key(cfg: GeneratorConfig, base: Path, controlnet: Path, lora: Path | None) -> str:
    """sha256 (hex) over all settings that decide pictures and the contents of all weight and config files."""
    where_and_how_fast = ("base", "controlnet", "lora", "device", "batch")
    settings = {name: value for name, value in asdict(cfg).items() if name not in where_and_how_fast}
    if lora is None:
        settings.pop("lora_scale")
    digests = {f"{part}/{name}": sha for part in PIPELINE_PARTS for name, sha in _file_digests(base / part)}
    digests |= {f"controlnet/{name}": sha for name, sha in _file_digests(controlnet)}
    if lora is not None:
        digests |= {f"lora/{name}": sha for name, sha in _file_digests(lora)}
    content = {"version": DRAWING_VERSION, "settings": settings, "files": digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digests(folder: Path) -> list[tuple[str, str]]:
    files = sorted(path for pattern in WEIGHT_FILES for path in folder.rglob(pattern))
    return [(path.relative_to(folder).as_posix(), _sha256(path)) for path in files]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
