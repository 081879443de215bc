"""The words of the label browser's filter, as they stand in an address, and the candidates they mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from adproof.labels import LABELS, TITLES
from annotation.models import Annotation, Project, Task, Team
from config.form_fields import ById, Day
from generation.figures import categories
from generation.models import Candidate, Generator, Product, Prompt

LABEL_CHOICES = [("", "Any"), *((str(int(label)), title) for label, title in TITLES.items())]
METHODS = {
    "majority": "Majority",
    "dawid-skene": "Dawid-Skene",
    "crowdlab": "CROWDLAB",
    "review": "A reviewer decided",
    "imported": "Imported",
}
STATES = {
    "answered": "Has answers",
    "unanswered": "Has none",
    "complete": "Has all it needs",
    "incomplete": "Needs more",
    "disputed": "People differ",
    "reviewed": "Reviewed",
}
ORDERS = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "disputed": "Most disputed first",
    "unsure": "Least sure first",
}
# By these only candidates that have the number are shown.
ORDER_FIELDS = {"disputed": "consensus__agreement", "unsure": "consensus__activelab_score"}


class BadFilter(ValueError):
    """The sentence says what is wrong with it."""


class Share(forms.FloatField):
    """A percentage, 0 to 100."""

    def __init__(self, label: str) -> None:
        super().__init__(
            label=label, required=False, min_value=0, max_value=100,
            widget=forms.NumberInput(attrs={"step": "any", "min": "0", "max": "100", "placeholder": "%"}),
        )  # fmt: skip


def _choose(rows: QuerySet[Any], label: str) -> ById:
    return ById(
        rows, label=label, required=False, empty_label="Any",
        error_messages={"invalid_choice": "There is none of this id."},
    )  # fmt: skip


class LabelFilter(forms.Form):
    order = forms.ChoiceField(label="Order", choices=list(ORDERS.items()), required=False)
    project = _choose(Project.objects.order_by("id"), "Project")
    label = forms.TypedChoiceField(
        label="Consensus", choices=LABEL_CHOICES, coerce=int, empty_value=None, required=False
    )
    state = forms.ChoiceField(label="State", choices=[("", "Any"), *STATES.items()], required=False)
    method = forms.ChoiceField(label="Consensus by", choices=[("", "Any"), *METHODS.items()], required=False)
    category = forms.ChoiceField(label="Category", required=False)
    q = forms.CharField(label="Product", max_length=200, required=False)
    agreement_from = Share("Agreement from")
    agreement_to = Share("Agreement to")
    confidence_from = Share("Confidence from")
    confidence_to = Share("Confidence to")
    crowdlab_below = Share("CROWDLAB quality below")
    annotator = _choose(User.objects.order_by("username"), "Annotator")
    given = forms.TypedChoiceField(
        label="Answer given", choices=LABEL_CHOICES, coerce=int, empty_value=None, required=False
    )
    answered_from = Day("Answered from")
    answered_to = Day("Answered to")
    generator = _choose(Generator.objects.order_by("pk"), "Generator")
    prompt = _choose(Prompt.objects.order_by("name"), "Prompt")
    team = _choose(Team.objects.order_by("name"), "Reserved for")
    gold = forms.ChoiceField(label="Gold", choices=[("", "Any"), ("yes", "Gold"), ("no", "Not gold")], required=False)

    # What stands behind "More conditions".
    MORE = (
        "method", "agreement_from", "agreement_to", "confidence_from", "confidence_to", "crowdlab_below", "annotator",
        "given", "answered_from", "answered_to", "generator", "prompt", "team", "gold",
    )  # fmt: skip

    def __init__(self, data: Mapping[str, Any], *, sees_gold: bool = True) -> None:
        super().__init__(data)
        if not sees_gold:
            del self.fields["gold"]
        self.fields["category"].choices = [("", "Any"), *((name, name) for name in categories())]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        for low, high in (
            ("agreement_from", "agreement_to"),
            ("confidence_from", "confidence_to"),
            ("answered_from", "answered_to"),
        ):
            if data.get(low) is not None and data.get(high) is not None and data[low] > data[high]:
                self.add_error(high, "It ends before it begins.")
        return data

    @property
    def query(self) -> dict[str, str]:
        """What was chosen, as it stands in an address."""
        given = {name: str(self.data.get(name, "")).strip() for name in self.fields}
        return {name: value for name, value in given.items() if value}

    @property
    def order_name(self) -> str:
        return self.cleaned_data.get("order") or "newest"

    def in_words(self) -> list[str]:
        """ "Consensus: Space mismatch", one for each word given. Wants a valid filter."""
        said = []
        for name in self.query:
            field, value = self.fields[name], self.cleaned_data[name]
            if isinstance(field, forms.ModelChoiceField):
                text = str(value)
            elif isinstance(field, forms.ChoiceField):
                text = dict(field.choices)[str(value)]
            else:
                text = f"{value:g} %" if isinstance(field, Share) else str(value)
            said.append(f"{field.label}: {text}")
        return said

    @property
    def main_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name not in self.MORE]

    @property
    def more_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name in self.MORE]

    @property
    def has_more(self) -> bool:
        return any(name in self.MORE for name in self.query)

    def problem(self) -> str:
        """The first wrong word in one sentence, or nothing."""
        for name, errors in self.errors.items():
            title = f"{self.fields[name].label}: " if name in self.fields else ""
            return f"{title}{errors[0]}"
        return ""

    def narrow(self) -> QuerySet[Candidate]:
        """Unordered; raises BadFilter."""
        if not self.is_valid():
            raise BadFilter(self.problem())
        rows = Candidate.objects.all()
        for condition in (*self._consensus(), *self._candidate(), *self._tasks(), *self._answers()):
            rows = rows.filter(condition)
        if self.order_name in ORDER_FIELDS:
            rows = rows.filter(**{f"{ORDER_FIELDS[self.order_name]}__isnull": False})
        return rows

    def _given(self, *names: str) -> list[tuple[str, Any]]:
        return [(name, self.cleaned_data[name]) for name in names if self.cleaned_data.get(name) not in (None, "")]

    def _consensus(self) -> list[Any]:
        fields = {
            "label": "label", "method": "method", "agreement_from": "agreement__gte", "agreement_to": "agreement__lte",
            "crowdlab_below": "crowdlab_quality__lt",
        }  # fmt: skip
        found: list[Any] = []
        for name, value in self._given(*fields):
            value = value if name in ("label", "method") else value / 100
            found.append(Q(**{f"consensus__{fields[name]}": value}))
        found += self._confidence()
        state = self.cleaned_data.get("state")
        if state:
            found.append(
                {
                    "answered": Q(consensus__annotation_count__gt=0),
                    "unanswered": Q(consensus=None) | Q(consensus__annotation_count=0),
                    "complete": Q(consensus__is_complete=True),
                    "incomplete": Q(consensus=None) | Q(consensus__is_complete=False),
                    "disputed": Q(consensus__annotation_count__gte=2, consensus__agreement__lt=1),
                    "reviewed": Q(consensus__method="review"),
                }[state]
            )
        return found

    def _confidence(self) -> list[Any]:
        """The probability that the consensus gives its own label."""
        found = []
        for name, value in self._given("confidence_from", "confidence_to"):
            word = "gte" if name.endswith("from") else "lte"
            found.append(
                Q(*(
                    Q(consensus__label=label, **{f"consensus__posterior__{label}__{word}": value / 100})
                    for label in range(len(LABELS))
                ), _connector=Q.OR)
            )  # fmt: skip
        return found

    def _candidate(self) -> list[Any]:
        found: list[Any] = [Q(**{name: value}) for name, value in self._given("generator", "prompt")]
        if category := self.cleaned_data.get("category"):
            found.append(Q(product__category=category))
        if text := self.cleaned_data.get("q"):
            products = Product.objects.filter(Q(title__icontains=text) | Q(sku__icontains=text))
            found.append(Q(product__in=products))
        return found

    def _tasks(self) -> list[Any]:
        found: list[Any] = []
        chosen = dict(self._given("project", "team"))
        if chosen:
            found.append(Q(pk__in=Task.objects.filter(**chosen).values("candidate")))
        if gold := self.cleaned_data.get("gold"):
            tasks = Task.objects.filter(is_gold=True, gold__is_retired=False)
            if "project" in chosen:
                tasks = tasks.filter(project=chosen["project"])
            known = Q(pk__in=tasks.values("candidate"))
            found.append(known if gold == "yes" else ~known)
        return found

    def _answers(self) -> list[Any]:
        """One answer that stands must be all of it: by this person, this label, in this time."""
        wanted: dict[str, Any] = {}
        for name, value in self._given("annotator", "given", "answered_from", "answered_to"):
            match name:
                case "annotator":
                    wanted["annotator"] = value
                case "given":
                    wanted["label"] = value
                case "answered_from":
                    wanted["created_at__gte"] = _midnight(value)
                case "answered_to":
                    wanted["created_at__lt"] = _midnight(value + timedelta(days=1))
        if not wanted:
            return []
        return [Q(pk__in=Annotation.objects.standing().filter(**wanted).values("candidate"))]


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))
