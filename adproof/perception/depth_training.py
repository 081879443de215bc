"""Train the small DPT on rendered truth: losses, augmentation, loop. The command is `train_depth`."""

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import DPTForDepthEstimation

from adproof.perception.depth import mini_config, predicted_distance


@dataclass(frozen=True)
class DepthTraining:
    size_px: int = 128
    steps: int = 1600
    batch: int = 16
    learning_rate: float = 1e-3  # highest, after warm-up
    warm_up_steps: int = 100
    weight_decay: float = 0.05
    gradient_weight: float = 0.5  # of the edge term against the plain one
    seed: int = 0
    save_every_steps: int = 200


@dataclass(frozen=True)
class DepthPairs:
    """pictures: (N, s, s, 3) uint8. depths: (N, s, s) uint8, 0 = nearest, 255 = farthest."""

    pictures: NDArray[np.uint8]
    depths: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pictures.shape != (*self.depths.shape, 3):
            raise ValueError(f"pictures {self.pictures.shape} and depths {self.depths.shape} do not match")


def depth_loss(predicted: Tensor, truth: Tensor, gradient_weight: float) -> Tensor:
    """Mean absolute error, plus that of the slopes on four scales, which keeps edges sharp.

    Args:
        predicted, truth: (B, 1, s, s) float.
        gradient_weight: of the slopes.
    Returns: () float.
    Raises: ValueError: the shapes differ.
    Source: gradient matching of Ranftl et al., TPAMI 2020, arXiv:1907.01341, equation 11; the first term is
        plain L1 because rendered truth has a known scale and shift.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted depth is {tuple(predicted.shape)}, truth is {tuple(truth.shape)}")
    error = predicted - truth
    slopes = torch.zeros((), device=error.device)
    for stride in (1, 2, 4, 8):
        coarse = error[:, :, ::stride, ::stride]
        slopes = slopes + coarse.diff(dim=2).abs().mean() + coarse.diff(dim=3).abs().mean()
    return error.abs().mean() + gradient_weight * slopes


def augmented(x: Tensor, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Make rendered pictures look less rendered: mirrored, tinted, blurred, noisy, as drawn pictures are.

    Args:
        x: (B, 3, s, s) float in [0, 1].
        truth: (B, 1, s, s) float; mirrored together with x.
        generator: the only source of chance.
    Returns: both, same shapes and ranges.
    """
    n = len(x)
    mirror = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    x, truth = torch.where(mirror, x.flip(3), x), torch.where(mirror, truth.flip(3), truth)
    blurred = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.3, blurred, x)
    tint = 0.85 + 0.3 * torch.rand(n, 3, 1, 1, generator=generator)
    noise = 0.04 * torch.rand(n, 1, 1, 1, generator=generator) * torch.randn(x.shape, generator=generator)
    return (x * tint + noise).clamp(0, 1), truth


