"""The admin shows what is there and why. History is never changed here: answers and decisions have their own pages."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.staff_admin import StaffAdmin
from annotation.models import (
    Annotation,
    AnnotatorQuality,
    Consensus,
    Decision,
    Flag,
    Gold,
    Guidelines,
    Pair,
    Preference,
    Project,
    SavedFilter,
    SentBack,
    Skip,
    Slot,
    Snapshot,
    Task,
    Team,
)


class Shown(StaffAdmin):
    """These rows belong to the actions: altering one here would leave its neighbours wrong."""

    see = "manage_tasks"


@admin.register(Project)
class ProjectAdmin(StaffAdmin):
    see = change = "manage_tasks"
    list_display = ["name", "overlap", "agree_at_least", "lease_minutes", "gold_percent", "is_paused", "created_at"]
    list_filter = ["is_paused"]
    search_fields = ["name"]
    # The guidelines have an editor, which keeps their versions.
    readonly_fields = ["guidelines", "guidelines_version", "created_at"]

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        """Only what was changed: a pause pressed, or guidelines saved, meanwhile stay."""
        obj.save(update_fields=form.changed_data)


@admin.register(Guidelines)
class GuidelinesAdmin(Shown):
    list_display = ["project", "version", "author", "created_at"]
    list_filter = ["project"]
    list_select_related = ["project", "author"]
    search_fields = ["text"]


@admin.register(Team)
class TeamAdmin(Shown):
    list_display = ["name", "people_key", "created_at"]
    search_fields = ["name", "=members__username"]


@admin.register(Task)
class TaskAdmin(Shown):
    list_display = ["id", "project", "candidate", "priority", "reason", "team", "overlap", "is_open", "is_gold", "round_number"]
    list_filter = ["project", "is_open", "is_gold"]
    list_select_related = ["project", "candidate", "team"]
    search_fields = ["=id", "=candidate__id"]


@admin.register(Slot)
class SlotAdmin(Shown):
    """Who holds what, until when."""

    list_display = ["id", "task", "number", "annotator", "lease_until", "is_filled"]
    list_filter = ["is_filled"]
    list_select_related = ["task", "annotator"]
    search_fields = ["=task__id", "=annotator__username"]


@admin.register(Gold)
class GoldAdmin(Shown):
    list_display = ["task", "label", "reason", "is_retired", "author", "created_at"]
    list_filter = ["label", "is_retired"]
    list_select_related = ["task", "author"]
    search_fields = ["=task__id", "=task__candidate__id", "reason"]


@admin.register(Annotation)
class AnnotationAdmin(Shown):
    list_display = ["id", "candidate", "annotator", "label", "state", "seconds", "guidelines_version", "created_at"]
    list_filter = ["state", "label"]
    list_select_related = ["candidate", "annotator"]
    search_fields = ["=id", "=candidate__id", "=annotator__username"]
    ordering = ["-created_at"]


@admin.register(Consensus)
class ConsensusAdmin(Shown):
    list_display = ["candidate", "label", "annotation_count", "agreement", "is_complete", "method", "updated_at"]
    list_filter = ["label", "is_complete"]
    list_select_related = ["candidate"]
    search_fields = ["=candidate__id"]


@admin.register(Decision)
class DecisionAdmin(Shown):
    list_display = ["id", "candidate", "action", "label", "reviewer", "comment", "made_in", "created_at"]
    list_filter = ["action", "label"]
    list_select_related = ["candidate", "reviewer"]
    search_fields = ["=candidate__id", "=reviewer__username", "comment"]
    ordering = ["-created_at", "-id"]


@admin.register(SentBack)
class SentBackAdmin(Shown):
    list_display = ["task", "annotator", "comment", "shown_until", "answered_at"]
    list_select_related = ["task", "annotator"]
    search_fields = ["=task__id", "=annotator__username", "comment"]


@admin.register(Skip)
class SkipAdmin(Shown):
    list_display = ["task", "annotator", "created_at"]
    list_select_related = ["task", "annotator"]
    search_fields = ["=task__id", "=annotator__username"]


@admin.register(Flag)
class FlagAdmin(Shown):
    list_display = ["product", "annotator", "reason", "created_at"]
    list_select_related = ["product", "annotator"]
    search_fields = ["product__sku", "product__title", "=annotator__username"]


@admin.register(AnnotatorQuality)
class AnnotatorQualityAdmin(Shown):
    list_display = ["annotator", "annotation_count", "accuracy", "agreement", "median_seconds", "gold_count", "gold_right"]
    list_select_related = ["annotator"]
    search_fields = ["=annotator__username"]


@admin.register(Pair)
class PairAdmin(Shown):
    list_display = ["id", "project", "first", "second", "overlap", "is_open", "created_at"]
    list_filter = ["project", "is_open"]
    list_select_related = ["project", "first", "second"]
    search_fields = ["=id", "=first__id", "=second__id"]


@admin.register(Preference)
class PreferenceAdmin(Shown):
    list_display = ["id", "pair", "annotator", "choice", "seconds", "is_undone", "created_at"]
    list_filter = ["choice", "is_undone"]
    list_select_related = ["pair", "annotator"]
    search_fields = ["=id", "=pair__id", "=annotator__username"]
    ordering = ["-created_at"]


@admin.register(SavedFilter)
class SavedFilterAdmin(Shown):
    list_display = ["name", "owner", "is_shared", "created_at"]
    list_filter = ["is_shared"]
    list_select_related = ["owner"]
    search_fields = ["name", "=owner__username"]


@admin.register(Snapshot)
class SnapshotAdmin(Shown):
    """Without its candidates: there may be 100,000."""

    list_display = ["id", "owner", "count", "query", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["=id", "=owner__username"]
    fields = ["owner", "count", "query", "created_at"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("candidates")
