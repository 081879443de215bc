"""Getting a version's files out: links made when they are asked for, that work for some minutes without logging in."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any

from django.core import signing
from django.urls import reverse

from adproof.shards.manifest import MANIFEST, Manifest
from adproof.shards.store import Folder
from datasets_app.models import DatasetVersion
from datasets_app.presign import NoKeys, presigned

LINK_S = 15 * 60
_SALT = "datasets_app.downloads"
_BLOCK = 512


class CannotDownload(ValueError):
    """The message says what to do."""


def download_link(version: DatasetVersion, name: str = "", *, uri: str = "", seconds: int = LINK_S) -> str:
    """A link that works for so many seconds for whoever has it: give it to wget on the machine that trains.

    Args: name: one file of the version; "" = all of them as one tar. uri: which of the places it is written to; "" = its own.
    Returns: a whole address into the store for a file that lies in one, else the path of a page of ours.
    Raises: CannotDownload: nothing is written there, or there is no such file.
    """
    uri = uri or version.uri
    _check_place(version, uri)
    if name and name not in _names(Folder(uri)):
        raise CannotDownload(f"{version} has no file {name!r}; its manifest names them.")
    if name and uri.startswith("s3://"):
        try:
            return presigned(f"{uri}/{name}", seconds, filename=name.rsplit("/", 1)[-1])
        except NoKeys as problem:
            raise CannotDownload(str(problem)) from problem
    token = signing.TimestampSigner(salt=_SALT).sign_object({"v": version.pk, "u": uri, "n": name, "s": seconds})
    return reverse("dataset_signed", args=[token])


def opened(token: str) -> tuple[str, int, Iterator[bytes]]:
    """(file name, bytes, content) of what a link promised. Raises CannotDownload: it lapsed, was altered, or is gone."""
    signer = signing.TimestampSigner(salt=_SALT)
    try:
        asked: dict[str, Any] = signer.unsign_object(token)
        signer.unsign_object(token, max_age=asked["s"])
    except signing.SignatureExpired as error:
        raise CannotDownload("This link has lapsed: make a new one on the version's page.") from error
    except (signing.BadSignature, ValueError) as error:
        raise CannotDownload(
            "This link is not whole: copy it again, or make a new one on the version's page."
        ) from error
    version = DatasetVersion.objects.filter(pk=asked["v"]).first()
    if version is None:
        raise CannotDownload("The version of this link is not there any more.")
    _check_place(version, asked["u"])
    folder = Folder(asked["u"])
    if asked["n"]:
        size = folder.size(asked["n"])
        if size is None:
            raise CannotDownload(f"{asked['n']} is not there any more: verify the version.")
        return asked["n"].rsplit("/", 1)[-1], size, folder.pieces(asked["n"])
    return as_tar(version, folder)


def as_tar(version: DatasetVersion, folder: Folder) -> tuple[str, int, Iterator[bytes]]:
    """All files of a place as one tar, streamed: any size, some megabytes of memory. The manifest comes last."""
    manifest = Manifest.of(folder.read(MANIFEST))
    name = f"{version.name}-v{version.number}" + ("" if manifest.variant == "full" else f"-{manifest.variant}")
    entries = []
    for file in _names(folder):
        entry = tarfile.TarInfo(f"{name}/{file}")
        entry.size = manifest.files[file].bytes if file in manifest.files else folder.size(file) or 0
        entry.mtime, entry.mode = int(version.created_at.timestamp()), 0o644
        entries.append((file, entry.size, entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")))
    length = sum(len(head) + size + -size % _BLOCK for _, size, head in entries) + 2 * _BLOCK
    return f"{name}.tar", length, _tar_pieces(folder, entries)


def _tar_pieces(folder: Folder, entries: list[tuple[str, int, bytes]]) -> Iterator[bytes]:
    for file, size, head in entries:
        yield head
        sent = 0
        for piece in folder.pieces(file):
            sent += len(piece)
            yield piece
        if sent != size:
            # Broken off, so that the receiver sees an unfinished download and not a version that lies.
            raise OSError(f"{file} has {sent} bytes, the manifest says {size}: verify the version")
        yield b"\0" * (-size % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def _names(folder: Folder) -> list[str]:
    return [*sorted(Manifest.of(folder.read(MANIFEST)).files), MANIFEST]


def _check_place(version: DatasetVersion, uri: str) -> None:
    places = {version.uri, *version.written.exclude(written_at=None).values_list("uri", flat=True)} - {""}
    if uri not in places or Folder(uri).size(MANIFEST) is None:
        raise CannotDownload(f"{version} is not written {f'at {uri}' if uri else 'yet'}: write it first.")
