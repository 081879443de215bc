"""What the small generator that ships understands: it was taught a few dozen words, and anything else is chance to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adproof.adworld.words import GLUE, VOCABULARY, words_of
from generation.models import Generator

# Said by many prompts, and nothing that is drawn; the world's own words among them say "wall" as well.
_EMPTY = {*GLUE, "from", "to", "at", "with"} - {"wall"}


@dataclass(frozen=True)
class Untaught:
    generator: str
    words: list[str]
    known: list[str]


def untaught(texts: Iterable[str]) -> Untaught | None:
    """Words of these texts that mean nothing to the generator in use; None: it is another kind, or knows them all."""
    generator = Generator.objects.filter(is_in_use=True, kind="mini").first()
    if generator is None:
        return None
    known = {*VOCABULARY, *_EMPTY}
    said = dict.fromkeys(word for text in texts for word in words_of(text))
    found = [word for word in said if word not in known and word.removesuffix("s") not in known]
    return Untaught(str(generator), found[:12], [word for word in VOCABULARY if word not in _EMPTY]) if found else None
