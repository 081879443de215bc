"""The variants of a version: labels only, and tars for training at scale. Same rows, same digest, other files."""

import dataclasses
import io
import json
import tarfile

import pytest
from PIL import Image

from adproof.labels import LABELS
from adproof.shards.manifest import Manifest
from adproof.shards.plan import plan_shards
from adproof.shards.schema import IMAGE_COLUMNS, picture_hashes
from adproof.shards.store import Folder
from adproof.shards.verify import verify
from adproof.shards.webdataset import key_of
from adproof.shards.writer import finalise, write_shard
from tests.version_rows import BASE, contents, samples, sizes, write


@pytest.fixture(scope="module")
def rows():
    return samples(40, 6, 4)


@pytest.fixture(scope="module")
def written(rows, tmp_path_factory):
    """A folder of each variant."""
    folder = tmp_path_factory.mktemp("variants")
    for variant in ("full", "labels", "webdataset"):
        write(folder / variant, rows, dataclasses.replace(BASE, variant=variant), n_train_shards=2)
    return folder


def test_all_variants_have_the_same_digest_and_are_found_good(written):
    manifests = [Manifest.of((written / name / "manifest.json").read_bytes()) for name in ("full", "labels", "webdataset")]
    assert len({manifest.digest for manifest in manifests}) == 1
    assert [manifest.variant for manifest in manifests] == ["full", "labels", "webdataset"]
    for name in ("full", "labels", "webdataset"):
        assert verify(written / name, pictures=True) == []


@pytest.mark.parametrize("variant", ["labels", "webdataset"])
def test_written_again_they_are_the_same_to_the_byte(written, rows, tmp_path, variant):
    write(tmp_path, rows, dataclasses.replace(BASE, variant=variant), n_train_shards=2)
    assert contents(tmp_path) == contents(written / variant)


def test_labels_only_has_the_hash_of_each_picture_in_its_place(written, rows):
    from datasets import load_dataset

    found = load_dataset(str(written / "labels"), split="train")
    assert not set(IMAGE_COLUMNS) & set(found.column_names)
    assert found.features["label"].names == list(LABELS)
    for row, wanted in zip(found, rows, strict=False):
        assert row["sample_id"] == wanted.sample_id and row["label"] == wanted.label
        assert tuple(row[f"{name}_sha256"] for name in IMAGE_COLUMNS) == picture_hashes(wanted)


def test_labels_only_is_written_from_rows_without_picture_bytes(written, rows, tmp_path):
    bare = [
        dataclasses.replace(
            row, **{name: dataclasses.replace(getattr(row, name), bytes=b"", sha256=sha)
                    for name, sha in zip(IMAGE_COLUMNS, picture_hashes(row), strict=True)},
        )
        for row in rows
    ]  # fmt: skip
    base = dataclasses.replace(BASE, variant="labels")
    plan = plan_shards(sizes(rows), sizes(rows)[0].bytes // 2 + 1000, "labels")
    stream, folder = iter(bare), Folder(tmp_path)
    for number in range(len(plan.shards)):
        write_shard(plan, number, stream, folder, base)
    found = finalise(plan, folder, base)
    assert found.digest == Manifest.of((written / "labels" / "manifest.json").read_bytes()).digest
    assert verify(tmp_path) == []


def test_a_tar_is_read_by_the_datasets_library_with_its_pictures(written, rows):
    from datasets import load_dataset

    found = load_dataset(str(written / "webdataset"), split="train")
    assert len(found) == 40
    by_key = {row.sample_id: row for row in rows}
    for row in found:
        wanted = by_key[row["__key__"]]
        assert isinstance(row["generated.png"], Image.Image) and row["depth.png"].mode == "I;16"
        assert row["product.png"].mode == "RGBA"
        assert row["json"]["label"] == wanted.label and row["json"]["label_name"] == LABELS[wanted.label]


def test_a_tar_holds_the_stored_bytes_and_nothing_of_this_machine(written, rows):
    path = next((written / "webdataset" / "data").glob("train-00000*"))
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        assert {(e.uid, e.gid, e.uname, e.gname, e.mode, e.mtime) for e in entries} == {
            (0, 0, "", "", 0o644, int(BASE.created_at.timestamp()))
        }
        first = rows[0]
        assert [e.name for e in entries[:5]] == [
            f"{first.sample_id}.{end}" for end in ("generated.png", "product.png", "depth.png", "saliency.png", "json")
        ]
        assert archive.extractfile(entries[0]).read() == first.generated_image.bytes
        told = json.loads(archive.extractfile(entries[4]).read())
        assert told["sample_id"] == first.sample_id and len(told["annotations"]) == 3


def test_a_damaged_tar_is_named_and_so_is_one_that_the_manifest_lies_about(written, tmp_path):
    for name, content in contents(written / "webdataset").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    shard = next((tmp_path / "data").glob("test-*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-700])
    assert "bytes, the manifest says" in verify(tmp_path)[0] and shard.name in verify(tmp_path)[0]
    shard.write_bytes(whole)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["digest"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "do not add up" in verify(tmp_path)[0]


def test_a_key_has_no_dot_and_no_slash():
    assert key_of("c-12ab") == "c-12ab"
    assert key_of("a.b/c") == "a_2e_b_2f_c"


def test_a_missing_picture_has_no_file_and_jpegs_say_so(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    rows = [dataclasses.replace(row, depth_map=None) for row in samples(2, 0, 0)]
    rows = [dataclasses.replace(row, generated_image=dataclasses.replace(row.generated_image, bytes=out.getvalue())) for row in rows]
    write(tmp_path, rows, dataclasses.replace(BASE, variant="webdataset"), n_train_shards=1)
    with tarfile.open(next((tmp_path / "data").iterdir())) as archive:
        assert archive.getnames()[:4] == [f"s000000.{end}" for end in ("generated.jpg", "product.png", "saliency.png", "json")]
    assert verify(tmp_path) == []


def test_they_are_valid_croissant(written):
    import mlcroissant

    for name in ("labels", "webdataset"):
        metadata = mlcroissant.Dataset(jsonld=str(written / name / "croissant.json")).metadata
        assert metadata.name == "ads-v1"
