"""A dataset version is read row by row or as a stream, by ours and by other people's tools, wherever it lies."""

import dataclasses
import io
import json
import multiprocessing
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
from tests.test_shards import BASE, encoded, sample, samples, write

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def rows():
    return samples(430, 23, 7)


@pytest.fixture(scope="module")
def version(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("ads") / "v1"
    write(out, rows)
    return out


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


def loaded(loader):
    return [one for batch in loader for one in batch["sample_id"]]


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("start", ["fork", "spawn"])
    def test_workers_by_fork_and_by_spawn(self, version, start, torch):
        from adproof.shards.torch_data import collate

        stream = adproof.shards.open(version).stream("train", ["sample_id", "depth_map", "label"], seed=3)
        loader = torch.utils.data.DataLoader(
            stream, batch_size=32, num_workers=2, collate_fn=collate, multiprocessing_context=start,
            persistent_workers=True,
        )
        passes = []
        for epoch in range(2):
            stream.set_epoch(epoch)
            batches = list(loader)
            assert batches[0]["depth_map"].dtype == torch.uint16 and batches[0]["depth_map"].shape == (32, 8, 8)
            assert batches[0]["label"].dtype == torch.int64
            passes.append([one for batch in batches for one in batch["sample_id"]])
        assert sorted(passes[0]) == sorted(passes[1]) == [f"s{n:06d}" for n in range(430)]
        assert passes[0] != passes[1]

    def test_ranks_times_workers(self, version, torch):
        from adproof.shards.torch_data import collate

        found = []
        for rank in range(3):
            stream = adproof.shards.open(version).stream("train", ["sample_id"], seed=3, rank=rank, n_ranks=3)
            found += loaded(torch.utils.data.DataLoader(stream, batch_size=10, num_workers=2, collate_fn=collate))
        assert sorted(found) == [f"s{n:06d}" for n in range(430)]

    def test_how_long_a_pass_is_is_known_without_a_footer(self, version, torch):
        from adproof.shards.torch_data import collate

        stream = adproof.shards.open(version).stream("train", ["sample_id"], seed=3)
        loader = torch.utils.data.DataLoader(stream, batch_size=43, collate_fn=collate)
        assert len(stream) == 430 and len(loader) == 10 and not stream.rows._sizes
        assert sum(len(batch["sample_id"]) for batch in loader) == 430
        lengths = [len(adproof.shards.open(version).stream("train", rank=rank, n_ranks=3)) for rank in range(3)]
        even = [len(adproof.shards.open(version).stream("train", rank=rank, n_ranks=3, even=True)) for rank in range(3)]
        assert sum(lengths) == 430 and set(even) == {143}
        told = torch.utils.data.DataLoader(
            adproof.shards.open(version).stream("train", ["sample_id"], seed=3, transform=share_of), batch_size=None,
            num_workers=2,
        )
        assert list(told) == [215] * 430  # in a worker it is that worker's

    def test_ranks_are_those_of_torch_distributed(self, version, torch, tmp_path):
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
        try:
            stream = adproof.shards.open(version).stream("train")
            assert (stream.rank, stream.n_ranks) == (0, 1)
        finally:
            torch.distributed.destroy_process_group()
        with pytest.raises(ValueError, match="rank 2 is not in 0..1"):
            adproof.shards.open(version).stream("train", rank=2, n_ranks=2)

    def test_by_number_with_workers_and_shuffling(self, version, torch):
        from adproof.shards.torch_data import collate

        rows = adproof.shards.open(version).rows("train", ["sample_id", "generated_image"])
        loader = torch.utils.data.DataLoader(rows, batch_size=43, shuffle=True, num_workers=2, collate_fn=collate)
        batches = list(loader)
        assert batches[0]["generated_image"].shape == (43, 8, 8, 3)
        found = [one for batch in batches for one in batch["sample_id"]]
        assert sorted(found) == [f"s{n:06d}" for n in range(430)] and found != sorted(found)

    def test_a_transform_runs_in_the_worker(self, version, torch):
        stream = adproof.shards.open(version).stream("test", ["sample_id", "label"], transform=process_of)
        loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1)
        (worker,) = set(loader)
        assert worker != multiprocessing.current_process().pid

    def test_a_batch_is_joined_where_it_can_be(self, torch):
        from adproof.shards.torch_data import collate

        small, large = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)
        rows = [
            {"same": small, "sizes": small, "n": 1, "p": 0.5, "text": "a", "gap": None, "probs": [0.5, 0.5]},
            {"same": small, "sizes": large, "n": 2, "p": 1.0, "text": "b", "gap": 1.0, "probs": [1.0, 0.0]},
        ]
        batch = collate(rows)
        assert batch["same"].shape == (2, 4, 4) and batch["n"].tolist() == [1, 2] and batch["probs"].shape == (2, 2)
        assert [type(batch[name]) for name in ("sizes", "text", "gap")] == [list] * 3

    def test_whole_rows_go_through_a_loader(self, version, torch):
        from adproof.shards.torch_data import collate

        batch = next(iter(torch.utils.data.DataLoader(
            adproof.shards.open(version).stream("train"), batch_size=5, collate_fn=collate, num_workers=1)))
        assert batch["label_probs"].shape == (5, 5) and len(batch["annotations"]) == 5
        assert isinstance(batch["rfnet_probs"], list)  # not all are scored


