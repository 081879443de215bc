"""Versions in an S3-compatible store: written, read, resumed, and what is said when the store fails."""

import dataclasses
import json
import time
import uuid

import pytest

from adproof.shards.manifest import MANIFEST
from adproof.shards.reading import open_version
from adproof.shards.store import Folder, StoreError
from adproof.shards.verify import verify
from tests import s3_server
from tests.version_rows import BASE, contents, samples, write

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with s3_server.server(tmp_path_factory.mktemp("weed")) as found:
        yield found


@pytest.fixture
def store(address, monkeypatch):
    """A place of its own in the store; the keys are in the environment, as they are on a real platform."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    return f"s3://{s3_server.BUCKET}/{uuid.uuid4().hex}/ads/v1"


@pytest.fixture
def trouble(address, store, monkeypatch):
    with s3_server.faulty_proxy(address) as (proxy, trouble):
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
        monkeypatch.setenv("S3_TIMEOUT", "3")
        yield trouble


@pytest.fixture(scope="module")
def rows():
    return samples(60, 6, 4)


def in_store(place):
    folder = Folder(place)
    return {name: folder.read(name) for name in folder.names()}


@pytest.mark.parametrize("variant", ["full", "labels", "webdataset"])
def test_it_is_the_same_to_the_byte_as_in_a_folder(store, rows, tmp_path, variant):
    base = dataclasses.replace(BASE, variant=variant)
    write(store, rows, base)
    write(tmp_path, rows, base)
    assert in_store(store) == contents(tmp_path)
    assert verify(store, pictures=True) == []


def test_it_is_read_from_there(store, rows):
    write(store, rows)
    found = open_version(store).rows("train")
    assert len(found) == 60 and found[7]["sample_id"] == "s000007"
    assert found[7]["generated_image"].shape == (8, 8, 3)


def test_a_store_that_fails_now_and_then_only_costs_time(trouble, store, rows):
    trouble.fail = 5
    write(store, rows)
    trouble.fail = 0
    assert trouble.seen > 20 and verify(store) == []


def test_a_store_that_is_slow_only_costs_time(trouble, store, rows):
    trouble.wait_s = 0.3
    write(store, rows)
    trouble.wait_s = 0
    assert verify(store) == []


def test_a_store_that_fails_is_told_in_a_sentence_and_what_was_whole_is_kept(trouble, store, rows):
    trouble.fail, trouble.only = 1, "data/train-00001"
    with pytest.raises(StoreError, match=r"did not write data/train-00001-of-00003.parquet .* What is finished is kept"):
        write(store, rows)
    trouble.fail = 0
    assert Folder(store).size(MANIFEST) is None and "unfinished" in verify(store)[0]
    seen = []
    write(store, rows, on_progress=seen.append)
    assert [one.shard for one in seen if one.reused] == ["data/train-00000-of-00003.parquet"]
    assert verify(store) == []


def test_a_store_that_does_not_answer_is_not_waited_for_for_ever(trouble, store, monkeypatch):
    monkeypatch.setenv("S3_TIMEOUT", "1")
    trouble.wait_s = 5
    began = time.monotonic()
    with pytest.raises(StoreError, match="did not"):
        Folder(store).read("README.md")
    assert time.monotonic() - began < 60


def test_wrong_keys_are_told(store, rows, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="its keys are right"):
        write(store, rows)


def test_a_truncated_shard_and_a_lying_manifest_are_named(store, rows):
    write(store, rows)
    folder = Folder(store)
    name = next(name for name in folder.names() if name.startswith("data/train"))
    whole = folder.read(name)
    folder.write(name, whole[: len(whole) // 2])
    assert verify(store) == [f"{name} has {len(whole) // 2} bytes, the manifest says {len(whole)}"]
    folder.write(name, whole)
    manifest = json.loads(folder.read(MANIFEST))
    manifest["rows"]["train"] = 61
    folder.write(MANIFEST, json.dumps(manifest).encode())
    assert verify(store) == ["train has 60 rows, the manifest says 61"]


@pytest.mark.django_db(transaction=True)
class TestAsARun:
    def test_a_version_is_written_there_and_says_so(self, store, settings, tmp_path):
        from datasets_app.exporting import start_write
        from tests.data_rows import do, version

        settings.DATASETS_PLACES = [f"s3://{s3_server.BUCKET}"]
        frozen = version(8)
        run = do(start_write(frozen, "full", store))
        assert run.state == "succeeded", run.error
        assert run.result["uri"] == store and run.result["rows"] == 8 and run.result["rows_per_s"] > 0
        assert in_store(store) == contents(frozen.uri)

    def test_a_store_that_fails_fails_the_run_with_a_sentence_and_resumes(self, trouble, store, settings):
        from datasets_app.exporting import start_write
        from tests.data_rows import do, version

        settings.DATASETS_PLACES = [f"s3://{s3_server.BUCKET}"]
        frozen = version(8)
        trouble.fail, trouble.only = 1, "data/test-0"
        run = do(start_write(frozen, "full", store))
        assert run.state == "failed" and "The store did not write data/test-" in run.error and "try again" in run.error
        trouble.fail = 0
        again = start_write(frozen, "full", store)
        assert again.pk == run.pk and do(again).state == "succeeded"
        assert verify(store) == []
