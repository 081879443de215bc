"""The gold manager: for those who manage tasks only, since everybody else who may see it also labels."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import requires
from adproof.labels import TITLES
from annotation import gold_table
from annotation.gold import Known, make_gold, reinstate_gold, retire_gold
from annotation.models import Gold, Project
from config.numbers import MAX_ID
from generation.models import Candidate

PAGE_SIZE = 50
SUGGESTED = 12
MAX_CSV_BYTES = 5 * 2**20


class GoldForm(forms.Form):
    candidate = forms.IntegerField(
        label="Candidate", min_value=1, max_value=MAX_ID, help_text="Its number, as the label browser shows it."
    )
    label = forms.TypedChoiceField(
        label="Its label", coerce=int,
        choices=[("", "Choose"), *((str(int(label)), title) for label, title in TITLES.items())],
        error_messages={"required": "Choose its label."},
    )
    reason = forms.CharField(
        label="Why", max_length=gold_table.REASON_AT_MOST, required=False, help_text="Annotators never see it."
    )

    def clean_candidate(self) -> int:
        pk: int = self.cleaned_data["candidate"]
        if not Candidate.objects.filter(pk=pk).exists():
            raise forms.ValidationError("There is no candidate of this number.")
        return pk


class TableForm(forms.Form):
    table = forms.FileField(
        label="CSV",
        help_text="Columns: candidate (its number) or image_sha256, label, and reason if wanted. All lines or none.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_table(self) -> Any:
        file = self.cleaned_data["table"]
        if file.size > MAX_CSV_BYTES:
            raise forms.ValidationError(f"The file is larger than {MAX_CSV_BYTES // 2**20} MB: split it.")
        return file


class RateForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["gold_percent"]
        labels = {"gold_percent": "Gold among the tasks handed out, in %"}
        help_texts = {"gold_percent": "0 to 50. About 5 is enough to see who guesses."}


@requires("manage_tasks")
@require_safe
def gold(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, get_object_or_404(Project, pk=pk))


def _page(request: HttpRequest, project: Project, *, status: int = 200, **parts: Any) -> HttpResponse:
    rows = gold_table.most_missed(project, PAGE_SIZE + 1, _after(request))
    counts = Gold.objects.filter(task__project=project).aggregate(
        all=Count("pk"), retired=Count("pk", filter=Q(is_retired=True))
    )
    context = {
        "project": project,
        "rows": rows[:PAGE_SIZE],
        "last": rows[PAGE_SIZE - 1] if len(rows) > PAGE_SIZE else None,
        "counts": counts,
        "suggestions": gold_table.suggestions(project, SUGGESTED),
        "form": parts.get("form") or GoldForm(initial=_initial(request, project)),
        "table": parts.get("table") or TableForm(),
        "rate": parts.get("rate") or RateForm(instance=Project(gold_percent=project.gold_percent)),
        "problems": parts.get("problems", []),
    }
    if request.htmx and status == 200:
        return render(request, "annotation/gold.html#rows", context)
    return render(request, "annotation/gold.html", context, status=status)


def _after(request: HttpRequest) -> tuple[int, int] | None:
    asked = request.GET.get("after", "")
    if not asked:
        return None
    parts = asked.split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise Http404("There is no such page.")
    return int(parts[0]), int(parts[1])


def _initial(request: HttpRequest, project: Project) -> dict[str, Any]:
    """?candidate=7 fills the form with what is known of it."""
    asked = request.GET.get("candidate", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 19):
        return {}
    row = Gold.objects.filter(task__project=project, task__candidate=int(asked)).first()
    return {"candidate": asked, **({"label": row.label, "reason": row.reason} if row else {})}


@requires("manage_tasks")
@require_POST
def gold_add(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = GoldForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form=form, status=422)
    said = form.cleaned_data
    made = make_gold(project, {said["candidate"]: Known(said["label"], said["reason"])}, request.user)
    title = TITLES[said["label"]]
    messages.success(
        request, f"Candidate {said['candidate']} {'is gold' if made else 'has another gold label now'}: {title}."
    )
    return redirect("gold", pk)


@requires("manage_tasks")
@require_POST
def gold_upload(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = TableForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, project, table=form, status=422)
    table = gold_table.read_table(form.cleaned_data["table"].read())
    if table.problems:
        return _page(request, project, problems=table.problems, status=422)
    made = make_gold(project, table.known, request.user)
    messages.success(request, f"{len(table.known):,} read: {made:,} new, {len(table.known) - made:,} changed.")
    return redirect("gold", pk)


@requires("manage_tasks")
@require_POST
def gold_take(request: HttpRequest, pk: int) -> HttpResponse:
    """Some of the suggested: those on which people still agree."""
    project = get_object_or_404(Project, pk=pk)
    asked = {int(one) for one in request.POST.getlist("candidate") if one.isascii() and one.isdigit() and len(one) < 19}
    agreed = gold_table.agreed(project).filter(candidate__in=asked)
    known = {row.candidate_id: Known(row.label, f"{row.annotation_count} agreed") for row in agreed}
    if known:
        make_gold(project, known, request.user)
        messages.success(request, f"{len(known):,} candidate{'s are' if len(known) != 1 else ' is'} gold now.")
    if len(known) < len(asked):
        messages.warning(request, f"{len(asked) - len(known):,} left out: people agree no more, or it is gold already.")
    if not asked:
        messages.error(request, "Choose at least one candidate.")
    return redirect("gold", pk)


@requires("manage_tasks")
@require_POST
def gold_retire(request: HttpRequest, pk: int, gold_pk: int) -> HttpResponse:
    """The wanted state comes with the press, so that pressing twice changes nothing."""
    row = get_object_or_404(Gold.objects.select_related("task"), pk=gold_pk, task__project_id=pk)
    wanted = request.POST.get("retired", "")
    if wanted not in ("0", "1"):
        messages.error(request, "Say whether to retire it or to hand it out again.")
    elif wanted == "1":
        retire_gold(row)
        messages.success(request, f"Candidate {row.task.candidate_id} is retired: nobody is handed it any more.")
    else:
        reinstate_gold(row)
        messages.success(request, f"Candidate {row.task.candidate_id} is handed out again.")
    return redirect("gold", pk)


@requires("manage_tasks")
@require_POST
def gold_rate(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = RateForm(request.POST, instance=project)
    if not form.is_valid():
        return _page(request, get_object_or_404(Project, pk=pk), rate=form, status=422)
    form.save(commit=False).save(update_fields=["gold_percent"])
    messages.success(request, f"{project.gold_percent} % of the tasks handed out are gold.")
    return redirect("gold", pk)
