"""Labels of candidates that are here already, named by their sample_id: by the hundred thousand, without a picture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from django.db import connection
from django.utils import timezone

from adproof.imports.labels import LabelMap
from adproof.imports.problems import LeftOut
from adproof.imports.tables import ENDINGS, Row, rows_of
from adproof.labels import Label
from datasets_app.importing import labels
from datasets_app.importing.sources import Belongings
from datasets_app.importing.tally import Tally

TOGETHER = 20_000
COLUMNS = ("sample_id", "label")


def names_samples(table: Path) -> bool:
    """Whether a table has sample_id and label, and no picture."""
    if not table.is_file() or table.suffix.lower() not in ENDINGS:
        return False
    first = next((row for row in rows_of(table) if isinstance(row, Row)), None)
    return (
        first is not None and set(COLUMNS) <= set(first.values) and not {"image", "generated_image"} & set(first.values)
    )


class LabelRows:
    def __init__(
        self, table: Path, label_map: LabelMap, belongings: Belongings, tally: Tally, *, dry_run: bool
    ) -> None:
        self.table, self.labels, self.belongings, self.tally, self.dry_run = (
            table,
            label_map,
            belongings,
            tally,
            dry_run,
        )

    def parts(self) -> Iterator[list[Row | LeftOut]]:
        rows = rows_of(self.table, COLUMNS)
        while part := list(islice(rows, TOGETHER)):
            yield part

    def take(self, rows: list[Row | LeftOut]) -> None:
        """One part; must run in a transaction. A candidate that is named twice keeps its first label."""
        wanted: dict[str, tuple[str, int]] = {}
        for row in rows:
            if isinstance(row, LeftOut):
                self.tally.leave_out(row)
            else:
                self._read(row, wanted)
        ids = ids_of(list(wanted))
        pairs: dict[int, int] = {}
        for start, (where, label) in wanted.items():
            if start not in ids:
                self.tally.leave_out(LeftOut(where, "no such sample", f"there is no sample c-{start} here."))
            else:
                pairs[ids[start]] = label
        self._store(pairs)

    def _read(self, row: Row, wanted: dict[str, tuple[str, int]]) -> None:
        raw = row.values.get("label")
        name = str(row.values.get("sample_id") or "").strip().lower().removeprefix("c-")
        try:
            meaning = self.labels.meaning(raw)
        except ValueError as error:
            self.tally.leave_out(LeftOut(row.where, "label not known", str(error)))
            return
        if not isinstance(meaning, Label):
            self.tally.leave_out(
                LeftOut(row.where, "no label for a sample", f"{raw} is said of products, not of samples.")
            )
        elif len(name) != 20 or not name.isalnum():
            self.tally.leave_out(
                LeftOut(row.where, "no such sample", f"{name[:40]!r} is no sample_id (c- and 20 digits).")
            )
        elif name in wanted:
            self.tally.leave_out(LeftOut(row.where, "sample twice", f"c-{name} was labelled in {wanted[name][0]}."))
        else:
            wanted[name] = (row.where, int(meaning))

    def _store(self, pairs: dict[int, int]) -> None:
        counts = self.tally.counts
        if self.dry_run:
            with connection.cursor() as cursor:
                cursor.execute(_LABELLED, [list(pairs), f"imported-{self.belongings.source}"])
                known = len(cursor.fetchall())
            counts["labels_known"] += known
            counts["labels_new"] += len(pairs) - known
            return
        if not pairs:
            return
        now, by = timezone.now(), self.belongings.account.pk
        stored = labels.store(
            self.belongings.project,
            [labels.Answer(candidate, by, label, 0.0, now) for candidate, label in pairs.items()],
            [labels.one_vote(candidate, label) for candidate, label in pairs.items()],
        )
        counts["labels_new"] += stored.annotations
        counts["labels_known"] += len(pairs) - stored.annotations
        counts["labels_kept"] += max(0, stored.annotations - stored.consensus)


_LABELLED = (
    "SELECT c FROM unnest(%s::bigint[]) c CROSS JOIN LATERAL (SELECT 1 FROM annotation_annotation a"
    " JOIN accounts_user u ON u.id = a.annotator_id WHERE a.candidate_id = c AND u.username = %s LIMIT 1) x"
)


def ids_of(starts: list[str]) -> dict[str, int]:
    """The first 20 digits of keys -> candidates. One walk of the key's index for each."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s, c.id FROM unnest(%s::text[]) s JOIN generation_candidate c ON c.key >= s AND c.key < s || 'g'",
            [starts],
        )
        return dict(cursor.fetchall())
