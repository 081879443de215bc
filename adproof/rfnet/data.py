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

SPLITS = ("train", "validation", "test")
_COLUMNS = (
    "title",
    "description",
    "generated_image",
    "product_image",
    "depth_map",
    "saliency_map",
    "label",
)
_ROWS_AT_ONCE = 32  # encoded pictures in memory


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

    def __init__(self, rows: Sequence[tuple[RFNetSample, str]] | None, version: Path | None) -> None:
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
        """A dataset version's folder (README.md, manifest.json, data/SPLIT-*.parquet).

        Raises: FileNotFoundError: no manifest.json (the version is not finished) or no Parquet file.
        """
        folder = Path(folder)
        if not (folder / "manifest.json").is_file():
            raise FileNotFoundError(f"{folder} has no manifest.json: it is not a finished dataset version")
        if not _parquet_files(folder):
            raise FileNotFoundError(f"{folder}/data has no Parquet file named train-*, validation-* or test-*")
        return cls(None, folder)

    @property
    def digest(self) -> str:
        """sha256 (hex): of the version's manifest, or of the samples' contents."""
        if self._version is not None:
            return hashlib.sha256((self._version / "manifest.json").read_bytes()).hexdigest()
        digest = hashlib.sha256()
        for sample, split in self._rows or ():
            for picture in (sample.product, sample.generated, sample.depth, sample.saliency):
                digest.update(str(picture.shape).encode() + np.ascontiguousarray(picture).tobytes())
            digest.update(json.dumps([sample.caption, sample.label, split]).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        if self._version is None:
            return len(self._rows or ())
        from pyarrow import parquet

        return sum(parquet.read_metadata(path).num_rows for path, _ in _parquet_files(self._version))

    def rows(self) -> Iterator[tuple[RFNetSample, str]]:
        """Every sample with its split, decoded one by one; memory does not grow with the data.

        Raises: ValueError: a column is missing or a picture is unreadable (named by file and row).
        """
        if self._version is None:
            yield from self._rows or ()
            return
        for path, split in _parquet_files(self._version):
            yield from ((sample, split) for sample in _parquet_samples(path))

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


def _parquet_files(folder: Path) -> list[tuple[Path, str]]:
    return [(path, split) for split in SPLITS for path in sorted((folder / "data").glob(f"{split}-*.parquet"))]


def _parquet_samples(path: Path) -> Iterator[RFNetSample]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(missing)}")
        number = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                try:
                    yield _sample(row)
                except (ValueError, TypeError, KeyError) as error:
                    raise ValueError(f"{path.name}, row {number}: {error}") from error
                number += 1


def _sample(row: dict[str, Any]) -> RFNetSample:
    return RFNetSample(
        product=preprocess.decode_rgba(row["product_image"]["bytes"]),
        generated=preprocess.decode_rgb(row["generated_image"]["bytes"]),
        depth=preprocess.decode_depth(row["depth_map"]["bytes"]),
        saliency=preprocess.decode_grey(row["saliency_map"]["bytes"]),
        caption=caption_of(row["title"], row["description"]),
        label=int(row["label"]),
    )
