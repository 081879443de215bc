"""Rows of a dataset version, and versions written from them."""

import dataclasses
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adproof.shards.manifest import VersionInfo
from adproof.shards.plan import SplitSize
from adproof.shards.schema import SPLITS, AnnotationRow, Picture, SampleRow
from adproof.shards.writer import write_version

FROZEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = VersionInfo(
    name="ads", version="v1", created_at=FROZEN, code_version="abc123", seed=7,
    query={"source": ["adworld"], "min_annotations": 2}, description="Ads | of a test.",
)


def encoded(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def sample(number, split, size=8, n_votes=3, **changes):
    rng = np.random.default_rng(number)
    label = int(rng.integers(5))
    votes = [
        AnnotationRow(f"annotator-{v}", label if v else (label + 1) % 5, 2.5 + v, FROZEN - timedelta(minutes=v))
        for v in range(n_votes)
    ]
    depth = rng.integers(0, 65536, (size, size)).astype(np.uint16)
    row = SampleRow(
        sample_id=f"s{number:06d}", split=split, product_id=f"{split}-product-{number // 3}", source="adworld",
        category=["chair", "lamp"][number % 2], title=f"Chair {number}", description="Oak, four legs", prompt="a room",
        negative_prompt="blurry",
        generated_image=Picture(encoded(rng.integers(0, 256, (size, size, 3)).astype(np.uint8)), f"{number}.png"),
        product_image=Picture(encoded(rng.integers(0, 256, (size, size, 4)).astype(np.uint8)), f"{number}-p.png"),
        depth_map=Picture(encoded(depth), f"{number}-d.png"),
        saliency_map=Picture(encoded(rng.integers(0, 256, (size, size)).astype(np.uint8)), f"{number}-s.png"),
        label=label, label_probs=np.eye(5)[label].tolist(), annotation_count=n_votes, agreement=2 / 3,
        annotations=votes, generator="mini", seed=number, attempt=1,
        rfnet_version="r1" if number % 2 else None, rfnet_probs=[0.2] * 5 if number % 2 else None, created_at=FROZEN,
    )
    return dataclasses.replace(row, **changes)


def samples(train=250, validation=20, test=10, **changes):
    ends = np.cumsum([0, train, validation, test])
    return [sample(i, split, **changes) for split, a, b in zip(SPLITS, ends, ends[1:], strict=False) for i in range(a, b)]


def sizes(rows):
    return [SplitSize(s, sum(r.split == s for r in rows), sum(r.n_bytes() for r in rows if r.split == s)) for s in SPLITS]


def write(out, rows, base=BASE, n_train_shards=3, **options):
    measured = sizes(rows)
    shard_bytes = measured[0].bytes // n_train_shards + 1000
    return write_version(iter(rows), out, base, measured, shard_bytes=shard_bytes, **options)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def rows():
    return samples()


@pytest.fixture(scope="module", name="rows")
def many_rows():
    """In place of `rows`, for reading in several row groups."""
    return samples(430, 23, 7)


@pytest.fixture(scope="module")
def version(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("ads") / "v1"
    write(out, rows)
    return out
