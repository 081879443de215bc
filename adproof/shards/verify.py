"""Is a dataset version what its manifest says?"""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adproof.labels import LABELS
from adproof.shards import webdataset
from adproof.shards.leaks import leaks
from adproof.shards.manifest import MANIFEST, FileEntry, Manifest
from adproof.shards.reading import DatasetVersion
from adproof.shards.schema import FULL, IMAGE_COLUMNS, LABELS_ONLY, SPLITS, WEBDATASET, schema
from adproof.shards.splits import combine, row_digest
from adproof.shards.store import Folder

OnStep = Callable[[str, int, int], object]


def verify(
    path: str | os.PathLike[str],
    filesystem: Any = None,
    *,
    pictures: bool = False,
    on_step: OnStep = lambda what, done, total: None,
) -> list[str]:
    """Every problem found, as sentences; an empty list when there is none.

    Checks each file's size and sha256, rows, schema, labels, that no product is in two splits, and that
    nothing is there that the manifest does not know. pictures: also hash every picture and compare the
    digest (reads all again). on_step: called with ("files" or "samples", how many are read, of how many); what it
    raises ends the checking. """
    folder = Folder(path, filesystem)
    if folder.size(MANIFEST) is None:
        return [f"{MANIFEST} is missing: this is no dataset version, or an unfinished one"]
    try:
        manifest = Manifest.of(folder.read(MANIFEST))
    except ValueError as error:
        return [str(error)]
    problems: list[str] = []
    for number, (name, entry) in enumerate(manifest.files.items(), 1):
        problems += _file_problems(folder, name, entry, manifest.variant)
        on_step("files", number, len(manifest.files))
    unknown = set(folder.names()) - set(manifest.files) - {MANIFEST}
    problems += [f"{name} is not in the manifest" for name in sorted(unknown)]
    if problems:
        return problems
    if manifest.variant == WEBDATASET:
        return _tar_problems(folder, manifest, on_step)
    return _content_problems(DatasetVersion(path, filesystem), pictures, on_step)


def _file_problems(folder: Folder, name: str, entry: FileEntry, variant: str) -> list[str]:
    size = folder.size(name)
    if size is None:
        return [f"{name} is missing"]
    if size != entry.bytes:
        return [f"{name} has {size} bytes, the manifest says {entry.bytes}"]
    if folder.sha256(name) != entry.sha256:
        return [f"{name} has another sha256 than the manifest says"]
    if not name.endswith(".parquet"):
        return []
    try:
        with folder.open(name) as file:
            shard = pq.ParquetFile(file)
            rows, found = shard.metadata.num_rows, shard.schema_arrow
    except (pa.ArrowException, OSError) as error:
        return [f"{name} cannot be read: {error}"]
    problems = []
    if rows != entry.rows:
        problems.append(f"{name} has {rows} rows, the manifest says {entry.rows}")
    if not found.equals(schema(variant), check_metadata=False):
        problems.append(f"{name} has other columns than a dataset version")
    return problems


def _tar_problems(folder: Folder, manifest: Manifest, on_step: OnStep) -> list[str]:
    """Reads all: the pictures' hashes, labels and splits must add up to the digest."""
    digests: list[bytes] = []
    problems: list[str] = []
    for name, entry in manifest.files.items():
        if not name.startswith("data/"):
            continue
        with folder.open(name) as file:
            try:
                found = list(webdataset.row_digests(file, split=name.removeprefix("data/").partition("-")[0]))
            except (tarfile.TarError, ValueError, KeyError) as error:
                problems.append(f"{name} cannot be read: {error}")
                continue
        if len(found) != entry.rows:
            problems.append(f"{name} has {len(found)} samples, the manifest says {entry.rows}")
        digests += found
        on_step("samples", len(digests), manifest.n_rows)
    if not problems and combine(digests) != manifest.digest:
        problems.append("samples, labels, splits and pictures do not add up to the manifest's digest")
    return problems


def _content_problems(version: DatasetVersion, pictures: bool, on_step: OnStep) -> list[str]:
    manifest = version.manifest
    table = version.table(["sample_id", "product_id", "label"])
    problems = []
    rows = Counter(table["split"].to_pylist())
    for split in SPLITS:
        if rows[split] != manifest.rows[split]:
            problems.append(f"{split} has {rows[split]} rows, the manifest says {manifest.rows[split]}")
    claimed = Counter({(label, split): n for label, counts in manifest.counts["label"].items()
                       for split, n in counts.items()})
    pairs = zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
    if claimed != Counter((LABELS[label], split) for label, split in pairs):
        problems.append("the labels are not as often as the manifest says")
    products = table.group_by("product_id").aggregate([("split", "count_distinct")])
    shared = sum(n > 1 for n in products["split_count_distinct"].to_pylist())
    if shared != manifest.leak_check["shared_products"]:
        problems.append(f"{shared} products are in more than one split, the manifest says "
                        f"{manifest.leak_check['shared_products']}")
    repeated = len(table) - len(table.group_by("sample_id").aggregate([]))
    if repeated:
        problems.append(f"{repeated} samples occur more than once")
    if (pictures or manifest.variant == LABELS_ONLY) and _digest(version, on_step) != manifest.digest:
        problems.append("samples, labels, splits and pictures do not add up to the manifest's digest")
    if pictures and manifest.variant == FULL:
        problems += _leak_problems(version)
    return problems


def _leak_problems(version: DatasetVersion) -> list[str]:
    """Only what the manifest says it looked for."""
    claimed = version.manifest.leak_check
    if claimed.get("near_duplicate_pairs") is None:
        return []
    found = leaks(version)
    problems = []
    if found["near_duplicate_groups"] and not claimed["near_duplicate_pairs"]:
        problems.append(f"{found['near_duplicate_groups']} groups of products that look alike lie in more than one split,"
                        " the manifest says none")
    if found["identical_pictures"] > (claimed.get("identical_pictures") or 0):
        problems.append(f"{found['identical_pictures']} generated pictures are in more than one split, the manifest says "
                        f"{claimed.get('identical_pictures') or 0}")
    return problems


def _digest(version: DatasetVersion, on_step: OnStep) -> str:
    digests = []
    if version.manifest.variant == LABELS_ONLY:
        names = [f"{name}_sha256" for name in IMAGE_COLUMNS]
        rows = version.table(["sample_id", "label", *names]).to_pylist()
        return combine(
            row_digest(row["sample_id"], row["label"], row["split"], [row[name] or "" for name in names]) for row in rows
        )
    for split in SPLITS:
        for row in version.rows(split, ["sample_id", "label", *IMAGE_COLUMNS], decode=False):
            contents = [row[name] for name in IMAGE_COLUMNS]
            hashes = [sha256(content).hexdigest() if content is not None else "" for content in contents]
            digests.append(row_digest(row["sample_id"], row["label"], split, hashes))
            on_step("samples", len(digests), version.manifest.n_rows)
    return combine(digests)
