"""A version is read from an S3-compatible store as from a folder, also by a DataLoader's workers."""

import os
import uuid

import pytest

import adproof.shards
from adproof.shards.query import query
from tests import s3_server
from tests.version_rows import samples, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows():
    return samples(230, 6, 4)


@pytest.fixture(scope="module")
def place(rows, tmp_path_factory):
    with s3_server.server(tmp_path_factory.mktemp("weed")) as address, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
        uri = f"s3://{s3_server.BUCKET}/{uuid.uuid4().hex}/ads/v1"
        write(uri, rows)
        yield uri


def test_one_row_and_all_rows(place, rows):
    train = adproof.shards.open(place).rows("train", decode=False)
    for number in (200, 7):
        assert train[number]["depth_map"] == rows[number].depth_map.bytes
    assert [row["sample_id"] for row in adproof.shards.open(place).rows("train", ["sample_id"])] == [
        row.sample_id for row in rows[:230]
    ]


@pytest.mark.parametrize("start", ["spawn", "fork"])
@pytest.mark.timeout(150)
def test_a_loader_with_workers(place, start):
    torch = pytest.importorskip("torch")
    from adproof.shards.torch_data import collate

    stream = adproof.shards.open(place).stream("train", ["sample_id", "depth_map"], seed=1)
    loader = torch.utils.data.DataLoader(
        stream, batch_size=50, num_workers=2, collate_fn=collate, multiprocessing_context=start, timeout=60
    )
    found = [one for batch in loader for one in batch["sample_id"]]
    assert sorted(found) == [f"s{n:06d}" for n in range(230)]


@pytest.mark.timeout(150)
def test_a_training_from_a_store_that_fails_now_and_then(place, rows, monkeypatch):
    torch = pytest.importorskip("torch")
    from adproof.shards.torch_data import collate

    with s3_server.faulty_proxy(os.environ["AWS_ENDPOINT_URL"]) as (proxy, trouble):
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
        trouble.fail = 6
        stream = adproof.shards.open(place).stream("train", ["sample_id", "generated_image", "label"], seed=1)
        loader = torch.utils.data.DataLoader(stream, batch_size=46, num_workers=1, collate_fn=collate, timeout=60)
        torch.manual_seed(0)
        model = torch.nn.Linear(8 * 8 * 3, 5)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses, seen = [], []
        for epoch in range(3):
            stream.set_epoch(epoch)
            for batch in loader:
                seen += batch["sample_id"]
                loss = torch.nn.functional.cross_entropy(model(batch["generated_image"].flatten(1) / 255), batch["label"])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
    assert sorted(seen) == sorted(3 * [row.sample_id for row in rows[:230]]) and len(losses) == 3 * len(loader)
    assert losses[-1] < losses[0] and trouble.struck


def test_sql(place):
    assert query(place, "SELECT split, count(*) FROM samples GROUP BY ALL ORDER BY 2").rows == [
        ("test", 4), ("validation", 6), ("train", 230),
    ]
