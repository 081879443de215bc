"""Checkpoint folders: model.safetensors, config.json, metrics.json, tokenizer.json, SHA256SUMS.

SHA256SUMS is written last: a folder without it is not a finished checkpoint. Pickles are refused, because
loading one runs whatever code its author put in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from adproof.labels import LABELS
from adproof.rfnet.config import RFNetConfig
from adproof.rfnet.network import RFNet
from adproof.rfnet.text import FILE_NAME as TOKENIZER_FILE
from adproof.rfnet.text import CaptionTokenizer
from adproof.whole_files import write_whole

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.json"
SUMS_FILE = "SHA256SUMS"
_CONFIG_KEYS = ("network", "training", "labels", "dataset_digest", "temperature")
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


def shipped(name: str) -> Path:
    """The folder of a model of the shipped mini set, for example "rfnet_init" or "judge"."""
    return Path(__file__).resolve().parent.parent / "models" / "mini" / name


def write_json(path: Path, value: Any) -> None:
    """write_whole of indented JSON; nan is refused, since JSON has none."""
    write_whole(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_sums(folder: Path, names: list[str]) -> None:
    """SHA256SUMS of the named files, in the format of sha256sum."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    write_whole(folder / SUMS_FILE, "".join(lines).encode())


def check_sums(folder: Path) -> dict[str, str]:
    """Compare every file named in SHA256SUMS with its sum.

    Returns: {file name: sha256 in hex}.
    Raises: FileNotFoundError: no SHA256SUMS. ValueError: a file is missing or differs.
    """
    sums_path = folder / SUMS_FILE
    if not sums_path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {SUMS_FILE}: not a finished checkpoint; let the training that writes it end"
        )
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in sums_path.read_text().splitlines())}
    for name, digest in sums.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is named in {SUMS_FILE} but missing: copy the whole folder again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ValueError(f"{path} is not what was written (its sha256 differs): copy the whole folder again")
    return sums


def refuse_pickles(folder: Path) -> None:
    """Raises ValueError, saying what to do, when `folder` is a pickled model or holds nothing else."""
    advice = (
        "a pickled file can run any code when it is opened. Convert it where you trust it (safetensors."
        "torch.save_file of its state dict) and give the checkpoint folder with model.safetensors"
    )
    if folder.is_file():
        if folder.suffix.lower() in _PICKLES:
            raise ValueError(f"{folder.name} is refused: {advice}.")
        raise ValueError(f"{folder} is a file: give the checkpoint's folder")
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoint folder {folder}")
    if not (folder / WEIGHTS_FILE).is_file():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in _PICKLES)
        if pickles:
            raise ValueError(f"{folder} has {pickles[0]} but no {WEIGHTS_FILE}: {advice}.")
        raise FileNotFoundError(f"{folder} has no {WEIGHTS_FILE}: it is not a checkpoint folder")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A safetensors file; floats come back as float32. Raises ValueError for anything else."""
    try:
        tensors = load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error}); pickles are not read, renamed or not") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def write_weights(path: Path, state: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> None:
    """A state dict as safetensors, floats as `dtype` (None = as they are)."""
    tensors = {
        name: (t.to(dtype) if dtype and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in state.items()
    }
    write_whole(path, save(tensors))


def write_state(path: Path, module: nn.Module, optimizer: Optimizer, about: Mapping[str, Any]) -> None:
    """Everything that a training needs to go on, as one safetensors file (never a pickle), whole.

    Args:
        about: JSON-able; where the training stands.
    """
    state = {f"model.{k}": v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    for number, slots in optimizer.state_dict()["state"].items():
        state.update({f"optimizer.{number}.{k}": v.detach().cpu().contiguous() for k, v in slots.items()})
    write_whole(path, save(state, metadata={"about": json.dumps(dict(about))}))


def read_about(path: Path) -> dict[str, Any]:
    """The `about` of a file that write_state wrote."""
    with safetensors.safe_open(path, "pt") as file:
        about: dict[str, Any] = json.loads(file.metadata()["about"])
        return about


def read_state(path: Path, module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Load what write_state wrote into module and optimizer; returns its `about`."""
    tensors = load_file(path)
    module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, slot = name.split(".", 2)
            slots.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return read_about(path)


@dataclass(frozen=True)
class Checkpoint:
    """A finished RFNet.

    Attributes:
        network: in eval mode, float32.
        tokenizer: captions to ids.
        temperature: logits are divided by it before softmax.
        training: the TrainConfig it was made with, as a dict (may come from a later version of the code).
        dataset_digest: which dataset version it learnt from.
        sums: {file name: sha256}.
    """

    network: RFNet
    tokenizer: CaptionTokenizer
    temperature: float
    training: dict[str, Any]
    dataset_digest: str
    sums: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> RFNetConfig:
        return self.network.config


def save_checkpoint(
    folder: Path, checkpoint: Checkpoint, metrics: Mapping[str, Any], dtype: torch.dtype | None = None
) -> dict[str, str]:
    """Write a finished checkpoint folder; what else lies in `folder` stays.

    Args:
        folder: made when missing.
        checkpoint: its sums are ignored.
        metrics: JSON-able figures.
        dtype: of the stored floats, torch.float16 for a shipped one.
    Returns: {file name: sha256}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMS_FILE).unlink(missing_ok=True)
    write_weights(folder / WEIGHTS_FILE, checkpoint.network.state_dict(), dtype)
    write_whole(folder / TOKENIZER_FILE, checkpoint.tokenizer.to_json().encode())
    write_json(
        folder / CONFIG_FILE,
        {
            "network": checkpoint.config.to_dict(),
            "training": checkpoint.training,
            "labels": list(LABELS),
            "dataset_digest": checkpoint.dataset_digest,
            "temperature": checkpoint.temperature,
        },
    )
    write_json(folder / METRICS_FILE, dict(metrics))
    write_sums(folder, [WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE, METRICS_FILE])
    return check_sums(folder)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it is not a checkpoint folder")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict) or set(values) != set(_CONFIG_KEYS):
        raise ValueError(f"{path} must have exactly the keys {', '.join(_CONFIG_KEYS)}")
    if values["labels"] != list(LABELS):
        raise ValueError(f"{path} is of a network with other labels ({values['labels']}); ours are {list(LABELS)}")
    return values


def load_checkpoint(folder: Path | str, device: str = "cpu") -> Checkpoint:
    """Read a finished checkpoint.

    Raises:
        FileNotFoundError: the folder or one of its files is missing, or the training has not ended.
        ValueError: it is a pickle, a sum differs, a config key is unknown or missing, or the weights do not
            fit the config.
    """
    folder = Path(folder)
    refuse_pickles(folder)
    sums = check_sums(folder)
    values = _read_config(folder / CONFIG_FILE)
    config = RFNetConfig.from_dict(values["network"])
    network = RFNet(config)
    try:
        network.load_state_dict(read_weights(folder / WEIGHTS_FILE))
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} do not fit its {CONFIG_FILE}: {error}") from error
    network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Checkpoint(
        network=network,
        tokenizer=CaptionTokenizer.load(folder, config.max_caption_tokens),
        temperature=float(values["temperature"]),
        training=values["training"],
        dataset_digest=str(values["dataset_digest"]),
        sums=sums,
    )
