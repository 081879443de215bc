"""The guidelines as a manager writes them: a text, and for each label the numbers of its example candidates."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from adproof.labels import TITLES
from annotation.guidelines import EXAMPLES_AT_MOST, TEXT_AT_MOST, Examples, examples_of, gold_among
from annotation.models import Guidelines
from generation.models import Candidate


class Numbers(forms.CharField):
    """ "12, 40": ids of candidates, each once."""

    def clean(self, value: Any) -> list[int]:
        words = re.split(r"[\s,;]+", super().clean(value).strip())
        wrong = [word for word in words if word and not (word.isascii() and word.isdigit() and len(word) < 19)]
        if wrong:
            raise forms.ValidationError(f"“{wrong[0][:40]}” is no candidate's number: write numbers with commas between.")
        ids = list(dict.fromkeys(int(word) for word in words if word))
        if len(ids) > EXAMPLES_AT_MOST:
            raise forms.ValidationError(f"{EXAMPLES_AT_MOST} examples at most: people look at a few.")
        return ids


class GuidelinesForm(forms.Form):
    text = forms.CharField(
        label="Text", max_length=TEXT_AT_MOST, required=False, widget=forms.Textarea(attrs={"rows": 18}),
        help_text="A blank line begins a paragraph, “# ” a heading, “- ” an item of a list; **so** is bold.",
    )  # fmt: skip
    based_on = forms.IntegerField(min_value=1, max_value=2**31 - 1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for number, title in TITLES.items():
            self.fields[f"label_{int(number)}"] = Numbers(
                label=title, required=False, max_length=400,
                widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
            )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        examples = self.examples()
        asked = {pk for ids in examples.values() for pk in ids}
        there = set(Candidate.objects.filter(pk__in=asked).values_list("pk", flat=True))
        gold = gold_among(there)
        seen: set[int] = set()
        for label, ids in examples.items():
            for pk in ids:
                if pk not in there:
                    self.add_error(f"label_{label}", f"There is no candidate {pk}.")
                elif pk in gold:
                    self.add_error(f"label_{label}", f"Candidate {pk} is gold: as an example everybody would know it.")
                elif pk in seen:
                    self.add_error(f"label_{label}", f"Candidate {pk} is an example of another label already.")
                seen.add(pk)
        return data

    def examples(self) -> dict[int, list[int]]:
        return {int(number): self.cleaned_data.get(f"label_{int(number)}") or [] for number in TITLES}


def initial(version: Guidelines, added: tuple[int, int] | None = None) -> dict[str, Any]:
    """The form's values for this version, with one (label, candidate) more if asked."""
    chosen = {label: [row.pk for row in rows] for label, rows in examples_of(version).items()}
    if added and added[1] not in chosen.get(added[0], []):
        chosen.setdefault(added[0], []).append(added[1])
    return {"text": version.text, "based_on": version.version, **as_fields(chosen)}


def as_fields(examples: Examples) -> dict[str, str]:
    return {f"label_{label}": ", ".join(map(str, ids)) for label, ids in examples.items()}
