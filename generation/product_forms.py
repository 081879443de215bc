"""Forms about products: edit one, change many, cut one out anew."""

from typing import Any

from django import forms

from adproof.perception.masks import THRESHOLD
from config.numbers import id_of
from generation.actions import picture_in_use
from generation.cut_outs import Redo
from generation.forms import MAX_PICTURE_BYTES, megabytes
from generation.importing import Problem, ProductFile, read_picture, size_of
from generation.models import Product

SIDES = ("width_cm", "depth_cm", "height_cm")
MAX_AT_ONCE = 1000


class ProductForm(forms.ModelForm):
    width_cm = forms.CharField(label="Width in cm", max_length=20, required=False)
    depth_cm = forms.CharField(label="Depth in cm", max_length=20, required=False)
    height_cm = forms.CharField(label="Height in cm", max_length=20, required=False)
    picture = forms.FileField(
        label="Another picture",
        required=False,
        help_text="PNG, JPEG or WebP. Without a transparent background it is cut out, and waits for your look.",
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    new_sku = forms.CharField(
        label="SKU of a new product with that picture",
        max_length=80,
        required=False,
        help_text="Only where candidates were drawn from the picture it has: those stay with it, true to what they show.",
    )

    # What two people may both change.
    SEEN = ("title", "description", "category", "license", "source", "size_cm", "image_sha256")

    class Meta:
        model = Product
        fields = ["title", "description", "category", "license", "source"]
        error_messages = {
            "title": {"required": "Write what a shop would call the product."},
            "source": {"required": "Say where the picture is from."},
        }
        widgets = {
            "title": forms.TextInput(),
            "description": forms.Textarea(attrs={"rows": 4}),
            "category": forms.TextInput(attrs={"list": "categories", "autocomplete": "off"}),
        }
        help_texts = {
            "description": "What a shop says of it: material, size, use. RFNet reads it.",
            "source": "Where the picture is from: every report can be split by it.",
            "license": "Under which terms the picture may be used.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.file: ProductFile | None = None
        for name, side in zip(SIDES, self.instance.size_cm or [], strict=False):
            self.fields[name].initial = f"{side:g}"

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        try:
            self.instance.size_cm = size_of(data).get("size_cm")
        except ValueError as error:
            said = str(error).replace("width_cm, depth_cm and height_cm", "width, depth and height")
            self.add_error("width_cm", said[:1].upper() + said[1:])
        if data.get("picture") is not None and not self.errors:
            self._check_picture(data)
        elif data.get("new_sku"):
            self.add_error("picture", "Choose the picture of the new product.")
        return data

    def _check_picture(self, data: dict[str, Any]) -> None:
        if data["picture"].size > MAX_PICTURE_BYTES:
            self.add_error("picture", f"{megabytes(MAX_PICTURE_BYTES)} is the most. Save it smaller.")
            return
        sku = data["new_sku"] or self.instance.sku
        found = read_picture(data["picture"].name, data["picture"].read(), sku, data["title"], self.values())
        if isinstance(found, Problem):
            self.add_error("picture", found.text[:1].upper() + found.text[1:])
        elif data["new_sku"] and Product.objects.filter(sku=sku).exists():
            self.add_error("new_sku", "There is a product of this SKU already: choose another.")
        elif not data["new_sku"] and (problem := picture_in_use(self.instance)):
            self.add_error("new_sku", problem[:1].upper() + problem[1:])
        else:
            self.file = found

    def values(self) -> dict[str, Any]:
        names = [name for name in self.Meta.fields if name != "title"]
        return {**{name: self.cleaned_data.get(name, "") for name in names}, "size_cm": self.instance.size_cm}


class Ticked(forms.Form):
    """What is wanted of the ticked products."""

    products = forms.TypedMultipleChoiceField(
        coerce=int, error_messages={"required": "Tick at least one product first."}
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        ticked = [value for value in data.getlist("products") if id_of(value) is not None]
        self.data = data.copy()
        self.data.setlist("products", ticked[:MAX_AT_ONCE])
        self.fields["products"].choices = [(value, value) for value in ticked]

    def sentence(self) -> str:
        return " ".join(problem for problems in self.errors.values() for problem in problems)


class BulkForm(Ticked):
    DO = [("flag", "Flag as unsuitable"), ("unflag", "Take the flag back"), ("category", "Set the category")]
    do = forms.ChoiceField(choices=DO)
    reason = forms.CharField(max_length=300, required=False)
    new_category = forms.CharField(max_length=80, required=False)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("do") == "flag" and not data.get("reason"):
            self.add_error("reason", "Say what is wrong with the pictures.")
        return data


class RecutForm(Ticked):
    what = forms.ChoiceField(choices=[("ticked", "The ticked ones"), ("all", "All that match")])
    threshold = forms.IntegerField(
        min_value=5,
        max_value=95,
        required=False,
        error_messages={
            "min_value": "The threshold lies between 5 and 95 percent.",
            "max_value": "The threshold lies between 5 and 95 percent.",
            "invalid": "The threshold is a whole number of percent.",
        },
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.fields["products"].required = data.get("what") != "all"

    def clean_threshold(self) -> int:
        found: int | None = self.cleaned_data["threshold"]
        return round(100 * THRESHOLD) if found is None else found


class RedoForm(forms.Form):
    seen = forms.CharField(max_length=64)
    base = forms.ChoiceField(choices=[("confidence", ""), ("current", ""), ("mask", "")])
    threshold = forms.IntegerField(min_value=5, max_value=95, initial=50, required=False)
    softness = forms.IntegerField(min_value=2, max_value=100, initial=40, required=False)
    strokes = forms.FileField(required=False, allow_empty_file=True)
    mask = forms.FileField(required=False)

    def how(self) -> Redo:
        data = self.cleaned_data

        def bytes_of(name: str) -> bytes:
            return data[name].read(MAX_PICTURE_BYTES + 1) if data[name] is not None else b""

        return Redo(
            base=data["base"],
            threshold=(data["threshold"] or 50) / 100,
            softness=(data["softness"] or 40) / 100,
            mask=bytes_of("mask"),
            strokes=bytes_of("strokes"),
        )
