"""What every kind of import is turned into: samples, one after the other, in an order that never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from adproof.imports.labels import LabelMap
from adproof.imports.problems import LeftOut

Read = Callable[[], bytes]


@dataclass(frozen=True)
class GivenProduct:
    """read, or the sha256 of what is in the store: its picture. Neither: it is there, or cut out of the generated one."""

    sku: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    read: Read | None = None
    sha256: str = ""


@dataclass(frozen=True)
class CutOut:
    """What U2-Net made of a generated picture beforehand; problem: why it made nothing. The hashes are of what is in the store."""

    sha256: str = ""
    original_sha256: str = ""
    confidence_sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Sample:
    """A product, a candidate of it (read or sha256), and its label; pictures are read only when it is its turn."""

    where: str
    product: GivenProduct
    read: Read | None = None
    sha256: str = ""  # of a picture that is in the store already
    raw_label: Any = None
    prompt: str = ""
    negative: str = ""
    generator: str = ""
    seed: int = 0
    stem: str = ""  # of its picture's name
    cut: CutOut | None = None
    held_bytes: int = 0  # about what its pictures need: how many samples are worked on together

    @property
    def is_candidate(self) -> bool:
        return self.read is not None or bool(self.sha256)


class Source(Protocol):
    """One kind of import, opened. total: how many items there are; 0: not known."""

    total: int
    labels: LabelMap

    def items(self) -> Iterator[Sample | LeftOut]: ...
