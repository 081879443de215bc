"""Which of our labels another project's names mean."""

from __future__ import annotations

from pathlib import Path

from adproof.labels import parse_label
from annotation.labelstudio.people import BadMap, read_rows

COLUMNS = ("label_studio", "label")


def read_names(path: Path) -> dict[str, int]:
    """From a CSV file with the columns label_studio (the name there) and label (ours)."""
    found: dict[str, int] = {}
    for line, (theirs, ours) in read_rows(path, COLUMNS):
        try:
            label = int(parse_label(ours))
        except ValueError as error:
            raise BadMap(f"{path.name}, line {line}: {str(error)[:300]}.") from None
        if not theirs or theirs.lower() in found:
            raise BadMap(f"{path.name}, line {line}: {theirs[:60]!r} is {'there twice' if theirs else 'no name'}.")
        found[theirs.lower()] = label
    return found
