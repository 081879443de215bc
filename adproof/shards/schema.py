"""The columns of a dataset version, their Arrow types, and how a row becomes a line of a shard."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from adproof.labels import LABELS, N_LABELS

SPLITS = ("train", "validation", "test")
IMAGE_COLUMNS = ("generated_image", "product_image", "depth_map", "saliency_map")
# full: Parquet with the pictures. labels: the sha256 of each picture in its place. webdataset: tars, for training at scale.
FULL, LABELS_ONLY, WEBDATASET = VARIANTS = ("full", "labels", "webdataset")

_TEXT = ("string", pa.string())
_TIME = ("timestamp[us, tz=UTC]", pa.timestamp("us", tz="UTC"))
_PROBS = pa.list_(pa.float32(), N_LABELS)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_VOTE = pa.struct([
    ("annotator", pa.string()), ("label", pa.int8()), ("seconds", pa.float32()), ("at", _TIME[1]),
])

Feature = dict[str, Any]


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


_IMAGE_FEATURE: Feature = {"_type": "Image"}
_PROBS_FEATURE: Feature = {"feature": _value("float32"), "length": N_LABELS, "_type": "List"}
_VOTES_FEATURE: Feature = {
    "feature": {
        "annotator": _value("string"), "label": _value("int8"), "seconds": _value("float32"), "at":
        _value(_TIME[0]),
    },
    "_type": "List",
}

# name, Arrow type, what Hugging Face `datasets` is told about it
COLUMNS: tuple[tuple[str, pa.DataType, Feature], ...] = (
    ("sample_id", _TEXT[1], _value(_TEXT[0])),
    ("product_id", _TEXT[1], _value(_TEXT[0])),
    ("source", _TEXT[1], _value(_TEXT[0])),
    ("category", _TEXT[1], _value(_TEXT[0])),
    ("title", _TEXT[1], _value(_TEXT[0])),
    ("description", _TEXT[1], _value(_TEXT[0])),
    ("prompt", _TEXT[1], _value(_TEXT[0])),
    ("negative_prompt", _TEXT[1], _value(_TEXT[0])),
    ("generated_image", _IMAGE, _IMAGE_FEATURE),
    ("product_image", _IMAGE, _IMAGE_FEATURE),
    ("depth_map", _IMAGE, _IMAGE_FEATURE),
    ("saliency_map", _IMAGE, _IMAGE_FEATURE),
    ("label", pa.int64(), {"names": list(LABELS), "_type": "ClassLabel"}),
    ("label_probs", _PROBS, _PROBS_FEATURE),
    ("annotation_count", pa.int32(), _value("int32")),
    ("agreement", pa.float32(), _value("float32")),
    ("annotations", pa.list_(_VOTE), _VOTES_FEATURE),
    ("generator", _TEXT[1], _value(_TEXT[0])),
    ("seed", pa.int64(), _value("int64")),
    ("attempt", pa.int16(), _value("int16")),
    ("rfnet_version", _TEXT[1], _value(_TEXT[0])),
    ("rfnet_probs", _PROBS, _PROBS_FEATURE),
    ("created_at", _TIME[1], _value(_TIME[0])),
)


LABELS_COLUMNS = tuple(
    (f"{name}_sha256", _TEXT[1], _value(_TEXT[0])) if name in IMAGE_COLUMNS else (name, kind, feature)
    for name, kind, feature in COLUMNS
)


def columns_of(variant: str = FULL) -> tuple[tuple[str, pa.DataType, Feature], ...]:
    """Raises ValueError: the variant has no table (webdataset), or is none at all."""
    if variant not in (FULL, LABELS_ONLY):
        raise ValueError(f"{variant!r} has no columns: {FULL} and {LABELS_ONLY} have")
    return COLUMNS if variant == FULL else LABELS_COLUMNS


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture as it is stored: never decoded, never encoded again. path: its file name, for
    people. sha256: when it is known already; labels-only versions need it and no bytes."""

    bytes: bytes
    path: str
    sha256: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One person's answer. annotator: a pseudonym. seconds: time it took. at: with a time zone."""

    annotator: str
    label: int
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sample of a version: all columns, and the split it belongs to.

    label: 0..4, the consensus. label_probs, rfnet_probs: five probabilities (rfnet_* None when not scored).
    A picture that does not exist (no depth map made yet) is None. created_at: with a time zone.
    """

    sample_id: str
    split: str
    product_id: str
    source: str
    category: str
    title: str
    description: str
    prompt: str
    negative_prompt: str
    generated_image: Picture | None
    product_image: Picture | None
    depth_map: Picture | None
    saliency_map: Picture | None
    label: int
    label_probs: Sequence[float]
    annotation_count: int
    agreement: float | None
    annotations: Sequence[AnnotationRow]
    generator: str
    seed: int
    attempt: int
    rfnet_version: str | None
    rfnet_probs: Sequence[float] | None
    created_at: datetime

    def pictures(self) -> tuple[Picture | None, ...]:
        """In the order of IMAGE_COLUMNS."""
        return (self.generated_image, self.product_image, self.depth_map, self.saliency_map)

    def n_bytes(self) -> int:
        """Bytes of its pictures: what a shard's size is made of."""
        return sum(len(picture.bytes) for picture in self.pictures() if picture)


