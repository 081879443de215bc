import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adproof.blobs import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "new" / "store")


def files(store: BlobStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_it_gives_back_the_bytes_under_their_sha256(store: BlobStore) -> None:
    sha = store.put(b"teapot")
    assert sha == hashlib.sha256(b"teapot").hexdigest()
    assert store.get(sha) == b"teapot"
    assert store.exists(sha)


def test_it_lays_files_in_two_levels_of_folders(store: BlobStore) -> None:
    sha = store.put(b"teapot")
    assert store.path(sha) == store.root / sha[:2] / sha[2:4] / sha
    assert files(store) == [store.path(sha)]


def test_putting_twice_keeps_one_file_and_does_not_rewrite_it(store: BlobStore) -> None:
    sha = store.put(b"teapot")
    before = store.path(sha).stat().st_ino
    assert store.put(b"teapot") == sha
    assert store.path(sha).stat().st_ino == before
    assert len(files(store)) == 1


def test_it_stores_empty_bytes(store: BlobStore) -> None:
    assert store.get(store.put(b"")) == b""


def test_other_users_may_read_a_stored_file(store: BlobStore) -> None:
    assert store.path(store.put(b"teapot")).stat().st_mode & 0o777 == 0o644


def test_many_writers_of_the_same_bytes_end_with_one_whole_file(store: BlobStore) -> None:
    data = os.urandom(500_000)
    with ThreadPoolExecutor(8) as pool:
        shas = set(pool.map(store.put, [data] * 32))
    assert len(shas) == 1 and store.verify(shas.pop())
    assert len(files(store)) == 1


def test_get_of_something_else_raises(store: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("0" * 64)
    assert not store.exists("0" * 64)


@pytest.mark.parametrize(
    "sha",
    ["", "abc", "A" * 64, "g" * 64, "0" * 63, "0" * 65, "../" + "0" * 61, "0" * 64 + "\n", "٣" * 64, None, 7],
)
def test_it_refuses_what_is_not_a_sha256(store: BlobStore, sha: object) -> None:
    for ask in (store.path, store.get, store.exists, store.verify):
        with pytest.raises(ValueError, match="not a sha256"):
            ask(sha)  # type: ignore[operator]


def test_verify_finds_a_changed_file(store: BlobStore) -> None:
    sha = store.put(b"teapot")
    assert store.verify(sha)
    store.path(sha).write_bytes(b"teapos")
    assert not store.verify(sha)
    assert store.get(sha) == b"teapos"


# The size limit of a process gives the same kind of OSError out of write() as a full disk does.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from adproof.blobs import BlobStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = BlobStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(bytes(1_000_000))
except OSError:
    sys.exit(3)
"""


def test_a_full_disk_raises_and_leaves_nothing_behind(store: BlobStore) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(store.root)], check=False)
    assert done.returncode == 3
    assert files(store) == []


def test_what_killed_writers_left_is_removed_once_nobody_can_be_at_it(store: BlobStore) -> None:
    sha = store.put(b"teapot")
    for name, age_s in ((".new-old", 2 * 24 * 3600), (".new-now", 0)):
        (store.root / name).write_bytes(b"half")
        os.utime(store.root / name, (time.time() - age_s,) * 2)
    assert store.forget_unfinished() == 1
    assert not (store.root / ".new-old").exists() and (store.root / ".new-now").exists() and store.get(sha) == b"teapot"
