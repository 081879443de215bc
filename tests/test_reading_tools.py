"""With test_shards_verify.py: other people's tools decode the pictures and name the classes."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adproof.labels import LABELS
from tests import version_rows

rows, version = version_rows.many_rows, version_rows.version


class TestOtherPeoplesTools:
    def test_pandas_with_pictures_and_names(self, version, rows):
        pandas = pytest.importorskip("pandas")
        frame = pandas.read_parquet(version / "data/test-00000-of-00001.parquet")
        picture = Image.open(io.BytesIO(frame.product_image[0]["bytes"]))
        assert picture.mode == "RGBA"
        depth = np.asarray(Image.open(io.BytesIO(frame.depth_map[0]["bytes"])))
        assert depth.max() > 255
        named = frame.label.map(dict(enumerate(names_in(version))))
        assert named.tolist() == [LABELS[row.label] for row in rows[453:]]

    def test_polars_with_pictures_and_names(self, version, rows):
        polars = pytest.importorskip("polars")
        frame = polars.scan_parquet(version / "data/validation-*.parquet").select(
            polars.col("label").replace_strict(dict(enumerate(names_in(version)))),
            polars.col("depth_map").struct.field("bytes"),
        ).collect()
        assert frame["label"].to_list() == [LABELS[row.label] for row in rows[430:453]]
        assert np.asarray(Image.open(io.BytesIO(frame["bytes"][0]))).max() > 255

    def test_pyarrow_dataset_with_pictures_and_names(self, version, rows):
        import pyarrow.dataset

        dataset = pyarrow.dataset.dataset(version / "data", format="parquet")
        table = dataset.to_table(
            columns={"label": pyarrow.dataset.field("label"), "picture": pyarrow.dataset.field("generated_image", "bytes")},
            filter=pyarrow.dataset.field("sample_id") == rows[0].sample_id,
        )
        assert names_in(version)[table["label"][0].as_py()] == LABELS[rows[0].label]
        assert Image.open(io.BytesIO(table["picture"][0].as_py())).mode == "RGB"

    def test_datasets_gives_pil_pictures_and_names_also_when_it_streams_by_batches(self, version, rows, tmp_path):
        datasets = pytest.importorskip("datasets")
        files = {"test": str(version / "data/test-*.parquet")}
        loaded = datasets.load_dataset("parquet", data_files=files, split="test", cache_dir=str(tmp_path))
        batch = loaded.with_format("numpy")[:2]
        assert batch["label"].tolist() == [row.label for row in rows[453:455]]
        assert loaded[0]["generated_image"].size == (8, 8) and loaded[0]["depth_map"].mode.startswith("I;16")
        assert loaded.features["label"].names == list(LABELS)
        some = datasets.load_dataset(
            "parquet", data_files=files, split="test", cache_dir=str(tmp_path), columns=["label", "depth_map"]
        )
        assert set(some[0]) == {"label", "depth_map"}

    def test_datasets_feeds_a_torch_loader_with_workers(self, version, tmp_path):
        datasets, torch = pytest.importorskip("datasets"), pytest.importorskip("torch")
        files = {"train": str(version / "data/train-*.parquet")}
        loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
        only = loaded.select_columns(["generated_image", "label"]).with_format("torch")
        loader = torch.utils.data.DataLoader(only, batch_size=50, num_workers=2)
        assert sum(len(batch["label"]) for batch in loader) == 430

    def test_mlcroissant_reads_pictures_of_every_split(self, version, rows):
        mlcroissant = pytest.importorskip("mlcroissant")
        dataset = mlcroissant.Dataset(jsonld=str(version / "croissant.json"))
        assert not dataset.metadata.ctx.issues.errors
        records = {record["validation/sample_id"].decode() for record in dataset.records("validation")}
        assert records == {row.sample_id for row in rows[430:453]}


def names_in(version):
    """The names of the classes, as anyone finds them in a shard."""
    metadata = pq.read_schema(next((version / "data").glob("*.parquet"))).metadata
    return json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
