"""ML staff start, watch and steer trainings here; the pages of the platform do the same."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
)

from accounts.staff_admin import StaffAdmin
from rfnet_service.actions import promote
from rfnet_service.figures import headline
from runs.actions import resume_run, stop_run
from runs.admin import steerable, tell
from runs.models import Run
from training.actions import start_training
from training.forms import OBJECTIVES, PRESETS, config_of, problem_of, written_versions
from training.models import Round, Training
from training.views import live

# Evaluated in the browser. The page of a training that was started has no field `kind`: it shows all.
RFNET = "typeof kind === 'undefined' || kind == 'rfnet'"
RFFT = "typeof kind === 'undefined' || kind == 'rfft'"


class TrainingForm(forms.ModelForm):
    """What most trainings need as fields; whatever else differs from the defaults goes into `config`."""

    preset = forms.ChoiceField(choices=PRESETS, required=False, widget=UnfoldAdminSelectWidget)
    epochs = forms.IntegerField(
        min_value=1, max_value=500, required=False, help_text="Empty: 10.", widget=UnfoldAdminIntegerFieldWidget
    )
    objective = forms.ChoiceField(choices=OBJECTIVES, required=False, widget=UnfoldAdminSelectWidget)
    beta = forms.FloatField(
        min_value=0, max_value=1e6, required=False, help_text="Empty: the model set's default.",
        widget=UnfoldAdminDecimalFieldWidget,
    )  # fmt: skip
    updates = forms.IntegerField(
        min_value=1, max_value=100_000, required=False, help_text="Empty: the model set's default.",
        widget=UnfoldAdminIntegerFieldWidget,
    )  # fmt: skip
    seed = forms.IntegerField(min_value=0, max_value=2**31, initial=0, widget=UnfoldAdminIntegerFieldWidget)

    class Meta:
        model = Training
        fields = ["kind", "dataset_version", "generator", "feedback", "config", "note"]
        help_texts = {
            "config": 'Optional, JSON: any other setting that differs from the defaults, such as {"batch_size": 16}.'
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "dataset_version" in self.fields:  # not on the page of a training that was started
            self.fields["dataset_version"].queryset = written_versions()

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if self.errors or "kind" not in chosen:
            return chosen
        config = chosen.get("config") or {}
        if isinstance(config, dict):
            config = {**config_of(chosen["kind"], chosen), **config}
        chosen["config"] = config
        given = {name: chosen.get(name) for name in ("dataset_version", "generator", "feedback")}
        problem = problem_of(Training(kind=chosen["kind"], config=config, **given))
        if problem:
            self.add_error(None, problem)
        return chosen


@admin.register(Training)
class TrainingAdmin(StaffAdmin):
    see = add = change = "train"
    form = TrainingForm
    list_display = ["id", "name", "state", "share", "f1", "average_precision", "created_by", "created_at"]
    list_display_links = ["id", "name"]
    list_filter = ["kind"]
    list_select_related = ["run", "dataset_version", "generator", "checkpoint", "created_by"]
    search_fields = ["=id", "note"]
    actions = ["stop", "resume", "put_in_use"]
    change_form_outer_before_template = "admin/training/panel.html"
    conditional_fields = {
        "dataset_version": RFNET, "preset": RFNET, "epochs": RFNET,
        "generator": RFFT, "feedback": RFFT, "objective": RFFT, "beta": RFFT, "updates": RFFT,
    }  # fmt: skip

    class Media:
        css = {"all": ["training/panel.css"]}

    def get_fieldsets(self, request: HttpRequest, obj: Training | None = None) -> Any:
        if obj is None:
            return [
                (None, {"fields": ["kind", "dataset_version", "preset", "epochs", "generator", "feedback", "objective",
                                   "beta", "updates", "seed", "note"]}),
                ("More settings", {"fields": ["config"]}),
            ]  # fmt: skip
        return [(None, {"fields": ["note", *self.get_readonly_fields(request, obj)]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Training | None = None) -> list[str]:
        if obj is None:
            return []
        learns = ["dataset_version"] if obj.kind == "rfnet" else ["generator", "feedback"]
        return ["kind", *learns, "config", "checkpoint", "tuned_generator", "created_by", "created_at"]

    def get_form(self, request: HttpRequest, obj: Training | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:  # only its note can still be changed
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Training, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["note"])
        else:
            start_training(obj, user=request.user)

    def response_add(self, request: HttpRequest, obj: Training, post_url_continue: Any = None) -> HttpResponse:
        """To the training's own page, where its progress is."""
        messages.success(request, f"{obj} is started. Its progress is below.")
        return redirect("admin:training_training_change", obj.pk)

    def get_urls(self) -> list[URLPattern]:
        panel = path("<int:pk>/panel/", self.admin_site.admin_view(self.panel), name="training_training_panel")
        return [panel, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        context = {**(extra_context or {})}
        row = Training.objects.select_related("run", "checkpoint").filter(pk=object_id).first()
        if row is not None:
            context |= live(row, request.user) | {"next": request.path, "figures": figures_of(row)}
        return super().change_view(request, object_id, form_url, context)

    def panel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The live part of a training's page, for htmx; the last one asks for the whole page."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        row = get_object_or_404(Training.objects.select_related("run"), pk=pk)
        next_page = reverse("admin:training_training_change", args=[pk])
        response = render(request, "training/live.html", live(row, request.user) | {"next": next_page})
        if row.run is None or row.run.is_finished:
            response["HX-Refresh"] = "true"
        return response

    @admin.display(description="Training")
    def name(self, training: Training) -> str:
        learns = training.dataset_version if training.kind == "rfnet" else training.generator
        return f"{training} on {learns}"

    @admin.display(description="State")
    def state(self, training: Training) -> str:
        return training.run.get_state_display() if training.run else "Not started"

    @admin.display(description="Done")
    def share(self, training: Training) -> str:
        return f"{training.run.share_done:.0%}" if training.run else "–"

    @admin.display(description="F1")
    def f1(self, training: Training) -> str:
        return figures_of(training).get("F1", "–")

    @admin.display(description="AP")
    def average_precision(self, training: Training) -> str:
        return figures_of(training).get("AP", "–")

    def has_promote_permission(self, request: HttpRequest) -> bool:
        return request.user.may("promote")

    @admin.action(description="Stop", permissions=["change"])
    def stop(self, request: HttpRequest, chosen: QuerySet[Training]) -> None:
        stopped = sum(stop_run(run) for run in self._runs(request, chosen))
        tell(self, request, stopped, chosen.count(), "told to stop")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Training]) -> None:
        resumed = sum(resume_run(run) for run in self._runs(request, chosen))
        tell(self, request, resumed, chosen.count(), "resumed")

    @admin.action(description="Put its checkpoint in use", permissions=["promote"])
    def put_in_use(self, request: HttpRequest, chosen: QuerySet[Training]) -> None:
        ready = [training for training in chosen.select_related("checkpoint") if training.checkpoint]
        if len(ready) != 1:
            self.message_user(request, "Choose one training that has written a checkpoint.", messages.ERROR)
            return
        promote(ready[0].checkpoint)
        self.message_user(request, f"{ready[0].checkpoint} is in use.")

    def _runs(self, request: HttpRequest, chosen: QuerySet[Training]) -> list[Run]:
        return steerable(request, Run.objects.filter(training__in=chosen))


def figures_of(training: Training) -> dict[str, str]:
    found = headline(training.checkpoint) if training.checkpoint else {}
    names = {"F1": "f1", "AP": "average_precision", "Precision": "precision", "Recall": "recall", "ECE": "ece"}
    return {title: f"{found[key]:.3f}" for title, key in names.items() if found.get(key) is not None}


@admin.register(Round)
class RoundAdmin(StaffAdmin):
    see = "train"
    list_display = ["number", "strategy", "picked_count", "picked_by", "dataset_version", "checkpoint", "open_page"]
    list_select_related = ["picked_by", "dataset_version", "checkpoint"]
    search_fields = ["=number"]

    @admin.display(description="Page")
    def open_page(self, row: Round) -> str:
        return format_html('<a href="{}">open</a>', reverse("round", args=[row.number]))
