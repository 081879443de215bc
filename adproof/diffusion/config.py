"""A generator's settings: what decides its pictures, presets, and the key that names it. No torch in here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from adproof import model_sets
from adproof.model_sets import ModelMissing

MINI_FOLDER = Path(__file__).resolve().parent.parent / "models" / "mini" / "generator"
WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt")
PIPELINE_PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
WEIGHT_PARTS = ("vae", "unet", "text_encoder")
DDIM = "DDIMScheduler"
# Schedulers of diffusers that draw with these nets, stop at any step, and say what clean picture they are heading for.
SCHEDULERS = (
    DDIM, "DDPMScheduler", "PNDMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler",
)  # fmt: skip
MOST_STEPS = 1000
_KINDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "str | None": "text or nothing",
}  # fmt: skip
# Raised when the drawing code itself changes what a seed gives.
DRAWING_VERSION = 1


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that decides the pictures, and where and how fast they are drawn.

    Whatever can move a pixel, if only by rounding, is part of the generator's key; the batch is not, and is recorded
    with every picture instead (see generator.py).
    """

    kind: Literal["mini", "sd-controlnet"]
    base: str  # diffusers folder or hub id: VAE, U-Net, text encoder, tokenizer
    controlnet: str | None = None  # folder or hub id; None: the base folder's own controlnet/
    lora: str | None = None  # folder or hub id of a LoRA
    lora_scale: float = 0.8
    steps: int = 40  # denoising steps
    scheduler: str = DDIM  # a class of diffusers, one of SCHEDULERS
    scheduler_options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # over the base folder's own
    guidance: float = 7.5  # classifier-free guidance weight
    conditioning_scale: float = 1.0  # weight of the ControlNet's residuals
    eta: float = 0.0  # DDIM only; 0: deterministic
    canvas: int = 512  # side at which the nets draw, px
    size: int = 512  # side of the finished picture, px
    control: Literal["edges", "product"] = "edges"  # what the ControlNet sees, see conditions.py
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device: str = "cpu"
    batch: int = 4  # images per batch at most; fewer where memory is short
    channels_last: bool = False  # memory layout of the convolutions: faster on GPUs in half precision
    attention_slicing: bool = False  # attention head by head: less memory, slower
    vae_slicing: bool = False  # pictures decoded one at a time: less memory, hardly slower

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GeneratorConfig:
        """The preset of values["kind"] with these values over it; raises ValueError for unknown kinds and keys."""
        kind = values.get("kind")
        if kind not in PRESETS:
            raise ValueError(f"generator kind {kind!r} is unknown; there are: {', '.join(PRESETS)}")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown generator settings: {', '.join(sorted(unknown))}")
        config = replace(PRESETS[kind], **values)
        config.check()
        return config

    def check(self) -> None:
        """Raises ValueError for settings that can't be drawn with, saying what to change."""
        self._check_kinds()
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler {self.scheduler!r} is unknown; there are: {', '.join(SCHEDULERS)}")
        if not isinstance(self.scheduler_options, Mapping):
            raise ValueError("scheduler_options is a table of the scheduler's own settings, {} for none")
        if self.dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"dtype {self.dtype!r} is unknown; there are float32, float16 and bfloat16")
        if self.dtype == "float16" and self.device == "cpu":
            raise ValueError("float16 draws on a GPU only: choose bfloat16 or float32 for the cpu")
        if not 1 <= self.steps <= MOST_STEPS or self.batch < 1:
            raise ValueError(
                f"steps are 1 to {MOST_STEPS:,} and batch is at least 1, not {self.steps} and {self.batch}"
            )
        if self.canvas % 8 or self.canvas < 64 or self.size < 16:
            raise ValueError(
                f"the canvas is a multiple of 8 from 64 px on and the size at least 16, not {self.canvas} and {self.size}"
            )
        if self.control not in ("edges", "product"):
            raise ValueError(f"control {self.control!r} is unknown; there are edges and product")

    def _check_kinds(self) -> None:
        """A config is written by hand: `"steps": "40"` must not come up as an error of the arithmetic."""
        for f in fields(self):
            value, what = getattr(self, f.name), _KINDS.get(str(f.type), "")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            right = {
                "a whole number": is_number and isinstance(value, int),
                "a number": is_number,
                "true or false": isinstance(value, bool),
                "text": isinstance(value, str) and bool(value),
                "text or nothing": value is None or isinstance(value, str),
            }.get(what, True)
            if not right:
                raise ValueError(f"{f.name} is {what}, not {value!r}")


