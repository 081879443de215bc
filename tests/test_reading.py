"""A dataset version is read row by row or as a stream, wherever it lies."""

import dataclasses
import io
import json
import pickle
import shutil
import subprocess
import sys
import tracemalloc
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from PIL import Image

import adproof.shards
from adproof.labels import LABELS
from adproof.shards import pages, reading
from adproof.shards.order import Order
from adproof.shards.reading import Rows, decode_picture
from adproof.shards.schema import IMAGE_COLUMNS
from tests import version_rows
from tests.version_rows import BASE, encoded, sample, samples, write

ROOT = Path(__file__).parent.parent


rows, version = version_rows.many_rows, version_rows.version


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Three row groups of 100 samples with pictures of 96 px: pages hold a few pictures each."""
    out = tmp_path_factory.mktemp("large") / "v1"
    write(out, samples(300, 0, 0, size=96), n_train_shards=1)
    return out


@pytest.fixture
def copy(version, tmp_path):
    return Path(shutil.copytree(version, tmp_path / "copy"))


class CountingFile(io.RawIOBase):
    def __init__(self, path, counted):
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115
        self._counted = counted

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, *place):
        return self._file.seek(*place)

    def tell(self):
        return self._file.tell()

    def read(self, n=-1):
        data = self._file.read(n)
        self._counted.append(len(data))
        return data

    def close(self):
        self._file.close()
        super().close()


class CountingHandler(pafs.FSSpecHandler):
    """The local files, and how many bytes of them were read."""

    def __init__(self):
        from fsspec.implementations.local import LocalFileSystem

        super().__init__(LocalFileSystem())
        self.counted = []

    def open_input_file(self, path):
        return pa.PythonFile(CountingFile(path, self.counted), mode="r")


def ids(found):
    return [row["sample_id"] for row in found]


class TestOneRow:
    def test_it_is_the_row_that_was_written_whatever_was_read_before(self, version, rows):
        train = adproof.shards.open(version).rows("train", decode=False)
        for number in (0, 429, 99, 100, 101, 100, 7, 250, -1):
            got, expected = train[number], rows[:430][number]
            assert got["sample_id"] == expected.sample_id and got["label"] == expected.label
            assert [got[name] for name in IMAGE_COLUMNS] == [picture.bytes for picture in expected.pictures()]
            assert [vote["annotator"] for vote in got["annotations"]] == [v.annotator for v in expected.annotations]

    def test_it_costs_a_few_pages_not_its_row_group_and_not_its_shard(self, large):
        handler = CountingHandler()
        train = adproof.shards.open(large, pafs.PyFileSystem(handler)).rows("train")
        shard = next((large / "data").glob("*.parquet"))
        group = pq.read_metadata(shard).row_group(1).total_byte_size
        before = sum(handler.counted)
        assert train[150]["depth_map"].dtype == np.uint16
        first = sum(handler.counted) - before
        before = sum(handler.counted)
        train[220]
        second = sum(handler.counted) - before
        assert first < shard.stat().st_size / 3 and second < group
        before = sum(handler.counted)
        adproof.shards.open(large, pafs.PyFileSystem(handler)).rows("train", ["label"])[10]
        assert sum(handler.counted) - before < 100_000  # the manifest, the footer, a column of text
        assert len(handler.counted) < 40

    def test_every_picture_is_found_by_its_page(self, large):
        train = adproof.shards.open(large).rows("train", IMAGE_COLUMNS, decode=False)
        whole, shard = list(train), train._shard(0)
        for number in range(300):
            for name in IMAGE_COLUMNS:
                assert shard.picture(number // 100, name, number % 100) == whole[number][name]

    def test_missing_pictures_are_none_among_others_that_are_there(self, tmp_path):
        holes = [
            sample(n, "train", size=48, **({"depth_map": None} if n % 3 else {}), **({"saliency_map": None} if n < 70 else {}))
            for n in range(120)
        ]
        write(tmp_path / "v", holes, n_train_shards=1)
        shard = adproof.shards.open(tmp_path / "v").rows("train")._shard(0)
        for number, row in enumerate(holes):
            expected = row.depth_map and row.depth_map.bytes
            assert shard.picture(number // 100, "depth_map", number % 100) == expected
            expected = row.saliency_map and row.saliency_map.bytes
            assert shard.picture(number // 100, "saliency_map", number % 100) == expected

    @pytest.mark.parametrize(
        "options",
        [
            {"compression": "zstd"},
            {"use_dictionary": True},
            {"write_page_index": True, "data_page_version": "2.0", "compression": "none", "use_dictionary": False},
            {"write_page_index": True, "compression": "none", "use_dictionary": False, "data_page_size": 2000},
        ],
    )
    def test_shards_that_another_tool_wrote_again_are_read_all_the_same(self, copy, rows, options):
        shard = copy / "data/validation-00000-of-00001.parquet"
        pq.write_table(pq.read_table(shard), shard, row_group_size=10, **options)
        found = adproof.shards.open(copy).rows("validation", decode=False)
        for number in (22, 0, 13):
            assert found[number]["depth_map"] == rows[430 + number].depth_map.bytes
            assert found[number]["product_image"] == rows[430 + number].product_image.bytes

    def test_many_rows_at_once_come_in_their_order(self, version, rows):
        train = adproof.shards.open(version).rows("train", ["sample_id", "depth_map"])
        wanted = np.random.default_rng(3).integers(0, 430, 60).tolist()
        assert ids(train.__getitems__(wanted)) == [rows[number].sample_id for number in wanted]


class TestWhatIsAskedFor:
    def test_only_the_columns_asked_for_are_read(self, large):
        handler = CountingHandler()
        found = list(adproof.shards.open(large, pafs.PyFileSystem(handler)).rows("train", ["label", "saliency_map"]))
        assert len(found) == 300 and set(found[0]) == {"label", "saliency_map"}
        saliency = sum(len(p.bytes) for p in (r.saliency_map for r in samples(300, 0, 0, size=96)))
        assert sum(handler.counted) < 1.2 * saliency + 100_000

    def test_only_the_pictures_asked_for_are_decoded(self, version, rows):
        found = adproof.shards.open(version).rows("train", ["depth_map", "product_image"], decode=["depth_map"])[0]
        assert found["depth_map"].dtype == np.uint16
        assert found["product_image"] == rows[0].product_image.bytes

    def test_sixteen_bits_and_alpha_are_kept(self, version, rows):
        found = adproof.shards.open(version).rows("train")[3]
        assert (found["depth_map"] == np.asarray(Image.open(io.BytesIO(rows[3].depth_map.bytes)))).all()
        assert found["depth_map"].max() > 255
        assert (found["product_image"][..., 3] == np.asarray(Image.open(io.BytesIO(rows[3].product_image.bytes)))[..., 3]).all()

    @pytest.mark.parametrize("make, shape, dtype", [
        (lambda: encoded(np.zeros((4, 5, 3), np.uint8), "JPEG"), (4, 5, 3), np.uint8),
        (lambda: encoded(np.zeros((4, 5, 4), np.uint8), "WEBP"), (4, 5, 4), np.uint8),
        (lambda: encoded(np.zeros((4, 5), np.uint16)), (4, 5), np.uint16),
    ])
    def test_other_kinds_of_pictures(self, make, shape, dtype):
        assert (decode_picture(make()).shape, decode_picture(make()).dtype) == (shape, dtype)

    def test_labels_have_names(self, version):
        opened = adproof.shards.open(version)
        assert opened.label_names[opened.rows("train")[0]["label"]] in LABELS

    def test_what_is_not_there_is_named(self, copy):
        opened = adproof.shards.open(copy)
        with pytest.raises(ValueError, match="split 'val' is none of train, validation, test"):
            opened.rows("val")
        with pytest.raises(ValueError, match="has no column colour; it has sample_id"):
            opened.rows("train", ["colour"])
        shard = copy / "data/validation-00000-of-00001.parquet"
        pq.write_table(pq.read_table(shard).drop_columns(["depth_map"]), shard)
        assert "depth_map" not in opened.rows("validation")[0]
        with pytest.raises(ValueError, match="has no column depth_map; it has sample_id"):
            opened.rows("validation", ["depth_map"])


class TestVariants:
    def test_labels_only_is_read_as_any_other(self, rows, tmp_path):
        write(tmp_path, rows, dataclasses.replace(BASE, variant="labels"))
        found = adproof.shards.open(tmp_path).rows("train")
        assert found[5]["label"] == rows[5].label and len(found[5]["depth_map_sha256"]) == 64
        assert len(list(found)) == 430
        with pytest.raises(ValueError, match="has no column depth_map; it has .*depth_map_sha256"):
            adproof.shards.open(tmp_path).rows("train", ["depth_map"])

    def test_tars_are_left_to_those_who_read_tars(self, rows, tmp_path):
        write(tmp_path, rows, dataclasses.replace(BASE, variant="webdataset"))
        with pytest.raises(ValueError, match="consists of tars: read it with webdataset"):
            adproof.shards.open(tmp_path).rows("train")


def varint(number):
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes(found + bytes([number]))


class TestDamage:
    @pytest.mark.parametrize("cut, sentence", [
        (lambda content: content[:-100], "cut short"),
        (lambda content: b"", "cut short"),
        (lambda content: content[:-8] + (10**8).to_bytes(4, "little") + b"PAR1", "longer than the file"),
        (lambda content: content[:-300] + bytes(292) + content[-8:], "cannot be read"),
    ])
    def test_a_shard_that_is_no_whole_file_is_named(self, copy, cut, sentence):
        shard = copy / "data/test-00000-of-00001.parquet"
        shard.write_bytes(cut(shard.read_bytes()))
        with pytest.raises(ValueError, match=f"data/test-00000-of-00001.parquet cannot be read.*{sentence}|{sentence}"):
            list(adproof.shards.open(copy).rows("test"))

    def test_a_manifest_that_lies_about_rows_is_found(self, copy):
        manifest = json.loads((copy / "manifest.json").read_bytes())
        manifest["files"]["data/test-00000-of-00001.parquet"]["rows"] = 8
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match="has 7 rows, the manifest says 8: verify"):
            adproof.shards.open(copy).rows("test")[0]

    def test_a_damaged_page_is_an_error_never_another_picture(self, large, tmp_path):
        folder = Path(shutil.copytree(large, tmp_path / "copy"))
        shard = next((folder / "data").glob("*.parquet"))
        content = bytearray(shard.read_bytes())
        group = pq.ParquetFile(shard).metadata.row_group(1)
        chunk = next(c for c in map(group.column, range(30)) if c.path_in_schema == "depth_map.bytes")
        content[chunk.data_page_offset : chunk.data_page_offset + 200] = b"\xff" * 200
        shard.write_bytes(content)
        with pytest.raises(ValueError, match="row group 1, row 0, depth_map.*(damaged|cut short)"):
            adproof.shards.open(folder).rows("train")[100]

    def test_a_page_that_claims_gigabytes_is_an_error_and_takes_no_memory(self, large, tmp_path):
        folder = Path(shutil.copytree(large, tmp_path / "copy"))
        shard = next((folder / "data").glob("*.parquet"))
        honest = shard.read_bytes()
        train = adproof.shards.open(folder).rows("train")
        train[5]  # its places are known now
        group = train._shard(0).metadata.row_group(0)
        chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}

        def refused(at, lie, sentence, columns, whole=False):
            shard.write_bytes(honest[:at] + lie + honest[at + len(lie) :])
            rows = adproof.shards.open(folder).rows("train", columns)
            tracemalloc.start()
            with pytest.raises(ValueError, match=f"data/train-00000-of-00001.parquet.*row group 0.*{sentence}"):
                rows.__getitems__(range(50)) if whole else rows[5]
            assert tracemalloc.get_traced_memory()[1] < 30e6 and pa.total_allocated_bytes() < 30e6
            tracemalloc.stop()

        giga = b"\xfe\xff\xff\xff\x0f"  # 2,147,483,647 as Thrift writes it
        place = train._shard(0)._places[0, "depth_map.bytes"][0]
        begin = chunks["depth_map.bytes"].data_page_offset
        at = pages._Thrift(honest[place + 3 : place + 20]).varint()  # where its first page begins, as the index says
        assert at == 2 * begin
        index = b"\x19\x1c\x16" + honest[place + 3 : place + 3 + len(varint(at))] + b"\x15" + giga + b"\x16\x00\x00\x00"
        refused(place, index, "depth_map.*(more|larger) than", ["depth_map"])
        header = b"\x15\x00\x15" + giga + b"\x15" + giga + b"\x2c\x15" + giga + b"\x15\x00\x15\x06\x15\x06\x00\x00"
        refused(begin, header, "depth_map.*damaged", ["depth_map"])
        refused(begin, header, "cannot be read", ["depth_map"], whole=True)
        refused(chunks["title"].data_page_offset, header, "cannot be read", ["title"], whole=True)

    def test_an_unfinished_version_is_none(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no manifest.json: an unfinished version, or none"):
            adproof.shards.open(tmp_path)


class TestTheStream:
    """No sample twice, none lost, however many read and however little there is."""

    @pytest.mark.parametrize("readers", [1, 2, 3, 7, 40, 500])
    @pytest.mark.parametrize("seed", [None, 5])
    def test_every_row_once_over_all_readers(self, version, readers, seed):
        train = adproof.shards.open(version).rows("train", ["sample_id"])
        parts = [ids(train.stream(part, readers, seed, epoch=2, buffer=30)) for part in range(readers)]
        assert sorted(one for part in parts for one in part) == [f"s{n:06d}" for n in range(430)]
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= 1

    @pytest.mark.parametrize("ranks, workers", [(2, 2), (3, 2), (4, 3)])
    def test_even_ranks_have_the_same_number_of_rows_in_the_same_batches(self, version, ranks, workers):
        train = adproof.shards.open(version).rows("train", ["sample_id"])
        n = ranks * workers
        parts = [ids(train.stream(part, n, 5, buffer=9, even=ranks)) for part in range(n)]
        by_rank = [[len(part) for part in parts[rank * workers : (rank + 1) * workers]] for rank in range(ranks)]
        assert all(lengths == by_rank[0] for lengths in by_rank)
        found = Counter(one for part in parts for one in part)
        assert max(found.values()) == 1 and 430 - len(found) == 430 % ranks

    def test_whole_row_groups_are_read_by_one_reader_only(self):
        order = Order([300] * 3, lambda shards: [[30] * 10 for _ in shards])
        borders = [order.borders(part, 7, 1, 0, whole_groups=True) for part in range(7)]
        assert borders[0][0] == 0 and borders[-1][1] == 900
        assert all(before[1] == after[0] and after[0] % 30 == 0 for before, after in zip(borders, borders[1:], strict=False))
        assert max(stop - start for start, stop in borders) <= 900 / 7 + 30
        read = [{place for place, _ in order.pieces(part, 7, 1, 0, whole_groups=True)} for part in range(7)]
        assert sum(map(len, read)) == len(set.union(*read)) == 30

    def test_a_footer_is_read_when_its_turn_comes_not_before(self, tmp_path):
        write(tmp_path, samples(48, 0, 0), n_train_shards=12)
        train = adproof.shards.open(tmp_path).rows("train", ["sample_id"])
        assert len(train.names) == 10
        plain, mixed = train.stream(), train.stream(seed=1)
        next(plain)
        assert len(train._sizes) == 1
        next(mixed)
        assert len(train._sizes) in (8, 9)
        assert len(ids(mixed)) == 47 and len(train._sizes) == 10

    def test_shards_that_are_open_already_are_read_with_those_that_are_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr(reading, "_OPEN_SHARDS", 8)
        write(tmp_path, samples(48, 0, 0), n_train_shards=12)
        for seed in range(4):
            train = adproof.shards.open(tmp_path).rows("train", ["sample_id"])
            assert [train[number]["sample_id"] for number in range(48)] == ids(train)
            assert len(set(ids(train.stream(seed=seed)))) == 48

    def test_seed_and_epoch_alone_decide_the_order(self, version):
        train = adproof.shards.open(version).rows("train", ["sample_id"])
        first = ids(train.stream(seed=1, epoch=0, buffer=50))
        again = ids(adproof.shards.open(version).rows("train", ["sample_id"]).stream(seed=1, epoch=0, buffer=50))
        assert first == again
        assert first != ids(train.stream(seed=1, epoch=1, buffer=50)) != ids(train.stream(seed=2, epoch=1, buffer=50))

    def test_a_buffer_mixes_rows_of_several_row_groups(self, version):
        train = adproof.shards.open(version).rows("train", ["sample_id"])
        plain, mixed = (ids(train.stream(seed=1, buffer=size))[:60] for size in (0, 200))
        groups = [len({int(one[1:]) // 72 for one in found}) for found in (plain, mixed)]
        assert groups[0] < groups[1]

    def test_no_decoded_row_is_kept(self, version):
        gone = []
        for row in adproof.shards.open(version).rows("train", ["depth_map"]).stream(seed=1, buffer=500):
            gone.append(weakref.ref(row["depth_map"]))
        del row
        assert len(gone) == 430 and not any(one() is not None for one in gone)
        alive = 0
        for row in adproof.shards.open(version).rows("train", ["depth_map"]).stream(seed=1, buffer=500):
            gone.append(weakref.ref(row["depth_map"]))
            alive = max(alive, sum(one() is not None for one in gone[-20:]))
        assert alive <= 2

    def test_a_split_without_rows_is_empty(self, large):
        assert list(adproof.shards.open(large).rows("test")) == [] and len(adproof.shards.open(large).rows("test")) == 0


def test_opening_is_offered_without_loading_torch_or_arrow_before():
    code = (
        "import sys, adproof.shards; assert 'pyarrow' not in sys.modules; adproof.shards.open; "
        "assert 'pyarrow' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_rows_are_pickled_without_what_they_hold(large):
    train = adproof.shards.open(large).rows("train")
    train[0], train[1]
    assert len(pickle.dumps(train)) < 100_000
    assert isinstance(pickle.loads(pickle.dumps(train)), Rows)


class TestOtherFilesystems:
    def test_fsspec(self, rows):
        fsspec = pytest.importorskip("fsspec")
        memory = fsspec.filesystem("memory")
        few = [row for row in rows if row.split != "train"]
        write("/reading/v1", [rows[0], *few], filesystem=memory, n_train_shards=1)
        opened = adproof.shards.open("/reading/v1", memory)
        assert opened.rows("validation")[5]["sample_id"] == rows[435].sample_id
        assert len(list(opened.stream("validation", ["label"], seed=1))) == 23
        memory.rm("/reading", recursive=True)
