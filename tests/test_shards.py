"""A dataset version is written whole, and is the same each time."""

import dataclasses
import hashlib
import json
from collections import Counter

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from adproof.blobs import BlobStore
from adproof.labels import LABELS
from adproof.shards import writer
from adproof.shards.columns import Columns
from adproof.shards.manifest import Manifest
from adproof.shards.plan import SplitSize, plan_shards
from adproof.shards.reading import open_version
from adproof.shards.schema import IMAGE_COLUMNS, SPLITS, Picture, schema, to_table
from adproof.shards.splits import digest, split_of
from adproof.shards.store import Folder
from adproof.shards.verify import verify
from adproof.shards.writer import finalise, write_shard
from tests import version_rows
from tests.version_rows import BASE, contents, sample, samples, sizes, write

rows, version = version_rows.rows, version_rows.version


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
