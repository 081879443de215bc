"""The frozen rows of a version as the writer takes them, in the order of the files, a page at a time."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import accumulate, islice
from typing import Any

import pyarrow as pa
from django.db.models import TextField
from django.db.models.functions import Cast

from adproof.shards.columns import ROWS, Columns
from adproof.shards.pictures import damaged, missing
from adproof.shards.schema import AnnotationRow, Picture, SampleRow, check_row, votes_column
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


def split_rows(version: DatasetVersion, split: str, start: int = 0, stop: int | None = None) -> Iterator[SampleRow]:
    """Rows start..stop-1 of a split with their pictures, each checked against its sha256.

    Raises: ValueError: a picture is not there any more, or is not what was stored.
    """
    found = _tuples(version, split, start, stop)
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


def split_columns(version: DatasetVersion, split: str, start: int = 0, stop: int | None = None) -> Columns:
    """The same rows as tables, for Parquet: several times faster. Their pictures are read by the writer, if it needs them."""
    return Columns(map(_table, _pages(version, split, start, stop)), blobs())


def _table(page: list[Row]) -> pa.Table:
    columns = list(zip(*page, strict=True))
    pictures = [[sha or None for sha in column] for column in columns[13:17]]
    prompts, (seeds, attempts, created_at, generators) = columns[7:9], columns[9:13]
    skus, *about = columns[17:]
    keys = [f"c-{key[:20]}" for key in columns[6]]
    nothing = [None] * len(page)
    values = [
        keys, skus, *about, *prompts, *pictures, columns[1], _json_of(columns[2]), columns[3], columns[4],
        _answers(_json_of(columns[5])), generators, seeds, attempts, nothing, nothing, created_at,
    ]  # fmt: skip
    try:
        arrays = [
            one if isinstance(one, pa.Array) else pa.array(one, field.type)
            for one, field in zip(values, ROWS, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        # Something in it is no row of a version: these say which, and what.
        posteriors, answers = (_json_of(columns[at]) for at in (2, 5))
        for row, posterior, votes in zip(page, posteriors, answers, strict=True):
            check_row(_sample(SPLITS[0], (*row[:2], posterior, *row[3:5], votes, *row[6:]), (None,) * 4))
        raise
    return pa.Table.from_arrays(arrays, schema=ROWS)


def _answers(answers: list[list[dict[str, Any]]]) -> pa.Array:
    flat = [vote for votes in answers for vote in votes]
    names, labels, seconds, times = ([vote[name] for vote in flat] for name in ("annotator", "label", "seconds", "at"))
    ends = list(accumulate(map(len, answers), initial=0))
    return votes_column(ends, [pa.array(names), pa.array(labels), pa.array(seconds, pa.float64()), _times(times)])


def _times(texts: list[str]) -> pa.Array:
    """Arrow reads them much faster; what it does not take, Python may."""
    try:
        return pa.array(texts, pa.string()).cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return pa.array([datetime.fromisoformat(text) for text in texts], pa.timestamp("us", "UTC"))


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


def _with_pictures(split: str, rows: list[Row]) -> list[SampleRow]:
    return [_sample(split, row, tuple(_picture(row[6], sha) for sha in row[13:17])) for row in rows]


def _tuples(version: DatasetVersion, split: str, start: int, stop: int | None) -> Iterator[Row]:
    """Each with its JSON read."""
    for page in _pages(version, split, start, stop):
        # All JSON of a page is read at once: row by row it would cost as much as everything else together.
        posteriors, answers = (_json_of([row[at] for row in page]) for at in (2, 5))
        for row, posterior, votes in zip(page, posteriors, answers, strict=True):
            yield (*row[:2], posterior, *row[3:5], votes, *row[6:])


def _json_of(texts: Sequence[str]) -> list[Any]:
    return list(json.loads(f"[{','.join(texts)}]"))


def _pages(version: DatasetVersion, split: str, start: int, stop: int | None) -> Iterator[list[Row]]:
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
        if page:
            yield page
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
        raise missing(f"c-{key[:20]}", sha) from error
    if hashlib.sha256(content).hexdigest() != sha:
        raise damaged(f"c-{key[:20]}", sha)
    return Picture(content, f"{sha}.png", sha)
