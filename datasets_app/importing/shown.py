"""What an import did or would do, in words: the same for the page, the API and the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adproof.labels import LABELS, TITLES, Label
from datasets_app.importing.tally import COUNTED
from runs.models import Run


def shown(run: Run) -> dict[str, Any]:
    """counts: [{name, title, count}]; left_out: [{reason, count, examples}]; labels: [{raw, label, title, count}]."""
    tally = run.result.get("tally", {})
    counts, left_out = tally.get("counts", {}), tally.get("left_out", {})
    return {
        "dry_run": bool(run.params["order"]["dry_run"]),
        "counts": [
            {"name": name, "title": title, "count": counts[name]} for name, title in COUNTED.items() if counts.get(name)
        ],
        "left_out": [
            {"reason": reason, "count": count, "examples": tally.get("examples", {}).get(reason, [])}
            for reason, count in sorted(left_out.items(), key=lambda item: -item[1])
        ],
        "left_out_count": sum(left_out.values()),
        "labels": [{**row, "title": _title(row["label"])} for row in run.result.get("label_rows", [])],
        "notes": tally.get("notes", []),
        "writes": sum(count for name, count in counts.items() if name.endswith(("_new", "_changed", "_unsuitable"))),
    }


def _title(name: str) -> str:
    return TITLES[Label(LABELS.index(name))] if name in LABELS else "No label: the product is flagged unsuitable"


def table_lines(run: Run) -> Iterator[str]:
    table = shown(run)
    for note in table["notes"]:
        yield f"  {note}"
    if table["counts"]:
        yield "would happen:" if table["dry_run"] else "happened:"
    for row in table["counts"]:
        yield f"  {row['count']:>10,}  {row['title']}"
    if table["labels"]:
        yield "labels:"
    for row in table["labels"]:
        yield f"  {row['count']:>10,}  {row['raw']} -> {row['label']}"
    if table["left_out"]:
        yield f"left out: {table['left_out_count']:,}"
    for row in table["left_out"]:
        yield f"  {row['count']:>10,}  {row['reason']}" + (", such as" if row["count"] > len(row["examples"]) else "")
        yield from (f"{'':14}{example}" for example in row["examples"])
