"""Local files by large pieces, past the system's cache of files.

A version is as large as the disk allows and is read again when somebody trains, not now: in the cache it would only push out
what the database and the pictures need, and finding fresh pages for it costs more than writing them. What is read back
comes from the disk, too, not from what the system remembers of the writing. Where a filesystem knows no such access
(memory, some network ones), it is the usual one.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Iterator
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # not a Unix: the usual access, then
    fcntl = None

# What pieces are multiples of: of their place in memory (pages), in the file, and in length.
ALIGN = 4096
PIECE = 4 * 1024 * 1024
_DIRECT = getattr(os, "O_DIRECT", 0) if fcntl is not None else 0


def memory(n_bytes: int = PIECE) -> memoryview:
    """Bytes that begin at a page; private where there is such a thing, so that the system gives large pages where it can."""
    private = getattr(mmap, "MAP_PRIVATE", 0)
    return memoryview(mmap.mmap(-1, n_bytes, flags=private | mmap.MAP_ANONYMOUS) if private else mmap.mmap(-1, n_bytes))


class LocalFile:
    """A new file, written from its begin to its end. Raises FileExistsError."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - `close` closes it
        self._at = 0
        self._is_direct = False

    def write(self, piece: memoryview) -> None:
        """All of it. Raises OSError: the disk is full, or broken."""
        while piece:
            self._be_direct(not (self._at | len(piece)) % ALIGN)
            n = self._written(piece)
            self._at, piece = self._at + n, piece[n:]

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _written(self, piece: memoryview) -> int:
        try:
            return self._file.write(piece)
        except OSError as error:
            if not self._is_direct or error.errno != errno.EINVAL:  # this filesystem wants it otherwise
                raise
        self._be_direct(False)
        return self._file.write(piece)

    def _be_direct(self, wanted: bool) -> None:
        if self._is_direct != wanted:
            self._is_direct = _set_direct(self._file.fileno(), wanted)


def pieces(path: str) -> Iterator[memoryview]:
    """The bytes of a file from the disk. Each piece is good until the next one is asked for."""
    with open(path, "rb", buffering=0) as file:
        is_direct, piece = _set_direct(file.fileno(), True), memory()
        while n := _read(file, piece, is_direct):
            yield piece[:n]
            if is_direct and n % ALIGN:  # the end; if not, the usual way from here
                is_direct = _set_direct(file.fileno(), False)


def _read(file: io.FileIO, piece: memoryview, is_direct: bool) -> int:
    try:
        return file.readinto(piece)
    except OSError as error:
        if not is_direct or error.errno != errno.EINVAL:
            raise
    _set_direct(file.fileno(), False)
    return file.readinto(piece)


def _set_direct(handle: int, wanted: bool) -> bool:
    """Whether it is so now."""
    if not _DIRECT:
        return False
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    try:
        fcntl.fcntl(handle, fcntl.F_SETFL, flags | _DIRECT if wanted else flags & ~_DIRECT)
    except OSError:
        return False
    return wanted
