"""The five labels of RF1M, spelled once."""

from __future__ import annotations

import re
from enum import IntEnum


class Label(IntEnum):
    """One exclusive label per candidate; the values are RF1M's class ids."""

    AVAILABLE = 0
    SPACE_MISMATCH = 1
    SIZE_MISMATCH = 2
    INDISTINCTIVENESS = 3
    SHAPE_HALLUCINATION = 4


LABELS: tuple[str, ...] = tuple(label.name.lower() for label in Label)
N_LABELS = len(LABELS)

TITLES: dict[Label, str] = {
    Label.AVAILABLE: "Available",
    Label.SPACE_MISMATCH: "Space mismatch",
    Label.SIZE_MISMATCH: "Size mismatch",
    Label.INDISTINCTIVENESS: "Indistinctiveness",
    Label.SHAPE_HALLUCINATION: "Shape hallucination",
}

RULES: dict[Label, str] = {
    Label.AVAILABLE: "Fit to advertise with: well placed, in its true size, easy to see, in its own shape.",
    Label.SPACE_MISMATCH: "The product floats, sinks in, or hangs over an edge: it could not stand so.",
    Label.SIZE_MISMATCH: "The product is far too big or too small beside the things around it.",
    Label.INDISTINCTIVENESS: "The product does not stand out: the background is too busy or of like colours.",
    Label.SHAPE_HALLUCINATION: "The background adds a part to it: a base, stand, leg, handle or top.",
}

# RF1M's release, its papers and annotators' exports write the names in these ways.
_OTHER_SPELLINGS: dict[str, Label] = {
    "indistinctive": Label.INDISTINCTIVENESS,
    "indistinct": Label.INDISTINCTIVENESS,
    "hallucination": Label.SHAPE_HALLUCINATION,
}


def parse_label(value: str | int) -> Label:
    """The label meant by an id (0..4, as int or digits) or a name in any usual spelling.

    Case, spaces, hyphens and underscores do not matter ("Space Mismatch", "space-mismatch").
    Raises ValueError, naming the allowed labels, for anything else; "Unsuitable" too, because it is a
    property of the product and not a label of the candidate.
    """
    if isinstance(value, str):
        key = re.sub(r"[\s_-]+", "_", value.strip().lower())
        if key in LABELS:
            return Label[key.upper()]
        if key in _OTHER_SPELLINGS:
            return _OTHER_SPELLINGS[key]
        if key.isascii() and key.isdigit() and int(key) < N_LABELS:
            return Label(int(key))
    elif not isinstance(value, bool) and value in range(N_LABELS):
        return Label(value)
    raise ValueError(f"{value!r} is not a label; allowed: {', '.join(LABELS)} (or 0..{N_LABELS - 1})")
