"""What a scene is to look like: style of the world, cause of the defect, kind of support, colours, light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from adproof.adworld import surfaces, words
from adproof.adworld.clutter import CLUTTER
from adproof.adworld.layout import UNSUPPORTED
from adproof.adworld.sprites import Array, Sprite
from adproof.adworld.staging import EXTENSIONS
from adproof.labels import Label

Kind = Literal["feedback", "judge"]


@dataclass(frozen=True)
class Style:
    """What sets one world's pictures apart from another's in kind.

    vanish: height of the vanishing line over the surface's back edge, px per 64 of canvas. zoom: of textures.
    ellipse_shadows: soft ellipses in place of the cut-out's own shadow. background_noise, background_blur:
    standard deviations, in brightness and in px per 64 of canvas. walls: shares of surfaces.WALL_STYLES.
    """

    texture_seed: int
    vanish: tuple[float, float]
    zoom: tuple[float, float]
    ellipse_shadows: bool
    background_noise: tuple[float, float]
    background_blur: tuple[float, float]
    jpeg: bool
    colour_spread: float
    walls: tuple[float, ...]


STYLES: dict[Kind, Style] = {
    "feedback": Style(
        texture_seed=11,
        vanish=(28, 60),
        zoom=(0.7, 1.3),
        ellipse_shadows=False,
        background_noise=(0.0, 0.012),
        background_blur=(0.0, 0.0),
        jpeg=False,
        colour_spread=0.025,
        walls=(0.30, 0.16, 0.11, 0.09, 0.11, 0.13, 0.10),
    ),
    "judge": Style(
        texture_seed=97,
        vanish=(14, 34),
        zoom=(1.0, 1.9),
        ellipse_shadows=True,
        background_noise=(0.0, 0.03),
        background_blur=(0.0, 0.8),
        jpeg=True,
        colour_spread=0.05,
        walls=(0.16, 0.28, 0.18, 0.14, 0.06, 0.06, 0.12),
    ),
}

# How often each cause of a label's defect is drawn.
CAUSES: dict[Label, dict[str, float]] = {
    Label.AVAILABLE: {"": 1.0},
    Label.SPACE_MISMATCH: dict(zip(UNSUPPORTED, (0.32, 0.22, 0.18, 0.16, 0.12), strict=True)),
    Label.SIZE_MISMATCH: {"": 1.0},
    Label.INDISTINCTIVENESS: {"camouflage": 0.46} | dict.fromkeys(CLUTTER, 0.18),
    Label.SHAPE_HALLUCINATION: {"truncation": 0.55}
    | dict(zip(EXTENSIONS, (0.12, 0.09, 0.08, 0.08, 0.08), strict=True)),
}
# What a generator can do wrong with a whole product: it can't paint back what was cut off, and like colours follow from
# the prompt more than from chance.
GENERATED_CAUSES: dict[Label, dict[str, float]] = CAUSES | {
    Label.INDISTINCTIVENESS: {"camouflage": 0.16} | dict.fromkeys(CLUTTER, 0.28),
    Label.SHAPE_HALLUCINATION: dict(zip(EXTENSIONS, (0.42, 0.28, 0.14, 0.06, 0.1), strict=True)),
}
_WALL_SHARES = (0.09, 0.1, 0.1, 0.11, 0.11, 0.1, 0.09, 0.14, 0.16)
_OUTDOOR = ("green grass", "sand")


def choose_cause(rng: np.random.Generator, label: Label, generated: bool = False) -> str:
    causes = (GENERATED_CAUSES if generated else CAUSES)[label]
    return str(rng.choice(list(causes), p=list(causes.values())))


def choose_kind(rng: np.random.Generator, longest_cm: float) -> str:
    """Kind of support for a thing of this size: big ones stand on the floor, small ones on tables and
    shelves."""
    shares = (0.12, 0.64, 0.04, 0.2) if longest_cm > 60 else (0.46, 0.14, 0.2, 0.2)
    return str(rng.choice(words.KINDS, p=shares))


def choose_look(rng: np.random.Generator, kind: str) -> tuple[str, str, str]:
    """(material, background, light) that go with the kind of support."""
    materials = [m for m in words.MATERIALS if kind == "floor" or m not in _OUTDOOR]
    material = materials[int(rng.integers(len(materials)))]
    if material in _OUTDOOR:
        background = str(rng.choice(["sky", "garden", "city"], p=[0.5, 0.4, 0.1]))
    elif rng.random() < 0.28 and kind != "shelf":
        background = str(rng.choice(words.BACKDROPS, p=[0.15, 0.25, 0.4, 0.2]))
    else:
        background = str(rng.choice(list(words.WALLS), p=_WALL_SHARES))
    return material, background, str(rng.choice(words.LIGHTS))


def light_from(rng: np.random.Generator, light: str) -> float:
    """Where the light comes from, 0 left .. 1 right."""
    sides = {"light from the left": 0.1, "light from the right": 0.9}
    return sides.get(light, float(rng.uniform(0.25, 0.75)))


def background(rng: np.random.Generator, style: Style, size: int, name: str, light_x: float) -> Array:
    """The wall or backdrop of this name, (size,size,3)."""
    if name in words.WALLS:
        colour = varied(rng, words.WALLS[name], style.colour_spread)
        return surfaces.wall(rng, size, colour, light_x, style.walls)
    return surfaces.backdrop(rng, size, name, float(rng.uniform(0.018, 0.035)))


def varied(rng: np.random.Generator, colour: tuple[float, float, float], spread: float) -> Array:
    """(3,) float32 in [0.03, 0.97]: the colour, each channel off by a normal error of this spread."""
    return np.clip(np.array(colour) + rng.normal(0, spread, 3), 0.03, 0.97).astype(np.float32)


def podium_colour(rng: np.random.Generator, sprite: Sprite, surface: Array) -> Array | None:
    """(3,) float32, a colour unlike the product's lower part, so that the podium is no extension of it; None if
    none was found. surface: (3,), the surface's."""
    _, y0, _, y1 = sprite.box
    low = slice(y1 - max(2, (y1 - y0) // 4), y1)
    own = sprite.colour[low][sprite.solid[low]]
    palette = [*words.WALLS.values(), *words.MATERIALS.values()]
    for _ in range(6):
        colour = varied(rng, palette[int(rng.integers(len(palette)))], 0.03)
        if len(own) and np.abs(colour - own.mean(0)).mean() > 0.16 and np.abs(colour - surface).mean() > 0.06:
            return colour
    return None


def finished(rng: np.random.Generator, style: Style, picture: Array, light: str) -> Array:
    """The picture (S,S,3) in the light's tint, with exposure, blur, grain and (judge, half of the time)
    JPEG."""
    tint = np.array([1.04, 1.0, 0.91], np.float32) if light == "warm light" else np.ones(3, np.float32)
    out = picture * tint * float(rng.uniform(0.93, 1.07))
    sigma = rng.uniform(*style.background_blur) * picture.shape[0] / 64
    if sigma > 0.25:
        out = cv2.GaussianBlur(out, (0, 0), sigma)
    out = out + rng.standard_normal(out.shape, dtype=np.float32) * np.float32(
        rng.uniform(*style.background_noise)
    )
    if style.jpeg and rng.random() < 0.5:
        pixels = np.rint(np.clip(out, 0, 1) * 255).astype(np.uint8)
        quality = int(rng.integers(35, 85))
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.float32) / 255
    return np.clip(out, 0, 1).astype(np.float32)