MINI = GeneratorConfig(
    kind="mini", base=str(MINI_FOLDER), steps=16, guidance=1.25, canvas=128, control="product", batch=8
)
PAPER = GeneratorConfig(
    kind="sd-controlnet",
    base="digiplay/majicMIX_realistic_v7",
    controlnet="lllyasviel/control_v11p_sd15_canny",
    dtype="float16",
    device="cuda",
    vae_slicing=True,
)
PRESETS: dict[str, GeneratorConfig] = {"mini": MINI, "sd-controlnet": PAPER}


def local_folder(source: str) -> Path:
    """The folder (or LoRA file) of a local path, or of a hub id that was downloaded before.

    Raises ModelMissing that names the command which gets the model.
    """
    folder = Path(source).expanduser()
    if folder.is_dir() or folder.is_file():
        return folder
    if model_sets.is_hub_id(source):
        found = model_sets.hub_folder(source)
        if found is None:
            raise ModelMissing(
                f"the model {source} is not on this machine: {model_sets.how_to_get(source)} "
                f"(without Django: `hf download {source}`)"
            )
        return found
    raise ModelMissing(f"there is no model folder {source}: name a diffusers folder or a hub id (owner/name)")


class PickledWeights(OSError):
    """Weights that are not safetensors; the message says what to do."""


@dataclass(frozen=True)
class Folders:
    """Where a generator's weights lie on this machine."""

    base: Path
    controlnet: Path
    lora: Path | None

    @classmethod
    def of(cls, cfg: GeneratorConfig) -> Folders:
        """Raises ModelMissing, or PickledWeights where a part has no safetensors."""
        base = local_folder(cfg.base)
        control = local_folder(cfg.controlnet) if cfg.controlnet else base / "controlnet"
        if not control.is_dir():
            raise ModelMissing(f"{base} has no controlnet folder of its own: name a controlnet in the generator's settings")
        lora = local_folder(cfg.lora) if cfg.lora else None
        for folder in (*(base / part for part in WEIGHT_PARTS), control, *([lora] if lora else [])):
            refuse_pickles(folder)
        return cls(base, control, lora)


def refuse_pickles(folder: Path) -> None:
    """Raises PickledWeights, or ModelMissing where a part is not there at all."""
    if not folder.exists():
        raise ModelMissing(f"there is no {folder}: the model's folder is not whole, get it again")
    names = [folder.name] if folder.is_file() else [path.name for path in folder.iterdir()]
    if not any(name.endswith(".safetensors") for name in names):
        raise PickledWeights(model_sets.no_safetensors(folder))


def lora_file(folder: Path) -> Path:
    """The weights of a LoRA: the file itself, or the one in its folder."""
    if folder.is_file():
        return folder
    files = sorted(folder.glob("*.safetensors"))
    named = [file for file in files if file.name == "pytorch_lora_weights.safetensors"] or files
    if len(named) > 1:
        raise ValueError(f"{folder} holds several LoRAs ({', '.join(f.name for f in files)}): name one of the files")
    return named[0]


def key_of_config(cfg: GeneratorConfig) -> str:
    """The key of the generator that this config loads; reads the weights but loads no net."""
    return generator_key(cfg, Folders.of(cfg))


# Settings that came later: at these values they are no part of the key, so that earlier generators keep theirs.
_LATER = {"scheduler": DDIM, "scheduler_options": {}, "channels_last": False, "attention_slicing": False, "vae_slicing": False}


def generator_key(cfg: GeneratorConfig, folders: Folders) -> str:
    """sha256 (hex) over all settings that decide pictures and the contents of all weight and config files."""
    where_and_how_fast = ("base", "controlnet", "lora", "device", "batch")
    values = {**asdict(cfg), "scheduler_options": dict(cfg.scheduler_options)}
    settings = {name: value for name, value in values.items() if name not in where_and_how_fast}
    settings = {name: value for name, value in settings.items() if name not in _LATER or value != _LATER[name]}
    if folders.lora is None:
        settings.pop("lora_scale")
    digests = {f"{part}/{name}": sha for part in PIPELINE_PARTS for name, sha in _file_digests(folders.base / part)}
    digests |= {f"controlnet/{name}": sha for name, sha in _file_digests(folders.controlnet)}
    if folders.lora is not None:
        digests |= {"lora": _sha256(lora_file(folders.lora))}
    content = {"version": DRAWING_VERSION, "settings": settings, "files": digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digests(folder: Path) -> list[tuple[str, str]]:
    files = sorted(path for pattern in WEIGHT_FILES for path in folder.rglob(pattern))
    return [(path.relative_to(folder).as_posix(), _sha256(path)) for path in files]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
