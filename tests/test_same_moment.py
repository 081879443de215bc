"""Two people, one name, the same moment: the second gets a sentence and keeps what they wrote, wherever they write it."""

import threading
import time
from contextlib import contextmanager

import pytest
from django.db import connections, transaction
from django.urls import reverse

from generation import ordering, prompt_library
from generation.actions import import_product_files, put_in_use
from generation.models import CategoryDefaults, Generator, Product, Prompt, VariableList
from generation.planning import CannotStart
from tests import build
from tests.locks import somebody_waits_for_us

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"


@contextmanager
def somebody_else(write):
    """Another has written and commits only once the request inside stands waiting for them."""
    written, failed = threading.Event(), []

    def work():
        try:
            with transaction.atomic():
                write()
                written.set()
                for _ in range(6000):
                    if somebody_waits_for_us():
                        return
                    time.sleep(0.01)
            failed.append("nobody came to wait")
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)
        finally:
            written.set()
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    written.wait(60)
    yield
    thread.join(60)
    assert not failed, failed


@pytest.fixture
def olga(client, people):
    type(people["olga"]).objects.filter(pk=people["olga"].pk).update(is_staff=True)
    client.force_login(people["olga"])
    return client


def test_a_prompts_name_in_the_admin(olga):
    asked = {
        "name": "Oak", "text": "on oak, mine", "image_scale": "0.5", "tags": "", "is_active": "on",
        "earlier_texts-TOTAL_FORMS": "0", "earlier_texts-INITIAL_FORMS": "0",
    }  # fmt: skip
    with somebody_else(lambda: build.prompt("Oak")):
        response = olga.post(reverse("admin:generation_prompt_add"), asked)
    html = response.content.decode()
    assert response.status_code == 200 and "There is a prompt of this name already" in html and "on oak, mine</textarea>" in html
    assert Prompt.objects.count() == 1


def test_a_lists_name_on_its_page_over_http_and_in_the_admin(olga):
    for number, (path, more, status) in enumerate((
        (reverse("variable_create"), {}, 422), (reverse("admin:generation_variablelist_add"), {}, 200),
        ("/api/v1/variables/", {"content_type": JSON}, 400),
    )):  # fmt: skip
        name, values = f"colour{number}", ["mine"] if more else "mine"
        with somebody_else(lambda name=name: VariableList.objects.create(name=name, values=["theirs"])):
            response = olga.post(path, {"name": name, "values": values}, **more)
        assert response.status_code == status and "There is a list of this name already" in response.content.decode(), path
    assert {row.values[0] for row in VariableList.objects.all()} == {"theirs"}


def test_what_is_usual_for_a_category_and_a_products_sku(olga):
    build.product(1)
    url = f"{reverse('category_defaults')}?category=lamps"
    seen = olga.get(url).context["seen"]
    with somebody_else(lambda: CategoryDefaults.objects.create(category="lamps", image_scale=0.3)):
        response = olga.post(url, {"image_scale": "0.4", "negative_text": "cables", "seen": seen})
    html = response.content.decode()
    assert response.status_code == 422 and "Somebody else has saved this" in html and "cables</textarea>" in html
    again = {"image_scale": "0.4", "negative_text": "cables", "seen": response.context["seen"]}
    assert olga.post(url, again).status_code == 302 and CategoryDefaults.objects.get().image_scale == 0.4

    with somebody_else(lambda: build.product(7, sku="mug", title="Theirs")):
        report = import_product_files([("mug.png", build.png(build.cut_out(3)))])
    assert report.updated == ["mug"] and Product.objects.get(sku="mug").title == "Mug"


