"""A dataset version is written whole, is the same each time, and is read by other people's tools."""

import dataclasses
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import wait
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adproof.blobs import BlobStore
from adproof.labels import LABELS
from adproof.shards import direct, writer
from adproof.shards.columns import Columns
from adproof.shards.compare import compare
from adproof.shards.manifest import Manifest, VersionInfo
from adproof.shards.plan import SplitSize, plan_shards
from adproof.shards.reading import open_version
from adproof.shards.records import checks_of
from adproof.shards.schema import IMAGE_COLUMNS, SPLITS, AnnotationRow, Picture, SampleRow, schema, to_table
from adproof.shards.splits import digest, split_of
from adproof.shards.store import Folder, StoreError
from adproof.shards.verify import verify
from adproof.shards.writer import finalise, write_shard, write_version

FROZEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = VersionInfo(
    name="ads", version="v1", created_at=FROZEN, code_version="abc123", seed=7,
    query={"source": ["adworld"], "min_annotations": 2}, description="Ads | of a test.",
)


def encoded(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def sample(number, split, size=8, n_votes=3, **changes):
    rng = np.random.default_rng(number)
    label = int(rng.integers(5))
    votes = [
        AnnotationRow(f"annotator-{v}", label if v else (label + 1) % 5, 2.5 + v, FROZEN - timedelta(minutes=v))
        for v in range(n_votes)
    ]
    depth = rng.integers(0, 65536, (size, size)).astype(np.uint16)
    row = SampleRow(
        sample_id=f"s{number:06d}", split=split, product_id=f"{split}-product-{number // 3}", source="adworld",
        category=["chair", "lamp"][number % 2], title=f"Chair {number}", description="Oak, four legs", prompt="a room",
        negative_prompt="blurry",
        generated_image=Picture(encoded(rng.integers(0, 256, (size, size, 3)).astype(np.uint8)), f"{number}.png"),
        product_image=Picture(encoded(rng.integers(0, 256, (size, size, 4)).astype(np.uint8)), f"{number}-p.png"),
        depth_map=Picture(encoded(depth), f"{number}-d.png"),
        saliency_map=Picture(encoded(rng.integers(0, 256, (size, size)).astype(np.uint8)), f"{number}-s.png"),
        label=label, label_probs=np.eye(5)[label].tolist(), annotation_count=n_votes, agreement=2 / 3,
        annotations=votes, generator="mini", seed=number, attempt=1,
        rfnet_version="r1" if number % 2 else None, rfnet_probs=[0.2] * 5 if number % 2 else None, created_at=FROZEN,
    )
    return dataclasses.replace(row, **changes)


def samples(train=250, validation=20, test=10, **changes):
    ends = np.cumsum([0, train, validation, test])
    return [sample(i, split, **changes) for split, a, b in zip(SPLITS, ends, ends[1:], strict=False) for i in range(a, b)]


def sizes(rows):
    return [SplitSize(s, sum(r.split == s for r in rows), sum(r.n_bytes() for r in rows if r.split == s)) for s in SPLITS]


def write(out, rows, base=BASE, n_train_shards=3, **options):
    measured = sizes(rows)
    shard_bytes = measured[0].bytes // n_train_shards + 1000
    return write_version(iter(rows), out, base, measured, shard_bytes=shard_bytes, **options)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def rows():
    return samples()


@pytest.fixture(scope="module")
def version(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("ads") / "v1"
    write(out, rows)
    return out


class TestWhatIsWritten:
    def test_the_files(self, version):
        assert list(contents(version)) == [
            "README.md", "croissant.json", "data/test-00000-of-00001.parquet", "data/train-00000-of-00003.parquet",
            "data/train-00001-of-00003.parquet", "data/train-00002-of-00003.parquet",
            "data/validation-00000-of-00001.parquet", "manifest.json",
        ]

    def test_the_manifest_tells_all(self, version, rows):
        manifest = Manifest.of((version / "manifest.json").read_bytes())
        files = contents(version)
        assert set(manifest.files) == set(files) - {"manifest.json"}
        for name, entry in manifest.files.items():
            assert entry.sha256 == hashlib.sha256(files[name]).hexdigest()
            assert entry.bytes == len(files[name])
        assert manifest.rows == {"train": 250, "validation": 20, "test": 10}
        assert manifest.info["query"] == BASE.query
        assert (manifest.info["seed"], manifest.info["code_version"], manifest.info["parent"]) == (7, "abc123", None)
        assert manifest.pyarrow == pa.__version__
        assert manifest.leak_check == {"shared_products": 0, "near_duplicate_pairs": None}
        assert manifest.digest == digest(
            (r.sample_id, r.label, r.split, [hashlib.sha256(p.bytes).hexdigest() for p in r.pictures()]) for r in rows
        )
        labels = Counter(LABELS[r.label] for r in rows)
        assert {name: sum(counts.values()) for name, counts in manifest.counts["label"].items()} == labels
        assert manifest.agreement["mean_annotations"] == 3
        assert manifest.agreement["mean_agreement"] == pytest.approx(2 / 3)
        assert manifest.agreement["alpha_low"] <= manifest.agreement["alpha"] <= manifest.agreement["alpha_high"]

    def test_row_groups_are_small_text_is_compressed_and_pictures_are_not(self, version):
        metadata = pq.read_metadata(version / "data/train-00000-of-00003.parquet")
        assert max(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)) <= 100
        group = metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        for name in IMAGE_COLUMNS:
            assert columns[f"{name}.bytes"].compression == "UNCOMPRESSED"
            assert not columns[f"{name}.bytes"].has_dictionary_page
        assert columns["prompt"].compression == "ZSTD"
        assert columns["annotations.list.element.annotator"].compression == "ZSTD"
        assert columns["prompt"].has_offset_index

    def test_the_schema_is_that_of_the_format(self, version):
        found = pq.read_schema(version / "data/train-00000-of-00003.parquet")
        assert found.equals(schema(), check_metadata=False)
        assert found.metadata[b"huggingface"] == schema().metadata[b"huggingface"]

    def test_large_rows_make_small_groups(self, tmp_path, monkeypatch):
        monkeypatch.setattr(writer, "GROUP_BYTES", 3000)
        few = samples(20, 0, 0)
        write(tmp_path / "v", few, n_train_shards=1)
        metadata = pq.read_metadata(next((tmp_path / "v/data").glob("*.parquet")))
        assert metadata.num_row_groups >= sum(r.n_bytes() for r in few) // 3000

    def test_pictures_may_be_missing(self, tmp_path):
        row = sample(0, "train", depth_map=None, saliency_map=None, agreement=None, annotations=(), annotation_count=0)
        write(tmp_path / "v", [row])
        got = open_version(tmp_path / "v").rows("train")[0]
        assert got["depth_map"] is None and got["saliency_map"] is None and got["generated_image"].shape == (8, 8, 3)
        assert verify(tmp_path / "v", pictures=True) == []

    def test_the_card_has_yaml_and_counts(self, version, rows):
        yaml = pytest.importorskip("yaml")
        text = (version / "README.md").read_text()
        _, front, body = text.split("---\n", 2)
        card = yaml.safe_load(front)
        assert card["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*.parquet"}
        assert card["size_categories"] == ["n<1K"]
        assert [s["num_examples"] for s in card["dataset_info"]["splits"]] == [250, 20, 10]
        for heading in ("Labels", "By source", "By category", "Agreement", "How it was built", "Known limits"):
            assert f"## {heading}" in body
        assert "`shape_hallucination`" in body and "| chair |" in body and "abc123" in body

    def test_croissant_is_valid(self, version):
        content = json.loads((version / "croissant.json").read_bytes())
        assert content["conformsTo"] == "http://mlcommons.org/croissant/1.0"
        shards = {d["name"]: d["sha256"] for d in content["distribution"] if d["@type"] == "cr:FileObject"}
        manifest = Manifest.of((version / "manifest.json").read_bytes())
        assert shards == {name: f.sha256 for name, f in manifest.files.items() if name.endswith(".parquet")}
        mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
        dataset = mlcroissant.Dataset(jsonld=str(version / "croissant.json"))
        assert not dataset.metadata.ctx.issues.errors
        record = next(iter(dataset.records("test")))
        assert record["test/sample_id"].decode().startswith("s000")


class TestRepetition:
    def test_the_same_rows_give_the_same_bytes(self, version, rows, tmp_path):
        write(tmp_path / "again", rows)
        assert contents(tmp_path / "again") == contents(version)

    def test_workers_may_write_shards_in_any_order(self, version, rows, tmp_path):
        measured = sizes(rows)
        plan = plan_shards(measured, measured[0].bytes // 3 + 1000)
        folder = Folder(tmp_path / "v")
        by_split = {split: [r for r in rows if r.split == split] for split in SPLITS}
        for number in reversed(range(len(plan.shards))):
            spec = plan.shards[number]
            write_shard(plan, number, by_split[spec.split][spec.start : spec.stop], folder, BASE)
        finalise(plan, folder, BASE)
        assert contents(tmp_path / "v") == contents(version)

    def test_a_finished_version_is_left_as_it_is(self, version, rows):
        before = contents(version)
        assert write(version, rows).digest == Manifest.of(before["manifest.json"]).digest
        assert contents(version) == before

    def test_another_version_never_takes_its_place(self, version, rows):
        with pytest.raises(FileExistsError, match="never changed"):
            write(version, rows, dataclasses.replace(BASE, version="v2"))

    def test_versions_that_share_rows_share_most_bytes(self, tmp_path):
        many = samples(120, 0, 0, size=32)
        fewer = [r for r in many if r.sample_id != "s000003"]
        for name, some in (("v1", many), ("v2", fewer)):
            write(tmp_path / name, some, dataclasses.replace(BASE, version=name), n_train_shards=1)
        old, new = ((tmp_path / name / "data/train-00000-of-00001.parquet").read_bytes() for name in ("v1", "v2"))
        pieces = [old[at : at + 1024] for at in range(0, len(old), 1024)]
        assert sum(piece in new for piece in pieces) > 0.8 * len(pieces)


def put(store, content):
    """Without flushing each to the disk, as the store does."""
    sha = hashlib.sha256(content).hexdigest()
    store.path(sha).parent.mkdir(parents=True, exist_ok=True)
    store.path(sha).write_bytes(content)
    return sha


def as_columns(rows, store):
    """What the same rows are to those who bring tables; the pictures lie in a store."""
    named = [
        dataclasses.replace(row, **{
            name: (picture := getattr(row, name)) and Picture(picture.bytes, f"{put(store, picture.bytes)}.png")
            for name in IMAGE_COLUMNS
        })
        for row in rows
    ]
    table = to_table(named, "labels")
    exact = pa.array([row.agreement for row in named], pa.float64())
    table = table.set_column(table.schema.get_field_index("agreement"), "agreement", exact).replace_schema_metadata(None)
    return named, Columns([table.slice(0, 130), table.slice(130, 30), table.slice(160)], store)


class TestRowsAsTables:
    @pytest.mark.parametrize("variant", ["full", "labels"])
    def test_they_make_the_same_bytes_as_rows_one_by_one(self, variant, tmp_path, monkeypatch):
        monkeypatch.setattr(writer, "GROUP_BYTES", 60_000)
        some = [
            sample(n, "train", size=8 if n < 100 else 20, n_votes=n % 4, **({"depth_map": None} if n % 7 == 0 else {}),
                   **({"agreement": None} if n % 5 == 0 else {}))
            for n in range(250)
        ]  # fmt: skip
        named, columns = as_columns(some, BlobStore(tmp_path / "store"))
        base, plan = dataclasses.replace(BASE, variant=variant), plan_shards([SplitSize("train", 250, 0)])
        if variant == "labels":  # which has no bytes of pictures, only their hashes
            bare = [
                {name: (picture := getattr(row, name)) and Picture(b"", picture.path, picture.path[:64]) for name in IMAGE_COLUMNS}
                for row in named
            ]
            named = [dataclasses.replace(row, **pictures) for row, pictures in zip(named, bare, strict=True)]
        for name, rows in (("rows", named), ("tables", columns)):
            folder = Folder(tmp_path / name)
            write_shard(plan, 0, rows, folder, base)
            finalise(plan, folder, base)
        assert contents(tmp_path / "tables") == contents(tmp_path / "rows")

    @pytest.mark.parametrize("name, value, message", [
        ("label", [5] + [0] * 9, "s000000.*label"),
        ("label_probs", [[0.2] * 5] * 3 + [[float("nan")] * 5] + [[0.2] * 5] * 6, "s000003.*label_probs"),
    ])
    def test_bad_ones_are_refused_by_name(self, name, value, message, tmp_path):
        _, columns = as_columns([sample(n, "train") for n in range(10)], BlobStore(tmp_path / "store"))
        table = columns.tables[0]
        place = table.schema.get_field_index(name)
        bad = table.set_column(place, table.schema.field(place), pa.array(value, table.schema.field(place).type))
        with pytest.raises(ValueError, match=message):
            write_shard(plan_shards([SplitSize("train", 10, 0)]), 0, Columns([bad], columns.store), Folder(tmp_path / "v"), BASE)
        assert not list((tmp_path / "v").rglob("*.parquet"))


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
            from tests.test_shards import samples, write
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


class TestVerify:
    @pytest.fixture
    def copy(self, version, tmp_path):
        for name, content in contents(version).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return tmp_path

    def test_a_good_version_has_no_problems_and_it_tells_how_far_it_is(self, version):
        steps = []
        assert verify(version, pictures=True, on_step=lambda *step: steps.append(step)) == []
        files = [step for step in steps if step[0] == "files"]
        assert files == [("files", n, 7) for n in range(1, 8)]
        assert steps[7:] == [("samples", n, 280) for n in range(1, 281)]

    def test_a_truncated_shard(self, copy):
        shard = copy / "data/train-00001-of-00003.parquet"
        shard.write_bytes(shard.read_bytes()[:-100])
        assert verify(copy) == [f"data/train-00001-of-00003.parquet has {shard.stat().st_size} bytes,"
                                f" the manifest says {shard.stat().st_size + 100}"]

    def test_a_flipped_bit_a_missing_and_a_strange_file(self, copy):
        shard = copy / "data/train-00001-of-00003.parquet"
        content = bytearray(shard.read_bytes())
        content[1000] ^= 1
        shard.write_bytes(content)
        (copy / "README.md").unlink()
        (copy / "data/extra.parquet").write_bytes(b"")
        assert sorted(verify(copy)) == [
            "README.md is missing", "data/extra.parquet is not in the manifest",
            "data/train-00001-of-00003.parquet has another sha256 than the manifest says",
        ]

    @pytest.mark.parametrize("lie, problem", [
        (lambda m: m["rows"].update(train=251), "train has 250 rows, the manifest says 251"),
        (lambda m: m["counts"]["label"]["available"].update(train=1), "labels"),
        (lambda m: m["files"]["data/test-00000-of-00001.parquet"].update(rows=9), "10 rows, the manifest says 9"),
        (lambda m: m.update(digest="0" * 64), "do not add up"),
        (lambda m: m.update(format="other"), "format"),
        (lambda m: m.pop("files"), "missing or unknown parts"),
        (lambda m: m["files"].update({"data/../../secret": m["files"]["README.md"]}), "'data/../../secret' lies outside"),
    ])
    def test_a_manifest_that_lies(self, copy, lie, problem):
        manifest = json.loads((copy / "manifest.json").read_bytes())
        lie(manifest)
        (copy / "manifest.json").write_text(json.dumps(manifest))
        assert problem in " ".join(verify(copy, pictures=True))

    def test_a_manifest_that_is_no_json(self, copy):
        (copy / "manifest.json").write_text("{")
        assert "not JSON" in verify(copy)[0]


class TestReading:
    def test_one_row_without_reading_its_shard(self, version, rows):
        train = open_version(version).rows("train")
        assert len(train) == 250
        for number in (0, 83, 84, 249, -1):
            assert train[number]["sample_id"] == rows[:250][number].sample_id
        with pytest.raises(IndexError):
            train[250]

    def test_pictures_are_decoded_as_they_were_stored(self, version, rows):
        got = open_version(version).rows("train")[5]
        for name, kind, shape in (("generated_image", np.uint8, (8, 8, 3)), ("product_image", np.uint8, (8, 8, 4)),
                                  ("depth_map", np.uint16, (8, 8)), ("saliency_map", np.uint8, (8, 8))):
            assert (got[name].dtype, got[name].shape) == (kind, shape)
            stored = Image.open(io.BytesIO(getattr(rows[5], name).bytes))
            assert (got[name] == np.asarray(stored)).all()
        assert got["depth_map"].max() > 255

    def test_only_what_is_asked_for(self, version, rows):
        got = open_version(version).rows("test", ["label", "depth_map"], decode=False)[0]
        assert got == {"label": rows[270].label, "depth_map": rows[270].depth_map.bytes}
        with pytest.raises(ValueError, match="colour"):
            open_version(version).rows("test", ["colour"])

    def test_a_stream_gives_every_row_once_to_one_reader(self, version):
        train = open_version(version).rows("train", ["sample_id"])
        parts = [[r["sample_id"] for r in train.stream(part, 3, seed=1, buffer=50)] for part in range(3)]
        whole = [one for part in parts for one in part]
        assert sorted(whole) == [f"s{i:06d}" for i in range(250)]
        assert whole != sorted(whole)
        again = [r["sample_id"] for r in train.stream(0, 3, seed=1, buffer=50)]
        assert again == parts[0]
        assert [r["sample_id"] for r in train] == sorted(whole)

    def test_rows_can_be_sent_to_another_process(self, version):
        train = open_version(version).rows("train", ["sample_id"])
        train[0]
        assert pickle.loads(pickle.dumps(train))[1]["sample_id"] == "s000001"

    def test_torch_loads_it_with_workers(self, version):
        torch = pytest.importorskip("torch")
        from adproof.shards.torch_data import RowStream

        rows = open_version(version).rows("train", ["seed", "depth_map"])
        stream = RowStream(rows, seed=3)
        loader = torch.utils.data.DataLoader(stream, batch_size=10, num_workers=2)
        batches = list(loader)
        assert sorted(torch.cat([b["seed"] for b in batches]).tolist()) == list(range(250))
        assert batches[0]["depth_map"].dtype == torch.uint16
        by_number = torch.utils.data.DataLoader(rows, batch_size=50, shuffle=True)
        assert sorted(torch.cat([b["seed"] for b in by_number]).tolist()) == list(range(250))

    def test_on_another_filesystem(self, rows, version):
        fsspec = pytest.importorskip("fsspec")
        memory = fsspec.filesystem("memory")
        write("/ads/v1", rows, filesystem=memory)
        assert verify("/ads/v1", memory, pictures=True) == []
        assert open_version("/ads/v1", memory).rows("test")[0]["sample_id"] == rows[270].sample_id
        assert memory.cat("/ads/v1/manifest.json") == (version / "manifest.json").read_bytes()
        memory.rm("/ads", recursive=True)


class TestOtherPeoplesTools:
    def check(self, row, expected):
        assert row["generated_image"].mode == "RGB"
        assert row["product_image"].mode == "RGBA"
        assert row["depth_map"].mode.startswith("I")
        depth = np.asarray(row["depth_map"])
        assert (depth == np.asarray(Image.open(io.BytesIO(expected.depth_map.bytes)))).all() and depth.max() > 255
        alpha = np.asarray(row["product_image"])[..., 3]
        assert (alpha == np.asarray(Image.open(io.BytesIO(expected.product_image.bytes)))[..., 3]).all()

    def test_hugging_face_datasets(self, version, rows, tmp_path):
        datasets = pytest.importorskip("datasets", reason="datasets is not installed")
        loaded = datasets.load_dataset("parquet", data_files={
            split: str(version / f"data/{split}-*.parquet") for split in SPLITS
        }, cache_dir=str(tmp_path))
        assert loaded.num_rows == {"train": 250, "validation": 20, "test": 10}
        assert loaded["train"].features["label"].names == list(LABELS)
        row = loaded["train"][7]
        self.check(row, rows[7])
        assert loaded["train"].features["label"].int2str(row["label"]) == LABELS[rows[7].label]
        assert row["annotations"][0]["annotator"] == "annotator-0"
        assert row["rfnet_probs"] == pytest.approx([0.2] * 5)
        assert loaded["train"][6]["rfnet_probs"] is None
        assert row["created_at"] == FROZEN

    def test_hugging_face_datasets_streams_the_folder_as_its_card_says(self, version, rows, tmp_path):
        datasets = pytest.importorskip("datasets", reason="datasets is not installed")
        stream = datasets.load_dataset(str(version), split="validation", streaming=True, cache_dir=str(tmp_path))
        self.check(next(iter(stream)), rows[250])

    def test_features_are_those_datasets_would_write(self):
        datasets = pytest.importorskip("datasets", reason="datasets is not installed")
        features = datasets.Features.from_arrow_schema(schema())
        assert features.arrow_schema.equals(schema(), check_metadata=False)

    def test_pandas(self, version, rows):
        pandas = pytest.importorskip("pandas")
        frame = pandas.read_parquet(version / "data/test-00000-of-00001.parquet")
        assert frame.label.tolist() == [r.label for r in rows[270:]]
        assert frame.depth_map[0]["bytes"] == rows[270].depth_map.bytes

    def test_pyarrow_dataset(self, version):
        dataset = pyarrow.dataset.dataset(version / "data", format="parquet")
        assert dataset.count_rows() == 280
        assert dataset.to_table(columns=["label"], filter=pyarrow.dataset.field("seed") < 10).num_rows == 10

    def test_duckdb(self, version, rows):
        duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
        found = duckdb.sql(
            f"select label, generated_image.bytes, rfnet_probs, annotations[1].annotator from '{version}/data/*.parquet'"
            " where sample_id = 's000271'"
        ).fetchall()[0]
        assert found[0] == rows[271].label
        assert bytes(found[1]) == rows[271].generated_image.bytes
        assert list(found[2]) == pytest.approx([0.2] * 5)
        assert found[3] == "annotator-0"

    def test_polars(self, version, rows):
        polars = pytest.importorskip("polars", reason="Polars is not installed")
        frame = polars.read_parquet(version / "data/test-00000-of-00001.parquet")
        assert frame["depth_map"][0]["bytes"] == rows[270].depth_map.bytes
        assert frame["rfnet_probs"].null_count() == 5


class TestSplitsAndDigest:
    def test_a_product_keeps_its_split_and_shares_are_kept(self):
        splits = Counter(split_of(f"product-{i}", "salt") for i in range(5000))
        assert splits["train"] == pytest.approx(4000, abs=120)
        assert splits["validation"] == pytest.approx(500, abs=80)
        assert split_of("product-1", "salt") == split_of("product-1", "salt")
        assert any(split_of(f"product-{i}", "salt") != split_of(f"product-{i}", "pepper") for i in range(50))
        assert {split_of(f"p{i}", "s", (0, 0, 1)) for i in range(50)} == {"test"}

    def test_these_products_are_where_they_have_always_been(self):
        # A change here would move products between splits of datasets that exist.
        splits = {i: split_of(f"product-{i}", "salt") for i in range(12)}
        assert {i: split for i, split in splits.items() if split != "train"} == {0: 'validation', 4: 'validation', 8: 'validation', 9: 'test'}

    def test_the_digest_sees_every_change_but_not_the_order(self):
        rows = [("a", 0, "train", ["x", "y"]), ("b", 1, "test", ["z", ""])]
        assert digest(rows) == digest(reversed(rows))
        for changed in (("a", 1, "train", ["x", "y"]), ("c", 0, "train", ["x", "y"]), ("a", 0, "test", ["x", "y"]),
                        ("a", 0, "train", ["x", "w"])):
            assert digest([changed, rows[1]]) != digest(rows)

    def test_a_plan_covers_all_rows_in_order(self):
        plan = plan_shards([SplitSize("test", 10, 0), SplitSize("train", 1001, 5_000_000_000)])
        assert [s.name for s in plan.shards[:1] + plan.shards[-1:]] == [
            "data/train-00000-of-00011.parquet", "data/test-00000-of-00001.parquet",
        ]
        train = plan.shards[:-1]
        assert [s.start for s in train] == [0, *(s.stop for s in train[:-1])] and train[-1].stop == 1001
        assert max(s.n_rows for s in train) - min(s.n_rows for s in train) <= 1
        with pytest.raises(ValueError, match="at least one row"):
            plan_shards([SplitSize("train", 0, 0)])


class TestCompare:
    def test_added_removed_relabelled_moved(self, version, rows, tmp_path):
        other = [r for r in rows if r.sample_id not in ("s000002", "s000271")]
        other[0] = dataclasses.replace(other[0], label=(other[0].label + 1) % 5)
        other[-1] = dataclasses.replace(other[-1], split="validation", product_id="moved")
        other = sorted([*other, sample(900, "train")], key=lambda r: SPLITS.index(r.split))
        write(tmp_path / "v2", other, dataclasses.replace(BASE, version="v2", parent="v1"))
        change = compare(open_version(version), open_version(tmp_path / "v2"))
        assert change.counts() == {"added": 1, "removed": 2, "relabelled": 1, "moved": 1, "unchanged": 276}
        assert change.added["sample_id"].to_pylist() == ["s000900"]
        assert change.removed["sample_id"].to_pylist() == ["s000002", "s000271"]
        assert change.relabelled.to_pylist()[0]["before_label"] == rows[0].label
        moved = change.moved.to_pylist()[0]
        assert (moved["sample_id"], moved["before_split"], moved["split"]) == ("s000279", "test", "validation")

    def test_a_version_is_like_itself(self, version):
        same = compare(open_version(version), open_version(version))
        assert same.counts() == {"added": 0, "removed": 0, "relabelled": 0, "moved": 0, "unchanged": 280}

