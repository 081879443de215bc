"""From frozen rows to shards."""

from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Case, IntegerField, Value, When

from adproof.shards.manifest import Manifest, VersionInfo
from adproof.shards.plan import SplitSize
from adproof.shards.schema import AnnotationRow, Picture, SampleRow
from adproof.shards.writer import Progress, write_version
from datasets_app.actions import picture_hashes, sample_id
from datasets_app.models import SPLITS, DatasetVersion, VersionRow
from generation.blobs import blobs
from runs.context import RunContext

SPLIT_ORDER = Case(
    *[When(split=split, then=Value(place)) for place, split in enumerate(SPLITS)], output_field=IntegerField()
)


def folder_of(version: DatasetVersion) -> Path:
    return Path(settings.VERSIONS_DIR) / version.name / f"v{version.number}"


def write(version: DatasetVersion, ctx: RunContext) -> Manifest:
    """Write this version's files; a half-written earlier attempt is continued. The manifest comes last."""
    written = 0

    def on_progress(progress: Progress) -> None:
        nonlocal written
        ctx.stop_if_asked()
        if progress.rows == progress.total_rows:
            written += progress.total_rows
        ctx.progress(min(written + progress.rows % progress.total_rows, version.row_count), version.row_count)

    return write_version(sample_rows(version), folder_of(version), info(version), sizes(version), on_progress)


def info(version: DatasetVersion) -> VersionInfo:
    return VersionInfo(
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
        limits=("Near-duplicate products are not joined before splitting.",),
    )


def sizes(version: DatasetVersion) -> list[SplitSize]:
    """Rows are exact; bytes are estimated from a few hundred samples, and only decide where shards are cut."""
    found = []
    for split in SPLITS:
        rows = version.rows.filter(split=split)
        count = rows.count()
        if not count:
            continue
        few = list(rows.select_related("candidate__product").order_by("id")[:200])
        sampled = sum(blobs().path(sha).stat().st_size for row in few for sha in picture_hashes(row.candidate) if sha)
        found.append(SplitSize(split, count, sampled * count // len(few)))
    return found


def sample_rows(version: DatasetVersion) -> Iterator[SampleRow]:
    """In the order of the files: by split, then as frozen."""
    rows = version.rows.select_related("candidate__product", "candidate__generator")
    for row in rows.order_by(SPLIT_ORDER, "id").iterator(chunk_size=200):
        yield sample_row(row)


def sample_row(row: VersionRow) -> SampleRow:
    candidate, product = row.candidate, row.candidate.product
    generated, original, depth, saliency = (_picture(sha) for sha in picture_hashes(candidate))
    return SampleRow(
        sample_id=sample_id(candidate), split=row.split, product_id=product.sku, source=product.source,
        category=product.category, title=product.title, description=product.description, prompt=candidate.prompt_text,
        negative_prompt=candidate.negative_text, generated_image=generated, product_image=original, depth_map=depth,
        saliency_map=saliency, label=row.label, label_probs=row.posterior, annotation_count=row.annotation_count,
        agreement=row.agreement, annotations=[_answer(answer) for answer in row.annotations],
        generator=candidate.generator.key, seed=candidate.seed, attempt=candidate.attempt, rfnet_version=None,
        rfnet_probs=None, created_at=candidate.created_at,
    )  # fmt: skip


def _picture(sha256: str) -> Picture | None:
    return Picture(blobs().get(sha256), f"{sha256}.png") if sha256 else None


def _answer(answer: dict[str, Any]) -> AnnotationRow:
    return AnnotationRow(answer["annotator"], answer["label"], answer["seconds"], datetime.fromisoformat(answer["at"]))
