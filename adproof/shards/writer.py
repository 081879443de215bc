"""Write a dataset version: shard by shard, row group by row group, and the manifest last.

Memory is bounded by two row groups, whatever the size of the version. The same rows and VersionInfo give the
same bytes. Workers may write the shards of one plan at once, each by `write_shard`; one of them then calls
`finalise`. """

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adproof.shards import card, croissant, webdataset
from adproof.shards.columns import Columns, TableGroup, full_groups, labels_groups
from adproof.shards.manifest import MANIFEST, FileEntry, Manifest, VersionInfo
from adproof.shards.plan import SHARD_BYTES, ShardPlan, ShardSpec, SplitSize, plan_shards
from adproof.shards.records import Checks, ShardRecord, checks_of, keep_record, key_of, read_record, record_name
from adproof.shards.schema import (
    FULL,
    LABELS_ONLY,
    SPLITS,
    WEBDATASET,
    SampleRow,
    check_row,
    checked_to_table,
    leaf_columns,
    schema,
)
from adproof.shards.splits import combine
from adproof.shards.store import Folder, HashingSink
from adproof.shards.tally import Tally, agreement

GROUP_ROWS = 100
GROUP_BYTES = 100_000_000
LABELS_GROUP_ROWS = 10_000


@dataclass(frozen=True)
class Progress:
    """After each row group: rows of the shard so far, the shard's name, whether an earlier run had written
    it."""

    shard: str
    rows: int
    total_rows: int
    bytes: int
    reused: bool


OnProgress = Callable[[Progress], None]


