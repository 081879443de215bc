from typing import Any

from django import forms
from django.db.models import Q

from adproof.labels import TITLES
from annotation.models import SavedFilter
from config.form_fields import Day
from datasets_app.choosing import saved_as_query
from datasets_app.models import SPLITS, DatasetVersion
from generation.figures import categories, sources
from generation.models import Generator, Prompt

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
    saved_filter = forms.ModelChoiceField(
        SavedFilter.objects.none(), label="A saved filter of the label browser", required=False, empty_label="None",
        help_text="What it says now is kept with the version.",
    )  # fmt: skip
    label = forms.TypedChoiceField(choices=LABELS, coerce=int, empty_value=None, required=False)
    source = forms.ChoiceField(required=False)
    prompt = forms.ModelChoiceField(Prompt.objects.order_by("name"), required=False, empty_label="All prompts")
    min_confidence = forms.IntegerField(
        label="Confidence at least, %", min_value=0, max_value=100, required=False,
        help_text="The probability of the label, from all answers together.",
    )  # fmt: skip
    reviewed_only = forms.BooleanField(label="Only what a reviewer decided", required=False)
    created_from = Day("Drawn from")
    created_to = Day("Drawn to")
    labelled_from = Day("Labelled from")
    labelled_to = Day("Labelled to")

    MORE_PAIRS = (("created_from", "created_to"), ("labelled_from", "labelled_to"))

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, plural, found in (("category", "categories", categories()), ("source", "sources", sources())):
            self.fields[name].choices = [("", f"All {plural}"), *((value, value) for value in found)]
        visible = SavedFilter.objects.filter(Q(owner=user) | Q(is_shared=True))
        self.fields["saved_filter"].queryset = visible.order_by("name", "pk")

    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or {}
        for first, last in self.MORE_PAIRS:
            if chosen.get(first) and chosen.get(last) and chosen[first] > chosen[last]:
                self.add_error(last, "It ends before it begins.")
        return chosen

    def query(self) -> dict[str, Any]:
        """The filter as datasets_app.actions takes it. An empty field is no condition."""
        chosen = self.cleaned_data
        query: dict[str, Any] = {}
        for name in ("min_annotations", "category", "source", "reviewed_only"):
            if chosen.get(name):
                query[name] = chosen[name]
        for name in ("min_agreement", "min_confidence"):
            if chosen.get(name):
                query[name] = chosen[name] / 100
        for name in ("generator", "prompt"):
            if chosen.get(name):
                query[name] = chosen[name].pk
        if chosen.get("label") is not None:
            query["label"] = chosen["label"]
        for name in (name for pair in self.MORE_PAIRS for name in pair):
            if chosen.get(name):
                query[name] = chosen[name].isoformat()
        if chosen.get("saved_filter"):
            query |= saved_as_query(chosen["saved_filter"])
        return query


def newest_name() -> str:
    return DatasetVersion.objects.order_by("-pk").values_list("name", flat=True).first() or FIRST_NAME


class SampleFilter(forms.Form):
    """What does not make sense is ignored: an old address still shows something."""

    split = forms.ChoiceField(choices=[(name, name) for name in SPLITS], required=False)
    label = forms.TypedChoiceField(choices=LABELS, coerce=int, empty_value=None, required=False)
    source = forms.CharField(max_length=80, required=False)
    category = forms.CharField(max_length=80, required=False)
