"""What a version says about itself. Its manifest is written last: no manifest, no version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from adproof.shards.schema import FULL

MANIFEST = "manifest.json"
FORMAT = "adproof-dataset/1"


@dataclass(frozen=True)
class VersionInfo:
    """What is decided about a version before it is written.

    name, version: folder names, such as "ads" and "v3". parent: the version it grew from.
    query: the filter that selected it, as JSON values. code_version: commit or release of the code.
    seed: of everything drawn (the bootstrap of alpha). created_at: of the freeze, with a time zone.
    digest: what the frozen rows add up to (splits.digest); the writer refuses to finish when its rows differ.
    near_duplicate_pairs: pairs of alike products on two sides of a split; None when nobody looked.
    variant: what of the rows is written (schema.VARIANTS); the digest is the same in all of them.
    leak_check: what else was looked for over two splits when the rows were chosen, and what was left out for it
        (numbers by name); the manifest's leak_check has them too.
    """

    name: str
    version: str
    created_at: datetime
    code_version: str
    seed: int
    parent: str | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    split_salt: str | None = None
    near_duplicate_pairs: int | None = None
    leak_check: Mapping[str, int] = field(default_factory=dict)
    license: str = "other"
    url: str = ""
    description: str = ""
    limits: tuple[str, ...] = ()
    variant: str = FULL

    def as_json(self) -> dict[str, Any]:
        content = asdict(self) | {
            "created_at": self.created_at.isoformat(), "query": dict(self.query), "limits": list(self.limits),
            "leak_check": dict(self.leak_check),
        }
        # Versions from before these are written again as they were.
        if self.variant == FULL:
            del content["variant"]
        if not self.leak_check:
            del content["leak_check"]
        return content


@dataclass(frozen=True)
class FileEntry:
    """rows: of a shard; None for other files."""

    sha256: str
    bytes: int
    rows: int | None = None


@dataclass(frozen=True)
class Manifest:
    """manifest.json, read back by `Manifest.of`.

    info: VersionInfo as JSON. digest: of the rows (splits.digest). rows: per split. picture_bytes: per split.
    counts: {"label" | "source" | "category": {value: {split: rows}}}.
    agreement: mean_agreement, mean_annotations, alpha, alpha_low, alpha_high, items (None where not defined).
    leak_check: shared_products (always 0: the writer refuses others), near_duplicate_pairs, and what the
        freeze found (VersionInfo.leak_check).
    files: every file of the version but this one.
    """

    info: Mapping[str, Any]
    digest: str
    rows: Mapping[str, int]
    picture_bytes: Mapping[str, int]
    counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    agreement: Mapping[str, float | int | None]
    leak_check: Mapping[str, int | None]
    files: Mapping[str, FileEntry]
    pyarrow: str

    @property
    def n_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def variant(self) -> str:
        return str(self.info.get("variant", FULL))

    def encode(self) -> bytes:
        content = {"format": FORMAT} | asdict(self)
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def of(cls, content: bytes) -> Manifest:
        """Raises ValueError: not JSON, of another format, or with missing or unknown parts."""
        try:
            parts = json.loads(content)
        except ValueError as error:
            raise ValueError(f"{MANIFEST} is not JSON: {error}") from error
        if not isinstance(parts, dict) or parts.pop("format", None) != FORMAT:
            raise ValueError(f"{MANIFEST} is not of the format {FORMAT}")
        try:
            parts["files"] = {name: FileEntry(**entry) for name, entry in parts["files"].items()}
            made = cls(**parts)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{MANIFEST} has missing or unknown parts: {error}") from error
        for name in made.files:
            # What is named here is read, and given to whoever may have the version.
            if not name or name.startswith("/") or {"", ".", ".."} & set(name.split("/")) or "\\" in name:
                raise ValueError(f"{MANIFEST} names a file that is none of the version's: {name!r} lies outside its folder")
        return made
