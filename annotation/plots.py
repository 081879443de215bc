"""Plots as the pages draw them and as their CSVs hold them: the same numbers, made once.

The page has the numbers as a table; frontend/plots.js draws what stands in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse

from adproof.labels import LABELS, TITLES
from annotation import figures
from annotation.figures import Facts
from annotation.tables import as_csv

MOST_CATEGORIES = 15  # drawn; the table has all


@dataclass(frozen=True)
class Column:
    """One column of numbers. csv: its name in the CSV. colour: the token it is drawn in; empty: only in the table.
    unit: "" counts, "%" shares of 1, "s" seconds, "0.00" plain numbers."""

    title: str
    csv: str
    colour: str = ""
    unit: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Row:
    """values: one for each column; None where there is nothing to say. csv: the first cell in the CSV."""

    title: str
    csv: str
    values: Sequence[float | int | None]
    tick: str = ""  # what the axis says, where the title is too long for it
    label: int | None = None
    is_drawn: bool = True


@dataclass(frozen=True)
class Plot:
    name: str
    title: str
    says: str  # what one sees in it: also for those who don't see it
    kind: str  # "bar", "line", "across" (bars from left to right), "interval" (value, low, high)
    first: tuple[str, str]  # the first column's title, and its name in the CSV
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: str = "Nothing to draw yet."

    @property
    def is_empty(self) -> bool:
        return not any(value for row in self.rows for value in row.values)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Rows as the template shows them."""
        return [
            {"row": row, "values": list(zip(self.columns, row.values, strict=True))}
            for row in self.rows
        ]  # fmt: skip

    def csv(self, prefix: str = "adproof") -> HttpResponse:
        head = [self.first[1], *(column.csv for column in self.columns)]
        rows = [[row.csv, *row.values] for row in self.rows]
        return as_csv(f"{prefix}-{self.name}", head, rows)


def hour_row(at: datetime, *values: float | int | None) -> Row:
    tick = f"{at:%H:%M}" if at.hour else f"{at.day} {at:%b}"
    return Row(f"{at.day} {at:%b}, {at:%H:%M}", at.isoformat(), values, tick)


def day_row(at: datetime, *values: float | int | None) -> Row:
    return Row(f"{at:%a} {at.day} {at:%b}", f"{at:%Y-%m-%d}", values, f"{at.day} {at:%b}")


def by_hour(now: Facts) -> Plot:
    rows = figures.by_hour(now)
    last_day = sum(n for _, n in rows[-24:])
    most = max(rows, key=lambda row: row[1])
    says = f"{last_day:,} in the last 24 hours. " + (
        f"The busiest of the last {len(rows)} hours: {most[1]:,} from {most[0]:%H:%M} UTC." if most[1] else ""
    )
    return Plot(
        "throughput", "Answers by hour", says, "bar", ("Hour (UTC)", "hour_utc"),
        [Column("Answers", "answers", "--accent")], [hour_row(*row) for row in rows],
        empty="Nobody answered in the last two days.",
    )  # fmt: skip


def by_day(now: Facts) -> Plot:
    rows = figures.by_day(now)
    worked = [n for _, n in rows if n]
    says = f"{sum(worked):,} on {len(worked)} of the last {len(rows)} days (UTC)."
    return Plot(
        "days", "Answers by day", says, "bar", ("Day (UTC)", "day_utc"),
        [Column("Answers", "answers", "--accent")], [day_row(*row) for row in rows],
        empty="Nobody answered in the last 30 days.",
    )  # fmt: skip


def label_mix(now: Facts) -> Plot:
    mix = figures.label_mix(now)
    rows = [
        Row(row["title"], LABELS[row["number"]], [row["answers_share"], row["share"], row["answers"], row["count"]],
            label=row["number"])
        for row in mix
    ]  # fmt: skip
    columns = [
        Column("Share of answers", "answers_share", "--label-1-fill", "%"),
        Column("Share of consensus", "share", "--accent", "%"),
        Column("Answers", "answers"),
        Column("Candidates", "candidates"),
    ]
    top = max(mix, key=lambda row: row["share"])
    says = f"Most are “{top['title']}”: {top['share']:.0%} of candidates." if top["count"] else ""
    return Plot("labels", "Label mix", says, "across", ("Label", "label"), columns, rows)


def by_label(now: Facts) -> Plot:
    found = now.result.get("by_label", [])
    rows = [
        Row(TITLES[row["label"]], LABELS[row["label"]], [row["agreement"], row["unanimous"], row["candidates"]],
            label=row["label"])
        for row in found
    ]  # fmt: skip
    columns = [
        Column("Answers that say the same", "agreement", "--accent", "%"),
        Column("Candidates where all do", "unanimous", "--label-2-fill", "%"),
        Column("Candidates", "candidates"),
    ]
    known = [row for row in found if row["agreement"] is not None]
    worst = min(known, key=lambda row: row["agreement"]) if known else None
    says = f"Least sure: “{TITLES[worst['label']]}”, {worst['agreement']:.0%}." if worst else ""
    return Plot(
        "agreement-by-label", "Agreement by label", says, "across", ("Consensus", "label"), columns, rows,
        empty="Needs candidates that two people have judged, and a fit.",
    )  # fmt: skip


def by_category(now: Facts) -> Plot:
    """The categories with the most answers, the one with the least agreement first."""
    found = [row for row in now.result.get("by_category", []) if row["agreement"] is not None]
    drawn = {row["category"] for row in found[:MOST_CATEGORIES]}
    found = sorted(found, key=lambda row: (row["category"] not in drawn, row["agreement"]))
    rows = [
        Row(row["category"] or "No category", row["category"],
            [row["agreement"], row["alpha"], row["candidates"], row["answers"]],
            is_drawn=row["category"] in drawn)
        for row in found
    ]  # fmt: skip
    columns = [
        Column("Pairs of answers that say the same", "agreement", "--accent", "%"),
        Column("Alpha", "alpha", "", "0.00"),
        Column("Candidates", "candidates"),
        Column("Answers", "answers"),
    ]
    says = f"Least sure: {rows[0].title}, {found[0]['agreement']:.0%}." if rows else ""
    if len(found) > MOST_CATEGORIES:
        says += f" Drawn are the {MOST_CATEGORIES} categories with the most answers."
    return Plot(
        "agreement-by-category", "Agreement by category", says, "across", ("Category", "category"), columns, rows,
        empty="Needs candidates that two people have judged, and a fit.",
    )  # fmt: skip


QUALITY = {"throughput": by_hour, "days": by_day, "labels": label_mix,
           "agreement-by-label": by_label, "agreement-by-category": by_category}  # fmt: skip
