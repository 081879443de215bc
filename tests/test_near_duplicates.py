"""Products that look alike come to one side of a split and stay there; what would be known on two sides is left out and said."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from adproof.adworld.catalogue import _all_views
from adproof.perception.pictures import open_picture
from adproof.shards.duplicates import NEAR, groups, look_hash, near_pairs
from adproof.shards.plan import SplitSize
from adproof.shards.schema import Picture
from adproof.shards.splits import split_of
from adproof.shards.verify import verify
from adproof.shards.writer import write_version
from datasets_app.actions import freeze
from datasets_app.models import ProductSplit
from datasets_app.product_splits import give_splits, splits
from generation import actions
from generation.blobs import blobs
from generation.importing import read_picture
from generation.looks import hash_missing
from generation.models import Product
from runs.actions import start_run
from runs.models import Run
from tests import build
from tests.build import png
from tests.data_rows import consensus, do, version
from tests.version_rows import BASE, sample


def apart(a, b):
    return int.bit_count((a ^ b) & (2**64 - 1))


@pytest.fixture(scope="module")
def views():
    return {(view.sku, view.yaw): view.image() for view in _all_views()}


class TestTheHash:
    def test_on_the_sample_catalogue_only_the_same_thing_is_near(self, views):
        """In another colour, or from another side; or the reference object that was made of a product."""
        names = list(views)
        hashes = np.array([look_hash(picture) for picture in views.values()], np.int64)
        pairs = near_pairs(hashes)
        assert 30 <= len(pairs) <= 60
        made_of = {
            "reference-ball": "basketball", "reference-chair": "chair", "reference-cup": "coffee", "reference-plant": "yucca",
            "reference-sofa": "sofa", "reference-teddy": "teddy", "reference-lamp": "desk", "reference-bottle": "reference-bottle",
        }  # fmt: skip
        for a, b in pairs.tolist():
            first, second = (made_of.get(names[at][0], names[at][0]) for at in (a, b))
            assert first.split("-")[0] == second.split("-")[0], (names[a], names[b])

    @pytest.mark.parametrize(
        ("change", "share"),
        [("half size", 0.9), ("jpeg", 0.98), ("margin", 1.0), ("red and blue exchanged", 0.9), ("brighter", 0.85)],
    )
    def test_the_same_product_is_found_again(self, views, change, share):
        near = []
        for picture in list(views.values())[:60]:
            near.append(apart(look_hash(picture), look_hash(self.changed(picture, change))) <= NEAR)
        assert np.mean(near) >= share

    def changed(self, rgba, how):
        height, width = rgba.shape[:2]
        if how == "half size":
            return np.asarray(Image.fromarray(rgba).resize((width // 2, height // 2), Image.Resampling.LANCZOS))
        if how == "jpeg":
            out = io.BytesIO()
            Image.fromarray(rgba).convert("RGB").save(out, "JPEG", quality=60)
            return np.dstack([np.asarray(Image.open(io.BytesIO(out.getvalue()))), rgba[..., 3]])
        if how == "margin":
            return np.pad(rgba, ((70, 10), (0, 130), (0, 0)))
        new = rgba.copy()
        if how == "brighter":
            new[..., :3] = np.clip(rgba[..., :3] * 1.1 + 8, 0, 255)
        else:
            new[..., :3] = rgba[..., [2, 1, 0]]
        return new

    def test_flat_pictures_are_alike_only_when_equal(self):
        red, blue = (np.full((40, 40, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
        assert look_hash(red) == look_hash(red.copy()) != look_hash(blue)
        assert look_hash(np.zeros((5, 5, 4), np.uint8)) == look_hash(np.zeros((5, 5, 4), np.uint8))

    def test_it_fits_a_database_integer(self, views):
        assert all(-(2**63) <= look_hash(picture) < 2**63 for picture in list(views.values())[:20])

    @pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
    def test_what_is_no_picture_is_refused(self, bad):
        with pytest.raises(ValueError, match="a picture is"):
            look_hash(bad)


class TestGroups:
    def test_pairs_are_those_of_comparing_all_with_all(self):
        rng = np.random.default_rng(3)
        base = rng.integers(-(2**63), 2**63 - 1, 60, dtype=np.int64)
        hashes = np.concatenate([base] * 6).view(np.uint64)
        for _ in range(3):
            hashes ^= np.uint64(1) << rng.integers(0, 64, hashes.size).astype(np.uint64)
        hashes = hashes.view(np.int64)
        far = np.bitwise_count(hashes[:, None].view(np.uint64) ^ hashes[None].view(np.uint64))
        wanted = groups(len(hashes), np.argwhere(np.triu(far <= NEAR, 1)))
        assert np.array_equal(groups(len(hashes), near_pairs(hashes)), wanted)

    def test_chains_join_and_the_first_names_the_group(self):
        assert groups(6, np.array([[4, 5], [1, 4], [2, 3]])).tolist() == [0, 1, 2, 2, 1, 1]
        assert groups(3, np.empty((0, 2), np.int64)).tolist() == [0, 1, 2]
        assert near_pairs(np.empty(0, np.int64)).shape == (0, 2)

    def test_equal_ones_are_paired_with_the_first_only(self):
        assert len(near_pairs(np.zeros(5000, np.int64))) == 4999

    def test_more_bits_than_the_bands_can_promise_are_refused(self):
        with pytest.raises(ValueError, match="between 0 and 4"):
            near_pairs(np.zeros(2, np.int64), 5)

    def test_a_hundred_thousand_take_seconds(self):
        rng = np.random.default_rng(0)
        hashes = rng.integers(-(2**63), 2**63 - 1, 100_000, dtype=np.int64)
        hashes[50_000:60_000] = hashes[:10_000] ^ (1 << rng.integers(0, 62, 10_000))
        started = time.process_time()
        found = groups(100_000, near_pairs(hashes))
        assert time.process_time() - started < 10
        assert np.array_equal(found[50_000:60_000], np.arange(10_000))


def look(product, value):
    Product.objects.filter(pk=product.pk).update(look_hash=value)


def two_sides(name="ads"):
    """Two products that lie in train and in test."""
    found = {}
    number = 1000
    while set(found) != {"train", "test"}:
        number += 1
        found.setdefault(split_of(f"sku-{number}", name, [0.7, 0.1, 0.2]), number)
        found.pop("validation", None)
    return build.product(found["train"]), build.product(found["test"])


@pytest.mark.django_db
class TestSplits:
    def test_alike_products_get_the_split_of_the_oldest(self):
        made = [build.product(number) for number in range(30)]
        for number, one in enumerate(made):
            look(one, 1 << (number % 10))  # all within two bits
        give_splits("ads")
        assert set(splits("ads", [one.pk for one in made]).values()) == {split_of("sku-0", "ads", [0.7, 0.1, 0.2])}
        assert set(ProductSplit.objects.values_list("decided_by", flat=True)) == {made[0].pk}

    def test_one_picture_is_one_product_even_unseen(self):
        first, second = two_sides()
        Product.objects.filter(pk=second.pk).update(image_sha256=first.image_sha256)
        seen = give_splits("ads")
        assert len(set(splits("ads", [first.pk, second.pk]).values())) == 1
        assert (seen.groups, seen.grouped, seen.without_look) == (1, 2, 2)

    def test_a_new_product_follows_the_one_that_is_there(self):
        old, other = two_sides()
        look(other, 7)
        give_splits("ads")
        twin = build.product(5)
        look(twin, 5)
        give_splits("ads")
        assert splits("ads", [twin.pk]) == {twin.pk: "test"} and splits("ads", [old.pk]) == {old.pk: "train"}

    def test_groups_that_merge_later_keep_their_splits_and_it_is_said(self):
        train, test = two_sides()
        look(train, 0b1111)
        look(test, 0b11110000)
        give_splits("ads")
        bridge = build.product(5)
        look(bridge, 0b00111100)
        seen = give_splits("ads")
        assert splits("ads", [train.pk, test.pk]) == {train.pk: "train", test.pk: "test"}
        assert {(product, split) for product, _, split in seen.alike} == {
            (train.pk, "train"), (test.pk, "test"), (bridge.pk, splits("ads", [bridge.pk])[bridge.pk]),
        }  # fmt: skip


@pytest.mark.django_db(transaction=True)
class TestAVersion:
    def merged(self):
        """A product in train and one in test, found to be alike after both had their split."""
        train, test = two_sides()
        give_splits("ads")
        look(train, 1)
        look(test, 3)
        for number, one in enumerate((train, test)):
            consensus(build.candidate(number, of=one), 1)
        return train, test

    def test_the_test_side_stays_and_the_other_is_left_out_and_counted(self):
        _, test = self.merged()
        made = freeze("ads", {}, Run.objects.create(kind="freeze", title="Freeze"))
        [row] = made.rows.all()
        assert row.candidate.product == test and row.split == "test" and made.row_count == 1
        assert made.leak_check["left_out_near_duplicates"] == 1 and made.leak_check["near_duplicate_pairs"] == 0

    def test_what_is_not_in_the_version_leaves_nothing_out(self):
        train, test = self.merged()
        test.unsuitable = True
        test.save()
        made = freeze("ads", {}, Run.objects.create(kind="freeze", title="Freeze"))
        assert made.rows.get().candidate.product == train and made.leak_check["left_out_near_duplicates"] == 0

    def test_one_generated_picture_in_two_splits_stays_in_one(self):
        train, test = two_sides()
        first, second = build.candidate(1, of=train), build.candidate(2, of=test)
        type(first).objects.filter(pk=first.pk).update(image_sha256=second.image_sha256)
        for one in (first, second, build.candidate(3, of=train)):
            consensus(one, 0)
        made = freeze("ads", {}, Run.objects.create(kind="freeze", title="Freeze"))
        assert set(made.rows.values_list("candidate", flat=True)) == {second.pk, first.pk + 2}
        assert made.leak_check["left_out_identical_pictures"] == 1 and made.leak_check["identical_pictures"] == 0


class TestTheFilesAlone:
    """Whoever gets a version can look for themselves: `verify(path, pictures=True)`."""

    def written(self, folder, views, second, generated=None):
        def picture(data):
            return Picture(data, "a.png")

        first = png(views["stand-mixer-mint", 35])
        rows = [
            replace(sample(0, "train"), product_image=picture(first)),
            replace(sample(1, "train"), product_image=picture(first), product_id="train-product-0"),
            replace(sample(2, "test"), product_image=picture(png(second))),
        ]
        if generated:
            rows[2] = replace(rows[2], generated_image=rows[0].generated_image)
        sizes = [SplitSize("train", 2, 10_000), SplitSize("test", 1, 10_000)]
        base = replace(BASE, near_duplicate_pairs=0, leak_check={"identical_pictures": 0})
        write_version(rows, folder, base, sizes)
        return verify(folder, pictures=True)

    def test_twins_that_the_manifest_denies_are_found(self, views, tmp_path):
        [problem] = self.written(tmp_path / "v", views, views["stand-mixer-yellow", 35])
        assert problem.startswith("1 groups of products that look alike lie in more than one split")

    def test_a_generated_picture_in_two_splits_is_found(self, views, tmp_path):
        [problem] = self.written(tmp_path / "v", views, views["teddy-bear", 35], generated=True)
        assert problem.startswith("1 generated pictures are in more than one split")

    def test_a_clean_version_is_clean(self, views, tmp_path):
        assert self.written(tmp_path / "v", views, views["teddy-bear", 35]) == []


@pytest.mark.django_db(transaction=True)
class TestLooksAreKept:
    def test_an_imported_product_has_one_and_a_new_picture_a_new_one(self):
        def item(number):
            return read_picture("a.png", build.png(build.cut_out(number)), "a", "A")

        actions.save_product(item(1))
        first = Product.objects.get().look_hash
        assert first == look_hash(open_picture(build.png(build.cut_out(1))))
        actions.save_product(item(2))
        assert Product.objects.get().look_hash not in (None, first)

    def test_a_run_looks_at_old_ones_and_passes_over_lost_pictures(self):
        kept, lost = build.product(1), build.product(2)
        blobs().path(lost.image_sha256).unlink()
        assert do(start_run("hash_looks", {})).result == {"without_picture": 1}
        kept.refresh_from_db()
        assert kept.look_hash == look_hash(build.cut_out(1))
        assert hash_missing() == 1

    def test_a_freeze_looks_before_it_decides(self, views):
        picture = views["stand-mixer-mint", 35]
        twin = views["stand-mixer-yellow", 35]
        first, second = two_sides()
        for one, pixels in ((first, picture), (second, twin)):
            Product.objects.filter(pk=one.pk).update(image_sha256=blobs().put(build.png(pixels)), look_hash=None)
        version(3)
        assert len(set(splits("ads", [first.pk, second.pk]).values())) == 1
