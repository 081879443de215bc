from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.staff_admin import StaffAdmin
from rfnet_service.actions import CannotScore, promote, start_scoring
from rfnet_service.figures import headline
from rfnet_service.models import Checkpoint, Verdict


@admin.register(Checkpoint)
class CheckpointAdmin(StaffAdmin):
    """Immutable: trainings write them; here one is put in use or told to judge."""

    see = change = "train"
    list_display = ["id", "name", "f1", "average_precision", "is_promoted", "dataset_version", "open_page"]
    list_filter = ["is_promoted"]
    list_select_related = ["dataset_version"]
    search_fields = ["name", "sha256"]
    actions = ["put_in_use", "judge"]

    def get_readonly_fields(self, request: HttpRequest, obj: Checkpoint | None = None) -> list[str]:
        return [field.name for field in Checkpoint._meta.fields]

    @admin.display(description="F1")
    def f1(self, checkpoint: Checkpoint) -> str:
        return _three_digits(headline(checkpoint).get("f1"))

    @admin.display(description="AP")
    def average_precision(self, checkpoint: Checkpoint) -> str:
        return _three_digits(headline(checkpoint).get("average_precision"))

    @admin.display(description="Page")
    def open_page(self, checkpoint: Checkpoint) -> str:
        return format_html('<a href="{}">open</a>', reverse("checkpoint", args=[checkpoint.pk]))

    def has_promote_permission(self, request: HttpRequest) -> bool:
        return request.user.may("promote")

    @admin.action(description="Put in use", permissions=["promote"])
    def put_in_use(self, request: HttpRequest, chosen: QuerySet[Checkpoint]) -> None:
        if len(chosen) != 1:
            self.message_user(request, "Choose one checkpoint: one is in use at a time.", "error")
            return
        promote(chosen[0])
        self.message_user(request, f"{chosen[0]} is in use.")

    @admin.action(description="Judge the candidates it has not seen", permissions=["change"])
    def judge(self, request: HttpRequest, chosen: QuerySet[Checkpoint]) -> None:
        for checkpoint in chosen:
            try:
                self.message_user(request, f"Started: {start_scoring(checkpoint, user=request.user).title}.")
            except CannotScore as problem:
                self.message_user(request, f"{checkpoint}: {problem}", "warning")


def _three_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@admin.register(Verdict)
class VerdictAdmin(StaffAdmin):
    see = "train"
    list_display = ["id", "candidate_id", "checkpoint", "label", "p_available", "margin", "created_at"]
    list_filter = ["label"]
    list_select_related = ["checkpoint"]
    raw_id_fields = ["candidate", "checkpoint"]
    search_fields = ["=candidate__id"]
