"""Labels of candidates that are here already, named by their sample_id: by the hundred thousand, without a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone

from adproof.imports.ahead import ahead
from adproof.imports.labels import LabelMap, unknown
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


@dataclass
class Part:
    """The next rows of the table, read and checked: start of the key -> (where, label)."""

    rows: int = 0
    wanted: dict[str, tuple[str, int]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)  # raw labels


class LabelRows:
    def __init__(
        self, table: Path, label_map: LabelMap, belongings: Belongings, tally: Tally, *, dry_run: bool
    ) -> None:
        self.table, self.labels, self.belongings = table, label_map, belongings
        self.tally, self.dry_run = tally, dry_run

    def parts(self) -> Iterator[Part]:
        """The next one is read while the database stores this one."""
        return ahead(self._parts())

    def _parts(self) -> Iterator[Part]:
        rows, reader = rows_of(self.table, COLUMNS), LabelMap(self.labels.given)
        while some := list(islice(rows, TOGETHER)):
            part = Part(len(some))
            for row in some:
                if isinstance(row, LeftOut):
                    part.left_out.append(row)
                else:
                    _read(row, reader, part)
            # Counted when it is stored, and not when it is read.
            part.met, reader.met = reader.met, Counter()
            yield part

    def take(self, part: Part) -> None:
        """One part; must run in a transaction. A candidate that is named twice keeps its first label."""
        for problem in part.left_out:
            self.tally.leave_out(problem)
        self.labels.met.update(part.met)
        with connection.cursor() as cursor:
            for start in _find(cursor, part, held=not self.dry_run):
                where = part.wanted[start][0]
                self.tally.leave_out(LeftOut(where, "no such sample", f"there is no sample c-{start} here."))
            cursor.execute("SELECT count(*) FROM import_given")
            (given,) = cursor.fetchone()
            self._store(cursor, given)

    def _store(self, cursor: Any, given: int) -> None:
        counts = self.tally.counts
        if self.dry_run:
            cursor.execute(_LABELLED, [f"imported-{self.belongings.source}"])
            (known,) = cursor.fetchone()
            counts["labels_known"] += known
            counts["labels_new"] += given - known
            return
        if not given:
            return
        stored = labels.store_given(self.belongings.project, self.belongings.account.pk, timezone.now())
        counts["labels_new"] += stored.annotations
        counts["labels_known"] += given - stored.annotations
        counts["labels_kept"] += max(0, stored.annotations - stored.consensus)


def _read(row: Row, reader: LabelMap, part: Part) -> None:
    raw = row.values.get("label")
    meaning = reader.look(raw)
    if meaning is None:
        part.left_out.append(LeftOut(row.where, "label not known", str(unknown(raw))))
        return
    reader.count(raw)
    name = str(row.values.get("sample_id") or "").strip().lower().removeprefix("c-")
    if not isinstance(meaning, Label):
        part.left_out.append(LeftOut(row.where, "no label for a sample", f"{raw} is said of products, not of samples."))
    elif len(name) != 20 or not name.isalnum():
        part.left_out.append(LeftOut(row.where, "no such sample", f"{name[:40]!r} is no sample_id (c- and 20 digits)."))
    elif name in part.wanted:
        part.left_out.append(LeftOut(row.where, "sample twice", f"c-{name} was labelled in {part.wanted[name][0]}."))
    else:
        part.wanted[name] = (row.where, int(meaning))


_TABLES = """
    CREATE TEMP TABLE IF NOT EXISTS import_starts (start text, label smallint) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS import_given (candidate bigint, label smallint) ON COMMIT DELETE ROWS;
    DELETE FROM import_starts; DELETE FROM import_given
"""
# One walk of the key's index for each; by bytes, which needs no rules of any language.
_BY_START = "generation_candidate c ON c.key ~>=~ s.start AND c.key ~<~ (s.start || 'g')"
_LABELLED = """
    SELECT count(*) FROM import_given g CROSS JOIN LATERAL (
        SELECT 1 FROM annotation_annotation
        WHERE candidate_id = g.candidate AND annotator_id + 0 = (SELECT id FROM accounts_user WHERE username = %s) LIMIT 1
    ) x
"""


def _find(cursor: Any, part: Part, *, held: bool) -> list[str]:
    """Fills `import_given` with the candidates of this part, held until its transaction ends; returns what is not here."""
    cursor.execute(_TABLES)
    labels.copy_lines(cursor, "import_starts", (f"{start}\t{label}\n" for start, (_, label) in part.wanted.items()))
    cursor.execute(
        f"INSERT INTO import_given SELECT c.id, s.label FROM import_starts s JOIN {_BY_START}"
        + " FOR KEY SHARE OF c" * held
    )
    if cursor.rowcount == len(part.wanted):
        return []
    cursor.execute(f"SELECT s.start FROM import_starts s JOIN {_BY_START}")
    found = {start for (start,) in cursor.fetchall()}
    return [start for start in part.wanted if start not in found]


def ids_of(starts: list[str]) -> dict[str, int]:
    """The first 20 digits of keys -> candidates."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT s.start, c.id FROM unnest(%s::text[]) s (start) JOIN {_BY_START}", [starts])
        return dict(cursor.fetchall())
