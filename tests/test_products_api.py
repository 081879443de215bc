"""Products over the API: the same checks as on the pages; sending twice changes nothing."""

import base64

import pytest

from generation.models import Product
from runs.models import Run
from tests import build
from tests.cut_out_rows import photo

pytestmark = pytest.mark.django_db
URL = "/api/v1/products/"


@pytest.fixture
def api(client, people):
    client.force_login(people["max"])
    return client


def call(client, method, path="", body=None):
    response = getattr(client, method)(URL + path, body, content_type="application/json")
    return response.status_code, response.json()


def mug(**changes):
    picture = base64.b64encode(build.png(build.cut_out(3))).decode()
    return {"sku": "mug", "title": "Mug", "picture": picture, "size_cm": [9, 9, 10], **changes}


def test_one_is_made_and_sent_again_changes_nothing(api):
    assert call(api, "post", body=mug())[1]["outcome"] == "created"
    assert call(api, "post", body=mug())[1]["outcome"] == "unchanged"
    status, told = call(api, "post", body=mug(category="Kitchen"))
    assert (status, told["outcome"], told["product"]["category"], told["product"]["standing"]) == (200, "updated", "Kitchen", "drawable")
    assert Product.objects.get().size_cm == [9, 9, 10]


def test_a_picture_with_a_background_is_cut_out_by_a_run(api):
    picture = base64.b64encode(build.png(photo())).decode()
    told = call(api, "post", body=mug(picture=picture))[1]
    assert (told["outcome"], told["product"]) == ("cutting_out", None) and Run.objects.get(pk=told["run"]).kind == "cut_out"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"picture": "no base64!"}, "This is not base64"),
        ({"picture": base64.b64encode(b"GIF89a").decode()}, "This file is a GIF"),
        ({"size_cm": [1, 2]}, "at least 3"),
        ({"colour": "red"}, "Unknown field. Known:"),
    ],
)
def test_what_is_wrong_is_said_by_its_field(api, changes, sentence):
    status, told = call(api, "post", body=mug(**changes))
    assert status == 400 and sentence in str(told) and not Product.objects.exists()


def test_another_picture_of_a_product_with_candidates_is_refused(api):
    lamp = build.candidate(1).product
    status, told = call(api, "post", body=mug(sku=lamp.sku))
    assert status == 400 and "give the new picture a SKU of its own" in str(told)


def test_edit_flag_and_pages_of_a_list(api):
    rows = [build.product(n) for n in range(3)]
    assert call(api, "patch", str(rows[0].pk), {"category": "chairs", "size_cm": None})[1]["category"] == "chairs"
    assert call(api, "post", f"{rows[1].pk}/flag", {"unsuitable": True})[0] == 400
    told = call(api, "post", f"{rows[1].pk}/flag", {"unsuitable": True, "reason": "cut off"})[1]
    assert (told["standing"], told["unsuitable_reason"]) == ("unsuitable", "cut off")
    assert [row["id"] for row in call(api, "get", "?standing=unsuitable")[1]["products"]] == [rows[1].pk]
    first = call(api, "get", "?limit=2")[1]
    assert [row["id"] for row in first["products"]] == [rows[2].pk, rows[1].pk]
    last = call(api, "get", f"?limit=2&before={first['next']}")[1]
    assert ([row["id"] for row in last["products"]], last["next"]) == ([rows[0].pk], None)
    assert call(api, "post", f"{rows[1].pk}/flag", {"unsuitable": False})[1]["standing"] == "drawable"
