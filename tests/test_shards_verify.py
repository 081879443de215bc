"""A version is verified, compared with another, and read by ours and by other people's tools."""

import dataclasses
import io
import json
import pickle

import numpy as np
import pyarrow.dataset
import pytest
from PIL import Image

from adproof.labels import LABELS
from adproof.shards.compare import compare
from adproof.shards.reading import open_version
from adproof.shards.schema import SPLITS, schema
from adproof.shards.verify import verify
from tests import version_rows
from tests.version_rows import BASE, FROZEN, contents, sample, write

rows, version = version_rows.rows, version_rows.version


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
