"""Forms about prompts, the lists they draw from, and what is usual for a category."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms

from adproof import wording
from generation.forms import categories
from generation.models import MAX_PROMPT_CHARS, CategoryDefaults, Prompt, VariableList
from generation.prompt_library import (
    LIST_NAME_IS_TAKEN,
    MAX_VALUES,
    NAME_IS_TAKEN,
    CannotSave,
    all_lists,
    check_rename,
)

SCALE = {"step": "0.01", "min": "0.1", "max": "0.95"}


class PromptForm(forms.ModelForm):
    # What two people may both change.
    SEEN = (
        "name",
        "text",
        "negative_text",
        "image_scale",
        "categories",
        "follows_category",
        "tags",
        "notes",
        "is_active",
    )

    # A longer text must come back whole with a sentence: a maxlength attribute would cut a paste without a word.
    text = forms.CharField(
        label="Scene",
        max_length=MAX_PROMPT_CHARS,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What stands around the product: surface, wall, light. {product}, {category} and your lists are put in.",
    )
    negative_text = forms.CharField(
        label="What must not appear",
        max_length=MAX_PROMPT_CHARS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    categories = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Only for products of",
        help_text="None ticked: for all.",
    )
    tags = forms.CharField(required=False, max_length=500, help_text="Separated by commas: summer, studio, test.")
    notes = forms.CharField(
        max_length=5000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="For your colleagues; no generator reads it.",
    )

    class Meta:
        model = Prompt
        fields = [
            "name", "text", "negative_text", "image_scale", "categories", "follows_category", "tags", "notes", "is_active",
        ]  # fmt: skip
        labels = {
            "image_scale": "Size of the product",
            "is_active": "Offer it when drawing",
            "follows_category": "Where a category has its own size and things that must not appear, use those",
        }
        help_texts = {"image_scale": "Its longest side as a share of the picture, 0.1 to 0.95."}
        widgets = {"image_scale": forms.NumberInput(attrs=SCALE)}
        error_messages = {"name": {"unique": NAME_IS_TAKEN, "required": "Give it a name."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = dict.fromkeys([*categories(), *self.instance.categories])
        self.fields["categories"].choices = [(name, name) for name in names]
        self.initial["tags"] = ", ".join(self.instance.tags)
        for name in ("text", "negative_text"):
            field = self.fields[name]
            field.widget.attrs.pop("maxlength", None)
            field.widget.attrs["data-most"] = str(MAX_PROMPT_CHARS)
            field.error_messages["required"] = "Write what the scene shows."
            for validator in field.validators:
                if getattr(validator, "code", "") == "max_length":
                    validator.message = (
                        "This text has %(show_value)s characters; %(limit_value)s is the most. "
                        "Shorten it: generators read only the first 75 words or so."
                    )

    def clean_text(self) -> str:
        return self._with_known_variables("text")

    def clean_negative_text(self) -> str:
        return self._with_known_variables("negative_text")

    def clean_tags(self) -> list[str]:
        tags = list(dict.fromkeys(tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()))
        if long := next((tag for tag in tags if len(tag) > 40), ""):
            raise forms.ValidationError(f"“{long[:40]}…” is longer than 40 characters: separate tags by commas.")
        return tags

    @classmethod
    def of_values(cls, row: Prompt, values: Mapping[str, Any]) -> "PromptForm":
        """The form filled in with some values by name; the others stay as they are."""
        data = {name: getattr(row, name) for name in cls.SEEN} | dict(values)
        return cls({**data, "tags": ", ".join(data["tags"])}, instance=row)

    def _with_known_variables(self, name: str) -> str:
        text: str = self.cleaned_data[name]
        if "{" in text or "}" in text:
            try:
                wording.check(text, all_lists())
            except wording.WordingError as problem:
                raise forms.ValidationError(str(problem)) from problem
        return text


class VariableListForm(forms.ModelForm):
    SEEN = ("name", "values")

    name = forms.CharField(
        max_length=40,
        help_text="Small letters, digits and _. In a prompt it stands in braces, such as {colour}.",
        error_messages={"required": "Give it a name."},
    )
    values = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 12}),
        max_length=200_000,
        help_text="One a line. Which one a picture gets follows from its seed; each is drawn about equally often.",
        error_messages={"required": "Write at least one value."},
    )

    class Meta:
        model = VariableList
        fields = ["name", "values"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["values"] = "\n".join(self.instance.values or [])
        del self.fields["values"].widget.attrs["maxlength"]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip().strip("{}").lower()
        if not wording.NAME.fullmatch(name):
            raise forms.ValidationError("A name has small letters, digits and _, and begins with a letter.")
        if name in wording.RESERVED:
            raise forms.ValidationError(f"{{{name}}} is the product's own: choose another name.")
        if VariableList.objects.filter(name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(LIST_NAME_IS_TAKEN)
        if self.instance.pk and (now := VariableList.objects.filter(pk=self.instance.pk).first()):
            try:
                check_rename(now, name)
            except CannotSave as problem:
                raise forms.ValidationError(str(problem)) from problem
        return name

    def clean_values(self) -> list[str]:
        lines = (re.sub(r"\s+", " ", line).strip() for line in self.cleaned_data["values"].splitlines())
        values = list(dict.fromkeys(line for line in lines if line))
        if not values:
            raise forms.ValidationError("Write at least one value.")
        if len(values) > MAX_VALUES:
            raise forms.ValidationError(f"These are {len(values):,} values; {MAX_VALUES} is the most.")
        if long := next((value for value in values if len(value) > 200), ""):
            raise forms.ValidationError(f"“{long[:40]}…” has {len(long)} characters; 200 is the most for one value.")
        return values


class CategoryDefaultsForm(forms.ModelForm):
    SEEN = ("image_scale", "negative_text", "prompts")

    prompts = forms.ModelMultipleChoiceField(
        Prompt.objects.filter(is_active=True).order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Ticked when somebody draws products of this category.",
    )

    class Meta:
        model = CategoryDefaults
        fields = ["image_scale", "negative_text", "prompts"]
        labels = {"image_scale": "Size of the product", "negative_text": "What must not appear"}
        help_texts = {
            "image_scale": "0.1 to 0.95; empty: the prompt's own. For prompts that follow their category.",
            "negative_text": "Added to the prompt's own, for prompts that follow their category.",
        }
        widgets = {
            "image_scale": forms.NumberInput(attrs=SCALE),
            "negative_text": forms.Textarea(attrs={"rows": 2}),
        }
