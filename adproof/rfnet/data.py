"""Labelled samples for RFNet: from memory, or from the Parquet files of a dataset version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.rfnet import preprocess
from adproof.rfnet.config import RFNetConfig
from adproof.rfnet.preprocess import RFNetSample
from adproof.shards.manifest import MANIFEST
from adproof.shards.reading import DatasetVersion, open_version
from adproof.shards.schema import SPLITS

_COLUMNS = (
    "sample_id",
    "title",
    "description",
    "generated_image",
    "product_image",
    "depth_map",
    "saliency_map",
    "label",
)


def caption_of(title: str | None, description: str | None) -> str:
    """What RFNet reads of a product: title and description, whichever there are."""
    return ". ".join(part.strip().rstrip(".") for part in (title, description) if part and part.strip())


@dataclass(frozen=True)
class Packed:
    """A data set ready to train on.

    Attributes:
        planes: (N, 9, S, S) uint8, on disk when it came from files; see preprocess.
        captions: N texts.
        labels: (N,) int64.
        splits: (N,) int64, index into SPLITS.
        digest: sha256 (hex) of what it was made from.
    """

    planes: NDArray[np.uint8]
    captions: list[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    digest: str

    def indices(self, split: str) -> NDArray[np.int64]:
        """Rows of one split, rising."""
        return np.flatnonzero(self.splits == SPLITS.index(split))


class RFNetData:
    """Labelled samples and their splits; `pack` decodes each picture once.

    Make it with `RFNetData.of_samples` or `RFNetData.of_version`.
    """

    def __init__(self, rows: Sequence[tuple[RFNetSample, str]] | None, version: DatasetVersion | None) -> None:
        self._rows = rows
        self._version = version

    @classmethod
    def of_samples(cls, samples: Sequence[RFNetSample], splits: Sequence[str]) -> RFNetData:
        """Samples in memory, each with its split ("train", "validation" or "test").

        Raises: ValueError: lengths differ, a split is unknown or a label is missing.
        """
        if len(samples) != len(splits):
            raise ValueError(f"{len(samples)} samples but {len(splits)} splits")
        for sample, split in zip(samples, splits, strict=True):
            if split not in SPLITS:
                raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
            if sample.label is None:
                raise ValueError("a sample without a label cannot be trained on")
        return cls(list(zip(samples, splits, strict=True)), None)

    @classmethod
    def of_version(cls, folder: Path | str) -> RFNetData:
        """A dataset version: its folder, or its place in a store (s3://...).

        Raises: FileNotFoundError: it has no manifest (the version is not finished).
        """
        return cls(None, open_version(folder))

    @property
    def digest(self) -> str:
        """sha256 (hex): of the version's manifest, or of the samples' contents."""
        if self._version is not None:
            return hashlib.sha256(self._version.folder.read(MANIFEST)).hexdigest()
        digest = hashlib.sha256()
        for sample, split in self._rows or ():
            for picture in (sample.product, sample.generated, sample.depth, sample.saliency):
                digest.update(str(picture.shape).encode() + np.ascontiguousarray(picture).tobytes())
            digest.update(json.dumps([sample.caption, sample.label, split]).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        if self._version is None:
            return len(self._rows or ())
        return self._version.manifest.n_rows

    def rows(self) -> Iterator[tuple[RFNetSample, str]]:
        """Every sample with its split, decoded one by one; memory does not grow with the data.

        Raises: ValueError: a column is missing or a picture is unreadable (named by sample).
        """
        if self._version is None:
            yield from self._rows or ()
            return
        for split in SPLITS:
            for row in self._version.rows(split, _COLUMNS, decode=False):
                try:
                    sample = _sample(row)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"sample {row['sample_id']} of {split}: {error}") from error
                yield sample, split

    def pack(self, config: RFNetConfig, cache: Path | None = None) -> Packed:
        """Decode and shrink all pictures once.

        Args:
            config: decides size and place.
            cache: a file (.npy) to hold the pictures instead of memory; written anew.
        """
        shape = (len(self), preprocess.N_PLANES, config.image_size, config.image_size)
        planes: NDArray[np.uint8]
        if cache is None:
            planes = np.empty(shape, np.uint8)
        else:
            planes = np.lib.format.open_memmap(cache, mode="w+", dtype=np.uint8, shape=shape)
        captions: list[str] = []
        labels = np.empty(shape[0], np.int64)
        splits = np.empty(shape[0], np.int64)
        for row, (sample, split) in enumerate(self.rows()):
            planes[row] = preprocess.pack(sample, config)
            captions.append(sample.caption)
            labels[row] = -1 if sample.label is None else sample.label
            splits[row] = SPLITS.index(split)
        if len(labels) and (labels.min() < 0 or labels.max() >= config.n_labels):
            raise ValueError(f"labels must lie in 0..{config.n_labels - 1}; found {sorted(set(labels.tolist()))}")
        return Packed(planes, captions, labels, splits, self.digest)


def _sample(row: dict[str, Any]) -> RFNetSample:
    return RFNetSample(
        product=preprocess.decode_rgba(row["product_image"]),
        generated=preprocess.decode_rgb(row["generated_image"]),
        depth=preprocess.decode_depth(row["depth_map"]),
        saliency=preprocess.decode_grey(row["saliency_map"]),
        caption=caption_of(row["title"], row["description"]),
        label=int(row["label"]),
    )
