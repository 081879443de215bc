"""Editing products: one by its page, many by their ticks; a picture with candidates stays; two people at once."""

import io

import numpy as np
import pytest
from django.urls import reverse
from PIL import Image

from generation.models import Product
from tests import build

pytestmark = pytest.mark.django_db


@pytest.fixture
def max_(client, people):
    client.force_login(people["max"])
    return client


def values(**changes):
    return {
        "title": "Desk lamp", "description": "Brass", "category": "lamps", "license": "CC0", "source": "shop", "width_cm": "20",
        "depth_cm": "18,5", "height_cm": "40", "new_sku": "", **changes,
    }  # fmt: skip


def picture(name="new.png", seed=7, alpha=True):
    file = io.BytesIO()
    array = build.cut_out(seed) if alpha else np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(array).save(file, "PNG")
    file.seek(0)
    file.name = name
    return file


def test_a_picture_that_a_candidate_would_enlarge_is_said(max_):
    small, large = build.product(1), build.product(2, width_px=900, height_px=120)
    assert "This picture is small" in max_.get(reverse("product", args=[small.pk])).content.decode()
    assert "This picture is small" not in max_.get(reverse("product", args=[large.pk])).content.decode()


class TestEditPage:
    def edit(self, client, product, **changes):
        return client.post(reverse("product_edit", args=[product.pk]), values(**changes))

    def test_words_and_size_are_saved(self, max_):
        lamp = build.product(1)
        assert self.edit(max_, lamp).status_code == 302
        lamp.refresh_from_db()
        assert (lamp.title, lamp.license, lamp.size_cm) == ("Desk lamp", "CC0", [20, 18.5, 40])
        html = max_.get(reverse("product_edit", args=[lamp.pk])).content.decode()
        assert 'value="18.5"' in html

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"width_cm": "wide"}, "must be three numbers, or all empty"),
            ({"title": ""}, "Write what a shop would call the product"),
            ({"new_sku": "lamp-b"}, "Choose the picture of the new product"),
            ({"picture": io.BytesIO(b"GIF89a")}, "This file is a GIF"),
        ],
    )
    def test_what_is_wrong_is_said_and_what_was_written_stays(self, max_, changes, sentence):
        lamp = build.product(1)
        response = self.edit(max_, lamp, description="Written with care", **changes)
        html = response.content.decode()
        assert response.status_code == 422 and sentence in html and "Written with care" in html
        lamp.refresh_from_db()
        assert lamp.description == "about 30 cm tall"

    def test_a_picture_without_candidates_is_replaced(self, max_):
        lamp = build.product(1)
        before = lamp.image_sha256
        self.edit(max_, lamp, picture=picture())
        lamp.refresh_from_db()
        assert lamp.image_sha256 != before and lamp.look_hash and lamp.size_cm == [20, 18.5, 40] and not lamp.is_waiting

    def test_one_with_candidates_stays_and_the_new_picture_becomes_a_new_product(self, max_):
        lamp = build.candidate(1).product
        before = lamp.image_sha256
        response = self.edit(max_, lamp, picture=picture())
        assert response.status_code == 422 and "give the new picture a SKU of its own" in response.content.decode()
        self.edit(max_, lamp, picture=picture(), new_sku="lamp-b", title="Desk lamp, new")
        lamp.refresh_from_db()
        made = Product.objects.get(sku="lamp-b")
        assert lamp.image_sha256 == before and lamp.title == "Lamp 1"
        assert (made.title, made.category, made.size_cm) == ("Desk lamp, new", "lamps", [20, 18.5, 40])

    def test_a_picture_with_a_background_is_cut_out_by_a_run(self, max_):
        lamp = build.product(1)
        response = self.edit(max_, lamp, picture=picture(alpha=False))
        from runs.models import Run

        run = Run.objects.get(kind="cut_out")
        assert response.url == reverse("run", args=[run.pk]) and run.parts.get().params["items"][0]["sku"] == lamp.sku

    def test_the_second_of_two_people_sees_what_the_first_changed(self, max_):
        lamp = build.product(1)
        seen = max_.get(reverse("product_edit", args=[lamp.pk])).context["seen"]
        self.edit(max_, lamp, seen=seen, title="Brass lamp")
        response = self.edit(max_, lamp, seen=seen, title="Tall lamp")
        html = response.content.decode()
        assert response.status_code == 422 and "Somebody else has saved this" in html
        assert "<del>Lamp 1</del> <ins>Brass lamp</ins>" in html and 'value="Tall lamp"' in html
        assert self.edit(max_, lamp, seen=response.context["seen"], title="Tall lamp").status_code == 302
        lamp.refresh_from_db()
        assert lamp.title == "Tall lamp"


class TestManyAtOnce:
    def do(self, client, **data):
        return client.post(reverse("products_bulk"), data, follow=True).content.decode()

    def test_the_ticked_ones_are_flagged_with_a_reason_and_the_flag_taken_back(self, max_):
        rows = [build.product(n) for n in range(3)]
        ids = [row.pk for row in rows[:2]]
        assert "Say what is wrong with the pictures." in self.do(max_, do="flag", products=ids)
        assert "2 products flagged" in self.do(max_, do="flag", products=ids, reason="cut off")
        assert list(Product.objects.flagged().values_list("unsuitable_reason", flat=True)) == ["cut off"] * 2
        html = max_.get(reverse("products"), {"state": "unsuitable"}).content.decode()
        assert "Lamp 1" in html and "Lamp 2" not in html
        self.do(max_, do="unflag", products=ids[:1])
        max_.post(reverse("product_fit", args=[ids[1]]))
        assert not Product.objects.flagged().exists()

    def test_a_category_is_set_and_nothing_ticked_is_said(self, max_):
        rows = [build.product(n) for n in range(2)]
        assert "Tick at least one product first." in self.do(max_, do="category", new_category="chairs")
        assert "Tick at least one product first." in self.do(max_, do="flag", products=["x", "9" * 30], reason="x")
        self.do(max_, do="category", products=[rows[0].pk], new_category="Chairs")
        assert list(Product.objects.order_by("pk").values_list("category", flat=True)) == ["Chairs", "lamps"]
