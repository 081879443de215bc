"""Folders, ZIP and tar archives as lists of files. Nothing is unpacked to the disk; a name is never used as a path."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from adproof.imports.problems import BadImport, LeftOut

MAX_MEMBER_BYTES = 64_000_000  # of one picture; tables are read as streams
MAX_UNPACKED_BYTES = 2 * 2**40
MAX_LISTING_BYTES = 256 * 2**20  # of a ZIP's list of files, which is read at once
MAX_PACKED = 200  # times: pictures are packed already, so this is no picture
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error, NotImplementedError,
           RuntimeError, OverflowError, UnicodeDecodeError)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One file. name: with "/" between folders. read: its bytes, at most MAX_MEMBER_BYTES; raises BadMember."""

    name: str
    size: int
    read: Callable[[], bytes]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def is_picture(self) -> bool:
        return PurePosixPath(self.name).suffix.lower() in PICTURES


class BadMember(ValueError):
    """This file of an archive can't be read; others may."""


class Files(Protocol):
    """A folder or an archive."""

    name: str

    def members(self) -> Iterator[Member | LeftOut]:
        """Every file in a fixed order. A member of a tar may be read only until the next one is asked for."""

    def find(self, name: str) -> Member | None:
        """The file of this name (as in `members`), or the only one whose last part is this."""


def open_files(path: Path) -> Files:
    """A folder, or an archive told by its first bytes. Raises BadImport: neither."""
    if path.is_dir():
        return Folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise BadImport(f"{path.name} can't be read: {error.strerror or error}.") from error
    if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
        return Zip(path)
    if unpacker(start) is not None or start[257:262] == b"ustar":
        return Tar(path)
    raise BadImport(f"{path.name} is neither a folder nor a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz archive.")


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def unpacker(start: bytes) -> Callable[[Path], Any] | None:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open
    if start.startswith(b"BZh"):
        return bz2.open
    return lzma.open if start.startswith(b"\xfd7zXZ") else None


def name_problem(name: str) -> str | None:
    """Why a name in an archive is not taken."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or "\x00" in name or len(name) > 500:
        return "its name can't be used"
    if ".." in parts or parts[0] == "/" or (len(parts[0]) > 1 and parts[0][1] == ":"):
        return "its name leads out of the archive"
    return None


def _outside(where: str, why: str) -> LeftOut:
    return LeftOut(where[:300], "name leads outside", f"{why}: make the archive again from inside its folder.")


def _link(where: str) -> LeftOut:
    return LeftOut(where[:300], "link", "it is a link and no file: put the file itself there.")


def _too_large(where: str, size: int) -> LeftOut:
    text = f"it has {size / 1e6:,.0f} MB; at most {MAX_MEMBER_BYTES / 1e6:,.0f} MB are taken."
    return LeftOut(where[:300], "too large", text)


class _ByName:
    """find() for those that can list their files cheaply: by whole name, else by a last part that only one has."""

    _index: dict[str, Member | None] | None = None

    def members(self) -> Iterator[Member | LeftOut]:
        raise NotImplementedError

    def find(self, name: str) -> Member | None:
        if self._index is None:
            self._index = {}
            for member in self.members():
                if isinstance(member, Member):
                    last = PurePosixPath(member.name).name
                    self._index[member.name] = member
                    if last != member.name:
                        self._index[last] = None if last in self._index else member
        name = str(PurePosixPath(name.replace("\\", "/"))).removeprefix("./")
        found = self._index.get(name)
        return found if found is not None or "/" not in name else self._index.get(PurePosixPath(name).name)


class Folder(_ByName):
    """A folder with all below it. Links are left out, so nothing outside of it is ever read."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def members(self) -> Iterator[Member | LeftOut]:
        for folder, below, files in os.walk(self.path, followlinks=False):
            below.sort()
            inside = Path(folder)
            for name in [name for name in below if (inside / name).is_symlink()]:
                yield _link((inside / name).relative_to(self.path).as_posix())
            for name in sorted(files):
                path = inside / name
                where = path.relative_to(self.path).as_posix()
                try:
                    status = path.lstat()
                except OSError as error:
                    yield LeftOut(where[:300], "can't be read", f"it can't be read: {error.strerror}.")
                    continue
                if not stat.S_ISREG(status.st_mode):
                    yield _link(where)
                else:
                    yield Member(where, status.st_size, partial(_read_file, path))


