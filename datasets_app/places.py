"""Where a version's files may lie."""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.conf import settings

from adproof.shards.schema import FULL, VARIANTS
from datasets_app.models import DatasetVersion

_OBJECT_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=+-]+)+")


class BadPlace(ValueError):
    """The message says what to do."""


def default_uri(version: DatasetVersion, variant: str = FULL) -> str:
    """NAME/VERSION below DATASETS_URI (or data/versions); the other variants lie beside it."""
    if variant not in VARIANTS:
        raise BadPlace(f"There is no variant {variant!r}: choose one of {', '.join(VARIANTS)}.")
    base = (settings.DATASETS_URI or str(settings.VERSIONS_DIR)).rstrip("/")
    return f"{base}/{version.name}/v{version.number}" + ("" if variant == FULL else f"-{variant}")


def checked_uri(uri: str, anywhere: bool = False) -> str:
    """The place, when files may be written there: below DATASETS_URI, data/versions or one of DATASETS_PLACES, so that
    nobody can have files written all over the server by a web page. Raises BadPlace."""
    uri = uri.strip().rstrip("/")
    if uri.startswith("s3://"):
        if not _OBJECT_URI.fullmatch(uri) or ".." in uri.split("/"):
            raise BadPlace(f"{uri!r} is no place in a store: write it as s3://bucket/folder.")
    elif "://" in uri or not (os.path.isabs(uri) or (anywhere and uri)):
        raise BadPlace(f"{uri!r} can't be written to: give a whole path of a folder, or s3://bucket/folder.")
    else:
        uri = str(Path(uri).resolve())
    if anywhere:
        return uri
    allowed = [
        place for place in (settings.DATASETS_URI, str(settings.VERSIONS_DIR), *settings.DATASETS_PLACES) if place
    ]
    roots = [place.rstrip("/") if place.startswith("s3://") else str(Path(place).resolve()) for place in allowed]
    if not any(uri.startswith(f"{root}/") for root in roots):
        raise BadPlace(
            f"Versions are written below {' or '.join(roots)}, not to {uri}: choose a folder there, or ask an operator to add"
            " yours to DATASETS_PLACES."
        )
    return uri
