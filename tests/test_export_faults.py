"""What must not happen while a version is written: killed workers, a full disk, two at once, damaged pictures, liars."""

import json
import os
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

from adproof.shards.verify import verify
from adproof.shards.writer import write_version
from bench._export_rows import fill
from datasets_app.exporting import start_write
from datasets_app.models import SPLITS, DatasetVersion, VersionFiles
from datasets_app.places import BadPlace
from datasets_app.rows import split_rows
from datasets_app.writing import info, sizes
from generation.blobs import blobs
from runs.models import Run
from tests.data_rows import do
from tests.version_rows import contents
from tests.workers import ROOT, all_up, kill, start_worker, wait_until, workers

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def frozen(n=60, kb=30) -> DatasetVersion:
    return DatasetVersion.objects.get(pk=fill("ads", n, kb))


@pytest.fixture
def small_shards(settings):
    settings.SHARD_BYTES = 10**6


def shards(run):
    return {path.name: path.stat().st_mtime_ns for path in (Path(run.params["to"]) / "data").glob("*.parquet")}


def parts(run, state):
    return run.parts.filter(state=state).count()


class TestManyWorkers:
    def test_they_share_the_shards_and_the_page_tells_progress_and_rate(self, tmp_path):
        version = frozen(200, 20)
        stages = set()
        with workers(2, "light", SHARD_MB="1"):
            all_up(2)
            run = start_write(version)

            def ended():
                run.refresh_from_db()
                stages.add(run.stage)
                return run.is_finished

            wait_until(ended, 180)
        assert run.state == "succeeded", run.error
        assert run.done == run.total == 200 and run.result["shards"] == run.parts.count() > 10
        assert len({part.worker.split(":")[1] for part in run.parts.all()}) == 2
        assert any("rows/s" in stage and "MB/s" in stage for stage in stages), stages
        assert verify(run.result["uri"], pictures=True) == []
        version.refresh_from_db()
        assert version.state == "written" and version.uri == run.result["uri"]
        # Workers take tables from the database, a notebook's rows come one by one: the same bytes.
        again = tmp_path / "again"
        rows = chain.from_iterable(split_rows(version, split) for split in SPLITS)
        write_version(rows, again, info(version), sizes(version), shard_bytes=10**6)
        assert contents(again) == contents(version.uri)

    def test_kill_9_in_the_middle_of_a_shard_loses_no_whole_shard_and_leaves_no_half_one(self, small_shards):
        version = frozen(200, 40)
        run = start_write(version)
        worker = start_worker("light", SHARD_MB="1")
        try:
            wait_until(lambda: parts(run, "succeeded") >= 3 and parts(run, "running"), 120, every=0.05)
        finally:
            kill(worker)
        whole = shards(run)
        assert whole and verify(run.params["to"]) and not (Path(run.params["to"]) / "manifest.json").exists()
        with workers(1, "light", SHARD_MB="1"):
            wait_until(lambda: Run.objects.get(pk=run.pk).is_finished, 240)
        run.refresh_from_db()
        assert run.state == "succeeded", run.error
        assert verify(run.params["to"], pictures=True) == []
        assert whole.items() <= shards(run).items(), "what was whole is not written again"
        again = do(start_write(version, "full", f"{run.params['to']}-again"))
        assert contents(again.params["to"]) == contents(run.params["to"])

    def test_stopped_it_ends_soon_and_goes_on_when_resumed(self):
        version = frozen(300, 40)
        run = start_write(version)
        with workers(1, "light", SHARD_MB="1"):
            wait_until(lambda: parts(run, "succeeded") >= 2, 120, every=0.05)
            Run.objects.get(pk=run.pk).request_stop()
            wait_until(lambda: Run.objects.get(pk=run.pk).state == "stopped", 60)
            assert not run.parts.unfinished().exists()
            before = shards(run)
            assert start_write(version).pk == run.pk  # resumes
            wait_until(lambda: Run.objects.get(pk=run.pk).state == "succeeded", 240)
        assert before.items() <= shards(run).items() and verify(run.params["to"]) == []


