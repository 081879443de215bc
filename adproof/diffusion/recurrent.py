"""Recurrent Generation (arXiv 2408.00418): draw, let RFNet judge, stop at the first available image.

For a notebook or a script, in one process. The platform's runs do the same in parts, over workers, and may be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adproof.labels import Label

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attempt:
    """One drawn image and what the judge said of it."""

    number: int  # 1, 2, ...
    image: npt.NDArray[np.uint8]  # (H, W, 3)
    probabilities: FloatArray  # (5,) in the labels' order
    available: bool


def argmax_available(probabilities: FloatArray) -> bool:
    """The paper's rule: available is the likeliest of the five labels."""
    return int(np.argmax(probabilities)) == Label.AVAILABLE


def recurrent_generation(
    draw: Callable[[int], npt.NDArray[np.uint8]],
    judge: Callable[[npt.NDArray[np.uint8]], FloatArray],
    attempts: int,
    is_available: Callable[[FloatArray], bool] = argmax_available,
) -> list[Attempt]:
    """Draw up to `attempts` times, stopping at the first image that is available; every attempt is kept.

    Args: draw(number) gives the image of attempt 1, 2, ..., (H, W, 3) uint8, and chooses a new seed for each; judge(image)
    gives the five probabilities, (5,) float32 in the labels' order. Raises: ValueError: attempts < 1.
    """
    if attempts < 1:
        raise ValueError(f"at least one attempt is needed, not {attempts}")
    made: list[Attempt] = []
    for number in range(1, attempts + 1):
        image = draw(number)
        probabilities = judge(image)
        made.append(Attempt(number, image, probabilities, is_available(probabilities)))
        if made[-1].available:
            break
    return made


def availability_at(runs: Sequence[Sequence[Attempt]], attempts: int) -> npt.NDArray[np.float64]:
    """The share of runs that have an available image within 1, 2, ... attempts.

    Returns: (attempts,) float64, 0..1, rising; nan without runs.
    """
    firsts = np.array([next((a.number for a in run if a.available), attempts + 1) for run in runs])
    return np.array([(firsts <= k).mean() for k in range(1, attempts + 1)], dtype=np.float64)


def mean_attempts(runs: Sequence[Sequence[Attempt]]) -> float:
    """Images drawn per run, on average: what Recurrent Generation costs. nan without runs."""
    return float(np.mean([len(run) for run in runs]))
