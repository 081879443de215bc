"""The frozen rows of a version as the writer takes them, in the order of the files, a page at a time."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from adproof.shards.schema import AnnotationRow, Picture, SampleRow
from datasets_app.models import SPLITS, DatasetVersion
from generation.blobs import blobs

PAGE_ROWS = 1000
# Pictures are read and checked by batches of so many rows; ahead of the writer about a row group, and no more than so many bytes.
BATCH_ROWS = 8
AHEAD_BATCHES = 14
AHEAD_BYTES = 48 * 10**6
READERS = 2

_FIELDS = (
    "id", "label", "posterior_text", "annotation_count", "agreement", "annotations_text", "candidate__key",
    "candidate__prompt_text", "candidate__negative_text", "candidate__seed", "candidate__attempt", "candidate__created_at",
    "candidate__generator__key", "candidate__image_sha256", "candidate__product__image_sha256", "candidate__depth_sha256",
    "candidate__saliency_sha256", "candidate__product__sku", "candidate__product__source", "candidate__product__category",
    "candidate__product__title", "candidate__product__description",
)  # fmt: skip
Pictures = tuple[Picture | None, ...]
Row = tuple[Any, ...]


def sample_rows(version: DatasetVersion) -> Iterator[SampleRow]:
    """All of them, with their pictures: by split, then as frozen."""
    for split in SPLITS:
        yield from split_rows(version, split)


def split_rows(
    version: DatasetVersion, split: str, start: int = 0, stop: int | None = None, *, pictures: bool = True
) -> Iterator[SampleRow]:
    """Rows start..stop-1 of a split. pictures: with their bytes, each checked against its sha256; else only that.

    Raises: ValueError: a picture is not there any more, or is not what was stored.
    """
    found = _tuples(version, split, start, stop)
    if not pictures:
        for row in found:
            yield _sample(split, row, tuple(Picture(b"", f"{sha}.png", sha) if sha else None for sha in row[13:17]))
        return
    waiting: deque[Future[list[SampleRow]]] = deque()
    readers, ahead = ThreadPoolExecutor(READERS, "pictures"), READERS
    try:
        for batch in batched(found, BATCH_ROWS):
            waiting.append(readers.submit(_with_pictures, split, batch))
            while len(waiting) > ahead:
                ready = waiting.popleft().result()
                n_bytes = sum(row.n_bytes() for row in ready)
                ahead = max(READERS, min(AHEAD_BATCHES, AHEAD_BYTES // max(1, n_bytes)))
                yield from ready
        while waiting:
            yield from waiting.popleft().result()
    finally:
        readers.shutdown(wait=False, cancel_futures=True)


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def _with_pictures(split: str, rows: list[Row]) -> list[SampleRow]:
    return [_sample(split, row, tuple(_picture(row[6], sha) for sha in row[13:17])) for row in rows]


def _tuples(version: DatasetVersion, split: str, start: int, stop: int | None) -> Iterator[Row]:
    """Page by page from the last row on: no cursor stays open however long the writing takes."""
    rows = version.rows.filter(split=split).order_by("id")
    first = rows.values_list("id", flat=True)[start : start + 1].first() if start else None
    left = None if stop is None else stop - start
    after = 0 if first is None else first - 1
    rows = rows.annotate(
        posterior_text=Cast("posterior", TextField()), annotations_text=Cast("annotations", TextField())
    )
    while left is None or left > 0:
        most = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
        page = list(rows.filter(id__gt=after).values_list(*_FIELDS)[:most])
        # All JSON of a page is read at once: row by row it would cost as much as everything else together.
        posteriors, answers = (json.loads(f"[{','.join(row[at] for row in page)}]") for at in (2, 5))
        for row, posterior, votes in zip(page, posteriors, answers, strict=True):
            yield (*row[:2], posterior, *row[3:5], votes, *row[6:])
        if len(page) < most:
            return
        after = page[-1][0]
        left = None if left is None else left - len(page)


def _sample(split: str, row: Row, pictures: Pictures) -> SampleRow:
    _, label, posterior, count, agreement, answers, key = row[:7]
    prompt, negative, seed, attempt, created_at, generator = row[7:13]
    sku, source, category, title, description = row[17:]
    return SampleRow(
        f"c-{key[:20]}", split, sku, source, category, title, description, prompt, negative, *pictures, label, posterior,
        count, agreement, [*map(_answer, answers)], generator, seed, attempt, None, None, created_at,
    )  # fmt: skip


def _answer(answer: dict[str, Any]) -> AnnotationRow:
    return AnnotationRow(answer["annotator"], answer["label"], answer["seconds"], datetime.fromisoformat(answer["at"]))


def _picture(key: str, sha: str) -> Picture | None:
    if not sha:
        return None
    try:
        content = blobs().get(sha)
    except FileNotFoundError as error:
        raise ValueError(
            f"sample c-{key[:20]}: its picture {sha} is not in the store any more: put it back from a backup, then resume."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha:
        raise ValueError(
            f"sample c-{key[:20]}: its picture {sha} is damaged on the disk: put it back from a backup, then resume."
        )
    return Picture(content, f"{sha}.png", sha)
