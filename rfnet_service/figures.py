"""A checkpoint's metrics, arranged for pages. The numbers themselves come from adproof.rfnet.metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adproof.labels import TITLES
from rfnet_service.models import Checkpoint

# (key, title, True: higher is better)
COMPARED = [
    ("precision", "Precision", True), ("recall", "Recall", True), ("f1", "F1", True),
    ("average_precision", "Average precision", True), ("accuracy", "Accuracy, five labels", True),
    ("ece", "Calibration error", False),
]  # fmt: skip
_STEPS = 5


@dataclass(frozen=True)
class Compared:
    """One figure of two models on the same samples."""

    title: str
    before: float | None
    after: float | None
    is_better: bool | None  # None: the same, or not known

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


def compared(before: dict[str, Any], after: dict[str, Any]) -> list[Compared]:
    rows = []
    for key, title, higher in COMPARED:
        old, new = before.get(key), after.get(key)
        if old is None and new is None:
            continue
        differs = old is not None and new is not None and round(old, 3) != round(new, 3)
        rows.append(Compared(title, old, new, ((new > old) == higher) if differs else None))
    return rows


def headline(checkpoint: Checkpoint) -> dict[str, Any]:
    """The figures on test samples, or on validation samples where a version has no test split."""
    return checkpoint.metrics.get("test") or checkpoint.metrics.get("validation") or {}


def per_label(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """How many test samples a label has, and the share of them that RFNet finds."""
    recalls, counts = figures.get("recall_per_label") or [], figures.get("confusion") or []
    return [
        {"label": int(label), "title": title, "recall": recall, "n": sum(row)}
        for (label, title), recall, row in zip(TITLES.items(), recalls, counts, strict=False)
    ]


def confusion_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per true label, with a cell per label that was said: count, share of the row, and a step of shade."""
    rows = []
    for (label, title), counts in zip(TITLES.items(), figures.get("confusion") or [], strict=False):
        total = sum(counts)
        cells = [
            {
                "count": count,
                "share": count / total if total else None,
                "step": min(_STEPS, -(-count * _STEPS // total)) if total else 0,
                "is_right": said == int(label),
                "said": TITLES[said_label],
            }
            for said, (said_label, count) in enumerate(zip(TITLES, counts, strict=False))
        ]
        rows.append({"label": int(label), "title": title, "cells": cells, "total": total})
    return rows


def of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything a page shows of a checkpoint's test figures."""
    metrics, figures = checkpoint.metrics, headline(checkpoint)
    split = "test" if metrics.get("test") else "validation"
    before = metrics.get("in_use_before")
    return {
        "figures": figures,
        "split": split,
        "ece_before": metrics.get(f"{split}_ece_before"),
        "per_label": per_label(figures),
        "confusion": confusion_rows(figures),
        "before": before,
        "compared": compared(before, figures) if before and split == "test" else [],
    }
