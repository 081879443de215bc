"""What the pages say about a version: read from its row and its manifest, never counted anew."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adproof.labels import LABELS, TITLES
from adproof.shards.manifest import MANIFEST
from datasets_app.kept import comparison
from datasets_app.models import SPLITS, DatasetVersion
from runs.models import Run

DOWNLOAD_LIMIT = 300 * 10**6
_PIECE = 1 << 20


def label_totals(version: DatasetVersion) -> dict[str, int]:
    return {name: sum(version.counts.get(split, {}).get(name, 0) for split in SPLITS) for name in LABELS}


def label_table(version: DatasetVersion) -> list[dict[str, Any]]:
    """A row per label: how many in each split."""
    rows = []
    for label, title in TITLES.items():
        by_split = [version.counts.get(split, {}).get(LABELS[label], 0) for split in SPLITS]
        rows.append({"label": int(label), "title": title, "by_split": by_split, "total": sum(by_split)})
    return rows


def split_totals(version: DatasetVersion) -> list[int]:
    return [sum(version.counts.get(split, {}).values()) for split in SPLITS]


def groups(version: DatasetVersion, what: str) -> list[dict[str, Any]]:
    """Rows of the manifest's counts by "category" or "source", largest first."""
    counts = version.manifest.get("counts", {}).get(what, {})
    rows = [
        {
            "name": name or "(none)",
            "by_split": [by.get(split, 0) for split in SPLITS],
            "total": sum(by.get(split, 0) for split in SPLITS),
        }
        for name, by in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["total"], row["name"]))


def files(version: DatasetVersion) -> list[dict[str, Any]]:
    return [{"name": name, **entry} for name, entry in sorted(version.manifest.get("files", {}).items())]


def changes(version: DatasetVersion) -> dict[str, Any] | None:
    """Against its parent; None also where the two are large and nobody has compared them yet."""
    if version.parent is None:
        return None
    found, _ = comparison(version.parent, version)
    return found and found["totals"]


def last_check(version: DatasetVersion) -> Run | None:
    """The newest run that verified this version's files."""
    return Run.objects.filter(kind="verify_version", params__version=version.pk).order_by("-pk").first()


def can_download(version: DatasetVersion) -> bool:
    return (
        version.state == DatasetVersion.State.WRITTEN
        and 0 < version.size_bytes < DOWNLOAD_LIMIT
        and (Path(version.uri) / MANIFEST).is_file()
    )


def as_zip(version: DatasetVersion) -> Iterator[bytes]:
    """The version's files as one zip (stored, for pictures do not shrink), piece by piece, the manifest last."""
    folder, out = Path(version.uri), _Pieces()
    names = [*sorted(version.manifest["files"]), MANIFEST]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name in names:
            entry = zipfile.ZipInfo(f"{version.name}-v{version.number}/{name}", version.created_at.timetuple()[:6])
            entry.file_size = (folder / name).stat().st_size
            with archive.open(entry, "w") as inside, open(folder / name, "rb") as file:
                while piece := file.read(_PIECE):
                    inside.write(piece)
                    yield out.take()
    yield out.take()


class _Pieces:
    """What zipfile writes, until it is taken. It can't go back, so zipfile writes each size after its file."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = b"".join(self._held)
        self._held.clear()
        return data


def snippet(version: DatasetVersion) -> str:
    """How to open it, to be copied."""
    found = [split for split in SPLITS if any(version.counts.get(split, {}).values())]
    lines = ["from datasets import load_dataset", "", f'ads = load_dataset("{version.uri}")']
    lines.append(f'row = ads["{found[0] if found else SPLITS[0]}"][0]  # row["generated_image"] is a PIL image')
    lines += [
        "",
        "# without the datasets library",
        "import adproof.shards",
        "",
        f'rows = adproof.shards.open("{version.uri}").rows("{found[0] if found else SPLITS[0]}")',
        'rows[0]["generated_image"].shape',
    ]
    return "\n".join(lines)
