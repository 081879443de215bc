"""Getting a version's files out: links made when they are asked for, that work for some minutes without logging in.

The pages and the API make the same ones: into the store for a file that lies in one, else to a page of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import signing
from django.urls import reverse

from adproof.shards.manifest import MANIFEST
from adproof.shards.store import Folder
from datasets_app.archives import as_tar, as_zip, names
from datasets_app.models import DatasetVersion
from datasets_app.presign import NoKeys, presigned

LINK_S = 15 * 60
ZIP_LIMIT = 300 * 10**6
FORMS = ("tar", "zip")
_SALT = "datasets_app.downloads"


class CannotDownload(ValueError):
    """The message says what to do."""


def is_small(version: DatasetVersion) -> bool:
    """All of it fits into a zip that people open by a click."""
    return version.state == DatasetVersion.State.WRITTEN and 0 < version.size_bytes < ZIP_LIMIT


def download_link(
    version: DatasetVersion, name: str = "", *, uri: str = "", form: str = "tar", seconds: int = LINK_S
) -> str:
    """A link that works for so many seconds for whoever has it: give it to wget on the machine that trains.

    Args: name: one file of the version; "" = all of them as one. uri: which of the places it is written to; "" = its own.
        form: of all of them: "tar", or "zip" for a small version.
    Returns: a whole address into the store for a file that lies in one, else the path of a page of ours.
    Raises: CannotDownload: nothing is written there, or there is no such file.
    """
    uri = uri or version.uri
    _check_place(version, uri)
    if name and name not in names(Folder(uri)):
        raise CannotDownload(f"{version} has no file {name!r}; its manifest names them.")
    if name and uri.startswith("s3://"):
        try:
            return presigned(f"{uri}/{name}", seconds, filename=name.rsplit("/", 1)[-1])
        except NoKeys as problem:
            raise CannotDownload(str(problem)) from problem
    if form not in FORMS or (form == "zip" and not name and not is_small(version)):
        raise CannotDownload(f"{version} can't be had as {form!r}: ask for a tar, which may be of any size.")
    told = {"v": version.pk, "u": uri, "n": name, "f": form, "s": seconds}
    return reverse("dataset_signed", args=[signing.TimestampSigner(salt=_SALT).sign_object(told)])


def opened(token: str) -> tuple[str, int | None, Iterator[bytes]]:
    """(file name, bytes or None, content) of what a link promised. Raises CannotDownload: it lapsed, was altered, or is gone."""
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
    return as_zip(version, folder) if asked.get("f") == "zip" else as_tar(version, folder)


def _check_place(version: DatasetVersion, uri: str) -> None:
    places = {version.uri, *version.written.exclude(written_at=None).values_list("uri", flat=True)} - {""}
    if uri not in places or Folder(uri).size(MANIFEST) is None:
        raise CannotDownload(f"{version} is not written {f'at {uri}' if uri else 'yet'}: write it first.")
