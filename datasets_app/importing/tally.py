"""What an import did, or would do: counted as it goes, kept in the run's row, shown as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from adproof.imports.problems import LeftOut

EXAMPLES = 3
MAX_LISTED = 10_000

# name, in words. "known": it is there already, and nothing changes.
COUNTED = {
    "products_new": "Products, new",
    "products_changed": "Products, changed",
    "products_known": "Products, there already",
    "products_cut_out": "Products without transparency, cut out by U2-Net",
    "products_unsuitable": "Products flagged unsuitable",
    "candidates_new": "Candidates, new",
    "candidates_known": "Candidates, there already",
    "labels_new": "Labels, new",
    "labels_known": "Labels, there already",
    "labels_kept": "Labels beside an earlier one, whose consensus stays",
    "versions_new": "Dataset versions, new",
    "versions_known": "Dataset versions, there already",
}


class Tally:
    def __init__(self, saved: dict[str, Any] | None = None) -> None:
        saved = saved or {}
        self.counts: Counter[str] = Counter(saved.get("counts", {}))
        self.left_out: Counter[str] = Counter(saved.get("left_out", {}))
        self.examples: dict[str, list[str]] = saved.get("examples", {})
        self.labels: Counter[str] = Counter(saved.get("labels", {}))
        self.notes: list[str] = saved.get("notes", [])
        self.listed: int = saved.get("listed", 0)
        self.new_problems: list[LeftOut] = []  # since the last chunk was written

    def leave_out(self, problem: LeftOut) -> None:
        self.left_out[problem.reason] += 1
        examples = self.examples.setdefault(problem.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(str(problem)[:400])
        if self.listed < MAX_LISTED:
            self.listed += 1
            self.new_problems.append(problem)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts), "left_out": dict(self.left_out), "examples": self.examples,
            "labels": dict(self.labels), "notes": self.notes, "listed": self.listed,
        }  # fmt: skip
