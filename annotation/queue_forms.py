"""What a manager says about a whole queue: which of its tasks, in what order, for whom."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.models import User
from annotation import queue_changes, teams
from annotation.models import Project, Team
from annotation.queue_changes import RULES, Which
from config.form_fields import ById
from config.numbers import id_of
from generation.figures import categories
from generation.models import Generator, Prompt

FREE = "free"


def people_who_label() -> QuerySet[User]:
    return User.objects.filter(is_active=True).order_by("is_simulated", "username")


class PeopleField(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple

    def __init__(self, **options: Any) -> None:
        super().__init__(
            people_who_label(), required=False,
            error_messages={"invalid_choice": "There is no such person.", "invalid_pk_value": "There is no such person."},
            **options,
        )  # fmt: skip

    def clean(self, value: Any) -> Any:
        if any(id_of(one) is None for one in value or []):
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().clean(value)


class ForWhom(forms.Form):
    """A team, a few named people, or (neither) everybody."""

    team = ById(
        Team.objects.order_by("name"), label="For the team", required=False, empty_label="No team",
        error_messages={"invalid_choice": "There is no such team."},
    )  # fmt: skip
    people = PeopleField(
        label="Or for these people", help_text="With neither, the tasks are free for everybody."
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        people = data.get("people")
        if people and data.get("team"):
            self.add_error("people", "Choose a team or people, not both.")
        elif people and len(people) > teams.NAMED_AT_MOST:
            self.add_error("people", f"Name {teams.NAMED_AT_MOST} people at most; for more, make a team.")
        return data

    def for_whom(self) -> Team | None:
        """Makes the team of the named people if there is none."""
        if people := self.cleaned_data.get("people"):
            return teams.team_of(people)
        team: Team | None = self.cleaned_data.get("team")
        return team

    def whom_in_words(self) -> str:
        people = self.cleaned_data.get("people")
        return " and ".join(str(one) for one in people) if people else str(self.cleaned_data.get("team") or "everybody")


class WhichForm(forms.Form):
    """Which of a project's open tasks."""

    category = forms.ChoiceField(label="Category", required=False)
    generator = ById(Generator.objects.order_by("pk"), required=False, empty_label="Any")
    prompt = ById(Prompt.objects.order_by("name"), required=False, empty_label="Any")
    reserved = forms.ChoiceField(label="Reserved for", required=False)

    WHICH = ("category", "generator", "prompt", "reserved")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["category"].choices = [("", "Any"), *((name, name) for name in categories())]
        known = [(str(pk), name) for pk, name in Team.objects.order_by("name").values_list("pk", "name")]
        self.fields["reserved"].choices = [("", "Whoever"), (FREE, "Nobody"), *known]

    def which(self, project: Project) -> Which:
        said = self.cleaned_data
        reserved = said["reserved"]
        return Which(
            project=project.pk, category=said["category"],
            generator=said["generator"].pk if said["generator"] else None,
            prompt=said["prompt"].pk if said["prompt"] else None,
            team=int(reserved) if reserved not in ("", FREE) else None, free=reserved == FREE,
        )  # fmt: skip

    def which_in_words(self) -> str:
        """ "of category lamps, reserved for nobody"; empty for all of them."""
        said = self.cleaned_data
        words = [f"of {name} “{said[name]}”" for name in ("category", "generator", "prompt") if said[name]]
        if said["reserved"]:
            team = dict(self.fields["reserved"].choices)[said["reserved"]]
            words.append(f"reserved for {'nobody' if said['reserved'] == FREE else team}")
        return ", ".join(words)

    @property
    def which_fields(self) -> list[Any]:
        return [self[name] for name in self.WHICH]

    @property
    def own_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name not in self.WHICH]


class OrderForm(WhichForm):
    title, button = "Another order", "Give them this order"

    rule = forms.ChoiceField(
        label="Order", choices=[(name, title) for name, title in RULES.items() if name != "reserve"],
        widget=forms.RadioSelect, initial="constant", error_messages={"required": "Choose an order."},
    )  # fmt: skip
    priority = forms.FloatField(
        min_value=-1_000_000, max_value=1_000_000, required=False,
        help_text="For “one priority”. The highest comes first; tasks are added with 0 unless a round scores them.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("rule") == "constant" and data.get("priority") is None and "priority" not in self.errors:
            self.add_error("priority", "Say which priority.")
        return data

    def sentence(self, many: str, project: Project) -> str:
        said = self.cleaned_data
        rule = f"the priority {said['priority']:g}" if said["rule"] == "constant" else f"the order “{RULES[said['rule']]}”"
        return f"Give {many} in “{project}” {rule}?"

    def start(self, project: Project, user: Any) -> Any:
        said = self.cleaned_data
        return queue_changes.reprioritise(
            project, said["rule"], priority=said["priority"] or 0.0, which=self.which(project), user=user
        )


class ReserveQueueForm(ForWhom, WhichForm):
    title, button = "Reserve", "Reserve them"

    def sentence(self, many: str, project: Project) -> str:
        return f"Reserve {many} in “{project}” for {self.whom_in_words()}?"

    def start(self, project: Project, user: Any) -> Any:
        return queue_changes.reserve(project, self.for_whom(), which=self.which(project), user=user)


FORMS: dict[str, Any] = {"order": OrderForm, "reserve": ReserveQueueForm}
