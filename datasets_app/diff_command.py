"""`manage.py dataset diff ads/v2 ads/v3`: what changed, counted, and the changes themselves."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from adproof.labels import LABELS
from datasets_app.compare import GROUPS, WHAT, WHY, BadComparison, Change, changed, summary
from datasets_app.models import DatasetVersion


def add_arguments(verbs: Any) -> None:
    parser: ArgumentParser = verbs.add_parser("diff", help="what changed from one version to another of the same name")
    parser.add_argument("old", help="such as ads/v2")
    parser.add_argument("new", help="such as ads/v3")
    parser.add_argument("--what", choices=WHAT, help="list these changes, too")
    parser.add_argument("--label", help="only where this is the label now: its number or name")
    parser.add_argument("--why", choices=list(WHY), help="only labels that changed for this reason")
    parser.add_argument("--limit", type=int, default=20, help="of the list; 0: all of them")
    parser.add_argument("--json", action="store_true", help="as JSON lines: the counts, then each change")


def diff(old: DatasetVersion, new: DatasetVersion, options: dict[str, Any], write: Callable[[str], Any]) -> None:
    """Raises ValueError with a sentence."""
    if old.name != new.name:
        raise ValueError(f"{old} and {new} are versions of two datasets: compare two of one name.")
    only: dict[str, Any] = {"why": options["why"]} if options["why"] else {}
    if options["label"]:
        only["label"] = _label(options["label"])
    found = summary(old, new)
    write(json.dumps(found) if options["json"] else _counts(old, new, found))
    what = options["what"] or ("relabelled" if only else None)
    if what is None:
        return
    after: int | None = 0
    left = options["limit"] or found["totals"][what]
    while after is not None and left > 0:
        try:
            page = changed(old, new, what, after=after, size=min(left, 500), **only)
        except BadComparison as problem:
            raise ValueError(str(problem)) from problem
        for row in page.rows:
            write(json.dumps(asdict(row), default=str) if options["json"] else _line(row))
        left, after = left - len(page.rows), page.after
    if after is not None and not options["json"]:
        write(f"  … more: --limit 0 lists all {found['totals'][what]:,}")


def _label(text: str) -> int:
    from adproof.labels import parse_label

    return int(parse_label(int(text) if text.isdigit() else text))


def _counts(old: DatasetVersion, new: DatasetVersion, found: dict[str, Any]) -> str:
    totals = found["totals"]
    lines = [f"{old} -> {new}: " + ", ".join(f"{totals[what]:,} {what}" for what in (*WHAT, "unchanged"))]
    for group in GROUPS:
        rows = sorted(found["by"][group].items(), key=lambda row: -sum(row[1].values()))
        if rows:
            lines.append(f"{'by ' + group:<28}" + "".join(f"{what:>12}" for what in WHAT))
        lines += [
            f"  {name or '(none)':<26.26}" + "".join(f"{counts[what]:>12,}" for what in WHAT)
            for name, counts in rows[:20]
        ]
        if len(rows) > 20:
            lines.append(f"  and {len(rows) - 20:,} more: --json gives all")
    for row in found["labels"]:
        lines.append(f"  {row['count']:>8,} from {LABELS[row['before']]} to {LABELS[row['after']]}")
    whys = [f"{count:,} {WHY[why].lower()}" for why, count in found["why"].items() if count]
    return "\n".join(lines + ([f"why: {', '.join(whys)}"] if whys else []))


def _line(row: Change) -> str:
    name = {None: "-", **dict(enumerate(LABELS))}
    said = f"  {row.candidate:>9}  {row.sku:<20.20} "
    if row.why:
        said += f"{name[row.label_before]} -> {name[row.label]} ({WHY[row.why].lower()})"
    else:
        label = row.label if row.label is not None else row.label_before
        said += f"{name[label]}, {row.split_before or ''}{' -> ' if row.split_before and row.split else ''}{row.split or ''}"
    for event in row.events:
        about = f" {name[event.label]}" if event.label is not None else ""
        about += f": {event.comment}" if event.comment else ""
        said += f"\n             {event.at:%Y-%m-%d %H:%M} {event.who} {event.did}{about}"
    return said
