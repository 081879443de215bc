"""RFNet's verdicts, for the fit. RFNet comes after this app in the loop, so it brings its verdicts itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdicts:
    """Out-of-sample: on candidates that the judge was not trained on.

    Attributes:
        judge: its name. candidate: (M,) int64, each once. probs: (M, 5) float64, rows sum to 1.
    """

    judge: str
    candidate: np.ndarray
    probs: np.ndarray


# Returns None where no judge is in use.
Source = Callable[[], Verdicts | None]
_sources: list[Source] = []


def brings_verdicts(source: Source) -> Source:
    _sources.append(source)
    return source


def verdicts() -> Verdicts | None:
    for source in _sources:
        found = source()
        if found is not None:
            return found
    return None
