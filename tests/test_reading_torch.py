"""A dataset version feeds torch: loaders with workers, ranks, batches in memory that is used again."""

import io
import multiprocessing

import numpy as np
import pytest
from PIL import Image

import adproof.shards
from tests import version_rows

rows, version = version_rows.many_rows, version_rows.version


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