def features(variant: str = FULL) -> dict[str, Feature]:
    """The `features` of Hugging Face `datasets`: without them it shows pictures as bytes and labels as
    numbers."""
    return {name: feature for name, _, feature in columns_of(variant)}


def schema(variant: str = FULL) -> pa.Schema:
    """Arrow schema of every shard, features in its metadata."""
    metadata = {"huggingface": json.dumps({"info": {"features": features(variant)}}, sort_keys=True)}
    return pa.schema([pa.field(name, kind) for name, kind, _ in columns_of(variant)], metadata=metadata)


def check_row(row: SampleRow) -> None:
    """Raises ValueError, naming the sample, for what no reader could repair: label, probabilities, times,
    split."""
    def refuse(what: str) -> ValueError:
        return ValueError(f"sample {row.sample_id!r}: {what}")

    if row.split not in SPLITS:
        raise refuse(f"split {row.split!r} is none of {', '.join(SPLITS)}")
    if row.label not in range(N_LABELS):
        raise refuse(f"label {row.label!r} is not in 0..{N_LABELS - 1}")
    for name, probs in (("label_probs", row.label_probs), ("rfnet_probs", row.rfnet_probs)):
        if probs is not None and (len(probs) != N_LABELS or not all(math.isfinite(p) for p in probs)):
            raise refuse(f"{name} must be {N_LABELS} finite numbers")
    if any(vote.label not in range(N_LABELS) for vote in row.annotations):
        raise refuse(f"an annotation's label is not in 0..{N_LABELS - 1}")
    if row.created_at.tzinfo is None or any(vote.at.tzinfo is None for vote in row.annotations):
        raise refuse("a time without a time zone")


def to_table(rows: Sequence[SampleRow], variant: str = FULL) -> pa.Table:
    """One row group as an Arrow table; raises ValueError as check_row does."""
    for row in rows:
        check_row(row)
    return checked_to_table(rows, variant)


def checked_to_table(rows: Sequence[SampleRow], variant: str = FULL) -> pa.Table:
    """to_table for rows that have passed check_row already."""
    return pa.Table.from_arrays([_column(name, kind, rows) for name, kind, _ in columns_of(variant)],
                                schema=schema(variant))


def _column(name: str, kind: pa.DataType, rows: Sequence[SampleRow]) -> pa.Array:
    if name.endswith("_sha256"):
        pictures = [getattr(row, name.removesuffix("_sha256")) for row in rows]
        return pa.array([picture and picture_hash(picture) for picture in pictures], kind)
    values = [getattr(row, name) for row in rows]
    if name in IMAGE_COLUMNS:
        contents = pa.array([value and value.bytes for value in values], pa.binary())
        return picture_column(contents, pa.array([value and value.path for value in values], pa.string()))
    return _votes(values) if name == "annotations" else pa.array(values, kind)


def picture_column(contents: pa.Array, paths: pa.Array) -> pa.Array:
    """A column of pictures: contents (n,) binary, paths (n,) string. Where the bytes are null there is no picture."""
    return pa.StructArray.from_arrays([contents, paths], fields=list(_IMAGE), mask=contents.is_null())


def _votes(answers: Sequence[Sequence[AnnotationRow]]) -> pa.Array:
    ends = list(accumulate((len(votes) for votes in answers), initial=0))
    flat = [vote for votes in answers for vote in votes]
    parts = [pa.array([getattr(vote, part.name) for vote in flat], part.type) for part in _VOTE]
    return votes_column(ends, parts)


def votes_column(ends: Sequence[int], parts: Sequence[pa.Array]) -> pa.Array:
    """The column "annotations". Args: ends: 0, and where each row's end. parts: of all of them annotator, label, seconds, at."""
    cast = [part.cast(field.type) for part, field in zip(parts, _VOTE, strict=True)]
    answers = pa.StructArray.from_arrays(cast, fields=list(_VOTE))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), answers)


def votes_of(rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Of every annotation (V,): the number of its row, and its label."""
    answers = rows["annotations"].combine_chunks()
    ends = answers.offsets.to_numpy()
    return np.repeat(np.arange(len(answers)), np.diff(ends)), answers.flatten().field("label").to_numpy(zero_copy_only=False)


def picture_hash(picture: Picture) -> str:
    """The sha256 of its encoded bytes, counted where it is not known."""
    return picture.sha256 or hashlib.sha256(picture.bytes).hexdigest()


def picture_hashes(row: SampleRow) -> tuple[str, ...]:
    """sha256 of each picture in the order of IMAGE_COLUMNS; "" for one that does not exist."""
    return tuple(picture_hash(picture) if picture else "" for picture in row.pictures())


def leaf_columns(text: bool, variant: str = FULL) -> list[str]:
    """Parquet paths of the leaves inside picture columns (text=False) or outside of them (text=True)."""
    leaves = []
    for name, kind, _ in columns_of(variant):
        if (name in IMAGE_COLUMNS) != text:
            leaves.extend(_leaves(name, kind))
    return leaves


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]
