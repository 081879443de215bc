"""Prompts with variables: "{colour} wall, {product} on a {surface}", with named lists of values.

Plain text, no templates: a name in braces is replaced once, and what it is replaced by is not read again. `{{` and `}}`
stand for braces. Which value of a list is taken follows from the image's seed, so that the same plan draws the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PRODUCT, CATEGORY = "product", "category"
RESERVED = (PRODUCT, CATEGORY)
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHOWN_NAMES = 12


class WordingError(ValueError):
    """A text that can't be expanded; the sentence says what to change."""


@dataclass(frozen=True)
class Variable:
    """A name in braces."""

    name: str


def parse(text: str) -> list[str | Variable]:
    """Split a text into plain pieces and variables.

    Raises: WordingError: a brace without its partner, or a name that is none.
    """
    pieces: list[str | Variable] = []
    plain, at = "", 0
    while at < len(text):
        char = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            plain, at = plain + char, at + 2
        elif char == "{":
            end = text.find("}", at)
            inner = text[at + 1 : end] if end > 0 else ""
            name = inner.strip().lower()
            if end < 0 or "{" in inner:
                raise WordingError(f"“{text[at : at + 20]}” opens a brace that nothing closes: write {{{{ for a brace.")
            if not NAME.fullmatch(name):
                raise WordingError(
                    f"“{{{inner[:40]}}}” is no variable: a name has small letters, digits and _, such as {{colour}}. "
                    "Write {{ and }} for braces."
                )
            pieces += [plain, Variable(name)] if plain else [Variable(name)]
            plain, at = "", end + 1
        elif char == "}":
            raise WordingError(
                f"“{text[max(0, at - 19) : at + 1]}” closes a brace that nothing opens: write }}}} for one."
            )
        else:
            plain, at = plain + char, at + 1
    return [*pieces, plain] if plain else pieces


def variables(text: str) -> list[str]:
    """The names in a text, each once, in their order. Raises WordingError as `parse`."""
    return list(dict.fromkeys(piece.name for piece in parse(text) if isinstance(piece, Variable)))


def check(text: str, lists: Mapping[str, Sequence[str]]) -> None:
    """Raises WordingError unless every variable of the text is known and has a value."""
    for name in variables(text):
        if name in RESERVED:
            continue
        if name not in lists:
            known = sorted([*RESERVED, *lists])
            more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
            told = ", ".join(f"{{{one}}}" for one in known[:_SHOWN_NAMES])
            raise WordingError(f"There is no variable {{{name}}}. Known: {told}{more}. Write {{{{ for a brace.")
        if not lists[name]:
            raise WordingError(f"The list {{{name}}} has no values: give it some first.")


def pick(name: str, values: Sequence[str], seed: int) -> str:
    """The value of this list for this seed: each about equally often, always the same one."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return values[int.from_bytes(digest[:8], "big") % len(values)]


def expand(text: str, *, product: str, category: str, seed: int, lists: Mapping[str, Sequence[str]]) -> str:
    """Put words for all variables.

    A variable that stands in a text twice gets the same value twice, as do two texts of one seed.

    Args:
        text: with variables.
        product, category: what `{product}` and `{category}` stand for.
        seed: of the image.
        lists: name -> values.
    Raises: WordingError: as `check`.
    """
    check(text, lists)
    fixed = {PRODUCT: product, CATEGORY: category}

    def word(piece: str | Variable) -> str:
        if isinstance(piece, str):
            return piece
        return fixed[piece.name] if piece.name in fixed else pick(piece.name, lists[piece.name], seed)

    return "".join(map(word, parse(text)))


def escape(text: str) -> str:
    """A text that expands to exactly this one."""
    return text.replace("{", "{{").replace("}", "}}")
