"""What each bulk action asks for, and the sentence that asks back."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.bulk import Wish
from annotation.models import Project
from annotation.queue_forms import ForWhom
from config.form_fields import ById


def _many(count: int) -> str:
    return f"{count:,} candidate{'s' if count != 1 else ''}"


class BulkForm(forms.Form):
    title = button = text = ""

    project = ById(
        Project.objects.order_by("id"),
        empty_label="Choose",
        error_messages={"required": "Choose a project.", "invalid_choice": "There is no such project."},
    )

    def wish(self, author: Any) -> Wish:
        return Wish(author=author, **self.cleaned_data)

    def sentence(self, count: int) -> str:
        return self.text.format(many=_many(count), **self.cleaned_data)


class OverlapForm(BulkForm):
    title, button = "Ask more people", "Raise the overlap"
    text = "Ask {overlap} people about each of {many}, in “{project}”?"
    overlap = forms.IntegerField(
        label="Answers per task",
        min_value=1,
        max_value=9,
        initial=3,
        help_text="Tasks that ask as many already, gold, and what a reviewer decided stay.",
    )


class OneMoreForm(BulkForm):
    title, button = "One more answer", "Ask one more each"
    text = "Ask one more person about each finished task of {many}, in “{project}”?"


class ReserveForm(ForWhom, BulkForm):
    title, button = "Reserve", "Reserve"
    text = "Reserve the open tasks of {many} in “{project}” for {whom}?"
    field_order = ["project", "team", "people"]

    def wish(self, author: Any) -> Wish:
        return Wish(author=author, project=self.cleaned_data["project"], team=self.for_whom())

    def sentence(self, count: int) -> str:
        return self.text.format(many=_many(count), whom=self.whom_in_words(), **self.cleaned_data)


class PriorityForm(BulkForm):
    title, button = "Priority", "Set the priority"
    text = "Give the open tasks of {many} in “{project}” the priority {priority:g}?"
    priority = forms.FloatField(
        min_value=-1_000_000, max_value=1_000_000, initial=1, help_text="The highest comes first."
    )


class AddForm(BulkForm):
    title, button = "Add to a project", "Add as tasks"
    text = "Add {many} as tasks to “{project}”?"
    priority = forms.FloatField(
        min_value=-1_000_000, max_value=1_000_000, initial=0, help_text="The highest comes first."
    )


class GoldForm(BulkForm):
    title, button = "Make gold", "Make gold"
    text = "Make {many} gold of “{project}”, each with its consensus label? Their tasks leave the queue."
    reason = forms.CharField(
        label="Why this label is right",
        max_length=500,
        required=False,
        help_text="For managers; annotators never see it.",
    )


FORMS: dict[str, type[BulkForm]] = {
    "overlap": OverlapForm,
    "one_more": OneMoreForm,
    "reserve": ReserveForm,
    "priority": PriorityForm,
    "add": AddForm,
    "gold": GoldForm,
}
