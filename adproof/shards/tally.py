"""What is counted while rows pass by, so that nothing has to be read again for the card and the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adproof.aggregation.agreement import alpha_of_patterns
from adproof.labels import LABELS, N_LABELS
from adproof.shards.schema import IMAGE_COLUMNS, SampleRow, picture_hashes, votes_of
from adproof.shards.splits import row_digest, row_digests

_FACETS = ("label", "source", "category")


@dataclass
class Tally:
    """Counts over the rows of one split. patterns: {"3,0,0,1,0": items with these votes}."""

    rows: int = 0
    picture_bytes: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {facet: Counter() for facet in _FACETS})
    patterns: Counter[str] = field(default_factory=Counter)
    agreement_sum: float = 0.0
    agreement_rows: int = 0
    annotations: int = 0
    products: set[str] = field(default_factory=set)
    digests: list[bytes] = field(default_factory=list)

    def add(self, row: SampleRow) -> None:
        self.rows += 1
        self.picture_bytes += row.n_bytes()
        self.counts["label"][LABELS[row.label]] += 1
        self.counts["source"][row.source] += 1
        self.counts["category"][row.category] += 1
        votes = [0] * N_LABELS
        for vote in row.annotations:
            votes[vote.label] += 1
        self.patterns[",".join(map(str, votes))] += 1
        if row.agreement is not None:
            self.agreement_sum += row.agreement
            self.agreement_rows += 1
        self.annotations += row.annotation_count
        self.products.add(row.product_id)
        self.digests.append(row_digest(row.sample_id, row.label, row.split, picture_hashes(row)))

    def add_table(self, rows: pa.Table, split: str, picture_bytes: int) -> None:
        """Rows of a split as a table of the labels-only columns."""
        labels = rows["label"].to_pylist()
        self.rows += len(rows)
        self.picture_bytes += picture_bytes
        self.counts["label"].update(LABELS[label] for label in labels)
        for facet in ("source", "category"):
            self.counts[facet].update(rows[facet].to_pylist())
        votes = np.zeros((len(rows), N_LABELS), np.int64)
        np.add.at(votes, votes_of(rows), 1)
        for pattern, n in zip(*np.unique(votes, axis=0, return_counts=True), strict=True):
            self.patterns[",".join(map(str, pattern.tolist()))] += int(n)
        agreements = [value for value in rows["agreement"].to_pylist() if value is not None]
        for value in agreements:  # one by one, as `add` does: the sum is the same to the last bit
            self.agreement_sum += value
        self.agreement_rows += len(agreements)
        self.annotations += pc.sum(rows["annotation_count"]).as_py() or 0
        self.products.update(rows["product_id"].to_pylist())
        hashes = [rows[f"{name}_sha256"].fill_null("").to_pylist() for name in IMAGE_COLUMNS]
        self.digests += row_digests(rows["sample_id"].to_pylist(), labels, split, zip(*hashes, strict=True))

    def merge(self, other: Tally) -> None:
        self.rows += other.rows
        self.picture_bytes += other.picture_bytes
        for facet in _FACETS:
            self.counts[facet].update(other.counts[facet])
        self.patterns.update(other.patterns)
        self.agreement_sum += other.agreement_sum
        self.agreement_rows += other.agreement_rows
        self.annotations += other.annotations
        self.products |= other.products
        self.digests.extend(other.digests)

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {
            "products": sorted(self.products), "digests": [one.hex() for one in self.digests],
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Tally:
        counts = {facet: Counter(content["counts"][facet]) for facet in _FACETS}
        return cls(**content | {
            "counts": counts,
            "patterns": Counter(content["patterns"]),
            "products": set(content["products"]),
            "digests": [bytes.fromhex(one) for one in content["digests"]],
        })


def agreement(tallies: Iterable[Tally], rng: np.random.Generator) -> dict[str, float | int | None]:
    """Agreement of the whole version; None where nothing is defined, because JSON knows no nan."""
    whole = Tally()
    for tally in tallies:
        whole.merge(tally)
    patterns = sorted(whole.patterns)
    votes = np.array([[int(count) for count in pattern.split(",")] for pattern in patterns])
    alpha = alpha_of_patterns(votes, np.array([whole.patterns[pattern] for pattern in patterns]), rng=rng)
    figures = {"alpha": alpha.value, "alpha_low": alpha.low, "alpha_high": alpha.high}
    return {
        "mean_agreement": whole.agreement_sum / whole.agreement_rows if whole.agreement_rows else None,
        "mean_annotations": whole.annotations / whole.rows,
        "items_with_two_annotations": alpha.n_items,
    } | {name: None if np.isnan(value) else value for name, value in figures.items()}
