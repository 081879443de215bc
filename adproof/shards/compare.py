"""What changed from one dataset version to another."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from adproof.shards.reading import DatasetVersion

_COLUMNS = ("product_id", "source", "category", "label", "split")


@dataclass(frozen=True)
class Comparison:
    """Tables sorted by sample_id, with sample_id, product_id, source, category, label and split of each side.

    added: in the second version only. removed: in the first only. relabelled: in both, with label and
        before_label.
    moved: in both, with split and before_split. unchanged: how many are in both, with the same label and
        split.
    """

    added: pa.Table
    removed: pa.Table
    relabelled: pa.Table
    moved: pa.Table
    unchanged: int

    def counts(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in ("added", "removed", "relabelled", "moved")} | {
            "unchanged": self.unchanged,
        }


def compare(before: DatasetVersion, after: DatasetVersion) -> Comparison:
    """From `before` to `after`. Reads ids and labels only, no pictures; a million samples take some
    seconds."""
    old = before.table(["sample_id", *_COLUMNS[:-1]]).rename_columns(
        ["sample_id", *(f"before_{name}" for name in _COLUMNS)]
    )
    new = after.table(["sample_id", *_COLUMNS[:-1]])
    both = new.join(old, keys="sample_id", join_type="inner").sort_by("sample_id")
    relabelled = pc.not_equal(both["label"], both["before_label"])
    moved = pc.not_equal(both["split"], both["before_split"])
    added = new.join(old.select(["sample_id"]), keys="sample_id", join_type="left anti")
    removed = old.join(new.select(["sample_id"]), keys="sample_id", join_type="left anti")
    return Comparison(
        added=added.sort_by("sample_id"),
        removed=removed.rename_columns(["sample_id", *_COLUMNS]).sort_by("sample_id"),
        relabelled=both.filter(relabelled),
        moved=both.filter(moved),
        unchanged=len(both) - pc.sum(pc.or_(relabelled, moved)).as_py() if len(both) else 0,
    )
