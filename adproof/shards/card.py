"""README.md of a version: a dataset card as Hugging Face reads it, and as people do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adproof.labels import LABELS, RULES, TITLES, Label
from adproof.shards.manifest import Manifest
from adproof.shards.schema import LABELS_ONLY, SPLITS, WEBDATASET, Feature, columns_of

_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
                    (10_000_000, "1M<n<10M"))


def write(manifest: Manifest) -> bytes:
    """The card of a version whose shards are written; the same manifest gives the same bytes."""
    info = manifest.info
    parts = [
        "---", *_yaml(_front_matter(manifest)), "---", "",
        f"# {info['name']} {info['version']}", "",
        str(info["description"]) or "Advertising images, each with a label that people agreed on.", "",
        *_labels(manifest),
        *_facet(manifest, "source"),
        *_facet(manifest, "category"),
        *_agreement(manifest),
        *_how_it_was_built(manifest),
        *_limits(manifest),
    ]
    return ("\n".join(parts).rstrip() + "\n").encode()


def _front_matter(manifest: Manifest) -> dict[str, Any]:
    present = [split for split in SPLITS if manifest.rows[split]]
    size = next((name for limit, name in _SIZE_CATEGORIES if manifest.n_rows < limit), "n>10M")
    shard_bytes = {
        split: sum(f.bytes for name, f in manifest.files.items() if name.startswith(f"data/{split}-"))
        for split in present
    }
    ending = "tar" if manifest.variant == WEBDATASET else "parquet"
    front: dict[str, Any] = {
        "pretty_name": f"{manifest.info['name']} {manifest.info['version']}",
        "license": manifest.info["license"],
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "configs": [{
            "config_name": "default",
            "default": True,
            "data_files": [{"split": split, "path": f"data/{split}-*.{ending}"} for split in present],
        }],
    }
    if manifest.variant == WEBDATASET:  # its reader finds the columns in the tars
        return front
    return front | {
        "dataset_info": {
            "config_name": "default",
            "features": [{"name": name} | _yaml_feature(feature) for name, _, feature in columns_of(manifest.variant)],
            "splits": [
                {"name": split, "num_bytes": shard_bytes[split], "num_examples": manifest.rows[split]}
                for split in present
            ],
            "download_size": sum(shard_bytes.values()),
            "dataset_size": sum(shard_bytes.values()),
        },
    }


def _yaml_feature(feature: Feature) -> dict[str, Any]:
    """A feature as the `datasets` library writes it into a card."""
    kind = feature["_type"]
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "ClassLabel":
        names = {str(number): name for number, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    if kind == "List":
        inner = feature["feature"]
        if "_type" not in inner:
            return {"list": [{"name": name, "dtype": part["dtype"]} for name, part in inner.items()]}
        length = {"length": feature["length"]} if "length" in feature else {}
        return {"list": inner["dtype"]} | length
    return {"dtype": feature["dtype"]}


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Block YAML of nested dicts and lists. Scalars are JSON, which YAML reads as itself."""
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, part in value.items():
            name = json.dumps(key) if key.isdigit() else key
            if isinstance(part, (Mapping, list)):
                lines += [f"{indent}{name}:", *_yaml(part, indent + "  ")]
            else:
                lines.append(f"{indent}{name}: {json.dumps(part, ensure_ascii=False)}")
        return lines
    for part in value:
        if isinstance(part, Mapping):
            first, *rest = _yaml(part, indent + "  ")
            lines += [f"{indent}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}- {json.dumps(part, ensure_ascii=False)}")
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), line(["---"] * len(head)), *(line(cells) for cells in rows)]


def _labels(manifest: Manifest) -> list[str]:
    counts = manifest.counts["label"]
    rows = [
        [str(int(label)), f"`{name}`", TITLES[label], RULES[label]]
        + [str(counts.get(name, {}).get(split, 0)) for split in SPLITS]
        for label, name in zip(Label, LABELS, strict=True)
    ]
    total = ["", "", "all", ""] + [str(manifest.rows[split]) for split in SPLITS]
    return ["## Labels", "", *_table(["id", "name", "title", "meaning", *SPLITS], [*rows, total]), ""]


def _facet(manifest: Manifest, facet: str) -> list[str]:
    counts = manifest.counts[facet]
    rows = [[value or "(none)"] + [str(counts[value][split]) for split in SPLITS] for value in sorted(counts)]
    return [f"## By {facet}", "", *_table([facet, *SPLITS], rows), ""]


def _agreement(manifest: Manifest) -> list[str]:
    figures = manifest.agreement

    def shown(name: str) -> str:
        value = figures[name]
        return "not defined" if value is None else f"{value:.3f}"

    return [
        "## Agreement", "",
        f"- annotations per sample: {shown('mean_annotations')} on average",
        f"- mean agreement: {shown('mean_agreement')}",
        f"- Krippendorff's alpha (nominal): {shown('alpha')}, 95 % bootstrap interval over samples"
        f" {shown('alpha_low')} to {shown('alpha_high')}, on {figures['items_with_two_annotations']} samples"
        " with two annotations or more",
        "",
    ]


def _how_it_was_built(manifest: Manifest) -> list[str]:
    info = manifest.info
    near = manifest.leak_check["near_duplicate_pairs"]
    return [
        "## How it was built", "",
        f"- frozen at {info['created_at']}, by code version `{info['code_version']}`, seed {info['seed']}",
        f"- grew from: {info['parent'] or 'nothing, it is the first'}",
        f"- chosen by: `{json.dumps(info['query'], sort_keys=True, ensure_ascii=False)}`",
        f"- content digest: `{manifest.digest}`",
        "- splits are made by product: products shared by two splits: 0; "
        "near-duplicate products across splits: "
        + ("not checked" if near is None else str(near)),
        *_what_is_in_it(manifest.variant),
        "- `label` is the people's consensus, `label_probs` its posterior, `annotations` every single answer",
        "",
    ]


def _what_is_in_it(variant: str) -> list[str]:
    if variant == LABELS_ONLY:
        return ["- labels only: in place of each picture stands the sha256 of its bytes"]
    lines = ["- pictures are the stored bytes, never encoded again: depth in 16 bits, the product with its alpha"]
    if variant == WEBDATASET:
        lines.append("- tar files for `webdataset`: of each sample its pictures, and a JSON file with all the rest")
    return lines


def _limits(manifest: Manifest) -> list[str]:
    limits = list(manifest.info["limits"])
    single = manifest.n_rows - (manifest.agreement["items_with_two_annotations"] or 0)
    if single:
        limits.append(f"{single} samples have fewer than two annotations: their agreement is not known.")
    absent = [name for name in LABELS if name not in manifest.counts["label"]]
    if absent:
        limits.append(f"No sample has the label {', '.join(absent)}.")
    empty = [split for split in SPLITS if not manifest.rows[split]]
    if empty:
        limits.append(f"There is no {' and no '.join(empty)} split.")
    return ["## Known limits", "", *(f"- {limit}" for limit in limits or ["None recorded."]), ""]
