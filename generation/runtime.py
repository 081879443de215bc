"""The only door of this app to torch: models, loaded once per worker process and kept."""

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from generation.model_sets import part_in_use, path_in_use

if TYPE_CHECKING:
    from adproof.diffusion.generator import Generator as Drawer
    from adproof.perception.depth import Depth
    from adproof.perception.perceiver import Perceiver
    from adproof.perception.quick import QuickSaliency
    from adproof.perception.saliency import SaliencyNet
    from generation.models import Generator


def one_thread() -> None:
    """Workers run side by side, one thread each: faster on few cores than threads that wait for each other."""
    import torch

    torch.set_num_threads(1)


def drawer_of(generator: "Generator") -> "Drawer":
    """As `drawer`, of a generator's row."""
    return drawer(generator.key, json.dumps(generator.config, sort_keys=True))


@lru_cache(maxsize=2)
def drawer(key: str, frozen_config: str) -> "Drawer":
    """The generator with these weights; the two used last stay in memory.

    Raises ValueError: what lies there now has another key. Its pictures would be filed under a generator that never drew them.
    """
    from adproof.diffusion.generator import Generator as Drawer

    one_thread()
    config: dict[str, Any] = json.loads(frozen_config)
    loaded = Drawer.load(config)
    if loaded.key != key:
        raise ValueError(
            "its weights or settings are not those that it was registered with, and a generator never changes. Put the "
            "earlier ones back, or have what is there now draw as a generator of its own: `python manage.py modelset use NAME`"
        )
    return loaded


@cache
def depth() -> "Depth":
    from adproof.perception.depth import Depth

    one_thread()
    return Depth(path_in_use("depth"), settings.PERCEPTION_DEVICE, settings.PERCEPTION_PRECISION)


@cache
def saliency() -> "SaliencyNet":
    from adproof.perception.saliency import open_saliency

    one_thread()
    return open_saliency(path_in_use("saliency"), settings.PERCEPTION_PRECISION, settings.PERCEPTION_DEVICE)


@cache
def perceiver() -> "Perceiver":
    """Both for bulk. One lane: a worker has one thread, and there are as many workers as cores."""
    from adproof.perception.perceiver import Perceiver

    on_gpu = settings.PERCEPTION_DEVICE != "cpu"
    return Perceiver(depth(), saliency(), helpers=4 if on_gpu else 1, batch=32 if on_gpu else 8)


def perceived_by() -> tuple[str, str]:
    """Names of the depth and the saliency net, to be kept beside what they made."""
    precisions = {"depth": depth().precision, "saliency": saliency().precision}
    depth_name, saliency_name = (
        part_in_use(role).name + ("" if precision == "fp32" else f"-{precision}")
        for role, precision in precisions.items()
    )
    return depth_name, saliency_name


@cache
def quick_saliency() -> "SaliencyNet | QuickSaliency":
    """For looks in the middle of a draw; the set's own saliency where it has no weights for torch."""
    from adproof.perception.quick import QuickSaliency

    weights = path_in_use("saliency").with_suffix(".safetensors")
    return QuickSaliency(weights) if weights.is_file() else saliency()
