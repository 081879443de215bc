"""Files that were sent or fetched, until they are imported: each in a folder of its own below the data folder."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from django.conf import settings

from adproof.imports.problems import BadImport

KEPT_S = 7 * 24 * 3600  # of what was looked at and never imported


def root() -> Path:
    return Path(settings.DATA_DIR) / "uploads"


def new_folder() -> Path:
    _forget_old()
    folder = root() / uuid.uuid4().hex
    folder.mkdir(parents=True)
    return folder


def save(name: str, pieces: Iterable[bytes]) -> Path:
    """Keep what was sent. Raises BadImport: too large; OSError: the disk is full. Nothing half-written is left."""
    most, size = settings.IMPORT_UPLOAD_MB * 10**6, 0
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(name.replace("\\", "/")).name).lstrip(".-")[-100:] or "upload"
    folder = new_folder()
    try:
        with (folder / last).open("xb") as file:
            for piece in pieces:
                size += len(piece)
                if size > most:
                    raise BadImport(
                        f"The file has more than {settings.IMPORT_UPLOAD_MB} MB: copy it into the server's import folder, "
                        "and name it there."
                    )
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / last


def forget(path: Path) -> None:
    folder = path.parent
    if folder.parent == root():
        shutil.rmtree(folder, ignore_errors=True)


def _forget_old() -> None:
    try:
        old = [one for one in root().iterdir() if one.stat().st_mtime < time.time() - KEPT_S]
    except OSError:
        return
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
