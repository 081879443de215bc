"""From frozen rows to shards."""

import os
from importlib.metadata import version as installed_version

from adproof.shards.manifest import Manifest, VersionInfo
from adproof.shards.pictures import missing
from adproof.shards.plan import SplitSize
from adproof.shards.schema import FULL, LABELS_ONLY
from datasets_app.models import SPLITS, DatasetVersion
from datasets_app.places import default_uri
from generation.blobs import blobs
from runs.context import RunContext

# What a row of a labels-only version takes, and its writing costs: a shard of 500 MB holds 200,000 of them.
LABELS_ROW_BYTES = 2500
# Whose pictures' sizes stand for all of a split.
SAMPLED_ROWS = 200
_PICTURES = (
    "candidate__image_sha256", "candidate__product__image_sha256", "candidate__depth_sha256", "candidate__saliency_sha256",
)  # fmt: skip


def write(version: DatasetVersion, ctx: RunContext) -> Manifest:
    """Write this version's files to its own place; a half-written earlier attempt is continued. The manifest comes last."""
    from datasets_app.exporting import files_at, write_files

    return write_files(files_at(version, FULL, default_uri(version)), ctx)


def info(version: DatasetVersion, variant: str = FULL) -> VersionInfo:
    return VersionInfo(
        variant=variant,
        name=version.name,
        version=f"v{version.number}",
        created_at=version.created_at,
        code_version=installed_version("adproof"),
        seed=0,
        parent=f"v{version.parent.number}" if version.parent else None,
        query=version.query,
        digest=version.digest,
        split_salt=version.salt,
        description="Generated advertising images with people's labels: fit to advertise with, or which of four defects.",
        near_duplicate_pairs=version.leak_check.get("near_duplicate_pairs"),
        leak_check=version.leak_check,
        limits=() if version.leak_check else ("Near-duplicate products are not joined before splitting.",),
    )


def sizes(version: DatasetVersion, variant: str = FULL) -> list[SplitSize]:
    """Rows are exact; bytes are estimated from a few hundred samples, and only decide where shards are cut.

    Raises: ValueError: a picture of these samples is not there any more.
    """
    found = []
    for split in SPLITS:
        rows = version.rows.filter(split=split)
        count = rows.count()
        if not count:
            continue
        if variant == LABELS_ONLY:
            found.append(SplitSize(split, count, count * LABELS_ROW_BYTES))
            continue
        few = list(rows.order_by("id").values_list("candidate__key", *_PICTURES)[:SAMPLED_ROWS])
        sampled = sum(_bytes_of(key, sha) for key, *row in few for sha in row if sha)
        found.append(SplitSize(split, count, sampled * count // len(few)))
    return found


def _bytes_of(key: str, sha: str) -> int:
    try:
        return os.stat(blobs().name(sha)).st_size
    except FileNotFoundError as error:
        raise missing(f"c-{key[:20]}", sha) from error
