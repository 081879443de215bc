"""All files of a place as one, streamed: some megabytes of memory, whatever its size. The manifest comes last."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator

from adproof.shards.manifest import MANIFEST, Manifest
from adproof.shards.store import Folder
from datasets_app.models import DatasetVersion

_BLOCK = 512


def names(folder: Folder) -> list[str]:
    return [*sorted(Manifest.of(folder.read(MANIFEST)).files), MANIFEST]


def stem(version: DatasetVersion, variant: str) -> str:
    return f"{version.name}-v{version.number}" + ("" if variant == "full" else f"-{variant}")


def as_tar(version: DatasetVersion, folder: Folder) -> tuple[str, int, Iterator[bytes]]:
    """(file name, bytes, content)"""
    name, sizes = _sizes(version, folder)
    entries = []
    for file, size in sizes.items():
        entry = tarfile.TarInfo(f"{name}/{file}")
        entry.size = size
        entry.mtime, entry.mode = int(version.created_at.timestamp()), 0o644
        entries.append((file, size, entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")))
    length = sum(len(head) + size + -size % _BLOCK for _, size, head in entries) + 2 * _BLOCK
    return f"{name}.tar", length, _tar_pieces(folder, entries)


def _tar_pieces(folder: Folder, entries: list[tuple[str, int, bytes]]) -> Iterator[bytes]:
    for file, size, head in entries:
        yield head
        yield from _whole(folder, file, size)
        yield b"\0" * (-size % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def as_zip(version: DatasetVersion, folder: Folder) -> tuple[str, None, Iterator[bytes]]:
    """(file name, None for its length is not known before, content). Stored, for pictures do not shrink."""
    name, sizes = _sizes(version, folder)
    return f"{name}.zip", None, _zip_pieces(version, folder, name, sizes)


def _zip_pieces(version: DatasetVersion, folder: Folder, name: str, sizes: dict[str, int]) -> Iterator[bytes]:
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for file, size in sizes.items():
            entry = zipfile.ZipInfo(f"{name}/{file}", version.created_at.timetuple()[:6])
            entry.file_size = size
            with archive.open(entry, "w") as inside:
                for piece in _whole(folder, file, size):
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


def _sizes(version: DatasetVersion, folder: Folder) -> tuple[str, dict[str, int]]:
    manifest = Manifest.of(folder.read(MANIFEST))
    sizes = {file: manifest.files[file].bytes for file in sorted(manifest.files)}
    return stem(version, manifest.variant), {**sizes, MANIFEST: folder.size(MANIFEST) or 0}


def _whole(folder: Folder, file: str, size: int) -> Iterator[bytes]:
    sent = 0
    for piece in folder.pieces(file):
        sent += len(piece)
        yield piece
    if sent != size:
        # Broken off, so that the receiver sees an unfinished download and not a version that lies.
        raise OSError(f"{file} has {sent} bytes, the manifest says {size}: verify the version")
