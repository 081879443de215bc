"""A folder on any filesystem in which files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from adproof.shards import direct
from adproof.shards.direct import PIECE

T = TypeVar("T")
# Unfinished files and notes about finished shards live here until the version is complete.
PROGRESS = ".progress"
_CHUNK = 4 * 1024 * 1024
_PIECES = 4  # of memory that a file being written takes at most


class StoreError(OSError):
    """An object store did not answer, or refused; the message says what to do."""


class HashingSink:
    """A file open for writing that knows the sha256 and the number of bytes of what went through it.

    What is written is copied into pieces of memory that are used again and again; two threads of its own hash and write
    them while the next bytes are made.
    """

    closed = False

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        """Args: write: takes a piece of the file at a time, all of PIECE bytes but the last."""
        self._write = write
        self._hash = hashlib.sha256()
        self._hasher, self._writer = ThreadPoolExecutor(1, "hash"), ThreadPoolExecutor(1, "write")
        self._piece: memoryview | None = None
        self._filled = 0
        self._waiting: deque[tuple[memoryview, Future[Any], Future[Any]]] = deque()
        self.n_bytes = 0

    @property
    def sha256(self) -> str:
        self.flush()
        return self._hash.hexdigest()

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            if self._piece is None:
                self._piece = self._free_piece()
            n = min(len(left), PIECE - self._filled)
            self._piece[self._filled : self._filled + n] = left[:n]
            self._filled += n
            left = left[n:]
            if self._filled == PIECE:
                self._hand_over()
        self.n_bytes += size
        return size

    def _free_piece(self) -> memoryview:
        if len(self._waiting) < _PIECES:
            return direct.memory()
        piece, *work = self._waiting.popleft()
        for one in work:
            one.result()
        return piece

    def _hand_over(self) -> None:
        if self._piece is not None and self._filled:
            part = self._piece[: self._filled]
            work = (self._hasher.submit(self._hash.update, part), self._writer.submit(self._write, part))
            self._waiting.append((self._piece, *work))
            self._piece, self._filled = None, 0

    def tell(self) -> int:
        return self.n_bytes

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Everything so far is written when it returns. Raises what went wrong with it."""
        self._hand_over()
        for _, *work in self._waiting:
            for one in work:
                one.result()

    def close(self) -> None:
        """Whoever opened the file below closes it, after it has been synced."""

    def end(self) -> None:
        """Nothing more is written, and nobody is at it any more."""
        for threads in (self._hasher, self._writer):
            threads.shutdown(wait=True, cancel_futures=True)


