"""A generator's weights from their folders; what can't be read, or does not fit, is said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionControlNetInpaintPipeline
from transformers import CLIPTextModel

from adproof.diffusion import memory
from adproof.diffusion.config import Folders, GeneratorConfig

_MOST_CHARS = 300


def read(cfg: GeneratorConfig, folders: Folders) -> StableDiffusionControlNetInpaintPipeline:
    """The pipeline with its own scheduler, in memory, not yet on its device.

    Raises ValueError: a file is damaged, or of another model.
    """
    dtype = getattr(torch, cfg.dtype)
    with _said_of(folders.controlnet):
        controlnet = ControlNetModel.from_pretrained(folders.controlnet, dtype=dtype, use_safetensors=True)
    with _said_of(folders.base):
        pipeline: StableDiffusionControlNetInpaintPipeline = StableDiffusionControlNetInpaintPipeline.from_pretrained(
            folders.base,
            controlnet=controlnet,
            text_encoder=_text_encoder(folders.base / "text_encoder", dtype),
            dtype=dtype,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
        strays = [name for net in (pipeline.unet, pipeline.vae, controlnet) for name, w in net.named_parameters() if w.is_meta]
        if strays:
            raise ValueError(f"it holds no {strays[0]}, and {len(strays)} like it are missing")
    return pipeline


def _text_encoder(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """transformers fills in at random what a file does not hold, and every load would draw something else."""
    network, told = CLIPTextModel.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    missing = sorted(name for name in told["missing_keys"] if not name.endswith("position_ids"))
    if missing:
        raise ValueError(f"its text encoder holds no {missing[0]} ({len(missing)} missing)")
    return network


def fuse_lora(pipeline: StableDiffusionControlNetInpaintPipeline, file: Path, scale: float) -> None:
    """Raises ValueError: it is damaged, or made for another base."""
    with _said_of(file):
        pipeline.load_lora_weights(file.parent, weight_name=file.name, use_safetensors=True)
        pipeline.fuse_lora(lora_scale=scale)
        pipeline.unload_lora_weights()  # what is fused stays


@contextmanager
def _said_of(place: Path) -> Iterator[None]:
    """The libraries raise a dozen kinds of errors over a bad file; all mean that it is damaged or another model's."""
    try:
        yield
    except Exception as error:
        if memory.is_out_of_memory(error):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_CHARS]
        raise ValueError(
            f"{place} is damaged or belongs to another model ({said}): get it again (`manage.py modelset check` reads "
            "every file of a set), or name another in the generator's settings"
        ) from error
