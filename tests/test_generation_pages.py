"""The pages of products, candidates, prompts and drawing."""

import io
import re
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from PIL import Image

from generation.models import Generator, Product, Prompt
from runs.models import KeptFigure, Run
from tests import build, loop_rows
from tests.loop_rows import checkpoint, consensus, verdict
from tests.page_checks import assert_sane

loop, no_kept_numbers = loop_rows.loop, loop_rows.no_kept_numbers
pytestmark = pytest.mark.django_db


class TestGalleries:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def test_lists_cost_the_same_however_many_rows(self, client, people, django_assert_max_num_queries):
        by = checkpoint(is_promoted=True)
        for row in build.candidates(12):
            consensus(row)
            verdict(row, by)
        # with what is counted, and kept: nobody has looked before; two are for the newest pictures of each generator, each prompt
        for name, most in (("products", 7), ("candidates", 15), ("generators", 16), ("prompts", 14)):
            cache.clear()
            with django_assert_max_num_queries(most):
                assert_sane(client.get(reverse(name)))

    def test_filters_by_what_people_and_rfnet_say(self, client, loop):
        other = checkpoint("old")
        verdict(loop["candidates"][3], other, label=4)
        rows = loop["candidates"]

        def shown(**query):
            html = client.get(reverse("candidates"), query).content.decode()
            return {row.pk for row in rows if f'href="{reverse("candidate", args=[row.pk])}' in html}

        first, second, third, fourth = (row.pk for row in rows)
        assert shown() == {first, second, third, fourth}
        assert shown(label=0) == {first, second}
        assert shown(label=1) == set()
        assert shown(verdict=0) == {first, second}
        assert shown(verdict=4) == set(), "only the checkpoint in use counts"
        assert shown(state="unlabelled") == {third, fourth}
        assert shown(state="contradicted") == set()
        assert shown(product=rows[2].product_id) == {third}
        assert shown(label=99, generator="x", before="y") == {first, second, third, fourth}, "nonsense is ignored"

    def test_an_address_that_nobody_wrote_by_hand_breaks_nothing(self, client):
        for name in ("products", "prompts", "candidates", "cut_outs"):
            assert client.get(reverse(name), {"before": "²", "after": "²"}).status_code == 200

    def test_search_and_category(self, client):
        build.product(1)
        build.product(2, title="Kettle", category="kitchen")
        html = client.get(reverse("products"), {"q": "kett"}).content.decode()
        assert "Kettle" in html and "Lamp 1" not in html
        assert "Lamp 1" in client.get(reverse("products"), {"category": "lamps"}).content.decode()

    def test_pages_of_empty_stations_say_what_to_do(self, client):
        assert reverse("product_import") in client.get(reverse("products")).content.decode()
        assert "Nothing drawn yet" in client.get(reverse("candidates")).content.decode()

    def test_attempts_of_a_draw_are_side_by_side(self, client, loop):
        first, second = loop["candidates"][:2]
        type(second).objects.filter(pk=second.pk).update(draw=first.draw, attempt=2)
        html = client.get(reverse("candidate", args=[first.pk])).content.decode()
        assert "All attempts of this draw" in html and reverse("candidate", args=[second.pk]) in html

    def test_annotations_are_named_only_to_those_who_see_quality(self, client, people, loop):
        url = reverse("candidate", args=[loop["candidates"][0].pk])
        assert "alice" in client.get(url).content.decode()

    def test_flagging_a_product_wants_a_reason(self, client):
        product = build.product()
        url = reverse("product_unsuitable", args=[product.pk])
        client.post(url, {"reason": ""})
        product.refresh_from_db()
        assert not product.unsuitable
        client.post(url, {"reason": "a leg is missing"})
        product.refresh_from_db()
        assert product.unsuitable and product.unsuitable_reason == "a leg is missing"


