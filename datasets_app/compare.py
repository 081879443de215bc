"""What changed from one version to another, counted and listed in the database; of a new label also who, when and why.

Both versions are immutable, so what is found may be kept. Rows are matched by candidate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from adproof.labels import LABELS
from annotation.models import Annotation, Decision
from datasets_app.models import DatasetVersion

WHAT = ("added", "removed", "relabelled", "moved")
# Why a label is another one, from the rows as they were frozen: a reviewer decided; the label became known (gold);
# people answered or took answers back; or the same answers were weighed anew by a fit.
WHY = {"review": "A reviewer decided", "gold": "It became gold", "answers": "People answered", "fit": "A new fit"}
# One side's column where the row is on that side only.
GROUPS = {
    "label": "coalesce(n.label, o.label)",
    "split": "coalesce(n.split, o.split)",
    "source": "p.source",
    "category": "p.category",
}


def _why(old: str, new: str) -> str:
    """SQL over two version rows of one candidate."""
    answers = "jsonb_path_query_array({}.annotations, '$[*].at')".format
    return (
        f"CASE WHEN {new}.method = 'review' THEN 'review' WHEN {new}.method = 'gold' THEN 'gold'"
        f" WHEN {old}.method = 'review' THEN 'review' WHEN {answers(old)} <> {answers(new)} THEN 'answers' ELSE 'fit' END"
    )


# The whole rows of both sides, to what has been found already.
_BOTH = (
    " JOIN datasets_app_versionrow ow ON ow.version_id = %(old)s AND ow.candidate_id = {0}"
    " JOIN datasets_app_versionrow nw ON nw.version_id = %(new)s AND nw.candidate_id = {0}"
).format
_PRODUCT = (" JOIN generation_candidate c ON c.id = {0} JOIN generation_product p ON p.id = c.product_id").format
# Only what differs leaves the join; the wide columns are fetched for those rows alone.
_CHANGED = """
    SELECT coalesce(n.candidate_id, o.candidate_id) AS candidate_id,
           o.label AS old_label, n.label AS new_label, o.split AS old_split, n.split AS new_split
    FROM (SELECT candidate_id, label, split FROM datasets_app_versionrow WHERE version_id = %(old)s) o
    FULL JOIN (SELECT candidate_id, label, split FROM datasets_app_versionrow WHERE version_id = %(new)s) n
    ON o.candidate_id = n.candidate_id
    WHERE o.candidate_id IS NULL OR n.candidate_id IS NULL OR o.label <> n.label OR o.split <> n.split
"""
_IS = {
    "added": "old_label IS NULL",
    "removed": "new_label IS NULL",
    "relabelled": "old_label <> new_label",
    "moved": "old_split <> new_split",
}
EXAMPLES = 12
PAGE = 50
_SINGLE = {"label": int, "split": str, "source": str, "category": str, "why": str, "label_before": int}


class BadComparison(ValueError):
    """The sentence says what to ask for instead."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a candidate between the two versions."""

    who: str
    at: datetime
    # "answered", "took back", "was superseded", "confirmed", "changed", "sent_back", "withdrawn"
    did: str
    label: int | None
    comment: str = ""


@dataclass(frozen=True)
class Change:
    """One row that differs. Labels and splits are None on the side where it is not."""

    candidate: int
    label_before: int | None
    label: int | None
    split_before: str | None
    split: str | None
    product: int
    sku: str
    source: str
    category: str
    # Of a relabelled row only.
    why: str = ""
    method_before: str = ""
    method: str = ""
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    rows: list[Change]
    # `after` of the next page; None on the last one.
    after: int | None


def totals(old: DatasetVersion, new: DatasetVersion) -> dict[str, int]:
    """{"added": n, "removed": n, "relabelled": n, "moved": n}; some seconds for a million rows."""
    counted = ", ".join(f"count(*) FILTER (WHERE {_IS[what]})" for what in WHAT)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counted} FROM ({_CHANGED}) changed", {"old": old.pk, "new": new.pk})
        [counts] = cursor.fetchall()
    return dict(zip(WHAT, counts, strict=True))


