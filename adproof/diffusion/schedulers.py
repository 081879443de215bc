"""What the drawing loop asks of any scheduler of diffusers, beside its own steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from torch import Tensor

from adproof.diffusion.config import SCHEDULERS, GeneratorConfig

# These hold samples of variance 1 + sigma^2; all others hold samples of variance 1.
_GROWING = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler")


def make(cfg: GeneratorConfig, base: Any) -> Any:
    """The config's scheduler over the base folder's own noise schedule.

    base: the scheduler config that came with the weights.
    Raises ValueError for a scheduler or an option that does not exist.
    """
    if cfg.scheduler not in SCHEDULERS:
        raise ValueError(f"scheduler {cfg.scheduler!r} is unknown; there are: {', '.join(SCHEDULERS)}")
    kind = getattr(diffusers, cfg.scheduler)
    known = set(kind._get_init_keys(kind))
    unknown = set(cfg.scheduler_options) - known
    if unknown:
        raise ValueError(
            f"{cfg.scheduler} has no setting {', '.join(sorted(unknown))}; it has: {', '.join(sorted(known - {'self'}))}"
        )
    try:
        return kind.from_config(base, **cfg.scheduler_options)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{cfg.scheduler} can't be made with these settings: {error}") from error


def clean_estimate(scheduler: Any, output: Tensor, t: Tensor, sample: Tensor, place: int) -> Tensor:
    """x0_hat: the clean latents that the net's output points to.

    Args:
        output: what the net said at step t, guidance included, like sample: (B, C, h, w).
        t: the step's entry of scheduler.timesteps.
        sample: the latents before this step.
        place: where t stands in scheduler.timesteps.
    """
    kind = type(scheduler).__name__
    prediction = scheduler.config.prediction_type
    if kind in _GROWING:
        sigma = scheduler.sigmas[scheduler.step_index if scheduler.step_index is not None else place]
        scale = 1 / (sigma**2 + 1).sqrt()
        signal, noise = scale, sigma * scale
        sample = sample * scale.to(sample)
    elif hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
        signal, noise = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[place])
    else:
        abar = scheduler.alphas_cumprod[t.cpu().long()]
        signal, noise = abar.sqrt(), (1 - abar).sqrt()
    signal, noise = torch.as_tensor(signal).to(sample), torch.as_tensor(noise).to(sample)
    if prediction == "epsilon":
        return (sample - noise * output) / signal
    if prediction == "v_prediction":
        return signal * sample - noise * output
    if prediction == "sample":
        return output
    raise ValueError(f"prediction type {prediction!r} is unknown: epsilon, v_prediction and sample are known")


def keep_rows(scheduler: Any, rows: Sequence[int], batch: int) -> None:
    """What the scheduler remembers of earlier steps, for these images of the batch only."""
    place = torch.as_tensor(rows, dtype=torch.long)
    for name, value in vars(scheduler).items():
        setattr(scheduler, name, _kept(value, place, batch))


def _kept(value: Any, place: Tensor, batch: int) -> Any:
    if isinstance(value, Tensor) and value.ndim == 4 and value.shape[0] == batch:
        return value[place.to(value.device)]
    if isinstance(value, list):
        return [_kept(one, place, batch) for one in value]
    return value
