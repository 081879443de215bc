"""The frozen rows of a version as the writer takes them, in the order of the files, a page at a time."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from adproof.shards.schema import AnnotationRow, Picture, SampleRow
from datasets_app.models import SPLITS, DatasetVersion
from generation.blobs import blobs

PAGE_ROWS = 1000
# Pictures of so many rows are read and checked ahead, while earlier rows are written.
AHEAD_ROWS = 24
READERS = 2

_FIELDS = (
    "id", "label", "posterior", "annotation_count", "agreement", "annotations", "candidate__key", "candidate__prompt_text",
    "candidate__negative_text", "candidate__seed", "candidate__attempt", "candidate__created_at", "candidate__generator__key",
    "candidate__image_sha256", "candidate__product__image_sha256", "candidate__depth_sha256", "candidate__saliency_sha256",
    "candidate__product__sku", "candidate__product__source", "candidate__product__category", "candidate__product__title",
    "candidate__product__description",
)  # fmt: skip
Pictures = tuple[Picture | None, ...]


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
    waiting: deque[tuple[tuple[Any, ...], Future[Pictures]]] = deque()
    readers = ThreadPoolExecutor(READERS, "pictures")
    try:
        for row in found:
            waiting.append((row, readers.submit(_pictures, row[6], row[13:17])))
            if len(waiting) > AHEAD_ROWS:
                first, read = waiting.popleft()
                yield _sample(split, first, read.result())
        while waiting:
            first, read = waiting.popleft()
            yield _sample(split, first, read.result())
    finally:
        readers.shutdown(wait=False, cancel_futures=True)


def _tuples(version: DatasetVersion, split: str, start: int, stop: int | None) -> Iterator[tuple[Any, ...]]:
    """Page by page from the last row on: no cursor stays open however long the writing takes."""
    rows = version.rows.filter(split=split).order_by("id")
    first = rows.values_list("id", flat=True)[start : start + 1].first() if start else None
    left = None if stop is None else stop - start
    after = 0 if first is None else first - 1
    while left is None or left > 0:
        most = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
        page = list(rows.filter(id__gt=after).values_list(*_FIELDS)[:most])
        yield from page
        if len(page) < most:
            return
        after = page[-1][0]
        left = None if left is None else left - len(page)


def _sample(split: str, row: tuple[Any, ...], pictures: Pictures) -> SampleRow:
    (_, label, posterior, count, agreement, answers, key, prompt, negative, seed, attempt, created_at, generator) = row[
        :13
    ]
    sku, source, category, title, description = row[17:]
    return SampleRow(
        f"c-{key[:20]}", split, sku, source, category, title, description, prompt, negative, *pictures, label, posterior,
        count, agreement, [*map(_answer, answers)], generator, seed, attempt, None, None, created_at,
    )  # fmt: skip


def _answer(answer: dict[str, Any]) -> AnnotationRow:
    return AnnotationRow(answer["annotator"], answer["label"], answer["seconds"], datetime.fromisoformat(answer["at"]))


def _pictures(key: str, shas: tuple[str, ...]) -> Pictures:
    return tuple(map(partial(_picture, key), shas))


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
