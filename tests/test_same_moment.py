"""Two people, one name, the same moment: the second gets a sentence and keeps what they wrote, wherever they write it."""

import threading
import time
from contextlib import contextmanager

import pytest
from django.db import connections, transaction
from django.urls import reverse

from generation.actions import import_product_files
from generation.models import CategoryDefaults, Product, Prompt, VariableList
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
