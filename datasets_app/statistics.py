"""What is in a version, counted in one pass over its rows; kept by datasets_app.kept."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db import connection, transaction

from adproof.labels import LABELS, TITLES
from annotation.plots import Column, Plot, Row
from datasets_app.models import SPLITS, DatasetVersion

MOST_DRAWN = 15  # categories, sources, generators on a plot; the table has all
# One scan, grouped in several ways at once; `which` tells the ways apart.
_SETS = ("source", "category", "generator", "agreement", "confidence", "answers", "method", "label")
_SQL = """
    SELECT grouping(source, category, generator, agreement, confidence, answers, method, label) AS which,
           split, coalesce(source, category, generator, agreement::text, confidence::text, answers::text, method, label::text),
           count(*), sum(exact), sum(answers_given)
    FROM (
        SELECT v.split, p.source, p.category, g.name AS generator, floor(v.agreement * 10 + 1e-9)::int AS agreement,
               floor((v.posterior ->> v.label::int)::float8 * 10 + 1e-9)::int AS confidence,
               v.annotation_count AS answers, v.method, v.label, v.agreement AS exact, v.annotation_count AS answers_given
        FROM datasets_app_versionrow v JOIN generation_candidate c ON c.id = v.candidate_id
        JOIN generation_product p ON p.id = c.product_id JOIN generation_generator g ON g.id = c.generator_id
        WHERE v.version_id = %s
    ) rows
    GROUP BY GROUPING SETS ((split, source), (split, category), (split, generator), (split, agreement),
                            (split, confidence), (split, answers), (split, method), (split, label))
"""


def describe(version: DatasetVersion) -> dict[str, Any]:
    """JSON values. {"rows": n, "by": {way: {value: {split: n}}}, "mean_agreement": 0..1 or None, "mean_answers": ...}

    Ways: source, category, generator, method, answers (how many), label (name), and agreement and confidence (the
    posterior of its label) in tenths: "0" to "9", and "10" for exactly 1.
    """
    by: dict[str, dict[str, dict[str, int]]] = {way: defaultdict(lambda: dict.fromkeys(SPLITS, 0)) for way in _SETS}
    agreement, answers, total = 0.0, 0, 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(_SQL, [version.pk])
        for which, split, value, count, exact, given in cursor.fetchall():
            way = _way(which)
            by[way][LABELS[int(value)] if way == "label" else value][split] += count
            if way == "label":
                agreement, answers, total = agreement + exact, answers + int(given), total + count
    return {
        "rows": total, "by": {way: dict(values) for way, values in by.items()},
        "mean_agreement": agreement / total if total else None, "mean_answers": answers / total if total else None,
    }  # fmt: skip


def _way(which: int) -> str:
    """grouping() has a 0 at the column that was grouped by."""
    for place, way in enumerate(reversed(_SETS)):
        if not which >> place & 1:
            return way
    raise ValueError(f"no column is grouped in {which}")


# --- plots


def plots(found: dict[str, Any]) -> list[Plot]:
    by = found["by"]
    return [
        _labels(by["label"]), _tenths("agreement", "Agreement", "Answers that gave the label", by["agreement"], "All of them"),
        _tenths("confidence", "Confidence", "Probability of the label", by["confidence"], "It is certain"),
        _answers(by["answers"]), _largest("category", "Categories", by["category"]),
        _largest("source", "Sources", by["source"]), _largest("generator", "Generators", by["generator"]),
    ]  # fmt: skip


_COLOURS = ("--accent", "--label-1-fill", "--label-2-fill")


def _columns(unit: str = "") -> list[Column]:
    return [
        Column(split.capitalize(), split, colour, unit) for split, colour in zip(SPLITS, _COLOURS, strict=True)
    ]  # fmt: skip


def _values(counts: dict[str, int]) -> list[int]:
    return [counts.get(split, 0) for split in SPLITS]


def _labels(found: dict[str, dict[str, int]]) -> Plot:
    """Shares within each split: they should be alike."""
    totals = {split: sum(counts.get(split, 0) for counts in found.values()) for split in SPLITS}
    rows = []
    for label, title in TITLES.items():
        counts = _values(found.get(LABELS[label], {}))
        shares = [count / totals[split] if totals[split] else None for count, split in zip(counts, SPLITS, strict=True)]
        rows.append(Row(title, LABELS[label], [*shares, *counts], label=int(label)))
    columns = [*_columns("%"), *(Column(f"{split.capitalize()}, samples", f"{split}_samples") for split in SPLITS)]
    says = "The share of each label within its split: alike, if the splits are fair."
    return Plot("labels", "Labels by split", says, "across", ("Label", "label"), columns, rows)


def _tenths(name: str, title: str, what: str, found: dict[str, dict[str, int]], all_do: str) -> Plot:
    rows = []
    for tenth in range(11):
        words = f"{tenth}0 %" if tenth == 10 else f"{tenth}0–{tenth + 1}0 %" if tenth else "0–10 %"
        rows.append(
            Row(words, f"{tenth / 10:.1f}", _values(found.get(str(tenth), {})), tick=f"{tenth}0" if tenth else "0")
        )
    total = sum(sum(row.values) for row in rows)  # type: ignore[arg-type]
    full = sum(rows[10].values) / total if total else 0  # type: ignore[arg-type]
    says = f"{what}, in tenths. {all_do} in {full * 100:.0f} % of samples." if total else ""
    return Plot(name, title, says, "bar", ("At least", f"{name}_from"), _columns(), rows)


def _answers(found: dict[str, dict[str, int]]) -> Plot:
    rows = [Row(n, n, _values(found[n])) for n in sorted(found, key=int)]
    says = "How many people judged a sample."
    return Plot("answers", "Answers of a sample", says, "bar", ("Answers", "answers"), _columns(), rows)


def _largest(name: str, title: str, found: dict[str, dict[str, int]]) -> Plot:
    names = sorted(found, key=lambda value: (-sum(found[value].values()), value))
    rows = [
        Row(value or "(none)", value, _values(found[value]), tick=value[:22], is_drawn=place < MOST_DRAWN)
        for place, value in enumerate(names)
    ]
    says = f"{len(names):,} in all." if len(names) != 1 else "Only one."
    if len(names) > MOST_DRAWN:
        says += f" Drawn are the {MOST_DRAWN} with the most samples."
    return Plot(name, title, says, "across", (title, name), _columns(), rows)
