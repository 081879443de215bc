from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from accounts.staff_admin import StaffAdmin
from datasets_app.models import DatasetVersion, ProductSplit, VersionRow


@admin.register(DatasetVersion)
class DatasetVersionAdmin(StaffAdmin):
    """Immutable: freezing and writing are done from the datasets page."""

    see = "freeze_datasets"
    list_display = ["id", "name", "number", "state", "row_count", "size_bytes", "created_by", "created_at", "open_page"]
    list_filter = ["state"]
    list_select_related = ["created_by"]
    search_fields = ["name", "digest"]

    @admin.display(description="Page")
    def open_page(self, version: DatasetVersion) -> str:
        return format_html('<a href="{}">open</a>', reverse("dataset", args=[version.pk]))


@admin.register(VersionRow)
class VersionRowAdmin(StaffAdmin):
    see = "freeze_datasets"
    list_display = ["id", "version", "candidate_id", "label", "split", "agreement", "annotation_count"]
    list_filter = ["split", "label"]
    list_select_related = ["version"]
    raw_id_fields = ["version", "candidate"]
    search_fields = ["=candidate__id"]


@admin.register(ProductSplit)
class ProductSplitAdmin(StaffAdmin):
    """Given once, never changed (product_splits.py)."""

    see = "freeze_datasets"
    list_display = ["id", "name", "product_id", "split", "decided_by_id", "created_at"]
    list_filter = ["split"]
    raw_id_fields = ["product", "decided_by"]
    search_fields = ["=product__id", "product__sku"]
