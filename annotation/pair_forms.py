"""Which pairs a manager wants."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.pairs import PAIRS_AT_MOST, PER_PRODUCT_AT_MOST, Wanted
from generation.models import Generator


class PairsForm(forms.Form):
    compare = forms.ChoiceField(
        label="Compare",
        choices=[("generators", "Two generators"), ("any", "Any two candidates of a product")],
        help_text="Two generators: one candidate of each. Any two: pairs within one generator as well.",
    )
    before = forms.ModelChoiceField(
        Generator.objects.order_by("-id"), label="Generator", required=False, empty_label="Choose one"
    )
    after = forms.ModelChoiceField(
        Generator.objects.order_by("-id"), label="Compared with", required=False, empty_label="Choose one"
    )
    per_product = forms.IntegerField(
        label="Pairs per product", min_value=1, max_value=PER_PRODUCT_AT_MOST, initial=1,
        help_text="At most, with those it has already. Many products with one pair each tell more than few with many.",
    )  # fmt: skip
    at_most = forms.IntegerField(label="Pairs in all", min_value=1, max_value=PAIRS_AT_MOST, initial=1000)
    overlap = forms.IntegerField(label="People per pair", min_value=1, max_value=9, initial=3)
    seed = forms.IntegerField(
        label="Seed", min_value=0, max_value=2**31 - 1, initial=0, help_text="The same one picks the same pairs again."
    )
    same_prompt = forms.BooleanField(label="Both drawn from one prompt", required=False, initial=True)
    only_available = forms.BooleanField(label="Only candidates that people found available", required=False)

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean()
        if said.get("compare") != "generators":
            return said
        for name in ("before", "after"):
            if not said.get(name) and name not in self.errors:
                self.add_error(name, "Choose a generator.")
        if said.get("before") and said.get("before") == said.get("after"):
            self.add_error("after", "Choose another one: a generator compared with itself says nothing.")
        return said

    def wanted(self) -> Wanted:
        said = self.cleaned_data
        numbers = {name: said[name] for name in ("per_product", "at_most", "overlap", "seed")}
        flags = {name: said[name] for name in ("same_prompt", "only_available")}
        both = (said["before"].pk, said["after"].pk) if said["compare"] == "generators" else None
        return Wanted(generators=both, **numbers, **flags)


def first_guess() -> dict[str, Any]:
    """The newest generator that was tuned from another one, with that one; the study that this page is mostly for."""
    tuned = Generator.objects.filter(parent__isnull=False).order_by("-id").first()
    if tuned is not None:
        return {"before": tuned.parent_id, "after": tuned.pk}
    newest = list(Generator.objects.order_by("-id").values_list("pk", flat=True)[:2])
    return {"before": newest[1], "after": newest[0]} if len(newest) == 2 else {}
