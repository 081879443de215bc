"""The admin by abilities: what staff may do there follows from their role, as everywhere. No groups to keep by hand."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator


class StaffAdmin(ModelAdmin):
    """Each verb names the ability it needs; None: nobody, however mighty."""

    see: str = "operate"
    add: str | None = None
    change: str | None = None
    delete: str | None = None

    ordering = ["-pk"]
    list_per_page = 50
    list_max_show_all = 200
    # Nothing is counted: these tables grow to millions of rows, and their pages must not.
    show_full_result_count = False
    paginator = InfinitePaginator

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.see)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _may(request, self.see)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _may(request, self.add)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.delete)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            # Two people gave one name in the same moment. The first one's row is there by now: the form says so.
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        if not self.has_delete_permission(request):
            many = self.opts.verbose_name_plural
            raise PermissionDenied(
                f"No {many} are deleted: labels, verdicts, trainings and frozen versions tell of them."
            )
        return super().delete_view(request, object_id, extra_context)


def _may(request: HttpRequest, ability: str | None) -> bool:
    return ability is not None and request.user.is_authenticated and request.user.may(ability)
