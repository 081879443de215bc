"""What the pages say about a version: read from its row and its manifest, never counted anew."""

from __future__ import annotations

from typing import Any

from adproof.labels import LABELS, TITLES
from datasets_app.kept import comparison
from datasets_app.models import SPLITS, DatasetVersion
from runs.models import Run


def label_totals(version: DatasetVersion) -> dict[str, int]:
    return {name: sum(version.counts.get(split, {}).get(name, 0) for split in SPLITS) for name in LABELS}


def label_table(version: DatasetVersion) -> list[dict[str, Any]]:
    """A row per label: how many in each split."""
    rows = []
    for label, title in TITLES.items():
        by_split = [version.counts.get(split, {}).get(LABELS[label], 0) for split in SPLITS]
        rows.append({"label": int(label), "title": title, "by_split": by_split, "total": sum(by_split)})
    return rows


def split_totals(version: DatasetVersion) -> list[int]:
    return [sum(version.counts.get(split, {}).values()) for split in SPLITS]


def groups(version: DatasetVersion, what: str) -> list[dict[str, Any]]:
    """Rows of the manifest's counts by "category" or "source", largest first."""
    counts = version.manifest.get("counts", {}).get(what, {})
    rows = [
        {
            "name": name or "(none)",
            "by_split": [by.get(split, 0) for split in SPLITS],
            "total": sum(by.get(split, 0) for split in SPLITS),
        }
        for name, by in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["total"], row["name"]))


def files(version: DatasetVersion) -> list[dict[str, Any]]:
    return [{"name": name, **entry} for name, entry in sorted(version.manifest.get("files", {}).items())]


def changes(version: DatasetVersion) -> dict[str, Any] | None:
    """Against its parent; None also where the two are large and nobody has compared them yet."""
    if version.parent is None:
        return None
    found, _ = comparison(version.parent, version)
    return found and found["totals"]


def last_check(version: DatasetVersion) -> Run | None:
    """The newest run that verified this version's files."""
    return Run.objects.filter(kind="verify_version", params__version=version.pk).order_by("-pk").first()


LEAKS = {
    "shared_products": "Products in two splits",
    "identical_pictures": "Identical pictures in two splits",
    "near_duplicate_pairs": "Alike products in two splits",
    "alike_groups": "Groups of alike products",
    "largest_group": "Products in the largest",
    "holdout_rows": "Samples held out",
    "holdout_rows_chosen_by_doubt": "Of them chosen by doubt",
}
LEFT_OUT = {
    "left_out_near_duplicates": "Left out: known on two sides",
    "left_out_identical_pictures": "Left out: identical pictures",
    "products_without_look": "Products nobody could look at",
}


def leaks(version: DatasetVersion) -> list[tuple[str, int]]:
    """What the freeze found, in words; of what was left out only what there is."""
    found = version.leak_check
    told = [(title, found[name]) for name, title in LEAKS.items() if found.get(name) is not None]
    return told + [(title, found[name]) for name, title in LEFT_OUT.items() if found.get(name)]


def snippet(version: DatasetVersion) -> str:
    """How to open it, to be copied."""
    found = [split for split in SPLITS if any(version.counts.get(split, {}).values())]
    lines = ["from datasets import load_dataset", "", f'ads = load_dataset("{version.uri}")']
    lines.append(f'row = ads["{found[0] if found else SPLITS[0]}"][0]  # row["generated_image"] is a PIL image')
    lines += [
        "",
        "# without the datasets library",
        "import adproof.shards",
        "",
        f'rows = adproof.shards.open("{version.uri}").rows("{found[0] if found else SPLITS[0]}")',
        'rows[0]["generated_image"].shape',
    ]
    return "\n".join(lines)
