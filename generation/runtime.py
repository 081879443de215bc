"""The only door of this app to torch: models, loaded once per worker process and kept."""

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from generation.model_sets import path_in_use

if TYPE_CHECKING:
    from adproof.diffusion.generator import Generator as Drawer
    from adproof.perception.depth import Depth
    from adproof.perception.quick import QuickSaliency
    from adproof.perception.saliency import Saliency


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
    return Depth(path_in_use("depth"))


@cache
def saliency() -> "Saliency":
    from adproof.perception.saliency import Saliency

    return Saliency(path_in_use("saliency"))


@cache
def quick_saliency() -> "Saliency | QuickSaliency":
    """For looks in the middle of a draw; the set's own saliency where it has no weights for torch."""
    from adproof.perception.quick import QuickSaliency

    weights = path_in_use("saliency").with_suffix(".safetensors")
    return QuickSaliency(weights) if weights.is_file() else saliency()