def test_a_list_or_prompt_that_is_deleted_while_its_form_is_filled_in_is_made_anew_from_what_was_written(olga):
    colour, oak = VariableList.objects.create(name="colour", values=["sand"]), build.prompt("Oak")
    for row, path, asked, create, typed in (
        (colour, reverse("variable", args=[colour.pk]), {"name": "colour", "values": "mine"}, "variable_create", "mine</textarea>"),
        (oak, reverse("prompt", args=[oak.pk]), {"name": "Oak", "text": "on oak, mine", "image_scale": "0.5"}, "prompt_create", "on oak, mine</textarea>"),
    ):
        seen = olga.get(path).context["seen"]
        with somebody_else(type(row).objects.filter(pk=row.pk).delete):
            response = olga.post(path, {**asked, "seen": seen})
        html = response.content.decode()
        assert response.status_code == 422 and "Somebody has deleted this" in html and typed in html, path
        response = olga.post(path, {**asked, "seen": seen})  # gone for a while
        assert response.status_code == 422 and "Somebody has deleted this" in response.content.decode(), path
        assert f'action="{reverse(create)}"' in html and olga.post(reverse(create), {**asked, "seen": response.context["seen"]}).status_code == 302
        assert type(row).objects.get(name=row.name).pk != row.pk and olga.post(path, asked).status_code == 404


def test_a_prompt_that_draws_from_a_list_and_the_list_s_own_fate(olga):
    oak = {"name": "Oak", "text": "a {colour} wall, mine", "image_scale": "0.5"}
    in_admin = {**oak, "tags": "", "is_active": "on", "earlier_texts-TOTAL_FORMS": "0", "earlier_texts-INITIAL_FORMS": "0"}
    for path, asked, more, status in (
        (reverse("prompt_create"), oak, {}, 422), ("/api/v1/prompts/", {**oak, "image_scale": 0.5}, {"content_type": JSON}, 400),
        (reverse("admin:generation_prompt_add"), in_admin, {}, 200),
    ):  # fmt: skip
        colour = VariableList.objects.create(name="colour", values=["sand"])
        with somebody_else(lambda pk=colour.pk: prompt_library.delete_list(pk)):
            response = olga.post(path, asked, **more)
        html = response.content.decode()
        assert response.status_code == status and "colour" in html and not Prompt.objects.exists(), path
        assert more or "a {colour} wall, mine</textarea>" in html

    colour = VariableList.objects.create(name="colour", values=["sand"])

    def begins_to_draw_from_it():
        prompt_library.save_prompt(Prompt(name="Wall", text="a {colour} wall"), None, None)

    with somebody_else(begins_to_draw_from_it):
        html = olga.post(reverse("variable_delete", args=[colour.pk]), follow=True).content.decode()
    assert "{colour} is used by “Wall”: change those first." in html
    Prompt.objects.all().delete()
    with somebody_else(begins_to_draw_from_it):
        response = olga.post(reverse("variable", args=[colour.pk]), {"name": "tone", "values": "sand"})
    assert response.status_code == 422 and "is used by “Wall”" in response.content.decode()
    Prompt.objects.all().delete()
    with somebody_else(begins_to_draw_from_it):
        html = olga.post(reverse("admin:generation_variablelist_delete", args=[colour.pk]), {"post": "yes"}, follow=True).content.decode()
    assert "is used by “Wall”" in html and VariableList.objects.get().name == "colour"


def test_a_product_or_generator_that_is_deleted_in_the_moment_it_is_changed_or_chosen(olga, people):
    lamp = build.product(1)
    form = {"title": "Mine", "description": "typed with care", "category": "", "source": "test", "license": ""}
    with somebody_else(Product.objects.filter(pk=lamp.pk).delete):
        response = olga.post(reverse("product_edit", args=[lamp.pk]), form)
    html = response.content.decode()
    assert response.status_code == 422 and "Somebody has deleted this product" in html and "typed with care" in html

    build.product(2), build.prompt()
    used, gone = build.generator("used"), build.generator("gone")
    put_in_use(used)
    wish = ordering.Wish(generator=gone.pk)
    with somebody_else(Generator.objects.filter(pk=gone.pk).delete), pytest.raises(CannotStart, match="gone is not there any more"):
        ordering.start(wish, people["olga"])
    with pytest.raises(CannotStart, match="not there any more"):
        put_in_use(gone)
    assert Generator.objects.get(is_in_use=True) == used, "the one in use stays in use"

    other = build.generator("other")
    Generator.objects.update(is_in_use=False)
    with somebody_else(lambda: put_in_use(used)):
        assert olga.post(reverse("generator_use", args=[other.pk])).status_code == 302
    assert Generator.objects.get(is_in_use=True) == other