def fresh_network(config: DepthTraining) -> DPTForDepthEstimation:
    """Build the untrained net with weights that suit its small width.

    transformers draws all weights with deviation 0.02 and starts positions at 0, as it should before published weights
    are loaded; from there a narrow net hardly learns, for the picture's signal all but vanishes on its way.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(config.seed)
        network = DPTForDepthEstimation(mini_config(config.size_px))
        for part in network.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
            elif isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                part.reset_parameters()
        positions = network.dpt.embeddings.position_embeddings
        side = math.isqrt(positions.shape[1] - 1)
        positions[0, 1:] = 0.5 * waves(side, positions.shape[2])
        # Mid-range, because the final ReLU passes no gradient below 0.
        nn.init.constant_(network.head.head[-2].bias, 0.5)
    return network


def waves(side: int, width: int) -> Tensor:
    """Positions on a square grid as sines and cosines.

    Args:
        side: of the grid.
        width: of an embedding, a multiple of 4.
    Returns: (side * side, width) float32 in [-1, 1], row by row.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, in two dimensions and for short distances.
    """
    pace = 100.0 ** -(torch.arange(width // 4) * 4 / width)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.cat([wave(along.flatten()[:, None] * pace) for along in (y, x) for wave in (torch.sin, torch.cos)], 1)


def rate_at(step: int, config: DepthTraining) -> float:
    """Learning rate of a step: straight up during warm-up, then half a cosine down to a hundredth."""
    if step < config.warm_up_steps:
        return config.learning_rate * (step + 1) / config.warm_up_steps
    done = (step - config.warm_up_steps) / max(1, config.steps - config.warm_up_steps)
    return config.learning_rate * (0.01 + 0.99 * (1 + float(np.cos(np.pi * done))) / 2)


def train(
    config: DepthTraining,
    pairs: DepthPairs,
    out: Path,
    on_step: Callable[[int, float], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> DPTForDepthEstimation:
    """Train the net; goes on from `out/state.pt` where that is there, to the same weights as without a break.

    Args:
        config: settings; a state in `out` must have been written with the same ones.
        pairs: the pictures and their truth.
        out: folder of the state, made when missing.
        on_step: told the number of finished steps and the step's loss.
        should_stop: asked after each step; on True the state is saved and the net returned as it is.
    Returns: the net in float32, in evaluation mode.
    Raises: ValueError: `out` holds the state of another training.
    """
    network = fresh_network(config).train()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    generator = torch.Generator().manual_seed(config.seed)
    step = _resumed(config, out, network, optimiser, generator)
    pictures = torch.from_numpy(pairs.pictures)
    depths = torch.from_numpy(pairs.depths)
    while step < config.steps:
        rows = torch.randint(len(pictures), (config.batch,), generator=generator)
        x = pictures[rows].permute(0, 3, 1, 2).float() / 255
        x, truth = augmented(x, depths[rows][:, None].float() / 255, generator)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, config)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(pixel_values=x * 2 - 1).predicted_depth[:, None]
        loss = depth_loss(predicted.float(), truth, config.gradient_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        on_step(step, float(loss.detach()))
        stopping = should_stop()
        if stopping or step == config.steps or step % config.save_every_steps == 0:
            _save_state(config, out, step, network, optimiser, generator)
        if stopping:
            break
    return network.eval()


def _save_state(
    config: DepthTraining,
    out: Path,
    step: int,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = {
        "config": json.dumps(asdict(config)),
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
    }
    temporary = out / "state.pt.new"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(out / "state.pt")


def _resumed(
    config: DepthTraining,
    out: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    path = out / "state.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if json.loads(state["config"]) != asdict(config):
        raise ValueError(f"{path} was written with other settings: {state['config']}; use another folder")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    return int(state["step"])


@dataclass(frozen=True)
class DepthErrors:
    """Mean absolute errors over pictures and pixels, in the unit of depth (1 = from nearest to farthest)."""

    n: int
    net: float
    constant: float  # one best number for all pixels, chosen on the training pictures
    mean_map: float  # the training pictures' mean depth at each pixel


def measure(network: nn.Module, pairs: DepthPairs, training: DepthPairs) -> DepthErrors:
    """Compare the net with two predictors that do not look at the picture.

    Args:
        network: what `train` returned.
        pairs: pictures that it has not seen.
        training: where the two rivals come from.
    """
    predicted = np.concatenate([_predicted(network, some) for some in _chunks(pairs.pictures)])
    truth = pairs.depths.astype(np.float32) / 255
    return DepthErrors(
        n=len(pairs.pictures),
        net=float(np.abs(predicted - truth).mean()),
        constant=float(np.abs(np.median(training.depths) / 255 - truth).mean()),
        mean_map=float(np.abs(training.depths.mean(axis=0) / 255 - truth).mean()),
    )


def _chunks(pictures: NDArray[np.uint8]) -> Iterable[NDArray[np.uint8]]:
    return (pictures[start : start + 32] for start in range(0, len(pictures), 32))


@torch.inference_mode()
def _predicted(network: nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return predicted_distance(network, x, gives_distance=True)[:, 0].numpy()
