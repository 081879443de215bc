from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from annotation.models import Annotation, AnnotatorQuality, Consensus, Flag, Project, Task


class ReadOnly(ModelAdmin):
    """These rows belong to the actions: altering one here would leave its neighbours wrong."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    list_display = ["name", "overlap", "agree_at_least", "lease_minutes", "shows_prompt", "is_paused", "created_at"]
    list_filter = ["is_paused"]
    search_fields = ["name"]
    # The guidelines have an editor, which keeps their versions.
    readonly_fields = ["guidelines", "guidelines_version", "created_at"]


@admin.register(Task)
class TaskAdmin(ReadOnly):
    list_display = ["id", "project", "candidate", "priority", "reason", "overlap", "is_open", "round_number"]
    list_filter = ["project", "is_open", "round_number"]
    list_select_related = ["project", "candidate"]
    search_fields = ["=id", "=candidate__id"]


@admin.register(Annotation)
class AnnotationAdmin(ReadOnly):
    list_display = ["id", "candidate", "annotator", "label", "state", "seconds", "created_at"]
    list_filter = ["state", "label", "annotator"]
    list_select_related = ["candidate", "annotator"]
    search_fields = ["=id", "=candidate__id", "annotator__username"]
    ordering = ["-created_at"]


@admin.register(Consensus)
class ConsensusAdmin(ReadOnly):
    list_display = ["candidate", "label", "annotation_count", "agreement", "is_complete", "method", "updated_at"]
    list_filter = ["label", "method", "is_complete"]
    list_select_related = ["candidate"]
    search_fields = ["=candidate__id"]


@admin.register(AnnotatorQuality)
class AnnotatorQualityAdmin(ReadOnly):
    list_display = ["annotator", "annotation_count", "accuracy", "agreement", "median_seconds", "updated_at"]
    list_select_related = ["annotator"]
    search_fields = ["annotator__username"]


@admin.register(Flag)
class FlagAdmin(ReadOnly):
    list_display = ["product", "annotator", "reason", "created_at"]
    list_select_related = ["product", "annotator"]
    search_fields = ["product__sku", "product__title", "annotator__username"]
