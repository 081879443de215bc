"""What a picture is asked for: a prompt's texts as they stood at one moment, and with them the words of each picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adproof import wording


@dataclass(frozen=True)
class Words:
    """What one image is asked for: a prompt with everything put in."""

    text: str
    negative: str
    image_scale: float


@dataclass(frozen=True)
class Usual:
    """What is usual for one category: its size in the picture (None: the prompt's own), and what must not appear."""

    image_scale: float | None
    negative_text: str


@dataclass(frozen=True)
class Scene:
    """A prompt's texts, and the lists and categories' usual values that they draw from."""

    text: str
    negative_text: str
    image_scale: float
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # By category; only where the prompt follows them.
    usual: Mapping[str, Usual] = field(default_factory=dict)

    def words(self, title: str, category: str, seed: int) -> Words:
        """What an image of the product of this title and category with this seed is asked for. Raises WordingError.

        The one place where a prompt becomes words: keys, drawing and tuning all ask here.
        """

        def expand(text: str) -> str:
            return wording.expand(text, product=title, category=category, seed=seed, lists=self.lists)

        own = self.usual.get(category)
        negative = ", ".join(text for text in (expand(self.negative_text), own.negative_text if own else "") if text)
        return Words(expand(self.text), negative, own.image_scale if own and own.image_scale else self.image_scale)

    def variables(self) -> set[str]:
        """Raises WordingError."""
        return {*wording.variables(self.text), *wording.variables(self.negative_text)}

    def check(self) -> None:
        """Raises WordingError: it can't be said."""
        wording.check(f"{self.text} {self.negative_text}", self.lists)


def packed(scenes: Mapping[int, Scene]) -> dict[str, Any]:
    """As JSON: each list once, however many scenes draw from it, and none that nobody draws from."""
    used = {name for scene in scenes.values() for name in scene.variables()}
    return {
        "scenes": {
            str(pk): {
                "text": scene.text, "negative_text": scene.negative_text, "image_scale": scene.image_scale,
                "follows": bool(scene.usual),
            }
            for pk, scene in scenes.items()
        },
        "lists": {name: list(values) for scene in scenes.values() for name, values in scene.lists.items() if name in used},
        "usual": {
            category: [one.image_scale, one.negative_text]
            for scene in scenes.values()
            for category, one in scene.usual.items()
        },
    }  # fmt: skip


def unpacked(held: Mapping[str, Any], wanted: Iterable[int]) -> dict[int, Scene]:
    """Those of the wanted that are in it."""
    usual = {category: Usual(*values) for category, values in held.get("usual", {}).items()}
    found: dict[int, Scene] = {}
    for pk in wanted:
        if values := held.get("scenes", {}).get(str(pk)):
            found[pk] = Scene(
                values["text"], values["negative_text"], values["image_scale"], held["lists"],
                usual if values["follows"] else {},
            )  # fmt: skip
    return found
