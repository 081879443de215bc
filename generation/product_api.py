"""Products over HTTP: list, bring in, edit, flag. The same checks as on the pages."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from config.paging import older_than
from config.strict import NEXT, PageIn, Strict, named, read
from generation import actions
from generation.importing import Problem, read_picture
from generation.models import Product
from generation.product_filter import matching

STATES = ("drawable", "waiting", "unsuitable")


class MaySeeOrEdit(May):
    ability, changing = "see_candidates", "edit_products"
    message = "Your role can't do this (see or edit products). Ask an operator for it."


class MayEditProducts(May):
    ability = "edit_products"
    message = "Your role can't do this (edit products). Ask an operator for it."


@extend_schema_field({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3, "nullable": True})
class SizeField(serializers.ListField):
    """Width, depth, height."""

    def __init__(self, **kwargs: Any) -> None:
        side = serializers.FloatField(min_value=0.01, max_value=10_000)
        super().__init__(child=side, min_length=3, max_length=3, allow_null=True, required=False, **kwargs)


def _text(most: int, **kwargs: Any) -> serializers.CharField:
    return serializers.CharField(max_length=most, required=False, **kwargs)


class ProductEdit(Strict):
    title = _text(300)
    description = _text(5000, allow_blank=True)
    category = _text(80, allow_blank=True)
    license = _text(200, allow_blank=True)
    size_cm = SizeField(help_text="Width, depth, height.")


class ProductIn(ProductEdit):
    sku = serializers.CharField(max_length=80)
    title = serializers.CharField(max_length=300)
    # Not `source`: that is a word of the serializers' own.
    picture = serializers.CharField(
        max_length=5_000_000, help_text="PNG, JPEG or WebP in base64, at most 3.5 MB; larger ones by page or command."
    )


class ProductFlagIn(Strict):
    unsuitable = serializers.BooleanField()
    reason = _text(300, allow_blank=True, default="", help_text="What is wrong with the picture; wanted for a flag.")


class CatalogueProductOut(serializers.Serializer):
    id = serializers.IntegerField()
    sku = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    category = serializers.CharField(allow_blank=True)
    license = serializers.CharField(allow_blank=True)
    size_cm = SizeField()
    standing = serializers.ChoiceField(choices=STATES, help_text="`waiting`: U2-Net cut it out, nobody has looked yet.")
    unsuitable_reason = serializers.CharField(allow_blank=True)
    image_sha256 = serializers.CharField()
    width_px = serializers.IntegerField()
    height_px = serializers.IntegerField()


class ProductsOut(serializers.Serializer):
    products = CatalogueProductOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)


class MadeOut(serializers.Serializer):
    outcome = serializers.ChoiceField(choices=["created", "updated", "unchanged", "cutting_out"])
    product = CatalogueProductOut(allow_null=True, help_text="null while it is cut out.")
    run = serializers.IntegerField(allow_null=True, help_text="The run that cuts it out.")


def out(row: Product) -> dict[str, Any]:
    names = [name for name in CatalogueProductOut().fields if name != "standing"]
    state = "unsuitable" if row.unsuitable else "waiting" if row.is_waiting else "drawable"
    return {**{name: getattr(row, name) for name in names}, "standing": state}


class Which(PageIn):
    q = _text(200, help_text="In the SKU, title or description.")
    category = _text(80)
    source = _text(80)
    standing = serializers.ChoiceField(required=False, choices=STATES)


@extend_schema(
    methods=["GET"], tags=["products"], summary="Products, the newest first", parameters=[Which], responses=ProductsOut,
    operation_id="products_list",
)  # fmt: skip
@extend_schema(
    methods=["POST"], tags=["products"], summary="Bring a product in", request=ProductIn, responses=MadeOut,
    description="Makes or updates the product of this `sku`; sending it twice changes nothing. A picture without a "
    "transparent background is cut out by a run, and then waits until a person accepts it.",
    examples=[
        OpenApiExample(
            "A mug",
            value={
                "sku": "mug-7", "title": "Enamel mug", "category": "Kitchen", "size_cm": [9, 9, 10],
                "picture": "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAJUlEQVR42mNgGPKAEV3ghI"
                "bcf3waLG48QtHDRKkLRg0YNWCYAADYQQQUg1Ti8wAAAABJRU5ErkJggg==",
            },
            request_only=True,
        )
    ],
    operation_id="products_bring_in",
)  # fmt: skip
@api_view(["GET", "POST"])
@permission_classes([MaySeeOrEdit])
def products(request: Request) -> Response:
    if request.method == "POST":
        return _bring_in(request)
    which = read(Which, request.query_params.dict())
    rows = matching({**which, "state": which.get("standing", "")})
    found, last = older_than(rows, which.get("before"), which["limit"])
    return Response({"products": [out(row) for row in found], "next": last})


def _bring_in(request: Request) -> Response:
    given = dict(read(ProductIn, request.data))
    sku, title = given.pop("sku"), given.pop("title")
    try:
        picture = base64.b64decode(given.pop("picture"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValidationError({"picture": ["This is not base64."]}) from error
    file = read_picture("picture", picture, sku, title, given)
    if isinstance(file, Problem):
        raise ValidationError({"picture": [file.text]})
    report = actions.store_products([file], request.user)
    if report.problems:
        raise ValidationError({"picture": [report.problems[0].text]})
    if report.cut_out_run:
        return Response({"outcome": "cutting_out", "product": None, "run": report.cut_out_run.pk})
    state = "created" if report.created else "updated" if report.updated else "unchanged"
    return Response({"outcome": state, "product": out(Product.objects.get(sku=sku)), "run": None})


@extend_schema(
    methods=["GET"], tags=["products"], summary="One product", responses=CatalogueProductOut, operation_id="product"
)
@extend_schema(
    methods=["PATCH"], tags=["products"], summary="Edit a product", request=ProductEdit, responses=CatalogueProductOut,
    description="What is named is changed, the rest stays. Its picture stays: another picture is another product.",
    examples=[OpenApiExample("Its real size", value={"category": "Kitchen", "size_cm": [9, 9, 10]}, request_only=True)],
    operation_id="product_edit",
)  # fmt: skip
@api_view(["GET", "PATCH"])
@permission_classes([MaySeeOrEdit])
def product(request: Request, product_id: int) -> Response:
    row = named(Product.objects.all(), product_id, "product")
    if request.method == "PATCH":
        asked = read(ProductEdit, request.data)
        with transaction.atomic():
            Product.objects.filter(pk=row.pk).update(**asked)
        row.refresh_from_db()
    return Response(out(row))


@extend_schema(
    tags=["products"], summary="Flag a product as unsuitable, or take the flag back", request=ProductFlagIn,
    responses=CatalogueProductOut,
    description="A flag says that its own picture is at fault: its candidates leave the queue and every later version.",
    examples=[
        OpenApiExample("Flag it", value={"unsuitable": True, "reason": "A leg is cut off."}, request_only=True),
        OpenApiExample("Take it back", value={"unsuitable": False}, request_only=True),
    ],
    operation_id="product_flag",
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayEditProducts])
def flag(request: Request, product_id: int) -> Response:
    row = named(Product.objects.all(), product_id, "product")
    asked = read(ProductFlagIn, request.data)
    if not asked["unsuitable"]:
        actions.unflag(row)
    elif not asked["reason"].strip():
        raise ValidationError({"reason": ["Say what is wrong with the picture."]})
    else:
        actions.flag_unsuitable(row, asked["reason"])
    return Response(out(row))
