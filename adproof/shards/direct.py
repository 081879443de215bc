"""Local files by large pieces, past the system's cache of files.

A version is as large as the disk allows and is read again when somebody trains, not now: in the cache it would only push out
what the database and the pictures need, and finding fresh pages for it costs more than writing them. What is read back
comes from the disk, too, not from what the system remembers of the writing. Where a filesystem knows no such access
(memory, some network ones), it is the usual one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator

# What pieces are multiples of: of their place in memory (pages), in the file, and in length.
ALIGN = 4096
PIECE = 4 * 1024 * 1024
_DIRECT = getattr(os, "O_DIRECT", 0)


def memory(n_bytes: int = PIECE) -> memoryview:
    """Bytes that begin at a page; private, so that the system gives large pages where it can."""
    return memoryview(mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class LocalFile:
    """A new file, written from its begin to its end. Raises FileExistsError."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._at = 0
        self._is_direct = False

    def write(self, piece: memoryview) -> None:
        """All of it. Raises OSError: the disk is full, or broken."""
        while piece:
            self._be_direct(not (self._at | len(piece)) % ALIGN)
            n = self._written(piece)
            self._at, piece = self._at + n, piece[n:]

    def sync(self) -> None:
        os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)

    def _written(self, piece: memoryview) -> int:
        try:
            return os.write(self._handle, piece)
        except OSError as error:
            if not self._is_direct or error.errno != 22:  # EINVAL: this filesystem wants it otherwise
                raise
        self._be_direct(False)
        return os.write(self._handle, piece)

    def _be_direct(self, wanted: bool) -> None:
        if self._is_direct != wanted:
            self._is_direct = _set_direct(self._handle, wanted)


def pieces(path: str) -> Iterator[memoryview]:
    """The bytes of a file from the disk. Each piece is good until the next one is asked for."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        is_direct, at, piece = _set_direct(handle, True), 0, memory()
        while n := _read(handle, piece, at, is_direct):
            yield piece[:n]
            at += n
            if is_direct and n % ALIGN:  # the end; if not, the usual way from here
                is_direct = _set_direct(handle, False)
    finally:
        os.close(handle)


def _read(handle: int, piece: memoryview, at: int, is_direct: bool) -> int:
    try:
        return os.preadv(handle, [piece], at)
    except OSError as error:
        if not is_direct or error.errno != 22:
            raise
    _set_direct(handle, False)
    return os.preadv(handle, [piece], at)


def _set_direct(handle: int, wanted: bool) -> bool:
    """Whether it is so now."""
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    try:
        fcntl.fcntl(handle, fcntl.F_SETFL, flags | _DIRECT if wanted else flags & ~_DIRECT)
    except OSError:
        return False
    return wanted and bool(_DIRECT)
