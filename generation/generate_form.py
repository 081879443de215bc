"""The form that has candidates drawn."""

from __future__ import annotations

import re
import secrets
from typing import Any

from django import forms

from generation.figures import categories, sources
from generation.models import Generator, Product, Prompt
from generation.ordering import MAX_SEEDS, Wish, has_judge, some_of
from generation.planning import MAX_ATTEMPTS, MAX_CANDIDATES_A_RUN, Budget


class GenerateForm(forms.Form):
    """What to draw: products x prompts x seeds, and how much of it at most."""

    category = forms.ChoiceField(required=False)
    source = forms.ChoiceField(required=False)
    q = forms.CharField(label="Title or SKU contains", max_length=200, required=False)
    most_products = forms.IntegerField(
        label="Only the newest",
        min_value=1,
        max_value=100_000,
        required=False,
        help_text="So many products. Empty: all.",
    )
    skus = forms.CharField(
        label="Only these SKUs",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Separated by spaces, commas or lines. Empty: all products chosen above.",
    )
    prompts = forms.ModelMultipleChoiceField(
        Prompt.objects.filter(is_active=True).order_by("name"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one prompt."},
    )
    generator = forms.ModelChoiceField(
        Generator.objects.exclude(kind=Generator.IMPORTED).order_by("-is_in_use", "-pk"),
        required=False,
        empty_label="The one in use",
    )
    per_pair = forms.IntegerField(
        label="Pictures of each product with each prompt", min_value=1, max_value=MAX_SEEDS, initial=1
    )
    attempts = forms.IntegerField(
        label="Attempts",
        min_value=1,
        max_value=MAX_ATTEMPTS,
        initial=1,
        help_text="1 keeps every picture. More draws again until RFNet calls one available (Recurrent Generation).",
    )
    early_step = forms.IntegerField(
        label="Look after step",
        min_value=1,
        max_value=1000,
        required=False,
        help_text="RFNet looks at what the picture is heading for. Empty: each is drawn to its end.",
    )
    early_threshold = forms.FloatField(
        label="Give up when available is less likely than",
        min_value=0,
        max_value=1,
        required=False,
        help_text="From 0 to 1. 0.1 gives up what has one chance in ten.",
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    budget_images = forms.IntegerField(
        label="Pictures at most",
        min_value=1,
        max_value=MAX_CANDIDATES_A_RUN,
        required=False,
        help_text="All attempts count. Empty: no limit.",
    )
    budget_minutes = forms.FloatField(
        label="Minutes of computing at most",
        min_value=0.1,
        max_value=10_000_000,
        required=False,
        help_text="All workers together. Used up, the run ends with what it made and can be given more.",
    )
    # Made with the form: sending it twice asks for the same pictures twice, and those are drawn once.
    base_seed = forms.IntegerField(
        min_value=0, max_value=2**31, widget=forms.HiddenInput, initial=lambda: secrets.randbelow(2**31)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["category"].choices = [("", "All categories"), *((name, name) for name in categories())]
        self.fields["source"].choices = [("", "All sources"), *((name, name) for name in sources())]
        self.fields["budget_minutes"].widget.attrs["step"] = "any"

    def clean_skus(self) -> list[str]:
        wanted = list(dict.fromkeys(sku for sku in re.split(r"[\s,;]+", self.cleaned_data["skus"]) if sku))
        unknown = sorted(set(wanted) - set(Product.objects.filter(sku__in=wanted).values_list("sku", flat=True)))
        if unknown:
            raise forms.ValidationError(f"No product has the SKU {some_of(unknown)}.")
        return wanted

    def clean_attempts(self) -> int:
        attempts: int = self.cleaned_data["attempts"]
        if attempts > 1 and not has_judge():
            raise forms.ValidationError(
                "Drawing again needs an RFNet in use to judge: choose 1, or promote a checkpoint first."
            )
        return attempts

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        named, most = len(data.get("skus", ())), data.get("most_products")
        if most is not None and most < named:
            self.add_error("most_products", f"You name {named:,} products below: empty this field to draw them all.")
        given = [data.get(name) is not None for name in ("early_step", "early_threshold")]
        if any(given) and not all(given) and not self.errors.keys() & {"early_step", "early_threshold"}:
            missing = "early_threshold" if given[0] else "early_step"
            self.add_error(missing, "Giving up early needs both: after which step, and below which probability.")
        if all(given) and not has_judge():
            self.add_error("early_step", "Giving up early needs an RFNet in use to judge: promote a checkpoint first.")
        return data

    @property
    def early_stop(self) -> dict[str, Any] | None:
        step = self.cleaned_data["early_step"]
        return None if step is None else {"step": step, "threshold": self.cleaned_data["early_threshold"]}

    def wish(self) -> Wish:
        chosen = self.cleaned_data
        return Wish(
            skus=chosen["skus"], category=chosen["category"], source=chosen["source"], q=chosen["q"],
            newest=chosen["most_products"], generator=chosen["generator"].pk if chosen["generator"] else None,
            prompts=[prompt.pk for prompt in chosen["prompts"]],
            per_pair=chosen["per_pair"], attempts=chosen["attempts"], base_seed=chosen["base_seed"],
            budget=Budget(chosen["budget_images"], chosen["budget_minutes"]), early_stop=self.early_stop,
        )  # fmt: skip

    @property
    def asks_early_stop(self) -> bool:
        """Whether there is anything in the folded part of the form."""
        return any(
            self[name].value() not in (None, "") or self[name].errors for name in ("early_step", "early_threshold")
        )

    @property
    def has_generators(self) -> bool:
        """More than one that could draw."""
        return len(self.fields["generator"].queryset[:2]) > 1

    def prompt_groups(self) -> list[tuple[str, list[Any]]]:
        """The ticks by the categories they are for, those for every product first."""
        kinds = {prompt.pk: ", ".join(prompt.categories) for prompt in self.fields["prompts"].queryset}
        groups: dict[str, list[Any]] = {}
        for tick in self["prompts"]:
            groups.setdefault(kinds[tick.data["value"].value], []).append(tick)
        return sorted(groups.items())


class BudgetForm(forms.Form):
    """More for a run whose budget is used up."""

    images = forms.IntegerField(label="Pictures at most", min_value=1, max_value=MAX_CANDIDATES_A_RUN, required=False)
    minutes = forms.FloatField(label="Minutes at most", min_value=0.1, max_value=10_000_000, required=False)

    @property
    def budget(self) -> Budget:
        return Budget(self.cleaned_data["images"], self.cleaned_data["minutes"])
