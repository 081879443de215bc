"""Files that a reader sees whole or not at all."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

UNFINISHED_S = 24 * 3600.0
_NEW = ".new-"


def write_whole(path: Path, data: bytes, scratch: Path | None = None) -> None:
    """Write a file beside its place, flush it to the disk and rename it.

    Args:
        path: its place; a file that is there is replaced.
        scratch: a folder of the same filesystem to write it in (None: the file's own), where `forget_unfinished` finds
            what a process that was killed in the middle has left.
    Raises: OSError: it could not be written (disk full, no right); nothing is left behind.
    """
    handle, name = tempfile.mkstemp(dir=scratch or path.parent, prefix=_NEW)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def forget_unfinished(scratch: Path, older_than_s: float = UNFINISHED_S) -> int:
    """Remove what processes that were killed in the middle of a write have left in this folder.

    Args: older_than_s: what was begun later may still be written.
    Returns: how many files.
    Raises: FileNotFoundError: there is no such folder.
    """
    before, removed = time.time() - older_than_s, 0
    for entry in os.scandir(scratch):
        with suppress(FileNotFoundError):  # finished in this moment
            if entry.name.startswith(_NEW) and entry.stat().st_mtime < before:
                os.unlink(entry.path)
                removed += 1
    return removed
