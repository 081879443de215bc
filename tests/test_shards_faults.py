"""What breaks while a version is written leaves nothing that looks whole; what can't be written is refused by name."""

import dataclasses
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import wait
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from adproof.shards import direct
from adproof.shards.plan import plan_shards
from adproof.shards.reading import open_version
from adproof.shards.records import checks_of
from adproof.shards.store import Folder, StoreError
from adproof.shards.verify import verify
from adproof.shards.writer import finalise, write_shard, write_version
from tests import version_rows
from tests.version_rows import BASE, contents, sample, samples, sizes, write

rows, version = version_rows.rows, version_rows.version


class TestLocalFiles:
    def elsewhere(self, monkeypatch):
        """The module as it is where there is no O_DIRECT, nor fcntl."""
        spec = importlib.util.spec_from_file_location("direct_elsewhere", direct.__file__)
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "fcntl", None)
            patch.delattr("mmap.MAP_PRIVATE")
            spec.loader.exec_module(module)
            module.memory()
        return module

    def test_any_length_comes_back_past_the_cache_and_where_there_is_no_way_past_it(self, tmp_path, monkeypatch):
        content = np.random.default_rng(0).bytes(direct.PIECE + 5000)
        memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
        for way in (direct, self.elsewhere(monkeypatch)):
            for folder, length in itertools.product((tmp_path, memory), (0, 1, 4096, 4097, len(content))):
                path = folder / f"adproof-{os.getpid()}-{length}"
                whole = way.memory(2 * direct.PIECE)
                whole[:length] = content[:length]
                with closing(way.LocalFile(str(path))) as file:
                    for at in range(0, length, direct.PIECE):
                        file.write(whole[at : min(at + direct.PIECE, length)])
                    file.sync()
                assert b"".join(map(bytes, way.pieces(str(path)))) == path.read_bytes() == content[:length]
                path.unlink()