def summary(old: DatasetVersion, new: DatasetVersion) -> dict[str, Any]:
    """JSON values, to be kept: both versions never change.

    {"old": id, "new": id, "totals": {"added": n, "removed": n, "relabelled": n, "moved": n, "unchanged": n},
     "by": {"label" | "source" | "category" | "split": {value: {"added": n, ...}}},   # moved, relabelled: as they are now
     "labels": [{"before": 0, "after": 3, "count": n}, ...],  most first
     "splits": [{"before": "train", "after": "test", "count": n}, ...],
     "why": {"review": n, "gold": n, "answers": n, "fit": n},
     "examples": {"added": [candidate id, ...12], ...}}
    Labels in "by" are names, as in the manifest.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("DROP TABLE IF EXISTS changed_rows")
        cursor.execute(f"CREATE TEMP TABLE changed_rows ON COMMIT DROP AS {_CHANGED}", {"old": old.pk, "new": new.pk})
        cursor.execute("ANALYZE changed_rows")
        found: dict[str, Any] = {"old": old.pk, "new": new.pk}
        found["by"], totals_ = _by_group(cursor)
        both = old.row_count - totals_["removed"]
        cursor.execute(
            "SELECT count(*) FROM changed_rows WHERE old_label IS NOT NULL AND new_label IS NOT NULL",
        )
        found["totals"] = totals_ | {"unchanged": both - cursor.fetchone()[0]}
        found["labels"] = _pairs(cursor, "label")
        found["splits"] = _pairs(cursor, "split")
        found["why"] = _whys(cursor, found)
        found["examples"] = {what: _examples(cursor, what) for what in WHAT}
    return found


def _by_group(cursor: Any) -> tuple[dict[str, dict[str, dict[str, int]]], dict[str, int]]:
    counted = ", ".join(f"count(*) FILTER (WHERE {_IS[what]})" for what in WHAT)
    cursor.execute(
        f"SELECT coalesce(new_label, old_label), coalesce(new_split, old_split), p.source, p.category, {counted}"
        " FROM changed_rows JOIN generation_candidate c ON c.id = candidate_id"
        " JOIN generation_product p ON p.id = c.product_id GROUP BY 1, 2, 3, 4"
    )
    by: dict[str, dict[str, dict[str, int]]] = {name: {} for name in GROUPS}
    totals_ = dict.fromkeys(WHAT, 0)
    for label, split, source, category, *counts in cursor.fetchall():
        values = {"label": LABELS[label], "split": split, "source": source, "category": category}
        for what, count in zip(WHAT, counts, strict=True):
            totals_[what] += count
            for name, value in values.items():
                row = by[name].setdefault(value, dict.fromkeys(WHAT, 0))
                row[what] += count
    return by, totals_


def _pairs(cursor: Any, column: str) -> list[dict[str, Any]]:
    cursor.execute(
        f"SELECT old_{column}, new_{column}, count(*) FROM changed_rows WHERE old_{column} <> new_{column}"
        " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    )
    return [{"before": before, "after": after, "count": count} for before, after, count in cursor.fetchall()]


def _whys(cursor: Any, versions: dict[str, Any]) -> dict[str, int]:
    cursor.execute(
        f"SELECT {_why('ow', 'nw')}, count(*) FROM changed_rows{_BOTH('changed_rows.candidate_id')}"
        " WHERE old_label <> new_label GROUP BY 1",
        {"old": versions["old"], "new": versions["new"]},
    )
    return dict.fromkeys(WHY, 0) | dict(cursor.fetchall())


def _examples(cursor: Any, what: str) -> list[int]:
    cursor.execute(
        f"SELECT candidate_id FROM changed_rows WHERE {_IS[what]} ORDER BY candidate_id DESC LIMIT {EXAMPLES}"
    )
    return [candidate for (candidate,) in cursor.fetchall()]


def changed(
    old: DatasetVersion,
    new: DatasetVersion,
    what: str,
    *,
    after: int = 0,
    size: int = PAGE,
    **only: Any,
) -> Page:
    """The rows that were added, removed, relabelled or moved, by rising candidate id, `size` at a time.

    after: the last page's `after`. only: label, label_before, split, source, category, why ("" is no condition).
    A relabelled row comes with what happened to its candidate between the two freezes. Raises BadComparison.
    """
    if what not in WHAT:
        raise BadComparison(f"There is no change called {what!r}: ask for {', '.join(WHAT)}.")
    conditions, values = _only(only, what)
    values |= {"old": old.pk, "new": new.pk, "after": after, "size": max(1, min(size, 500)) + 1}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL enable_hashjoin = off")  # a merge ends at the last row of the page
        cursor.execute(_listing(what, conditions), values)
        found = cursor.fetchall()
    more = len(found) == values["size"]
    found = found[: values["size"] - 1]
    happened = events(old, new, [row[0] for row in found]) if what == "relabelled" else {}
    rows = [Change(*row, events=happened.get(row[0], [])) for row in found]
    return Page(rows, rows[-1].candidate if more else None)


def _listing(what: str, conditions: str) -> str:
    """First which candidates: two index-only scans that are merged. Then what there is to say of so few."""
    side = (
        "(SELECT candidate_id, label, split FROM datasets_app_versionrow"
        " WHERE version_id = %({})s AND candidate_id > %(after)s) {}"
    ).format
    old, new = side("old", "o"), side("new", "n")
    key = "o.candidate_id" if what == "removed" else "n.candidate_id"
    join = {"added": f"{new} LEFT JOIN {old}", "removed": f"{old} LEFT JOIN {new}"}.get(what, f"{old} JOIN {new}")
    differs = {
        "added": "o.candidate_id IS NULL", "removed": "n.candidate_id IS NULL", "relabelled": "o.label <> n.label",
        "moved": "o.split <> n.split",
    }[what]  # fmt: skip
    hits = (
        f"SELECT {key} AS candidate, o.label AS old_label, n.label AS new_label, o.split AS old_split, n.split AS new_split"
        f" FROM {join} ON o.candidate_id = n.candidate_id{_PRODUCT(key) if 'p.' in conditions else ''}"
        f"{_BOTH(key) if 'nw.' in conditions else ''} WHERE {differs}{conditions} ORDER BY {key} LIMIT %(size)s"
    )
    why = f"{_why('ow', 'nw')}, ow.method, nw.method" if what == "relabelled" else "'', '', ''"
    return (
        f"SELECT candidate, old_label, new_label, old_split, new_split, p.id, p.sku, p.source, p.category, {why}"
        f" FROM ({hits}) hits{_PRODUCT('candidate')}{_BOTH('candidate') if what == 'relabelled' else ''}"
        " ORDER BY candidate"
    )


def _only(only: dict[str, Any], what: str) -> tuple[str, dict[str, Any]]:
    unknown = set(only) - set(_SINGLE)
    if unknown:
        raise BadComparison(f"Unknown condition {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(_SINGLE))}.")
    sql, values = "", {}
    for name, value in only.items():
        if value in (None, ""):
            continue
        if name == "why" and (what != "relabelled" or value not in WHY):
            raise BadComparison(f"Why is asked of relabelled rows only, as one of: {', '.join(WHY)}.")
        column = {"why": _why("ow", "nw"), "label_before": "o.label"}.get(name) or GROUPS[name]
        try:
            values[f"only_{name}"] = _SINGLE[name](value)
        except ValueError as error:
            raise BadComparison(f"{name} is a number, such as 0.") from error
        sql += f" AND {column} = %(only_{name})s"
    return sql, values


def events(old: DatasetVersion, new: DatasetVersion, candidates: Iterable[int]) -> dict[int, list[Event]]:
    """What people did about these candidates between the two freezes, oldest first."""
    candidates, since, until = list(candidates), old.created_at, new.created_at
    if since > until:
        since, until = until, since
    found: dict[int, list[Event]] = defaultdict(list)
    decisions = Decision.objects.filter(candidate__in=candidates, created_at__gt=since, created_at__lte=until)
    for row in decisions.select_related("reviewer"):
        found[row.candidate_id].append(Event(str(row.reviewer), row.created_at, row.action, row.label, row.comment))
    answers = Annotation.objects.filter(candidate__in=candidates).exclude(state=Annotation.State.SURPLUS)
    for answer in answers.select_related("annotator"):
        who = str(answer.annotator)
        if since < answer.created_at <= until:
            found[answer.candidate_id].append(Event(who, answer.created_at, "answered", answer.label))
        if answer.undone_at is not None and since < answer.undone_at <= until:
            found[answer.candidate_id].append(Event(who, answer.undone_at, "took back", answer.label))
    for happened in found.values():
        happened.sort(key=lambda event: event.at)
    return dict(found)