def write_version(
    rows: Iterable[SampleRow],
    out: str | os.PathLike[str],
    base: VersionInfo,
    sizes: Iterable[SplitSize],
    on_progress: OnProgress | None = None,
    *,
    filesystem: Any = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write a whole version in this process.

    Args:
        rows: grouped by split in the order train, validation, test; always in the same order for one version.
        out: folder NAME/VERSION, or a URI. sizes: rows and bytes of each split; rows must be exact.
        on_progress: called after every row group; what it raises ends the writing (that is how to cancel).
        filesystem: pyarrow or fsspec filesystem for `out`.
    Shards that an earlier, broken attempt finished are kept; their rows are drawn from `rows` and dropped.
    Raises:
        ValueError: rows out of order or of a wrong number, a bad row, one product in two splits, a sample
            twice, or a digest other than the one frozen. FileExistsError: another version is there already.
    """
    folder = Folder(out, filesystem)
    plan = plan_shards(list(sizes), shard_bytes, base.variant)
    done = finished(folder, base)
    if done is not None:
        return done
    stream = iter(rows)
    for shard in range(len(plan.shards)):
        try:
            write_shard(plan, shard, stream, folder, base, on_progress)
        except FileNotFoundError:
            done = finished(folder, base)  # somebody else who wrote the same version was first
            if done is None:
                raise
            return done
    extra = next(stream, None)
    if extra is not None:
        raise ValueError(f"more rows than the {plan.n_rows} planned: sample {extra.sample_id!r} is left over")
    return finalise(plan, folder, base)


def write_shard(
    plan: ShardPlan,
    shard: int,
    rows: Iterable[SampleRow] | Columns,
    folder: Folder,
    base: VersionInfo,
    on_progress: OnProgress | None = None,
) -> ShardRecord:
    """Write shard number `shard` of the plan, or leave it when it is already whole.

    Args: rows: exactly this shard's rows come next (an iterator is advanced by n_rows and no further). As Columns they
        are written several times faster; a tar takes SampleRows only.
    Raises: ValueError: too few or too many rows, a row of another split, or a bad row. Nothing is left of the shard then.
    """
    spec = plan.shards[shard]
    key = key_of(plan, base)
    report = on_progress or (lambda progress: None)
    record = read_record(folder, spec, key)
    if record is not None:
        if isinstance(rows, Iterator):
            next(islice(rows, spec.n_rows - 1, spec.n_rows), None)
        report(Progress(spec.name, spec.n_rows, spec.n_rows, record.bytes, reused=True))
        return record
    tally = Tally()
    with folder.create(spec.name) as sink:
        with _shard_writer(sink, base) as write, closing(_row_groups(rows, spec, base.variant)) as made:
            for group in made:
                write(group)
                group.add_to(tally, spec.split)
                report(Progress(spec.name, tally.rows, spec.n_rows, sink.n_bytes, reused=False))
        if tally.rows != spec.n_rows:
            came = "only " * (tally.rows < spec.n_rows) + str(tally.rows)
            raise ValueError(f"{spec.name} needs {spec.n_rows} rows, {came} came")
        sha256 = sink.sha256
    record = ShardRecord(key, sha256, sink.n_bytes, tally)
    keep_record(folder, spec, record)
    return record


def finalise(
    plan: ShardPlan,
    folder: Folder,
    base: VersionInfo,
    on_checked: Callable[[str], None] | None = None,
    checks: Checks | None = None,
) -> Manifest:
    """Check every shard's bytes, write card and croissant.json, and last the manifest.

    Raises: ValueError: a shard is missing or is not what was written (its note is dropped, so that the next
        attempt writes it again), one product in two splits, a sample twice, or another digest than frozen.
    on_checked: called when a shard has been read; what it raises ends the checking. checks: those that were begun while
        other shards were being written; None = all begin now.
    """
    done = finished(folder, base)
    if done is not None:
        return done
    try:
        with nullcontext(checks) if checks else checks_of(plan, folder, base) as begun:
            return _finalise(plan, folder, base, on_checked or (lambda name: None), begun)
    except (ValueError, FileNotFoundError):
        # Somebody else who wrote the same version was first, and has cleared away the notes, and what we had begun.
        done = finished(folder, base)
        if done is None:
            raise
        return done


def _finalise(
    plan: ShardPlan, folder: Folder, base: VersionInfo, on_checked: Callable[[str], None], checks: Checks
) -> Manifest:
    files, tallies = _checked_shards(plan, folder, on_checked, checks)
    _refuse_shared_products(tallies)
    _refuse_repeated_samples(plan, folder, base.variant)
    found = combine(one for tally in tallies.values() for one in tally.digests)
    if base.digest is not None and base.digest != found:
        raise ValueError(f"the rows add up to the digest {found}, the frozen version has {base.digest}")
    draft = Manifest(
        info=base.as_json(),
        digest=found,
        rows={split: plan.rows_of(split) for split in SPLITS},
        picture_bytes={split: tally.picture_bytes for split, tally in tallies.items()},
        counts=_counts(tallies),
        agreement=agreement(tallies.values(), np.random.default_rng(base.seed)),
        leak_check={
            **base.leak_check, "shared_products": 0, "near_duplicate_pairs": base.near_duplicate_pairs,
        },
        files=files,
        pyarrow=pa.__version__,
    )
    for name, content in (("README.md", card.write(draft)), ("croissant.json", croissant.write(draft))):
        folder.write(name, content)
        files[name] = FileEntry(hashlib.sha256(content).hexdigest(), len(content))
    folder.write(MANIFEST, draft.encode())
    folder.delete_progress()
    return draft


def finished(folder: Folder, base: VersionInfo) -> Manifest | None:
    """The manifest, when this version is there already. Raises FileExistsError: another one is."""
    if folder.size(MANIFEST) is None:
        return None
    manifest = Manifest.of(folder.read(MANIFEST))
    if manifest.info != json.loads(json.dumps(base.as_json())):
        raise FileExistsError(f"{folder.root} holds another dataset version; versions are never changed")
    return manifest


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group of SampleRows; columns.TableGroup is the same made of a table."""

    rows: list[SampleRow]
    variant: str

    def __len__(self) -> int:
        return len(self.rows)

    def table(self) -> pa.Table:
        return checked_to_table(self.rows, self.variant)

    def add_to(self, tally: Tally, split: str) -> None:
        for row in self.rows:
            tally.add(row)


def _row_groups(
    rows: Iterable[SampleRow] | Columns, spec: ShardSpec, variant: str
) -> Generator[_RowGroup | TableGroup]:
    if not isinstance(rows, Columns):
        for group in groups(_checked(rows, spec), variant):
            yield _RowGroup(group, variant)
    elif variant == LABELS_ONLY:
        yield from labels_groups(rows, LABELS_GROUP_ROWS)
    else:
        yield from full_groups(rows, GROUP_ROWS, GROUP_BYTES)


@contextmanager
def _shard_writer(sink: HashingSink, base: VersionInfo) -> Iterator[Callable[[_RowGroup | TableGroup], None]]:
    """What writes a row group into the shard."""
    if base.variant == WEBDATASET:
        with webdataset.tar_writer(sink, base.created_at) as write_samples:
            yield lambda group: write_samples(group.rows)
        return
    settings = parquet_settings(base.variant)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema(base.variant), **settings) as writer:
        yield lambda group: writer.write_table(group.table(), row_group_size=len(group))


