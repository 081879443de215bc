"""A folder on any filesystem in which files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

# Unfinished files and notes about finished shards live here until the version is complete.
PROGRESS = ".progress"
_CHUNK = 4 * 1024 * 1024


class HashingSink:
    """A file open for writing that knows the sha256 and the number of bytes of what went through it."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.n_bytes = 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._file.write(view)
        self._sha256.update(view)
        self.n_bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.n_bytes

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Whoever opened the file below closes it, after it has been synced."""


class Folder:
    """A folder: local by default, or on any pyarrow or fsspec filesystem (S3 and the like).

    Names are relative, with "/". Nothing is ever changed in place.
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        """Args: path: local path, or a URI such as s3://bucket/prefix when no filesystem is given.
        filesystem: a pyarrow.fs.FileSystem or an fsspec filesystem; path is then a path on it."""
        text = os.fspath(path)
        if filesystem is None and "://" in text:
            filesystem, text = pafs.FileSystem.from_uri(text)
        if filesystem is None:
            filesystem, text = pafs.LocalFileSystem(), os.path.abspath(text)
        elif not isinstance(filesystem, pafs.FileSystem):
            filesystem = pafs.PyFileSystem(pafs.FSSpecHandler(filesystem))
        self.filesystem = filesystem
        self.root = text.rstrip("/")

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.type == pafs.FileType.File else None

    def names(self) -> list[str]:
        """All files below, sorted, without those that are in the making."""
        everything = pafs.FileSelector(self.root, recursive=True, allow_not_found=True)
        found = self.filesystem.get_file_info(everything)
        start = len(self.root.lstrip("/")) + 1
        files = [info.path.lstrip("/")[start:] for info in found if info.type == pafs.FileType.File]
        return sorted(name for name in files if not name.startswith(PROGRESS + "/"))

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> pa.NativeFile:
        """Random access; the caller closes it."""
        return self.filesystem.open_input_file(self.path(name))

    def sha256(self, name: str) -> str:
        hashed = hashlib.sha256()
        with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            while chunk := stream.read(_CHUNK):
                hashed.update(chunk)
        return hashed.hexdigest()

    def write(self, name: str, content: bytes) -> None:
        with self.create(name) as sink:
            sink.write(content)

    @contextmanager
    def create(self, name: str) -> Iterator[HashingSink]:
        """A file that appears under its name only if the block ends well."""
        unfinished = f"{PROGRESS}/unfinished-{uuid.uuid4().hex}"
        self._make_parents(unfinished)
        self._make_parents(name)
        # pyarrow's local stream cannot be synced; elsewhere the store itself promises what close() returned.
        file = open(self.path(unfinished), "wb") if self.is_local else \
            self.filesystem.open_output_stream(self.path(unfinished))  # noqa: SIM115
        try:
            with file:
                sink = HashingSink(file)
                yield sink
                if self.is_local:
                    file.flush()
                    os.fsync(file.fileno())
            self._move(unfinished, name)
        except BaseException:
            self.delete(unfinished)
            raise

    def delete(self, name: str) -> None:
        """No error when there is no such file."""
        if self.size(name) is not None:
            self.filesystem.delete_file(self.path(name))

    def delete_progress(self) -> None:
        if self.filesystem.get_file_info(self.path(PROGRESS)).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path(PROGRESS))

    def _make_parents(self, name: str) -> None:
        self.filesystem.create_dir(self.path(name).rsplit("/", 1)[0], recursive=True)

    def _move(self, source: str, target: str) -> None:
        if not self.is_local:
            self.filesystem.move(self.path(source), self.path(target))
            return
        os.replace(self.path(source), self.path(target))
        folder = os.open(Path(self.path(target)).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
