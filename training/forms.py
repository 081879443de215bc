from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Exists, OuterRef

from adproof.rfnet.config import TrainConfig
from annotation.models import Project, Task
from datasets_app.models import DatasetVersion
from generation.models import Candidate, Generator
from rfnet_service.actions import promoted
from rfnet_service.models import Checkpoint
from training.actions import CannotTrain, check_training
from training.models import Training

PRESETS = [
    ("mini", "Mini: minutes on a CPU, from the shipped starting point"),
    ("paper", "Paper: ResNet50 and RoBERTa, wants a GPU and weights from the hub"),
]
OBJECTIVES = [
    ("rfft", "RFFT: feedback, held by the consistent condition loss"),
    ("kl", "KL: feedback, held to the first network's output"),
    ("none", "None: feedback alone"),
]
STRATEGIES = [
    ("margin", "Smallest margin of the two likeliest"), ("entropy", "Highest entropy"),
    ("least_confidence", "Least confident"), ("random", "At random"),
]  # fmt: skip
MOST_PICKS = 20_000


def written_versions() -> Any:
    return (
        DatasetVersion.objects.filter(state=DatasetVersion.State.WRITTEN)
        .order_by("-pk")
        .defer("manifest", "counts", "query")
    )


def config_of(kind: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Only what differs from the defaults, as Training.config keeps it."""
    names = ("preset", "epochs", "seed") if kind == "rfnet" else ("objective", "beta", "updates", "seed")
    return {name: chosen[name] for name in names if chosen.get(name) not in (None, "")}


def problem_of(training: Training) -> str:
    """What is wrong with this training, in a sentence, or nothing. RFFT's further settings are checked by its run."""
    try:
        check_training(training)
        if training.kind == "rfnet":
            TrainConfig.from_dict({name: value for name, value in training.config.items() if name != "preset"})
    except CannotTrain as problem:
        return str(problem)
    except (TypeError, ValueError) as problem:
        return f"The settings can't be used: {problem}."
    return ""


class StartForm(forms.Form):
    """What both kinds of training have in common."""

    kind = ""
    seed = forms.IntegerField(
        min_value=0, max_value=2**31, initial=0, help_text="The same seed on the same data gives the same weights."
    )
    note = forms.CharField(max_length=300, required=False, help_text="What this training is for.")

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if not self.errors:
            problem = problem_of(self.training())
            if problem:
                self.add_error(None, problem)
        return chosen

    def training(self) -> Training:
        """The training that was asked for, not saved."""
        chosen = self.cleaned_data
        given = {name: chosen[name] for name in ("dataset_version", "generator", "feedback") if name in chosen}
        return Training(kind=self.kind, config=config_of(self.kind, chosen), note=chosen["note"], **given)


class RFNetForm(StartForm):
    kind = "rfnet"
    dataset_version = forms.ModelChoiceField(
        DatasetVersion.objects.none(), label="Dataset version", empty_label=None,
        error_messages={"required": "Choose the dataset version that RFNet learns from.",
                        "invalid_choice": "That version is not written, or not there: choose another."},
    )  # fmt: skip
    preset = forms.ChoiceField(choices=PRESETS, initial="mini")
    epochs = forms.IntegerField(
        min_value=1, max_value=500, required=False, help_text="Passes over the training split. Empty: 10."
    )
    field_order = ["dataset_version", "preset", "epochs", "seed", "note"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset_version"].queryset = written_versions()


class RFFTForm(StartForm):
    kind = "rfft"
    generator = forms.ModelChoiceField(
        Generator.objects.exclude(kind=Generator.IMPORTED).order_by("-is_in_use", "-pk"),
        empty_label=None,
        error_messages={"required": "Choose the generator to tune."},
    )
    feedback = forms.ModelChoiceField(
        Checkpoint.objects.order_by("-is_promoted", "-pk"), label="RFNet whose feedback it follows", empty_label=None,
        error_messages={"required": "Choose an RFNet: train one first if there is none."},
    )  # fmt: skip
    objective = forms.ChoiceField(choices=OBJECTIVES, initial="rfft")
    beta = forms.FloatField(
        min_value=0, max_value=1e6, required=False, label="Beta",
        help_text="Weight of what holds the network to its former self. Empty: the default of its model set.",
    )  # fmt: skip
    updates = forms.IntegerField(
        min_value=1, max_value=100_000, required=False,
        help_text="Optimiser steps. Empty: the default of its model set.",
    )  # fmt: skip
    field_order = ["generator", "feedback", "objective", "beta", "updates", "seed", "note"]


FORMS: dict[str, type[StartForm]] = {"rfnet": RFNetForm, "rfft": RFFTForm}


class OpenRoundForm(forms.Form):
    """What people label next."""

    project = forms.ModelChoiceField(Project.objects.order_by("pk"), empty_label=None)
    count = forms.IntegerField(
        label="How many", min_value=1, max_value=MOST_PICKS, initial=60, help_text="Candidates nobody was given yet."
    )
    strategy = forms.ChoiceField(choices=STRATEGIES, initial="margin")
    random_share = forms.IntegerField(
        label="At random, %", min_value=0, max_value=100, initial=10,
        help_text="Of the picks: they say what the doubtful ones can't.",
    )  # fmt: skip
    holdout_share = forms.IntegerField(
        label="For the holdout, %", min_value=0, max_value=90, initial=30,
        help_text="At random, from products of the validation and test splits: RFNet is measured on them.",
    )  # fmt: skip
    seed = forms.IntegerField(min_value=0, max_value=2**31, required=False, widget=forms.HiddenInput, initial=0)

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if not self.errors and not pool(chosen["project"]).exists():
            self.add_error(
                None, "Every candidate with depth and saliency is a task of this project already: draw more first."
            )
        return chosen

    def params(self) -> dict[str, Any]:
        chosen = self.cleaned_data
        return {
            "project": chosen["project"].pk, "count": chosen["count"], "strategy": chosen["strategy"],
            "random_share": chosen["random_share"] / 100, "holdout_share": chosen["holdout_share"] / 100,
            "seed": chosen["seed"] or 0,
        }  # fmt: skip


def pool(project: Project) -> Any:
    """The candidates that a round of this project may pick from."""
    taken = Task.objects.filter(project=project, candidate=OuterRef("pk"))
    return Candidate.objects.perceived().usable().filter(~Exists(taken))


def judged_share_note() -> str:
    """Who will pick, in a sentence."""
    checkpoint = promoted()
    if checkpoint is None:
        return "No RFNet is in use: this round covers the products evenly instead of following doubt."
    return f"{checkpoint} picks: the candidates it is least sure of come first."