class TestImportPage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def send(self, client, **data):
        return client.post(reverse("product_import"), data)

    def test_good_pictures_become_products(self, client):
        picture = SimpleUploadedFile("desk-lamp.png", build.png(build.cut_out()))
        response = self.send(client, form="pictures", pictures=[picture], title="Desk lamp", category="Lamps")
        assert response.status_code == 302
        product = Product.objects.get()
        assert (product.sku, product.title, product.category) == ("desk-lamp", "Desk lamp", "Lamps")

    def test_a_bad_file_is_named_and_the_good_one_is_stored(self, client):
        good = SimpleUploadedFile("good.png", build.png(build.cut_out()))
        bad = SimpleUploadedFile("notes.png", b"this is no picture")
        html = self.send(client, form="pictures", pictures=[bad, good]).content.decode()
        assert "notes.png" in html and "Left out: 1" in html
        assert Product.objects.get().sku == "good"

    def test_no_picture_is_refused_and_an_empty_one_leaves_the_others_alone(self, client):
        response = self.send(client, form="pictures")
        assert response.status_code == 422 and b"Choose at least one picture" in response.content
        files = [SimpleUploadedFile("a.png", b""), SimpleUploadedFile("good.png", build.png(build.cut_out()))]
        response = self.send(client, form="pictures", pictures=files)
        assert response.status_code == 200 and b"a.png:</strong> This file is empty" in response.content and Product.objects.get().sku == "good"
        assert_sane(response)

    def test_one_title_cannot_name_two_products(self, client):
        files = [SimpleUploadedFile(f"{n}.png", build.png(build.cut_out(n))) for n in range(2)]
        response = self.send(client, form="pictures", pictures=files, title="Lamp")
        assert response.status_code == 422 and not Product.objects.exists()

    def archive(self, **files):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"{name}.png", content)
        return SimpleUploadedFile("pictures.zip", data.getvalue())

    def test_a_table_with_its_pictures(self, client):
        table = SimpleUploadedFile("t.csv", b"sku,title,image\na,Lamp A,a.png\nb,Lamp B,missing.png\n")
        html = self.send(client, form="csv", table=table, pictures=self.archive(a=build.png(build.cut_out()))).content.decode()
        assert "missing.png" in html
        assert Product.objects.get().sku == "a"

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [(b"sku,title\na,Lamp\n", "no column image"), ("sku,title,image\na,L\xe4mp,a.png\n".encode("latin-1"), "UTF-8")],
    )
    def test_a_table_that_cannot_be_read_is_refused_with_what_to_do(self, client, content, sentence):
        response = self.send(client, form="csv", table=SimpleUploadedFile("t.csv", content), pictures=self.archive(a=b""))
        assert response.status_code == 422 and sentence in response.content.decode()
        assert not Product.objects.exists()

    def test_a_broken_zip_is_refused(self, client):
        table = SimpleUploadedFile("t.csv", b"sku,title,image\na,Lamp,a.png\n")
        response = self.send(client, form="csv", table=table, pictures=SimpleUploadedFile("p.zip", b"nope"))
        assert response.status_code == 422 and b"zip" in response.content

    def test_pictures_without_alpha_wait_for_the_cut_out(self, client):
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(out, "PNG")
        html = self.send(client, form="pictures", pictures=[SimpleUploadedFile("k.png", out.getvalue())]).content.decode()
        assert reverse("run", args=[Run.objects.get(kind="cut_out").pk]) in html