class TestBrokenWriting:
    def test_progress_is_told_and_an_error_in_it_cancels(self, rows, tmp_path):
        seen = []
        write(tmp_path / "told", rows, on_progress=seen.append)
        assert [p.rows for p in seen if p.rows == p.total_rows] == [84 - 1, 83, 84, 20, 10]
        assert sum(p.rows == p.total_rows for p in seen) == 5

        def cancel(progress):
            if progress.shard.startswith("data/train-00001"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "v", rows, on_progress=cancel)
        files = contents(tmp_path / "v")
        assert "manifest.json" not in files
        assert [name for name in files if not name.startswith(".progress")] == ["data/train-00000-of-00003.parquet"]
        assert verify(tmp_path / "v") == ["manifest.json is missing: this is no dataset version, or an unfinished one"]
        with pytest.raises(FileNotFoundError, match="unfinished"):
            open_version(tmp_path / "v")

    def test_whole_shards_are_not_written_again(self, version, rows, tmp_path):
        def cancel(progress):
            if progress.shard.startswith("data/validation"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "v", rows, on_progress=cancel)
        before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "v/data").iterdir()}
        seen = []
        write(tmp_path / "v", rows, on_progress=seen.append)
        assert {p.shard for p in seen if p.reused} == {f"data/{name}" for name in before}
        assert before.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "v/data").iterdir()}.items()
        assert contents(tmp_path / "v") == contents(version)

    def test_sigkill_in_the_middle_leaves_no_version_and_the_next_attempt_ends_well(self, version, tmp_path):
        script = textwrap.dedent("""
            import sys, time
            from tests.version_rows import samples, write
            def slow(progress):
                print(progress.shard, flush=True)
                time.sleep(60 if progress.shard.startswith("data/train-00001") else 0)
            write(sys.argv[1], samples(), on_progress=slow)
        """)
        child = subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "v"], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parent.parent,
        )
        for line in child.stdout:
            if line.startswith("data/train-00001"):
                break
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        names = [name for name in contents(tmp_path / "v") if not name.startswith(".progress")]
        assert names == ["data/train-00000-of-00003.parquet"]
        assert verify(tmp_path / "v")
        seen = []
        write(tmp_path / "v", samples(), on_progress=seen.append)
        assert [p.shard for p in seen if p.reused] == names
        assert contents(tmp_path / "v") == contents(version)

    def test_a_shard_spoilt_before_the_end_is_found_and_written_again(self, version, rows, tmp_path):
        measured = sizes(rows)
        plan = plan_shards(measured, measured[0].bytes // 3 + 1000)
        folder, stream = Folder(tmp_path / "v"), iter(rows)
        for number in range(len(plan.shards)):
            write_shard(plan, number, stream, folder, BASE)
        shard = tmp_path / "v" / plan.shards[1].name
        shard.write_bytes(b"x" + shard.read_bytes()[1:])
        with pytest.raises(ValueError, match="train-00001-of-00003.*write it again"):
            finalise(plan, folder, BASE)
        assert not (tmp_path / "v/manifest.json").exists()
        write(tmp_path / "v", rows)
        assert contents(tmp_path / "v") == contents(version)

    def test_what_was_checked_early_is_looked_at_again(self, rows, tmp_path, monkeypatch):
        few, away = rows[:30] + rows[-10:], ["data/train-00000-of-00002.parquet"]
        measured, stored = sizes(few), Folder.sha256
        plan = plan_shards(measured, measured[0].bytes // 2 + 1000)
        folder, stream = Folder(tmp_path / "v"), iter(few)

        def sha256(self, name):
            if name in away:
                away.remove(name)
                raise StoreError("away for a moment")
            return stored(self, name)

        monkeypatch.setattr(Folder, "sha256", sha256)
        with checks_of(plan, folder, BASE) as checks:
            for number in range(len(plan.shards)):
                write_shard(plan, number, stream, folder, BASE)
                checks.start(number)
            wait(checks._found.values())
            # A writer of the same version that was given up broke off, and took the shard with it.
            shard = tmp_path / "v" / plan.shards[1].name
            whole = shard.read_bytes()
            shard.write_bytes(whole[:-1])
            with pytest.raises(ValueError, match="train-00001-of-00002.*write it again"):
                finalise(plan, folder, BASE, checks=checks)
            assert not away and not (tmp_path / "v/manifest.json").exists()

    def test_rows_out_of_order_are_refused(self, rows, tmp_path):
        with pytest.raises(ValueError, match="grouped by split"):
            write(tmp_path / "v", [*rows[100:], *rows[:100]])

    def test_too_few_and_too_many_rows_are_refused(self, rows, tmp_path):
        with pytest.raises(ValueError, match="needs 10 rows, only 9"):
            write_version(rows[:-1], tmp_path / "few", BASE, sizes(rows))
        with pytest.raises(ValueError, match="left over"):
            write_version([*rows, rows[0]], tmp_path / "many", BASE, sizes(rows))

    def test_a_product_in_two_splits_is_refused(self, rows, tmp_path):
        leaky = [*rows[:-1], dataclasses.replace(rows[-1], product_id="train-product-0")]
        with pytest.raises(ValueError, match="1 products are in train and in test, such as 'train-product-0'"):
            write(tmp_path / "v", leaky)

    def test_a_sample_twice_is_refused(self, rows, tmp_path):
        with pytest.raises(ValueError, match="more than once"):
            write(tmp_path / "v", [rows[1], *rows[1:]])

    def test_rows_other_than_the_frozen_ones_are_refused(self, rows, tmp_path):
        with pytest.raises(ValueError, match="digest"):
            write(tmp_path / "v", rows, dataclasses.replace(BASE, digest="0" * 64))

    @pytest.mark.parametrize("changes, message", [
        ({"label": 5}, "label 5"), ({"label_probs": [1.0]}, "label_probs"), ({"rfnet_probs": [float("nan")] * 5}, "rfnet"),
        ({"created_at": datetime(2026, 1, 1)}, "time zone"),
    ])
    def test_bad_rows_are_refused_by_name(self, changes, message, tmp_path):
        with pytest.raises(ValueError, match=f"s000001.*{message}"):
            write(tmp_path / "v", [sample(0, "train"), sample(1, "train", **changes)], n_train_shards=1)
        assert not list((tmp_path / "v").rglob("*.parquet"))