class Folder:
    """A folder: local by default, or on any pyarrow or fsspec filesystem (S3 and the like).

    Names are relative, with "/". Nothing is ever changed in place.
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        """Args: path: local path, or a URI such as s3://bucket/prefix when no filesystem is given.
        filesystem: a pyarrow.fs.FileSystem or an fsspec filesystem; path is then a path on it."""
        text = os.fspath(path)
        if filesystem is None and text.startswith("s3://"):
            filesystem, text = s3_filesystem(), text.removeprefix("s3://")
        elif filesystem is None and "://" in text:
            filesystem, text = pafs.FileSystem.from_uri(text)
        if filesystem is None:
            filesystem, text = pafs.LocalFileSystem(), os.path.abspath(text)
        elif not isinstance(filesystem, pafs.FileSystem):
            filesystem = pafs.PyFileSystem(pafs.FSSpecHandler(filesystem))
        self.filesystem = filesystem
        self.root = text.rstrip("/")

    def anew(self) -> Folder:
        """The same folder for another process: connections that were open before a fork are of no use after it."""
        return self if self.is_local else Folder(self.root, pickle.loads(pickle.dumps(self.filesystem)))

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is none."""
        with self._asking(f"look for {name}"):
            info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.type == pafs.FileType.File else None

    def names(self) -> list[str]:
        """All files below, sorted, without those that are in the making."""
        everything = pafs.FileSelector(self.root, recursive=True, allow_not_found=True)
        with self._asking("list the files"):
            found = self.filesystem.get_file_info(everything)
        start = len(self.root.lstrip("/")) + 1
        files = [info.path.lstrip("/")[start:] for info in found if info.type == pafs.FileType.File]
        return sorted(name for name in files if name and not name.startswith(PROGRESS + "/"))

    def read(self, name: str) -> bytes:
        with self._asking(f"read {name}"), \
                self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> pa.NativeFile:
        """Random access; the caller closes it."""
        with self._asking(f"read {name}"):
            return self.filesystem.open_input_file(self.path(name))

    def read_by(self, name: str, read: Callable[[pa.NativeFile], T]) -> T:
        """What `read` makes of a file that is open for random access. Asked again when a store breaks off: of a piece that is
        shorter than its error's text, Arrow does not ask it again itself."""
        for is_last in (self.is_local, False, True):
            with self._asking(f"read {name}"), suppress(*() if is_last else (OSError,)), self.open(name) as file:
                return read(file)
        raise AssertionError("the last time raises")

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, some megabytes at a time."""
        with self._asking(f"read {name}"), \
                self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def sha256(self, name: str) -> str:
        """Of the bytes that are stored: of a local file those on the disk."""
        hashed = hashlib.sha256()
        for piece in direct.pieces(self.path(name)) if self.is_local else self.pieces(name):
            hashed.update(piece)
        return hashed.hexdigest()

    def write(self, name: str, content: bytes) -> None:
        with self.create(name) as sink:
            sink.write(content)

    @contextmanager
    def create(self, name: str) -> Iterator[HashingSink]:
        """A file that appears under its name only if the block ends well."""
        with self._create_local(name) if self.is_local else self._create_object(name) as sink:
            try:
                yield sink
                sink.flush()
            finally:
                sink.end()

    @contextmanager
    def _create_local(self, name: str) -> Iterator[HashingSink]:
        unfinished = f"{PROGRESS}/unfinished-{uuid.uuid4().hex}"
        self._make_parents(unfinished)
        self._make_parents(name)
        try:
            # pyarrow's local stream cannot be synced.
            with closing(direct.LocalFile(self.path(unfinished))) as file:
                yield HashingSink(file.write)
                file.sync()
            self._move(unfinished, name)
        except BaseException:
            self.delete(unfinished)
            raise

    @contextmanager
    def _create_object(self, name: str) -> Iterator[HashingSink]:
        """An object appears whole, when it is closed: no detour by another name, and no copy. What was begun and broke
        off is closed too, so it is deleted again; until there is a manifest nobody takes it for anything."""
        with self._asking(f"write {name}"):
            file = self.filesystem.open_output_stream(self.path(name))
            try:
                # Its own memory: the store's client may send it later.
                yield HashingSink(lambda piece: file.write(bytes(piece)))
            except BaseException:
                with suppress(OSError):
                    file.close()
                with suppress(OSError):
                    self.delete(name)
                raise
            file.close()

    def delete(self, name: str) -> None:
        """No error when there is no such file."""
        if self.size(name) is not None:
            self.filesystem.delete_file(self.path(name))

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """An object store's own words are long and say neither what was wanted nor what to do."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, StoreError):
            raise
        except OSError as error:
            if self.is_local:
                raise
            raise StoreError(
                f"The store did not {what} in {self.root}: {str(error)[:500]}. What is finished is kept; try again when"
                " the store answers and its keys are right."
            ) from error

    def delete_progress(self) -> None:
        """Nothing depends on it: what another writer of the same version still has there may stay."""
        with suppress(OSError):
            if self.filesystem.get_file_info(self.path(PROGRESS)).type == pafs.FileType.Directory:
                self.filesystem.delete_dir(self.path(PROGRESS))

    def _make_parents(self, name: str) -> None:
        self.filesystem.create_dir(self.path(name).rsplit("/", 1)[0], recursive=True)

    def _move(self, source: str, target: str) -> None:
        os.replace(self.path(source), self.path(target))
        folder = os.open(Path(self.path(target)).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def s3_filesystem() -> pafs.S3FileSystem:
    """S3 or a store like it, as the usual variables of the environment say: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION. S3_TIMEOUT: seconds that one request may take (30)."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    scheme, _, host = endpoint.rpartition("://") if endpoint else ("", "", None)
    timeout = float(os.environ.get("S3_TIMEOUT") or 30)
    return pafs.S3FileSystem(
        endpoint_override=host.rstrip("/") if host else None,
        scheme=scheme or "https",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        connect_timeout=min(timeout, 5.0),
        request_timeout=timeout,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=5),
    )
