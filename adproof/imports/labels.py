"""Labels as others write them, mapped to our five; and what to do with RF1M's sixth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from adproof.imports.problems import BadImport
from adproof.labels import LABELS, Label, parse_label

# The SOURCE picture is at fault: the product is flagged, and its candidates get no label.
UNSUITABLE = "unsuitable"
Meaning = Label | str  # a label, or UNSUITABLE


@dataclass
class LabelMap:
    """given: raw value in lower case -> what it means, where the name itself does not say it. Counts what it meets."""

    given: Mapping[str, Meaning] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    _seen: dict[str, Meaning | None] = field(default_factory=dict)

    def meaning(self, raw: object) -> Meaning:
        """What a raw value means, counted. Raises ValueError with what to do."""
        found = self.look(raw)
        if found is None:
            raise unknown(raw)
        self.count(raw)
        return found

    def count(self, raw: object) -> None:
        self.met[str(raw).strip()[:80]] += 1

    def look(self, raw: object) -> Meaning | None:
        """As `meaning`, without counting; None for what is not known. A bare number means nothing by itself."""
        if not isinstance(raw, str):
            return self._look(raw)
        if raw not in self._seen:
            if len(self._seen) > 1000:
                self._seen.clear()
            self._seen[raw] = self._look(raw)
        return self._seen[raw]

    def _look(self, raw: object) -> Meaning | None:
        text = str(raw).strip().lower()
        if text in self.given:
            return self.given[text]
        if text in (UNSUITABLE, "unsuitable product", "unsuitable_product"):
            return UNSUITABLE
        if not text or text.isdigit():
            return None
        try:
            return parse_label(text)
        except ValueError:
            return None

    def table(self) -> list[dict[str, object]]:
        """What each raw value became: for the page and the command."""
        rows = []
        for raw, count in sorted(self.met.items(), key=lambda item: (-item[1], item[0])):
            meaning = self.look(raw)
            name = LABELS[meaning] if isinstance(meaning, Label) else str(meaning)
            rows.append({"raw": raw, "label": name, "count": count})
        return rows


def unknown(raw: object) -> ValueError:
    """What to say of a raw value that means nothing."""
    if str(raw).strip().isdigit():
        return ValueError(f"label {str(raw)[:40]!r} is a number: say which label it means, such as {raw}=available.")
    return ValueError(f"label {str(raw)[:40]!r} is none of {', '.join(LABELS)}, {UNSUITABLE}.")


def parse_map(text: str) -> dict[str, Meaning]:
    """"0=available, 5=unsuitable" as a mapping. Raises BadImport with what is wrong."""
    found: dict[str, Meaning] = {}
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        raw, sign, name = part.partition("=")
        if not sign or not raw.strip():
            raise BadImport(f"{part.strip()[:60]!r} is no pair: write each as RAW=LABEL, such as 0=available.")
        name = name.strip().lower()
        try:
            found[raw.strip().lower()] = UNSUITABLE if name == UNSUITABLE else parse_label(name)
        except ValueError as error:
            raise BadImport(f"{name[:60]!r} is no label; write one of {', '.join(LABELS)}, {UNSUITABLE}.") from error
    return found
