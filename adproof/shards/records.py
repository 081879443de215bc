"""What is noted of a shard that is whole, until the version is; and whether its bytes are still what was noted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import pyarrow as pa

from adproof.shards.manifest import VersionInfo
from adproof.shards.plan import ShardPlan, ShardSpec
from adproof.shards.store import PROGRESS, Folder
from adproof.shards.tally import Tally

_READERS = 2


@dataclass(frozen=True)
class ShardRecord:
    """A shard that is whole. key: of plan and version, so that notes of another version are never
    believed."""

    key: str
    sha256: str
    bytes: int
    tally: Tally


def key_of(plan: ShardPlan, base: VersionInfo) -> str:
    shards = [asdict(spec) for spec in plan.shards]
    content = {"info": base.as_json(), "plan": shards, "pyarrow": pa.__version__}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def record_name(spec: ShardSpec) -> str:
    return f"{PROGRESS}/{spec.name.removeprefix('data/')}.json"


def keep_record(folder: Folder, spec: ShardSpec, record: ShardRecord) -> None:
    note = vars(record) | {"tally": record.tally.as_json()}
    folder.write(record_name(spec), json.dumps(note).encode())


def is_written(plan: ShardPlan, shard: int, folder: Folder, base: VersionInfo) -> bool:
    """Whether shard number `shard` is there, whole as far as its size tells (finalise reads it all)."""
    return read_record(folder, plan.shards[shard], key_of(plan, base)) is not None


def read_record(folder: Folder, spec: ShardSpec, key: str) -> ShardRecord | None:
    """What is known of a whole shard; None when it has to be written (again)."""
    if folder.size(record_name(spec)) is None:
        return None
    note = json.loads(folder.read(record_name(spec)))
    if note["key"] != key or folder.size(spec.name) != note["bytes"]:
        return None
    return ShardRecord(key, note["sha256"], note["bytes"], Tally.of_json(note["tally"]))


class Checks:
    """Reads shards from where they are stored, and compares their sha256 with what was noted; two at a time.

    Those that are started while others are still being written need not be waited for in the end; what they found is only
    believed while the file is as long as it was then.
    """

    def __init__(self, plan: ShardPlan, folder: Folder, base: VersionInfo, readers: ThreadPoolExecutor) -> None:
        self._plan, self._folder, self._key = plan, folder, key_of(plan, base)
        self._readers = readers
        self._found: dict[int, Future[ShardRecord | None]] = {}

    def start(self, shard: int) -> None:
        """A shard that is whole; does nothing the second time."""
        if shard not in self._found:
            self._found[shard] = self._readers.submit(self._checked, self._plan.shards[shard])

    def records(self) -> Iterator[ShardRecord | None]:
        """Of each shard in order: its record, when all its bytes add up to it."""
        begun_before = frozenset(self._found)
        for shard in range(len(self._plan.shards)):
            self.start(shard)
        for shard in range(len(self._plan.shards)):
            yield self._found_before(shard) if shard in begun_before else self._found[shard].result()

    def _found_before(self, shard: int) -> ShardRecord | None:
        """Read once more if the store was away, or if another writer has been at the shard since."""
        spec = self._plan.shards[shard]
        try:
            record = self._found[shard].result()
        except OSError:
            record = None
        if record is not None and self._folder.size(spec.name) == record.bytes:
            return record
        return self._checked(spec)

    def _checked(self, spec: ShardSpec) -> ShardRecord | None:
        record = read_record(self._folder, spec, self._key)
        return record if record is not None and self._folder.sha256(spec.name) == record.sha256 else None


@contextmanager
def checks_of(plan: ShardPlan, folder: Folder, base: VersionInfo) -> Iterator[Checks]:
    readers = ThreadPoolExecutor(_READERS, "check")
    try:
        yield Checks(plan, folder, base, readers)
    finally:
        readers.shutdown(wait=True, cancel_futures=True)