def parquet_settings(variant: str = FULL) -> dict[str, Any]:
    """What pyarrow.parquet.ParquetWriter is told, beside the schema."""
    text = leaf_columns(text=True, variant=variant)
    # Encoded pictures do not shrink. Chunks cut by content let two versions that share rows share stored
    # bytes.
    return {
        "version": "2.6",
        "compression": dict.fromkeys(text, "zstd") | dict.fromkeys(leaf_columns(text=False, variant=variant), "none"),
        "compression_level": dict.fromkeys(text, 3),
        "use_dictionary": [leaf for leaf in text if leaf != "sample_id" and not leaf.endswith("_sha256")],
        "write_statistics": text,
        "write_page_index": True,
        "use_content_defined_chunking": True,
    }


def _checked(rows: Iterable[SampleRow], spec: ShardSpec) -> Iterator[SampleRow]:
    for row in islice(rows, spec.n_rows):
        if row.split != spec.split:
            raise ValueError(
                f"{spec.name}: sample {row.sample_id!r} is of {row.split!r}; rows must come grouped by split,"
                f" in the order {', '.join(SPLITS)}, as many as planned"
            )
        check_row(row)
        yield row


def groups(rows: Iterable[SampleRow], variant: str = FULL) -> Iterator[list[SampleRow]]:
    """The rows of each row group."""
    most = LABELS_GROUP_ROWS if variant == LABELS_ONLY else GROUP_ROWS
    group: list[SampleRow] = []
    n_bytes = 0
    for row in rows:
        if group and (len(group) == most or n_bytes + row.n_bytes() > GROUP_BYTES):
            yield group
            group, n_bytes = [], 0
        group.append(row)
        n_bytes += row.n_bytes()
    if group:
        yield group


def _checked_shards(
    plan: ShardPlan, folder: Folder, on_checked: Callable[[str], None], checks: Checks
) -> tuple[dict[str, FileEntry], dict[str, Tally]]:
    files: dict[str, FileEntry] = {}
    tallies = {split: Tally() for split in SPLITS}
    for spec, record in zip(plan.shards, checks.records(), strict=True):
        on_checked(spec.name)
        if record is None:
            folder.delete(record_name(spec))
            raise ValueError(f"{spec.name} is missing or is not what was written; write it again")
        files[spec.name] = FileEntry(record.sha256, record.bytes, record.tally.rows)
        tallies[spec.split].merge(record.tally)
    return files, tallies


def _refuse_shared_products(tallies: dict[str, Tally]) -> None:
    for split, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = tallies[split].products & tallies[other].products
        if shared:
            raise ValueError(f"{len(shared)} products are in {split} and in {other}, such as {min(shared)!r}")


def _refuse_repeated_samples(plan: ShardPlan, folder: Folder, variant: str) -> None:
    if variant == WEBDATASET:
        return  # a row twice gives another digest than the frozen one
    columns = []
    for spec in plan.shards:
        columns.append(folder.read_by(spec.name, lambda file: pq.read_table(file, columns=["sample_id"])["sample_id"]))
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks])
    repeated = len(ids) - pc.count_distinct(ids).as_py()
    if repeated:
        raise ValueError(f"{repeated} samples occur more than once")


def _counts(tallies: dict[str, Tally]) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {"label": {}, "source": {}, "category": {}}
    for split, tally in tallies.items():
        for facet, values in tally.counts.items():
            for value, n in values.items():
                counts[facet].setdefault(value, dict.fromkeys(SPLITS, 0))[split] = n
    return counts
