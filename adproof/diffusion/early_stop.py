"""Giving hopeless pictures up in the middle: how sure must the judge be, and what does it cost and save?

After a middle step the net's output already points to a clean picture, x0_hat. RFNet judges it; under a threshold of
p(available) the picture is given up. The threshold is chosen on finished draws so that few good ones are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST_LOST = 0.02


@dataclass(frozen=True)
class Outcome:
    """What a threshold after one step does to a set of draws."""

    step: int
    steps: int  # of a finished draw
    threshold: float
    given_up: float  # share of all draws
    good_lost: float  # share of the finally available draws that are given up; NaN if there are none
    steps_saved: float  # share of all denoising steps

    def time_saved(self, drawing_s: float, look_s: float, last_look_s: float) -> float:
        """Share of the time of drawing and judging; negative where looking costs more than it saves.

        Every draw is looked at once more (look_s); those given up save the rest of their steps and the last look
        (depth, saliency and verdict of the finished picture).
        """
        saved = self.steps_saved * drawing_s + self.given_up * last_look_s - look_s
        return saved / (drawing_s + last_look_s)


def calibrate(p_middle: Floats, available: Bools, most_lost: float = MOST_LOST) -> float:
    """The highest threshold that loses at most this share of the finally available draws.

    p_middle: (N,) the judge's p(available) of each x0_hat; available: (N,) whether the finished picture was.
    Returns a threshold t; draws with p < t are given up. 0.0 (nothing is) if no draw was available.
    Raises ValueError for lengths that differ or most_lost outside [0, 1).
    """
    if p_middle.shape != available.shape:
        raise ValueError(f"one p and one outcome for each draw, not {p_middle.shape} and {available.shape}")
    if not 0 <= most_lost < 1:
        raise ValueError(f"most_lost is a share, from 0 to under 1, not {most_lost}")
    good = np.sort(p_middle[available])
    if not len(good):
        return 0.0
    # p < t strictly: with t = the k-th smallest good p, at most k good ones lie under it.
    return float(good[int(np.floor(most_lost * len(good)))])


def outcome(p_middle: Floats, available: Bools, step: int, steps: int, threshold: float) -> Outcome:
    """What this threshold does to these draws.

    Args:
        p_middle: (N,) p(available) after `step` of `steps`. available: (N,) bool, of the finished pictures.
        threshold: draws under it are given up.
    """
    given_up = p_middle < threshold
    lost = float(given_up[available].mean()) if available.any() else float("nan")
    share = float(given_up.mean()) if len(given_up) else 0.0
    return Outcome(step, steps, threshold, share, lost, share * (steps - step) / steps)