def _read_file(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        return _bounded(file, path.name)


def _bounded(file: Any, name: str) -> bytes:
    data: bytes = file.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise BadMember(f"it has more than {MAX_MEMBER_BYTES / 1e6:,.0f} MB.")
    return data


class Zip(_ByName):
    """Raises BadImport: no ZIP, or cut short (its list of files stands at its end)."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        try:
            _check_listing(path)
            self._zip = zipfile.ZipFile(path)
        except (*_DAMAGE, ValueError) as error:
            raise BadImport(f"{path.name} is damaged or cut short ({error}): copy it again.") from error

    def members(self) -> Iterator[Member | LeftOut]:
        seen: set[str] = set()
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            problem = self._problem(info, seen)
            seen.add(info.filename)
            yield problem or Member(info.filename, info.file_size, partial(self._read, info))

    def _problem(self, info: zipfile.ZipInfo, seen: set[str]) -> LeftOut | None:
        where = f"{self.name}/{info.filename}"
        why = name_problem(info.filename)
        if why:
            return _outside(where, why)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            return _link(where)
        if info.flag_bits & 1:
            return LeftOut(where[:300], "encrypted", "it is encrypted: make the archive without a password.")
        if info.filename in seen:
            return LeftOut(where[:300], "twice in the archive", "another file has this name: the first is taken.")
        if PurePosixPath(info.filename).suffix.lower() in PICTURES:
            if info.file_size > MAX_MEMBER_BYTES:
                return _too_large(where, info.file_size)
            if info.file_size > 1_000_000 and info.file_size > MAX_PACKED * max(1, info.compress_size):
                return LeftOut(where[:300], "bomb", "it unpacks to hundreds of times its size: no picture does.")
        return None

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._zip.open(info) as file:
                return _bounded(file, info.filename)
        except _DAMAGE as error:
            raise BadMember(f"it is damaged in the archive ({error}): copy the archive again.") from error


def _check_listing(path: Path) -> None:
    """Python reads a ZIP's list of files at once: its size must be sane. Raises BadZipFile."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 66_000))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("its end is missing")
    (listing,) = struct.unpack_from("<I", tail, at + 12)
    big = tail.rfind(b"PK\x06\x06")
    if listing == 0xFFFFFFFF and big >= 0 and len(tail) >= big + 48:
        (listing,) = struct.unpack_from("<Q", tail, big + 40)
    if listing > MAX_LISTING_BYTES:
        raise zipfile.BadZipFile("it lists far too many files: split it")


class Tar:
    """A tar, packed or not. One pass over it; what it says about sizes is believed only up to the limits."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        with path.open("rb") as file:
            self._unpack = unpacker(file.read(512))
        self._found: _TarIndex | None = None

    def members(self) -> Iterator[Member | LeftOut]:
        try:
            with self._opened() as file, _tar_in(file) as tar:
                yield from self._members(tar)
        except _DAMAGE as error:
            text = f"the archive is damaged or cut short here ({error}): what came before it is taken; copy it again."
            yield LeftOut(self.name, "archive cut short", text)
        except OSError as error:
            if error.errno is not None and not isinstance(error, gzip.BadGzipFile):
                raise
            yield LeftOut(self.name, "archive cut short", f"the archive is damaged ({error}): copy it again.")

    def _opened(self) -> Any:
        return self._unpack(self.path) if self._unpack else self.path.open("rb")

    def _members(self, tar: tarfile.TarFile) -> Iterator[Member | LeftOut]:
        seen: set[str] = set()
        while info := tar.next():
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every file's header
            if tar.offset > MAX_UNPACKED_BYTES:
                raise tarfile.ReadError("it unpacks to more than 2 TB")
            if info.isdir():
                continue
            where, why = f"{self.name}/{info.name}", name_problem(info.name)
            if why:
                yield _outside(where, why)
            elif not info.isreg() or info.issparse():
                yield _link(where)
            elif info.size > MAX_MEMBER_BYTES and PurePosixPath(info.name).suffix.lower() in PICTURES:
                yield _too_large(where, info.size)
            elif info.name in seen:
                yield LeftOut(where[:300], "twice in the archive", "another file has this name: the first is taken.")
            else:
                seen.add(info.name)
                yield Member(info.name.removeprefix("./"), info.size, partial(self._read, tar, info))

    def _read(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
        file = tar.extractfile(info)
        if file is None:
            raise BadMember("it is no plain file.")
        try:
            return _bounded(file, info.name)
        except (*_DAMAGE, gzip.BadGzipFile) as error:
            raise BadMember(f"it is damaged or cut short in the archive ({error}): copy the archive again.") from error

    def find(self, name: str) -> Member | None:
        if self._unpack is not None:
            raise BadImport(f"files of {self.name} are looked up by name, which a packed tar can't do: make it a .zip.")
        if self._found is None:
            self._found = _TarIndex(self)
        return self._found.find(name)


class _TarIndex(_ByName):
    """Where each file of an unpacked tar begins."""

    def __init__(self, tar: Tar) -> None:
        self.tar = tar

    def members(self) -> Iterator[Member | LeftOut]:
        with self.tar.path.open("rb") as file, _tar_in(file) as tar:
            try:
                while info := tar.next():
                    tar.members = []  # type: ignore[attr-defined]
                    if info.isreg() and not info.issparse() and name_problem(info.name) is None:
                        yield Member(info.name.removeprefix("./"), info.size, self._reader(info.offset_data, info.size))
            except _DAMAGE:
                return  # what is whole can be found

    def _reader(self, at: int, size: int) -> Callable[[], bytes]:
        def read() -> bytes:
            if size > MAX_MEMBER_BYTES:
                raise BadMember(f"it has more than {MAX_MEMBER_BYTES / 1e6:,.0f} MB.")
            with self.tar.path.open("rb") as file:
                file.seek(at)
                data = file.read(size)
            if len(data) != size:
                raise BadMember("it is cut short in the archive: copy the archive again.")
            return data

        return read


def _tar_in(file: Any) -> tarfile.TarFile:
    careful: Any = _Careful(file)
    return tarfile.open(fileobj=careful, mode="r:")


class _Careful:
    """A file that gives no more than a picture's worth at once: a header may claim to be gigabytes long."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MAX_MEMBER_BYTES + 1024:
            raise tarfile.ReadError("a part of it claims an impossible size")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
