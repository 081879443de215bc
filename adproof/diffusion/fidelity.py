"""Does a picture show the wall and the surface that its ad-world prompt asks for? Measured by colour, without a net.

Of all figures tried on tuned generators, the share of walls "as prompted" told collapse most clearly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adproof.adworld.words import MATERIALS, WALLS

# Strips of the picture that hold the wall and the surface, and hardly ever the product: shares of height and width.
WALL_STRIP = (slice(0.02, 0.22), slice(0.05, 0.95))
SURFACE_STRIP = (slice(0.80, 0.98), slice(0.05, 0.95))


@dataclass(frozen=True)
class Fidelity:
    """Shares in [0, 1] of the pictures whose prompt names one (NaN if none does), and how many those are."""

    walls: float
    n_walls: int
    surfaces: float
    n_surfaces: int


def prompt_fidelity(images: Sequence[npt.NDArray[np.uint8]], prompts: Sequence[str]) -> Fidelity:
    """images: (H, W, 3) uint8 each; prompts: in the ad world's grammar, of the same number.

    A wall or surface is as prompted if, of all colours that the vocabulary names, the one asked for is nearest to the
    strip's median colour in hue and, less, in lightness.
    """
    walls = [_as_asked(i, WALL_STRIP, _asked_wall(p), WALLS) for i, p in zip(images, prompts, strict=True)]
    surfaces = [_as_asked(i, SURFACE_STRIP, _asked_surface(p), MATERIALS) for i, p in zip(images, prompts, strict=True)]
    told_walls, told_surfaces = [v for v in walls if v is not None], [v for v in surfaces if v is not None]
    return Fidelity(
        float(np.mean(told_walls)) if told_walls else float("nan"),
        len(told_walls),
        float(np.mean(told_surfaces)) if told_surfaces else float("nan"),
        len(told_surfaces),
    )


def _asked_wall(prompt: str) -> str | None:
    return next((name for name in WALLS if f"in front of {name} wall" in prompt), None)


def _asked_surface(prompt: str) -> str | None:
    return next((name for name in MATERIALS if f"on a {name} " in prompt), None)


def _as_asked(
    image: npt.NDArray[np.uint8],
    strip: tuple[slice, slice],
    asked: str | None,
    colours: Mapping[str, tuple[float, float, float]],
) -> bool | None:
    if asked is None:
        return None
    rows, columns = (
        slice(int(part.start * side), int(part.stop * side)) for part, side in zip(strip, image.shape[:2], strict=True)
    )
    seen = _opponent(np.median(image[rows, columns].reshape(-1, 3), axis=0) / 255)
    return min(colours, key=lambda name: float(np.linalg.norm(_opponent(np.array(colours[name])) - seen))) == asked


def _opponent(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(lightness at half weight, red-green, yellow-blue): light and shade move the first only."""
    red, green, blue = rgb
    return np.array([(red + green + blue) / 6, red - green, (red + green) / 2 - blue])
