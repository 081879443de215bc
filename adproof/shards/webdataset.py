"""Shards as tar files for training at scale: what `webdataset` and the `webdataset` loader of `datasets` read.

A sample is a row of files that share a key: KEY.generated.png, KEY.product.png, KEY.depth.png, KEY.saliency.png, and
KEY.json with everything else (sample_id, label as its number, label_name, votes ...). The same rows give the same bytes:
the headers hold no user, no machine and no time but the version's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from adproof.labels import LABELS
from adproof.shards.schema import IMAGE_COLUMNS, SampleRow
from adproof.shards.splits import row_digest
from adproof.shards.store import HashingSink

_BLOCK = 512
_MEMBERS = dict(zip(IMAGE_COLUMNS, ("generated", "product", "depth", "saliency"), strict=True))
_ENDINGS = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"), (b"GIF8", "gif"))


@contextmanager
def tar_writer(sink: HashingSink, made_at: datetime) -> Iterator[Callable[[Sequence[SampleRow]], None]]:
    """What appends samples to a tar; its end is written when the block ends well."""
    at = int(made_at.timestamp())

    def write(rows: Sequence[SampleRow]) -> None:
        for row in rows:
            for name, content in members(row):
                _append(sink, name, content, at)

    yield write
    sink.write(b"\0" * (2 * _BLOCK))
    sink.write(b"\0" * (-sink.n_bytes % tarfile.RECORDSIZE))


def members(row: SampleRow) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file of a sample, the pictures first. A picture that does not exist has none."""
    key = key_of(row.sample_id)
    for column, member in _MEMBERS.items():
        picture = getattr(row, column)
        if picture is not None:
            yield f"{key}.{member}.{_ending(picture.bytes)}", picture.bytes
    yield f"{key}.json", json.dumps(_others(row), sort_keys=True, ensure_ascii=False).encode()


def row_digests(file: Any, split: str) -> Iterator[bytes]:
    """splits.row_digest of each sample of a tar that tar_writer wrote, from the bytes that are in it."""
    hashes: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            member = entry.name.split(".")[1]
            if content is None:
                raise ValueError(f"{entry.name} is no file")
            if member != "json":
                hashes[member] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
                continue
            row = json.loads(content.read())
            yield row_digest(row["sample_id"], row["label"], split, [hashes.get(name, "") for name in _MEMBERS.values()])
            hashes = {}


def key_of(sample_id: str) -> str:
    """A file name ends at its first dot for these readers, and a folder begins at a slash."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"_{ord(found[0]):x}_", sample_id)


def _others(row: SampleRow) -> dict[str, Any]:
    # Every sample has the same keys: readers that make a table of them want that.
    content = {name: getattr(row, name) for name in row.__slots__ if name not in IMAGE_COLUMNS}
    return content | {
        "label_name": LABELS[row.label],
        "label_probs": [float(p) for p in row.label_probs],
        "rfnet_probs": None if row.rfnet_probs is None else [float(p) for p in row.rfnet_probs],
        "annotations": [asdict(vote) | {"at": vote.at.isoformat()} for vote in row.annotations],
        "created_at": row.created_at.isoformat(),
    }


def _ending(content: bytes) -> str:
    return next((ending for magic, ending in _ENDINGS if content.startswith(magic)), "png")


def _append(sink: HashingSink, name: str, content: bytes, at: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), at, 0o644
    sink.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    sink.write(content)
    sink.write(b"\0" * (-len(content) % _BLOCK))