class TestTwoAtOnce:
    def test_asking_twice_is_the_same_run(self):
        version = frozen(5)
        assert start_write(version).pk == start_write(version).pk
        assert start_write(version, "labels").pk != start_write(version).pk

    def test_two_processes_on_one_folder_both_end_well_with_one_version(self, tmp_path):
        script = "import sys; from tests.version_rows import samples, write; write(sys.argv[1], samples(), n_train_shards=8)"
        for attempt in range(3):
            place = tmp_path / f"v{attempt}"
            both = [
                subprocess.Popen([sys.executable, "-c", script, place], cwd=ROOT, stderr=subprocess.PIPE, text=True)
                for _ in range(2)
            ]
            told = [process.communicate(timeout=200)[1] for process in both]
            assert [process.returncode for process in both] == [0, 0], told
            assert verify(place, pictures=True) == []

    def test_a_place_that_holds_another_version_is_refused(self, settings):
        version = frozen(5)
        do(start_write(version))
        other = DatasetVersion.objects.get(pk=fill("other", 5, 5))
        with pytest.raises(BadPlace, match="never overwritten"):
            start_write(other, "full", VersionFiles.objects.get().uri)
        with pytest.raises(BadPlace, match="ask an operator"):
            start_write(version, "full", "/etc/adproof")
        with pytest.raises(BadPlace, match="ask an operator"):
            start_write(version, "full", f"{settings.VERSIONS_DIR}/../elsewhere")
        with pytest.raises(BadPlace, match="s3://bucket/folder"):
            start_write(version, "full", "s3://bucket")


class TestAFullDisk:
    @pytest.fixture
    def tiny_disk(self, tmp_path, settings):
        folder = tmp_path / "tiny"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk for this test")
        settings.VERSIONS_DIR = folder
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_it_is_told_in_a_sentence_nothing_half_written_is_left_and_it_goes_on(self, tiny_disk, small_shards):
        version = frozen(60, 20)
        run = do(start_write(version))
        assert run.state == "failed" and "The disk is full" in run.error and "resume" in run.error
        left = contents(run.params["to"])
        assert "manifest.json" not in left and not [name for name in left if "unfinished" in name]
        version.refresh_from_db()
        assert version.state == "frozen"
        kept = shards(run)
        subprocess.run(["mount", "-o", "remount,size=60m", str(tiny_disk)], check=True)
        run = do(start_write(version))
        assert run.state == "succeeded" and verify(run.params["to"], pictures=True) == []
        assert kept and kept.items() <= shards(run).items()


class TestWhatIsNotAsItWas:
    def test_a_damaged_or_missing_picture_is_named_and_can_be_put_back(self):
        version = frozen(6, 4)
        candidate = version.rows.filter(split="train").first().candidate
        path = blobs().path(candidate.image_sha256)
        good = path.read_bytes()
        path.unlink()  # before anything is known of how large the shards will be
        run = do(start_write(version))
        assert run.state == "failed" and "not in the store any more" in run.error and "backup" in run.error
        path.write_bytes(b"x" + good[1:])
        run = do(start_write(version))
        assert run.state == "failed" and candidate.image_sha256 in run.error and "damaged" in run.error
        path.unlink()
        run = do(start_write(version))
        assert run.state == "failed" and "not in the store any more" in run.error and "backup" in run.error
        path.write_bytes(good)
        assert do(start_write(version)).state == "succeeded"

    def test_rows_that_are_not_the_frozen_ones_never_get_a_manifest(self):
        version = frozen(8, 4)
        row = version.rows.first()
        version.rows.filter(pk=row.pk).update(label=(row.label + 1) % 5)
        run = do(start_write(version, "labels"))
        assert run.state == "failed" and "digest" in run.error
        assert not (Path(run.params["to"]) / "manifest.json").exists()

    def test_a_shard_spoilt_before_the_end_is_written_again(self, small_shards):
        version = frozen(40, 20)
        run = do(start_write(version))
        folder = Path(run.params["to"])
        whole = contents(folder)
        (folder / "manifest.json").unlink()
        spoilt = next((folder / "data").glob("train-*"))
        spoilt.write_bytes(spoilt.read_bytes()[:-10])
        Run.objects.filter(pk=run.pk).update(state="failed")
        assert do(start_write(version)).state == "succeeded"
        assert contents(folder) == whole

    def test_a_manifest_that_lies_is_found_out(self):
        run = do(start_write(frozen(8, 4)))
        path = Path(run.params["to"]) / "manifest.json"
        honest = json.loads(path.read_bytes())
        label = next(iter(honest["counts"]["label"]))
        split = next(split for split, n in honest["counts"]["label"][label].items() if n)
        honest["counts"]["label"][label][split] += 1
        path.write_text(json.dumps(honest))
        assert verify(run.params["to"]) == ["the labels are not as often as the manifest says"]


def test_labels_only_needs_no_picture_at_all():
    version = frozen(20, 4)
    for path in blobs().root.rglob("*"):
        if path.is_file():
            path.unlink()
    began = time.monotonic()
    run = do(start_write(version, "labels"))
    assert run.state == "succeeded" and time.monotonic() - began < 60
    assert verify(run.params["to"]) == []
    version.refresh_from_db()
    assert version.state == "frozen", "a version is written when its full files are there"
