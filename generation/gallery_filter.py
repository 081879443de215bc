"""The words of the gallery's filter, as they stand in its address."""

from __future__ import annotations

from typing import Any

from django import forms

from adproof.labels import TITLES
from config.form_fields import ById, Day
from generation.figures import categories, sources
from generation.models import Generator, Product, Prompt
from runs.models import Run

NONE = "none"
LABELS = [("", "Any"), *((str(int(label)), title) for label, title in TITLES.items())]
STATES = {
    "unlabelled": "Not labelled",
    "labelled": "Has all its answers",
    "disagreed": "People disagree",
    "agreed": "People and RFNet agree",
    "contradicted": "People and RFNet disagree",
    "unperceived": "Lacks depth or saliency",
}
ATTEMPTS = {"1": "First", "again": "Second and later", "2": "Second", "3": "Third"}


class GalleryFilter(forms.Form):
    """What does not make sense is ignored, so that an old address still shows something."""

    q = forms.CharField(label="Product", max_length=200, required=False)
    label = forms.ChoiceField(label="People say", choices=LABELS, required=False)
    verdict = forms.ChoiceField(label="RFNet says", choices=[*LABELS, (NONE, "Nothing yet")], required=False)
    state = forms.ChoiceField(label="State", required=False, choices=[("", "Any"), *STATES.items()])
    generator = ById(Generator.objects.order_by("pk"), required=False, empty_label="Any")
    prompt = ById(Prompt.objects.order_by("name"), required=False, empty_label="Any")
    category = forms.ChoiceField(label="Category", required=False)
    source = forms.ChoiceField(label="Source", required=False)
    attempt = forms.ChoiceField(label="Attempt", required=False, choices=[("", "Any"), *ATTEMPTS.items()])
    abandoned = forms.ChoiceField(
        label="Given up early", required=False, choices=[("", "Any"), ("no", "No"), ("yes", "Yes")]
    )
    drawn_from = Day("Drawn from")
    drawn_to = Day("Drawn to")
    run = ById(Run.objects.filter(kind="generate"), label="Run", required=False, widget=forms.NumberInput)
    product = ById(Product.objects.all(), required=False, widget=forms.HiddenInput)

    MORE = ("source", "attempt", "abandoned", "drawn_from", "drawn_to", "run")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.fields["category"].choices = [("", "Any"), *((name, name) for name in categories())]
        self.fields["source"].choices = [("", "Any"), *((name, name) for name in sources())]
        self.fields["run"].widget.attrs["min"] = "1"

    def chosen(self) -> dict[str, Any]:
        """Only what was given and makes sense."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}

    @property
    def query(self) -> dict[str, str]:
        """As it stands in an address."""
        return {name: str(self.data[name]) for name in self.fields if name in self.chosen()}

    @property
    def main_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name not in (*self.MORE, "product")]

    @property
    def more_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name in self.MORE]

    @property
    def has_more(self) -> bool:
        return any(name in self.MORE for name in self.query)

    @property
    def is_narrow(self) -> bool:
        return bool(self.query)
