from typing import Any

from django import forms
from django.contrib import admin
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.staff_admin import StaffAdmin
from generation import edits
from generation.actions import put_in_use
from generation.models import (
    Candidate,
    CategoryDefaults,
    Failure,
    Generator,
    ImportProblem,
    Plan,
    Product,
    Prompt,
    PromptText,
    VariableList,
)
from generation.planning import MOST_TICKED, CannotStart
from generation.prompt_forms import SCALE, PromptForm, VariableListForm
from generation.prompt_library import CannotSave, delete_list, save_list, save_prompt, why_list_stays


def picture(sha256: str) -> str:
    """A small picture for a list."""
    if not sha256:
        return "–"
    return format_html('<img src="{}" alt="" width="48" height="48">', reverse("thumbnail", args=[96, sha256]))


def draw_with(model_admin: StaffAdmin, request: HttpRequest, what: str, chosen: QuerySet[Any]) -> HttpResponse | None:
    """To the form that draws, with what is ticked; there it says how many that makes, before anything begins."""
    if not request.user.may("generate"):
        model_admin.message_user(request, "Your role can't draw candidates. Ask an operator for it.", "error")
        return None
    ids = list(chosen.values_list("pk", flat=True)[: MOST_TICKED + 1])
    if len(ids) > MOST_TICKED:
        model_admin.message_user(
            request, f"Tick {MOST_TICKED} at most, or choose by category on the page “Draw candidates”.", "error"
        )
        return None
    return redirect(f"{reverse('generate')}?{what}={','.join(map(str, ids))}")


@admin.register(Product)
class ProductAdmin(StaffAdmin):
    see, change = "see_candidates", "edit_products"
    list_display = ["id", "shown", "sku", "title", "category", "source", "unsuitable", "created_at"]
    list_filter = ["unsuitable", "is_waiting", "is_cut_out_by_model"]
    search_fields = ["=id", "sku", "title"]
    actions = ["draw", "take_flag_back"]
    fields = [
        "sku", "title", "description", "category", "source", "license", "size_cm", "unsuitable", "unsuitable_reason",
        "image_sha256", "width_px", "height_px", "is_cut_out_by_model", "is_waiting", "accepted_by", "accepted_at", "created_at",
    ]  # fmt: skip
    # The picture is what candidates were drawn from: a new one is a new product.
    readonly_fields = [
        "sku", "image_sha256", "width_px", "height_px", "is_cut_out_by_model", "is_waiting", "accepted_by", "accepted_at",
        "created_at",
    ]  # fmt: skip

    @admin.display(description="Picture")
    def shown(self, product: Product) -> str:
        return picture(product.image_sha256)

    @admin.action(description="Take the flag “unsuitable” back", permissions=["change"])
    def take_flag_back(self, request: HttpRequest, chosen: QuerySet[Product]) -> None:
        count = chosen.update(unsuitable=False, unsuitable_reason="")
        self.message_user(request, f"{count} products may be drawn again.")

    @admin.action(description="Draw candidates…")
    def draw(self, request: HttpRequest, chosen: QuerySet[Product]) -> HttpResponse | None:
        return draw_with(self, request, "products", chosen)


class Dressed(forms.ModelForm):
    """A page's own form in the admin's dress; it too shows what another has changed meanwhile."""

    SEEN: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, widget in self.dress().items():
            field = self.fields[name]
            widget.is_required, field.widget = field.required, widget
        if self.instance.pk:
            self.initial["seen"] = edits.seen(self.instance, self.SEEN)

    def dress(self) -> dict[str, forms.Widget]:
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if self.instance.pk:
            rows = type(self.instance)._default_manager.select_for_update()  # the admin's page is one transaction
            now = rows.filter(pk=self.instance.pk).first()
            if now is None:
                raise forms.ValidationError("Somebody has deleted this meanwhile: copy what you wrote into a new one.")
            if changes := edits.changed_since(now, self.SEEN, data.get("seen", "")):
                self.data = self.data.copy()
                self.data["seen"] = edits.seen(now, self.SEEN)
                told = "; ".join(f"{one.title}: “{one.was}” is “{one.now}” now" for one in changes)
                raise forms.ValidationError(
                    f"Somebody else has saved this while you were writing. {told}. Save once more to put yours in its place."
                )
        return data


class PromptAdminForm(Dressed, PromptForm):
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["categories"].choices = self.fields["categories"].choices

    def dress(self) -> dict[str, forms.Widget]:
        return {
            "text": UnfoldAdminTextareaWidget(attrs={"rows": 4}),
            "negative_text": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
            "image_scale": UnfoldAdminDecimalFieldWidget(attrs=SCALE),
            "categories": UnfoldAdminCheckboxSelectMultipleWidget(),
            "tags": UnfoldAdminTextInputWidget(),
            "notes": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }


class VariableListAdminForm(Dressed, VariableListForm):
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def dress(self) -> dict[str, forms.Widget]:
        return {"name": UnfoldAdminTextInputWidget(), "values": UnfoldAdminTextareaWidget(attrs={"rows": 12})}


class EarlierTexts(TabularInline):
    """What it said before."""

    model = PromptText
    extra = 0
    hide_title = True
    verbose_name_plural = "what it said before"
    fields = readonly_fields = ["text", "negative_text", "image_scale", "changed_by", "until"]
    ordering = ["-pk"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.may("see_candidates"))