def share_of(row):
    from torch.utils.data import get_worker_info

    return len(get_worker_info().dataset)


def process_of(row):
    return multiprocessing.current_process().pid


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


class TestOtherPeoplesTools:
    """With test_shards.py: each of them decodes the pictures and names the classes."""

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


class TestBatchesFromWorkers:
    """Memory that batches come in is used again, but never while somebody looks at it."""

    def test_batches_that_are_kept_stay_what_they_were(self, version, rows):
        torch = pytest.importorskip("torch")
        from adproof.shards.torch_data import collate

        stream = adproof.shards.open(version).stream("train", ["sample_id", "generated_image", "depth_map", "seed"], seed=1)
        loader = torch.utils.data.DataLoader(stream, batch_size=8, num_workers=2, collate_fn=collate, persistent_workers=True)
        for epoch in range(3):
            stream.set_epoch(epoch)
            kept = []
            for number, batch in enumerate(loader):  # some whole, some by a view only, some not at all
                if number % 3 == 0:
                    kept.append((batch["sample_id"], batch["depth_map"]))
                elif number % 3 == 1:
                    kept.append((batch["sample_id"][2:3], batch["depth_map"][2:][:1]))
            for names, depth in kept:
                for name, found in zip(names, depth, strict=True):
                    stored = rows[int(name[1:])].depth_map.bytes
                    assert (found.numpy() == np.asarray(Image.open(io.BytesIO(stored)))).all()

    def test_a_piece_is_used_again_when_nobody_looks_at_it(self, monkeypatch):
        pytest.importorskip("torch")
        from adproof.shards import batches

        monkeypatch.setattr(batches, "get_worker_info", lambda: object())
        monkeypatch.setattr(batches, "_MEMORY", batches._Memory())
        rows = [{"picture": np.full((9, 9), n, np.uint8), "n": n, "text": "a"} for n in range(4)]

        def arrive():
            make, parts = batches.collate(rows).__reduce__()
            return make(*parts)

        first = arrive()
        second = arrive()
        assert len(batches._MEMORY.pieces) == 2 and first["n"].tolist() == [0, 1, 2, 3] and first["text"] == ["a"] * 4
        view = first["picture"][1:]
        del first, second
        third = arrive()
        assert len(batches._MEMORY.pieces) == 2 and (view[0] == 1).all()
        rows[1]["picture"] = np.full((9, 9), 77, np.uint8)
        fourth = arrive()
        assert len(batches._MEMORY.pieces) == 3 and (view[0] == 1).all() and (fourth["picture"][1] == 77).all()
        del third
