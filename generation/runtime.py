"""The only door of this app to torch: models, loaded once per worker process and kept."""

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from adproof.diffusion.generator import Generator as Drawer
    from adproof.perception.depth import Depth
    from adproof.perception.saliency import Saliency


def model_folder(part: str) -> Path:
    return Path(settings.MODEL_SETS_DIR) / settings.MODEL_SET / part


def one_thread() -> None:
    """Workers run side by side, one thread each: faster on few cores than threads that wait for each other."""
    import torch

    torch.set_num_threads(1)


@lru_cache(maxsize=2)
def drawer(key: str, frozen_config: str) -> "Drawer":
    """The generator with these weights; the two used last stay in memory."""
    import json

    from adproof.diffusion.generator import Generator as Drawer

    one_thread()
    config: dict[str, Any] = json.loads(frozen_config)
    return Drawer.load(config)


@cache
def depth() -> "Depth":
    from adproof.perception.depth import Depth

    one_thread()
    return Depth(model_folder("depth"))


@cache
def saliency() -> "Saliency":
    from adproof.perception.saliency import Saliency

    return Saliency(model_folder("saliency") / "u2netp.onnx")