@admin.register(Prompt)
class PromptAdmin(StaffAdmin):
    """By the checks of its page; what it said before is kept."""

    see, add, change = "see_candidates", "generate", "generate"
    form = PromptAdminForm
    fields = [*PromptForm.SEEN, "seen", "copied_from", "words_changed_at", "created_at"]
    readonly_fields = ["copied_from", "words_changed_at", "created_at"]
    inlines = [EarlierTexts]
    list_display = ["id", "name", "text", "image_scale", "categories", "is_active"]
    list_filter = ["is_active"]
    search_fields = ["name", "text"]
    actions = ["draw"]

    def save_model(self, request: HttpRequest, obj: Prompt, form: Any, change: bool) -> None:
        before = Prompt.objects.select_for_update().get(pk=obj.pk) if change else None
        try:
            save_prompt(obj, before, request.user)
        except CannotSave as problem:
            raise IntegrityError(str(problem)) from problem

    @admin.action(description="Draw candidates…")
    def draw(self, request: HttpRequest, chosen: QuerySet[Prompt]) -> HttpResponse | None:
        return draw_with(self, request, "prompts", chosen)


@admin.register(VariableList)
class VariableListAdmin(StaffAdmin):
    """By the checks of its page: a list that prompts draw from keeps its name and stays."""

    see, add, change, delete = "see_candidates", "generate", "generate", "generate"
    form = VariableListAdminForm
    fields = [*VariableListForm.SEEN, "seen"]
    list_display = ["id", "name", "values"]
    search_fields = ["name"]

    def save_model(self, request: HttpRequest, obj: VariableList, form: Any, change: bool) -> None:
        try:
            save_list(obj)
        except CannotSave as problem:
            raise IntegrityError(str(problem)) from problem

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        if row is not None and (problem := why_list_stays(row)) and self.has_delete_permission(request, row):
            self.message_user(request, problem, "error")
            return redirect("admin:generation_variablelist_change", row.pk)
        try:
            return super().delete_view(request, object_id, extra_context)
        except CannotSave as problem:  # a prompt began to draw from it in this very moment, or somebody was first
            self.message_user(request, str(problem), "error")
            return redirect("admin:generation_variablelist_changelist")

    def delete_model(self, request: HttpRequest, obj: VariableList) -> None:
        delete_list(obj.pk)


@admin.register(CategoryDefaults)
class CategoryDefaultsAdmin(StaffAdmin):
    see, add, change, delete = "see_candidates", "generate", "generate", "generate"
    list_display = ["id", "category", "image_scale", "negative_text"]
    search_fields = ["category"]
    autocomplete_fields = ["prompts"]


@admin.register(PromptText)
class PromptTextAdmin(StaffAdmin):
    """What prompts said before they were changed."""

    see = "see_candidates"
    list_display = ["id", "prompt", "text", "until", "changed_by"]
    list_select_related = ["prompt", "changed_by"]


@admin.register(Generator)
class GeneratorAdmin(StaffAdmin):
    """Immutable but for its note: other weights or settings are another generator."""

    see, change = "see_candidates", "promote"
    list_display = ["id", "name", "kind", "parent", "is_in_use", "created_at"]
    list_filter = ["kind"]
    list_select_related = ["parent"]
    search_fields = ["name", "key"]
    actions = ["use"]

    def get_readonly_fields(self, request: HttpRequest, obj: Generator | None = None) -> list[str]:
        return [field.name for field in Generator._meta.fields if field.name != "note"]

    @admin.action(description="Put in use", permissions=["change"])
    def use(self, request: HttpRequest, chosen: QuerySet[Generator]) -> None:
        if len(chosen) != 1:
            self.message_user(request, "Choose one generator: one draws at a time.", "error")
            return
        try:
            put_in_use(chosen[0])
        except CannotStart as problem:
            self.message_user(request, str(problem), "error")
        else:
            self.message_user(request, f"{chosen[0]} draws from now on.")


@admin.register(Candidate)
class CandidateAdmin(StaffAdmin):
    see = "see_candidates"
    list_display = ["id", "shown", "product", "prompt", "generator", "attempt", "created_at"]
    list_select_related = ["product", "prompt", "generator"]
    raw_id_fields = ["product", "prompt", "generator", "run"]
    search_fields = ["=id", "=product__sku"]

    @admin.display(description="Picture")
    def shown(self, candidate: Candidate) -> str:
        return picture(candidate.image_sha256)


@admin.register(ImportProblem)
class ImportProblemAdmin(StaffAdmin):
    see = "edit_products"
    list_display = ["id", "where", "problem", "run_id", "created_at"]
    raw_id_fields = ["run"]


@admin.register(Plan)
class PlanAdmin(StaffAdmin):
    see = "see_runs"
    list_display = ["id", "run_id", "generator", "total", "budget_images", "budget_seconds", "is_planned"]
    list_select_related = ["generator"]
    raw_id_fields = ["run"]
    search_fields = ["=run__id"]
    # A hundred thousand ids are no use on a page.
    exclude = ["products", "product_kinds", "product_titles", "prompts", "prompt_kinds"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        return Plan.objects.light()


@admin.register(Failure)
class FailureAdmin(StaffAdmin):
    see = "see_runs"
    list_display = ["id", "plan_id", "product", "prompt", "seed", "problem", "created_at"]
    list_select_related = ["product", "prompt"]
    raw_id_fields = ["plan", "part", "product", "prompt"]
    search_fields = ["=plan__run__id"]
