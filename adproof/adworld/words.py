"""Prompts (a small fixed grammar) and captions of the ad world."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

KINDS: tuple[str, ...] = ("table", "floor", "shelf", "podium")
MATERIALS: dict[str, tuple[float, float, float]] = {
    "light wood": (0.76, 0.58, 0.39),
    "dark wood": (0.40, 0.26, 0.17),
    "white marble": (0.88, 0.87, 0.86),
    "grey concrete": (0.55, 0.55, 0.53),
    "blue cloth": (0.34, 0.44, 0.60),
    "red cloth": (0.62, 0.24, 0.23),
    "green grass": (0.36, 0.55, 0.24),
    "sand": (0.84, 0.74, 0.55),
    "black glass": (0.13, 0.13, 0.15),
    "white tile": (0.84, 0.85, 0.85),
}
WALLS: dict[str, tuple[float, float, float]] = {
    "white": (0.92, 0.91, 0.89),
    "beige": (0.85, 0.78, 0.66),
    "grey": (0.60, 0.60, 0.62),
    "blue": (0.45, 0.60, 0.80),
    "green": (0.50, 0.68, 0.54),
    "pink": (0.90, 0.69, 0.70),
    "yellow": (0.92, 0.81, 0.46),
    "red": (0.68, 0.28, 0.25),
    "dark": (0.20, 0.21, 0.26),
}
BACKDROPS: tuple[str, ...] = ("sky", "garden", "room", "city")
LIGHTS: tuple[str, ...] = ("soft light", "warm light", "light from the left", "light from the right")
# The things of known size that a prompt can ask for: the names of the catalogue's references.
REFERENCE_WORDS: tuple[str, ...] = (
    "ball",
    "books",
    "bottle",
    "chair",
    "cup",
    "fridge",
    "lamp",
    "plant",
    "sofa",
    "teddy",
)

GLUE = ("on", "a", "an", "the", "in", "front", "of", "wall", "and", "beside", "it", "nothing")


def words_of(text: str) -> list[str]:
    """Lower-case words (letters, digits, inner points) of a prompt or caption, in order."""
    return re.findall(r"[a-z]+|\d+(?:\.\d+)?", text.lower())


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in texts for word in words_of(text)))


VOCABULARY: tuple[str, ...] = _unique(
    [*GLUE, *KINDS, *MATERIALS, *WALLS, *BACKDROPS, *LIGHTS, *REFERENCE_WORDS]
)

EDITIONS: dict[str, float] = {"regular": 1.0, "miniature": 0.25, "giant": 4.0}
_CENTIMETRES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90)
_METRES = ("1", "1.2", "1.5", "1.8", "2", "2.5", "3", "4", "5", "6", "8")
_CAPTION_GLUE = ("about", "tall", "cm", "m", "edition", "of", "real", "size", *EDITIONS)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def compose_prompt(kind: str, material: str, background: str, references: Sequence[str], light: str) -> str:
    """What a designer would write; background is a wall colour or one of BACKDROPS."""
    place = f"{background} wall" if background in WALLS else f"{article(background)} {background}"
    beside = (
        " and ".join(word if word == "books" else f"{article(word)} {word}" for word in references)
        or "nothing"
    )
    return f"on a {material} {kind}, in front of {place}, {beside} beside it, {light}"


def nearest_look(colour: NDArray[np.float32], material: str) -> tuple[str, str]:
    """The (material, wall) whose names describe a scene all in this colour best; the material stays of its
    sort."""

    def distance(other: tuple[float, float, float]) -> float:
        return float(np.abs(np.array(other) - colour).sum())

    same = [name for name in MATERIALS if name.split()[-1] == material.split()[-1]]
    return min(same, key=lambda name: distance(MATERIALS[name])), min(
        WALLS, key=lambda name: distance(WALLS[name])
    )


def height_words(cm: float) -> str:
    """A height rounded to the few figures that captions use: "12 cm", "1.2 m"."""
    if cm < 95:
        return f"{min(_CENTIMETRES, key=lambda step: abs(np.log(step / max(cm, 0.5))))} cm"
    return f"{min(_METRES, key=lambda step: abs(np.log(float(step) * 100 / cm)))} m"


def compose_caption(title: str, height_cm: float, edition: str, with_size: bool) -> str:
    """The product's title with what decides its size; height_cm is that of the regular edition."""
    size = f", about {height_words(height_cm * EDITIONS[edition])} tall" if with_size else ""
    return f"{title}{size}" if edition == "regular" else f"{edition.capitalize()} edition of {title}{size}"


@cache
def caption_words() -> tuple[str, ...]:
    """Every word that a caption of the shipped catalogue can have."""
    from adproof.adworld.catalogue import load_catalogue

    figures = [str(step) for step in (*_CENTIMETRES, *_METRES)]
    return _unique([*_CAPTION_GLUE, *figures, *(product.title for product in load_catalogue())])