class TestPromptPage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])

    def values(self, **changes):
        return {"name": "Oak", "text": "on an oak table", "negative_text": "", "image_scale": "0.5", "category": "", "is_active": "on", **changes}

    def test_a_prompt_is_made_and_changed(self, client):
        assert client.post(reverse("prompt_create"), self.values()).status_code == 302
        prompt = Prompt.objects.get()
        client.post(reverse("prompt", args=[prompt.pk]), self.values(text="on a marble table"))
        prompt.refresh_from_db()
        assert prompt.text == "on a marble table"

    def test_a_text_of_2001_characters_is_refused_and_kept_in_its_field(self, client):
        text = "long " * 400 + "x"
        response = client.post(reverse("prompt_create"), self.values(text=text))
        html = response.content.decode()
        assert response.status_code == 422 and "has 2001 characters; 2000 is the most" in html
        assert text in html and not Prompt.objects.exists()
        assert "maxlength" not in re.search(r'<textarea name="text"[^>]*>', html)[0], "a paste must not be cut silently"

    def test_100_000_characters_are_refused_as_well(self, client):
        response = client.post(reverse("prompt_create"), self.values(text="x" * 100_000))
        assert response.status_code == 422

    @pytest.mark.parametrize("scale", ["0.05", "0.99", "nan", "big"])
    def test_a_size_out_of_range_is_refused(self, client, scale):
        assert client.post(reverse("prompt_create"), self.values(image_scale=scale)).status_code == 422

    def test_two_prompts_cannot_have_one_name(self, client):
        client.post(reverse("prompt_create"), self.values())
        response = client.post(reverse("prompt_create"), self.values())
        assert response.status_code == 422 and "choose another" in response.content.decode()


class TestGeneratePage:
    @pytest.fixture(autouse=True)
    def as_max(self, client, people):
        client.force_login(people["max"])
        self.products = [build.product(n) for n in range(3)]
        self.prompt = build.prompt()
        generator = build.generator()
        type(generator).objects.update(is_in_use=True)

    def values(self, **changes):
        return {
            "category": "", "skus": "", "most_products": "", "prompts": [self.prompt.pk], "per_pair": "2", "attempts": "1",
            "base_seed": "7", **changes,
        }

    def test_it_starts_a_run_and_goes_to_its_page(self, client):
        response = client.post(reverse("generate"), self.values())
        run = Run.objects.get(kind="generate")
        assert response.url == reverse("run", args=[run.pk])
        assert run.total == 6

    def test_it_says_beforehand_how_many_that_makes(self, client):
        response = client.post(reverse("generate"), self.values(most_products="2"), headers={"HX-Request": "true"})
        assert re.search(r'estimate-number number">4<', response.content.decode())
        assert not Run.objects.exists()

    def test_a_category_that_lost_its_last_product_is_said_where_it_is_counted_too(self, client):
        Product.objects.update(category="vases")
        now = timezone.now()  # the form offers those of a moment ago
        KeptFigure.objects.create(key="product-categories", value=["lamps"], cost_s=1, counted_at=now, due_at=now + timedelta(hours=1))
        for headers, status in (({"HX-Request": "true"}, 200), ({}, 422)):
            response = client.post(reverse("generate"), self.values(category="lamps"), headers=headers)
            assert response.status_code == status
            assert "No product has the category lamps. There are: vases." in response.content.decode()

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"prompts": []}, "Choose at least one prompt"),
            ({"skus": "nope"}, "No product has the SKU nope"),
            ({"skus": "sku-0 sku-1", "most_products": "1"}, "You name 2 products below: empty this field to draw them all"),
            ({"attempts": "3"}, "needs an RFNet in use"),
            ({"attempts": "99"}, "less than or equal to 8"),
            ({"category": "unknown"}, "not one of the available choices"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_with_a_sentence(self, client, changes, sentence):
        response = client.post(reverse("generate"), self.values(**changes))
        assert response.status_code == 422 and sentence in response.content.decode()
        assert not Run.objects.exists()
        assert_sane(response)

    def test_another_generator_than_the_one_in_use_may_draw(self, client):
        assert 'name="generator"' not in client.get(reverse("generate")).content.decode(), "there is only one"
        tuned = Generator.objects.create(name="tuned", kind="mini", key="tuned", config={})
        assert ">tuned</option>" in client.get(reverse("generate")).content.decode()
        client.post(reverse("generate"), self.values(generator=tuned.pk))
        assert Run.objects.get(kind="generate").plan.generator == tuned

    def test_unsuitable_products_are_not_drawn(self, client):
        Product.objects.filter(pk=self.products[0].pk).update(unsuitable=True)
        client.post(reverse("generate"), self.values())
        assert Run.objects.get(kind="generate").total == 4
