"""A cut-out made by a model waits until a person accepts it, or cuts it out anew; candidates stay true to their picture."""

import io

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from PIL import Image

from adproof.perception import masks
from adproof.perception.pictures import open_picture, picture_to_png
from generation import actions, planning
from generation.blobs import blobs
from generation.importing import ProductFile
from generation.models import Product
from runs.actions import pause_run, resume_run
from runs.models import Run
from tests import build
from tests.cut_out_rows import H, W, confidence, photo, waiting
from tests.data_rows import do

pytestmark = pytest.mark.django_db


@pytest.fixture
def max_(client, people):
    client.force_login(people["max"])
    return client


def alpha_of(product):
    product.refresh_from_db()
    return open_picture(blobs().get(product.image_sha256))[..., 3].astype(int)


def redo(client, product, **values):
    data = {"seen": product.image_sha256, "base": "current", "threshold": "50", "softness": "40", "then": "look", **values}
    return client.post(reverse("cut_out_redo", args=[product.pk]), data)


def png(array, name="mask.png"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    file.seek(0)
    file.name = name
    return file


def strokes():
    """The brush restored a bar at the top and erased one at the left; nothing else is touched."""
    layer = np.zeros((H // 2, W // 2, 4), np.uint8)
    layer[:5, :] = (0, 255, 0, 255)
    layer[20:30, 5:15] = (255, 0, 0, 255)
    return png(layer, "strokes.png")


class TestWaiting:
    def test_what_waits_is_not_drawn_and_the_pages_say_so(self, max_):
        jug = waiting()
        assert not Product.objects.drawable().exists() and jug.cut_settings == {"by": "model"}
        with pytest.raises(planning.CannotStart, match="whose cut-out is accepted"):
            planning.start_generation(products=[jug], prompts=[build.prompt()], generator=build.generator())
        for page in ("products", "generate"):
            html = max_.get(reverse(page)).content.decode()
            assert ">1</strong> product is not drawn" in html and reverse("cut_outs") in html

    def test_accepting_goes_to_the_next_and_says_who_and_when(self, max_, people):
        first, second = waiting("a"), waiting("b")
        assert max_.get(reverse("cut_outs")).url == reverse("cut_out", args=[first.pk])
        response = max_.post(reverse("cut_out_accept", args=[first.pk]), {"seen": first.image_sha256}, follow=True)
        assert response.redirect_chain[-1][0] == reverse("cut_out", args=[second.pk])
        first.refresh_from_db()
        assert first.is_drawable and first.accepted_by == people["max"] and first.accepted_at
        assert "accepted by max" in max_.get(reverse("product", args=[first.pk])).content.decode()
        response = max_.get(f"{reverse('cut_outs')}?after={second.pk}")
        assert response.url == reverse("cut_out", args=[second.pk]), "the last one comes back until it is accepted"
        max_.post(reverse("cut_out_accept", args=[second.pk]), {"seen": second.image_sha256})
        assert b"Nothing waits for a look" in max_.get(reverse("cut_outs")).content

    def test_what_is_to_be_cut_still_is_told_where_it_will_wait(self, max_):
        run = Run.objects.create(kind="cut_out", title="Cut out 10 products", state="waiting", total=10, done=3)
        html = max_.get(reverse("cut_outs")).content.decode()
        assert "7 pictures are to be cut out still" in html and reverse("run", args=[run.pk]) in html

    def test_what_another_cut_anew_is_not_accepted_unseen(self, max_):
        jug = waiting()
        seen = jug.image_sha256
        redo(max_, jug, base="confidence", threshold="20")
        max_.post(reverse("cut_out_accept", args=[jug.pk]), {"seen": seen})
        jug.refresh_from_db()
        assert jug.is_waiting

    def test_nothing_to_cut_flags_it_and_goes_on(self, max_):
        first, second = waiting("a"), waiting("b")
        url = reverse("product_unsuitable", args=[first.pk])
        response = max_.post(url, {"reason": "two things in one picture", "next": "cut-outs"}, follow=True)
        assert response.redirect_chain[-1][0] == reverse("cut_out", args=[second.pk])
        assert list(Product.objects.waiting()) == [second]


class TestRedo:
    def test_a_lower_threshold_takes_in_what_the_net_was_less_sure_of(self, max_):
        jug = waiting()
        before = alpha_of(jug)
        redo(max_, jug, base="confidence", threshold="15", softness="10")
        after = alpha_of(jug)
        assert before[45, 80] == 0 and after[45, 80] == 255
        expected = masks.alpha_of(confidence(), W, H, threshold=0.15, softness=0.1)
        assert np.abs(after - expected).max() <= 1, "kept in 16 bits: as good as the net's own map"
        assert jug.is_waiting and jug.cut_settings == {"by": "model", "threshold": 0.15, "softness": 0.1}

    def test_the_brush_changes_what_it_touched_and_nothing_else_and_no_colour(self, max_):
        jug = waiting()
        before = alpha_of(jug)
        redo(max_, jug, strokes=strokes(), then="accept")
        after = alpha_of(jug)
        assert (after[:8] == 255).all() and (after[44:56, 14:26] == 0).all()
        assert (after[12:36] == before[12:36]).all() and (after[:, 34:][12:] == before[:, 34:][12:]).all()
        assert (open_picture(blobs().get(jug.image_sha256))[..., :3] == photo()).all()
        assert jug.is_drawable and jug.cut_settings["by"] == "hand"

    @pytest.mark.parametrize("kind", ["grey", "alpha", "half the size"])
    def test_an_uploaded_mask_counts_as_it_is(self, max_, kind):
        jug, kept = waiting(), np.zeros((H, W), np.uint8)
        kept[10:80, 30:90] = 255
        mask = {"grey": kept, "alpha": np.dstack([photo(), kept]), "half the size": kept[::2, ::2]}[kind]
        redo(max_, jug, base="mask", mask=png(mask))
        assert np.abs(alpha_of(jug) - kept)[14:76, 34:86].max() == 0 and alpha_of(jug)[:6].max() == 0

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"base": "mask", "mask": lambda: png(np.zeros((50, 50), np.uint8))}, "This mask is 50 x 50 pixels and the picture 120 x 90"),
            ({"base": "mask", "mask": lambda: png(np.zeros((H, W), np.uint8))}, "No object found"),
            ({"base": "mask", "mask": lambda: io.BytesIO(b"%PDF-1.4 no picture")}, "The mask can&#x27;t be read. This file is a PDF"),
            ({"base": "mask"}, "Choose the file of the mask first"),
            ({"seen": "0" * 64, "base": "confidence", "threshold": "20"}, "Somebody else has cut this product out anew"),
            ({"threshold": "500", "base": "confidence"}, "something of the form was missing"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_done_is_said_and_changes_nothing(self, max_, values, sentence):
        jug = waiting()
        response = redo(max_, jug, **{name: value() if callable(value) else value for name, value in values.items()})
        assert response.status_code == 422 and sentence in response.content.decode()
        before = jug.image_sha256
        jug.refresh_from_db()
        assert jug.image_sha256 == before and jug.is_waiting

    def test_a_picture_that_candidates_were_drawn_from_stays(self, max_):
        jug = waiting()
        build.candidate(1, of=jug)
        response = redo(max_, jug, base="confidence", threshold="20")
        assert response.status_code == 422 and "candidates were drawn from the picture it has" in response.content.decode()

    def test_a_cut_out_from_before_originals_were_kept_can_be_corrected_too(self, max_):
        jug = waiting()
        Product.objects.filter(pk=jug.pk).update(original_sha256="", confidence_sha256="")
        jug.refresh_from_db()
        shown = max_.get(reverse("cut_out_original", args=[jug.pk]))
        assert (open_picture(shown.content) == photo()).all()
        redo(max_, jug, strokes=strokes())
        assert (alpha_of(jug)[:8] == 255).all() and open_picture(blobs().get(jug.original_sha256)).shape[2] == 3


class TestImportsAndHistory:
    def file(self, colours, sku="jug"):
        picture = picture_to_png(np.dstack([colours, masks.alpha_of(confidence(), W, H)]))
        return ProductFile(f"{sku}.png", sku, "Jug", picture, True, W, H, {})

    def test_the_same_picture_imported_again_keeps_what_a_person_made_of_it(self, max_):
        jug = waiting()
        redo(max_, jug, base="confidence", threshold="20", then="accept")
        jug.refresh_from_db()
        made = jug.image_sha256
        again = actions.Cut(jug.original_sha256, jug.confidence_sha256)
        actions.save_product(self.file(photo()), cut_out_by_model=True, cut=again)
        jug.refresh_from_db()
        assert (jug.image_sha256, jug.is_waiting, jug.title) == (made, False, "Jug")

    def test_an_import_never_changes_a_picture_that_candidates_were_drawn_from(self):
        jug = waiting()
        build.candidate(1, of=jug)
        report = actions.store_products([self.file(255 - photo())], None)
        assert "give the new picture a SKU of its own" in str(report.problems[0])
        before = jug.image_sha256
        jug.refresh_from_db()
        assert jug.image_sha256 == before and jug.title == "Jug", "the rest of the row is updated"

    def test_nor_while_a_run_may_be_drawing_it(self):
        lamp = build.product(1)
        Run.objects.create(kind="generate", title="Draw", state="waiting")
        report = actions.store_products([self.file(photo(), sku=lamp.sku)], None)
        assert "candidates are being drawn" in str(report.problems[0])


@pytest.mark.django_db(transaction=True)
def test_a_worker_keeps_what_is_needed_to_cut_out_anew():
    """The whole way with U2-Net itself: a mug on a light ground."""
    from PIL import Image

    from tests.product_pictures import mug

    ground = Image.new("RGBA", (200, 200), (228, 226, 221, 255))
    ground.alpha_composite(Image.fromarray(mug()))
    picture = np.asarray(ground.convert("RGB"))
    report = actions.import_product_files([("mug.png", build.png(picture))])
    assert cut(report.cut_out_run).result == {"products": 1, "left_out": 0}
    product = Product.objects.get()
    assert product.is_waiting and (cut_original(product) == picture).all()
    found = masks.png_to_confidence(blobs().get(product.confidence_sha256))
    assert np.abs(masks.alpha_of(found, 200, 200).astype(int) - alpha_of(product)).max() <= 2


@pytest.mark.django_db(transaction=True)
def test_where_u2net_finds_nothing_a_person_cuts_by_hand(max_):
    grey = np.random.default_rng(0).integers(190, 211, (160, 200, 3), dtype=np.uint8)
    report = actions.import_product_files([("fog.png", build.png(grey))])
    run = report.cut_out_run
    assert cut(run).result == {"products": 1, "left_out": 0, "to_cut_by_hand": 1}
    assert "cut it out there by brush" in run.import_problems.get().problem
    fog = Product.objects.get()
    assert fog.is_uncut and not fog.is_drawable and alpha_of(fog).max() == 0 and (cut_original(fog) == grey).all()
    page = max_.get(reverse("cut_out", args=[fog.pk])).content.decode()
    assert "U2-Net found nothing" in page and ">Accept" not in page and "To cut by hand" in max_.get("/products/").content.decode()
    max_.post(reverse("cut_out_accept", args=[fog.pk]), {"seen": fog.image_sha256})
    assert redo(max_, fog).status_code == 422 and "Nothing is kept of this picture yet" in redo(max_, fog).content.decode()
    fog.refresh_from_db()
    assert fog.is_uncut, "nothing can't be accepted"
    kept = np.zeros((160, 200), np.uint8)
    kept[20:60, 30:70] = 255
    redo(max_, fog, base="mask", mask=png(kept), then="accept")
    assert alpha_of(fog)[40, 50] == 255 and fog.is_drawable and fog.cut_settings["by"] == "upload"
    again = actions.import_product_files([("fog.png", build.png(grey - 1))])
    assert cut(again.cut_out_run).result == {"products": 0, "left_out": 1}
    assert "keeps the picture it has" in again.cut_out_run.import_problems.get().problem and alpha_of(fog)[40, 50] == 255


def cut(run):
    """What one worker does with the run's parts, here and now."""
    for part in run.parts.filter(state="queued").order_by("pk"):
        assert do(part).state == "succeeded", part.error
    run.refresh_from_db()
    return run


@pytest.fixture
def net(monkeypatch):
    """In U2-Net's place one that is sure of the same block in every picture; how many pictures it saw at once."""
    from generation import runtime

    class Net:
        batches = []

        def confidence(self, images):
            self.batches.append(len(images))
            return [confidence() for _ in images]

    made = Net()
    made.batches = []
    monkeypatch.setattr(runtime, "saliency", lambda: made)
    return made


@pytest.mark.django_db(transaction=True)
class TestMany:
    def test_a_whole_import_is_cut_out_in_parts_that_pause_resume_and_give_the_same_again(self, net, max_, monkeypatch):
        monkeypatch.setattr(actions, "CUT_TOGETHER", 10)
        files = [(f"jug-{n}.png", build.png(photo(n))) for n in range(22)]
        run = actions.import_product_files(files).cut_out_run
        first, second, third = run.parts.order_by("pk")
        lost = blobs().path(third.params["items"][1]["sha256"])
        lost.unlink()
        do(first)
        assert net.batches == [8, 2] and Product.objects.waiting().count() == 10
        assert pause_run(run) and not second.claim("somebody")
        resume_run(run)
        before = set(Product.objects.values_list("sku", "image_sha256"))
        Run.objects.filter(pk=first.pk).update(state="queued")  # as after a kill in its last line
        assert cut(run).state == "succeeded" and (run.done, run.total) == (22, 22)
        assert run.result == {"products": 21, "left_out": 1} and Product.objects.waiting().count() == 21
        assert before <= set(Product.objects.values_list("sku", "image_sha256"))
        panel = max_.get(reverse("cut-out-panel", args=[run.pk])).content.decode()
        assert "Look at the cut-outs" in panel and "<dd>21<small>of 22" in panel and panel.count("<img") == 11 and "listed below" in panel
        assert "not in the store any more: upload it again" in run.import_problems.get().problem

    def test_all_that_wait_are_cut_out_anew_but_not_what_a_person_worked_on_or_drew(self, net, max_):
        plain, by_hand, accepted, drawn, other = (waiting(sku) for sku in ("plain", "hand", "accepted", "drawn", "other"))
        Product.objects.filter(pk=by_hand.pk).update(cut_settings={"by": "hand"})
        Product.objects.filter(pk=accepted.pk).update(is_waiting=False)
        Product.objects.filter(pk=other.pk).update(source="elsewhere")
        build.candidate(1, of=drawn)
        size, kept = (alpha_of(plain) > 127).sum(), {row.pk: row.image_sha256 for row in Product.objects.all()}
        query = {"query": "state=waiting&source=upload"}
        assert "Cut all of these out anew" in max_.get(f"{reverse('products')}?{query['query']}").content.decode()
        wrong = max_.post(reverse("products_recut"), {**query, "what": "all", "threshold": "99"}, follow=True)
        assert "between 5 and 95 percent" in wrong.content.decode() and not Run.objects.exists()
        for finds_none in (f"q={'%C3%BC' * 150}&source=nobody", "q=%00&source=nobody"):
            none = max_.post(reverse("products_recut"), {"query": finds_none, "what": "all"}, follow=True)
            assert none.status_code in (200, 400) and not Run.objects.exists()
        max_.post(reverse("products_recut"), {**query, "what": "all", "threshold": "15"})
        run = cut(Run.objects.get(kind="cut_out"))
        assert run.result == {"products": 1, "left_out": 0}
        plain.refresh_from_db()
        assert (alpha_of(plain) > 127).sum() > size and plain.is_waiting and plain.cut_settings["threshold"] == 0.15
        for row in (by_hand, accepted, drawn, other):
            row.refresh_from_db()
            assert row.image_sha256 == kept[row.pk], row

    def test_all_that_match_over_http_and_by_the_command(self, net, max_, capsys):
        for sku in ("red jug", "blue jug", "pot"):
            waiting(sku, title=sku)
        url = "/api/v1/products/cut-outs"

        def call(path="", **body):
            response = max_.post(url + path, body, content_type="application/json")
            return response.status_code, response.json()

        for wrong, sentence in (
            ({"threshold": 99}, "95"), ({"colour": "red"}, "Unknown field"), ({"q": "lamp"}, "None of them waits"),
            ({"skus": ["pot", "pan"]}, "No product has the SKU pan."),
        ):  # fmt: skip
            status, told = call(**wrong)
            assert status == 400 and sentence in str(told) and not Run.objects.exists(), wrong
        made = call(q="jug", threshold=15)[1]
        run = Run.objects.get(pk=made["id"])
        assert (made["state"], made["total"]) == ("waiting", 2) and run.parts.get().params["threshold"] == 0.15
        assert call(f"/{run.pk}/pause")[1]["state"] == "paused" and call(f"/{run.pk}/resume")[1]["state"] == "waiting"
        assert cut(run).result == {"products": 2, "left_out": 0}
        assert max_.get(f"{url}/{run.pk}").json()["done"] == 2 and call(f"/{run.pk}/stop")[1]["state"] == "succeeded"
        assert Product.objects.filter(cut_settings__threshold=0.15).count() == 2

        call_command("products", "cut-out", "--skus", "pot", "--threshold", "20")
        run = Run.objects.filter(kind="cut_out").latest("pk")
        assert f"Run {run.pk}: Cut out 1 product anew" in capsys.readouterr().out
        assert cut(run).result == {"products": 1, "left_out": 0}
        for wrong, sentence in ((["--threshold", "3"], "between 5 and 95"), (["--category", "cars"], "None of them waits")):
            with pytest.raises(CommandError, match=sentence):
                call_command("products", "cut-out", *wrong)

    def test_ticked_ones_and_what_somebody_accepts_meanwhile_stays(self, net, max_):
        jug, pot, _ = waiting("jug"), waiting("pot"), waiting("mug")
        max_.post(reverse("products_recut"), {"what": "ticked", "products": [jug.pk, pot.pk]})
        run = Run.objects.get(kind="cut_out")
        assert [item["where"] for item in run.parts.get().params["items"]] == ["jug", "pot"]
        max_.post(reverse("cut_out_accept", args=[pot.pk]), {"seen": pot.image_sha256})
        assert cut(run).result == {"products": 1, "left_out": 1}
        pot.refresh_from_db()
        assert not pot.is_waiting and Product.objects.waiting().count() == 2
        none = max_.post(reverse("products_recut"), {"what": "ticked", "products": [pot.pk]}, follow=True).content.decode()
        assert "None of them waits as U2-Net cut it out" in none
        assert "Tick at least one" in max_.post(reverse("products_recut"), {"what": "ticked"}, follow=True).content.decode()


def cut_original(product):
    from generation.cut_outs import original_of

    return original_of(product)
