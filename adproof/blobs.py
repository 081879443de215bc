"""A folder of files named by the sha256 of their bytes."""

import hashlib
import os
import re
from pathlib import Path

from adproof.whole_files import UNFINISHED_S, forget_unfinished, write_whole

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """Keep bytes under their sha256, in two levels of folders: `ab/cd/abcd...`.

    A file that is there is whole: it is written beside its place, flushed to the disk and renamed. Any number
    of processes may put the same bytes at once; they write the same file.

    Args:
        root: the store's folder; made when missing.
    Raises: OSError: the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, sha: str) -> Path:
        """Say where the bytes of `sha` lie, or would lie.

        Args:
            sha: 64 lower-case hexadecimal digits.
        Raises: ValueError: `sha` is anything else (so a name from outside can never leave the folder).
        """
        if not isinstance(sha, str) or not _SHA256.fullmatch(sha):
            raise ValueError(f"not a sha256 in 64 lower-case hexadecimal digits: {str(sha)[:80]!r}")
        return self.root / sha[:2] / sha[2:4] / sha

    def name(self, sha: str) -> str:
        """`path` as text, for those who open very many. Raises: ValueError: see `path`."""
        if not _SHA256.fullmatch(sha):
            self.path(sha)
        return f"{self.root}/{sha[:2]}/{sha[2:4]}/{sha}"

    def exists(self, sha: str) -> bool:
        """Say whether the bytes of `sha` are in the store. Raises: ValueError: see `path`."""
        return self.path(sha).is_file()

    def get(self, sha: str) -> bytes:
        """Read the bytes of `sha`, without checking them (see `verify`).

        Raises:
            ValueError: see `path`.
            FileNotFoundError: the store does not have them.
        """
        return self.path(sha).read_bytes()

    def put(self, data: bytes) -> str:
        """Store bytes; does nothing when the store has them.

        Returns: their sha256, 64 hexadecimal digits.
        Raises: OSError: they could not be written (disk full, no right); nothing is left behind.
        """
        sha = hashlib.sha256(data).hexdigest()
        if not self.exists(sha):
            place = self.path(sha)
            self._make_folder(place.parent)
            write_whole(place, data, scratch=self.root)
            _sync_folder(place.parent)
        return sha

    def verify(self, sha: str) -> bool:
        """Read the file again and say whether it still has the sha256 of its name.

        Raises:
            ValueError: see `path`.
            FileNotFoundError: the store does not have it.
        """
        with self.path(sha).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha

    def forget_unfinished(self, older_than_s: float = UNFINISHED_S) -> int:
        """Remove what processes that were killed in the middle of a write have left.

        Args:
            older_than_s: what was begun later may still be written.
        Returns: how many files.
        """
        return forget_unfinished(self.root, older_than_s)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        # A new folder survives a power cut only once the folder that names it is flushed as well.
        _sync_folder(folder.parent)
        _sync_folder(self.root)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
