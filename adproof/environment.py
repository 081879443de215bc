"""What a picture's last bit depends on beside its settings: library versions, hardware, threads."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "diffusers", "transformers", "numpy", "opencv-python-headless", "pillow")


def environment(device: str = "cpu") -> dict[str, str]:
    """Versions and hardware of this process, as words; equal dicts, equal pictures."""
    import torch

    from adproof.diffusion.config import DRAWING_VERSION

    values = {name: _version(name) for name in _PACKAGES}
    values |= {"python": platform.python_version(), "drawing": str(DRAWING_VERSION)}
    if device.startswith("cuda"):
        values["hardware"] = torch.cuda.get_device_name(device)
        values["cuda"], values["cudnn"] = str(torch.version.cuda), _cudnn()
    else:
        values["hardware"] = f"{_cpu()} ({torch.backends.cpu.get_cpu_capability()})"
        values["threads"] = str(torch.get_num_threads())
    return values


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What has changed, each as words: "torch was 2.12, is 2.13"."""
    return [
        f"{name} was {then.get(name, 'not recorded')}, is {now.get(name, 'not there')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _version(package: str) -> str:
    try:
        return str(version(package))
    except PackageNotFoundError:
        return "none"


def _cudnn() -> str:
    import torch

    return str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.machine())
