from typing import Any

from django import forms

from adproof.labels import TITLES
from datasets_app.models import SPLITS, DatasetVersion
from generation.models import Generator, Product

LABELS = [("", "Any label"), *((int(label), title) for label, title in TITLES.items())]
FIRST_NAME = "ads"


class FreezeForm(forms.Form):
    """Which labelled candidates become the next version."""

    name = forms.CharField(
        max_length=61, help_text="a-z, 0-9 and hyphens. A name that is there already gets its next version.",
        error_messages={"required": "Name the dataset, such as ads."},
    )  # fmt: skip
    min_annotations = forms.IntegerField(
        label="Answers at least", min_value=1, max_value=9, required=False,
        help_text="Empty: as many as its task asks for.",
    )  # fmt: skip
    min_agreement = forms.IntegerField(
        label="Agreement at least, %", min_value=0, max_value=100, required=False,
        help_text="How many of the answers gave the label that won.",
    )  # fmt: skip
    generator = forms.ModelChoiceField(Generator.objects.order_by("pk"), required=False, empty_label="All generators")
    category = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = Product.objects.exclude(category="").order_by("category").values_list("category", flat=True).distinct()
        self.fields["category"].choices = [("", "All categories"), *((name, name) for name in found)]

    def query(self) -> dict[str, Any]:
        """The filter as datasets_app.actions takes it. An empty field is no condition."""
        chosen = self.cleaned_data
        query: dict[str, Any] = {}
        if chosen.get("min_annotations"):
            query["min_annotations"] = chosen["min_annotations"]
        if chosen.get("min_agreement"):
            query["min_agreement"] = chosen["min_agreement"] / 100
        if chosen.get("generator"):
            query["generator"] = chosen["generator"].pk
        if chosen.get("category"):
            query["category"] = chosen["category"]
        return query


def newest_name() -> str:
    return DatasetVersion.objects.order_by("-pk").values_list("name", flat=True).first() or FIRST_NAME


class SampleFilter(forms.Form):
    """What does not make sense is ignored: an old address still shows something."""

    split = forms.ChoiceField(choices=[(name, name) for name in SPLITS], required=False)
    label = forms.TypedChoiceField(choices=LABELS, coerce=int, empty_value=None, required=False)
    source = forms.CharField(max_length=80, required=False)
    category = forms.CharField(max_length=80, required=False)
