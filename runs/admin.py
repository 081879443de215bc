from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.staff_admin import StaffAdmin
from runs.actions import resume_run, stop_run
from runs.models import Outbox, Run, RunEvent, RunMetric


def steerable(request: HttpRequest, runs: QuerySet[Run]) -> list[Run]:
    """Those this person may stop and resume: their own, and all of them for operators."""
    rows = runs if request.user.may("operate") else runs.filter(created_by=request.user)
    return list(rows)


def tell(model_admin: Any, request: HttpRequest, changed: int, asked: int, done: str) -> None:
    """One sentence about an action on some of the chosen rows."""
    left = asked - changed
    rest = f" {left} left as they were: not yours, or not in a state for it." if left else ""
    level = messages.SUCCESS if changed else messages.WARNING
    model_admin.message_user(request, f"{changed} {done}.{rest}", level)


@admin.register(Run)
class RunAdmin(StaffAdmin):
    see = change = "see_runs"
    list_display = ["id", "title", "kind", "state", "share", "attempt", "created_by", "created_at", "open_page"]
    list_filter = ["state", "kind"]
    list_select_related = ["created_by"]
    search_fields = ["=id", "title"]
    actions = ["stop", "resume"]

    def get_readonly_fields(self, request: HttpRequest, obj: Run | None = None) -> list[str]:
        return [field.name for field in Run._meta.fields]

    @admin.display(description="Done")
    def share(self, run: Run) -> str:
        return f"{run.share_done:.0%}"

    @admin.display(description="Page")
    def open_page(self, run: Run) -> str:
        return format_html('<a href="{}">open</a>', reverse("run", args=[run.pk]))

    @admin.action(description="Stop", permissions=["change"])
    def stop(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        stopped = sum(stop_run(run) for run in steerable(request, chosen))
        tell(self, request, stopped, chosen.count(), "told to stop")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        resumed = sum(resume_run(run) for run in steerable(request, chosen))
        tell(self, request, resumed, chosen.count(), "resumed")


@admin.register(RunEvent)
class RunEventAdmin(StaffAdmin):
    see = "see_runs"
    list_display = ["id", "run_id", "at", "level", "message"]
    raw_id_fields = ["run"]
    search_fields = ["=run__id"]


@admin.register(RunMetric)
class RunMetricAdmin(StaffAdmin):
    see = "see_runs"
    list_display = ["id", "run_id", "step", "values", "at"]
    raw_id_fields = ["run"]
    search_fields = ["=run__id"]


@admin.register(Outbox)
class OutboxAdmin(StaffAdmin):
    """Empty when the broker is well: a row here is a message that could not be sent yet."""

    see = "operate"
    list_display = ["id", "run", "created_at", "delay_ms"]
    list_select_related = ["run"]
    raw_id_fields = ["run"]
