"""The prompt library: prompts, lists of values, what is usual for a category, and which prompts work."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from adproof import wording
from adproof.labels import TITLES
from config.numbers import id_of
from config.paging import newest_first
from config.tables import as_csv
from generation import edits, prompt_library, prompt_results
from generation.forms import categories
from generation.models import CategoryDefaults, Product, Prompt, VariableList
from generation.prompt_forms import CategoryDefaultsForm, PromptForm, VariableListForm
from generation.prompt_results import Results
from generation.strips import add_newest
from generation.taught import untaught

PAGE_SIZE = 40
SHOWN_RESULTS = 300
ORDERS = {"people": "What people say", "judge": "What RFNet says", "candidates": "Candidates", "name": "Name"}


@requires("see_candidates")
@require_safe
def prompts(request: HttpRequest) -> HttpResponse:
    query, category = request.GET.get("q", "").strip()[:200], request.GET.get("category", "")[:80]
    rows = Prompt.objects.all()
    if query:
        rows = rows.filter(Q(name__icontains=query) | Q(text__icontains=query) | Q(tags__contains=[query[:40]]))
    if category:
        rows = rows.filter(Q(categories=[]) | Q(categories__contains=[category]))
    if request.GET.get("state") == "offered":
        rows = rows.filter(is_active=True)
    page, results = newest_first(request, rows, PAGE_SIZE), prompt_results.by_prompt()
    for prompt in page.rows:
        prompt.results = results.get(prompt.pk, Results())
    add_newest(page.rows, "prompt")
    context = {
        "page": page, "q": query, "category": category, "categories": categories(), "state": request.GET.get("state", ""),
    }  # fmt: skip
    return render(request, f"generation/prompts.html{'#rows' if request.htmx else ''}", context)


@requires("generate")
@require_http_methods(["GET", "HEAD", "POST"])
def prompt_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    prompt = _there(request, Prompt, pk)
    form = PromptForm(request.POST if request.method == "POST" else None, instance=prompt)
    changes: list[edits.Change] = []
    if form.is_bound and form.is_valid() and (prompt or not pk):
        with transaction.atomic():
            before = Prompt.objects.select_for_update().filter(pk=pk).first() if pk else None
            if before is not None:
                changes = edits.changed_since(before, PromptForm.SEEN, request.POST.get("seen", ""))
            if not changes and (before or not pk) and _saved(request, form, before):
                messages.success(request, f"“{form.cleaned_data['name']}” is saved.")
                return redirect("prompts")
    now = (Prompt.objects.filter(pk=pk).first() if pk else None) or Prompt()
    if is_gone := bool(form.is_bound and pk and not now.pk):
        form.add_error(None, prompt_library.PROMPT_IS_GONE)
    add_newest([now] if now.pk else [], "prompt", 8)
    sample = prompt_library.sample_product(now.categories)
    context = {
        "form": form, "name": now.name, "prompt": now if now.pk else None, "changes": changes,
        "lists": prompt_library.all_lists(), "action": reverse("prompt_create") if is_gone else "",
        "seen": edits.seen_next(now, PromptForm.SEEN, request.POST.get("seen", ""), changes) if now.pk else "",
        "sample": sample, "newest": getattr(now, "newest", []), "suffixes": prompt_library.SUFFIXES,
        "earlier": now.earlier_texts.select_related("changed_by").order_by("-pk")[:20] if now.pk else [],
    }  # fmt: skip
    return render(request, "generation/prompt.html", context, status=422 if form.is_bound else 200)


def _there(request: HttpRequest, model: Any, pk: int | None) -> Any:
    """The row, to be shown or saved. None: a new one, or one that was deleted while its form was filled in."""
    if request.POST.get("seen"):
        return model.objects.filter(pk=pk).first()
    return None if pk is None else get_object_or_404(model, pk=pk)


def _saved(request: HttpRequest, form: PromptForm, before: Prompt | None) -> bool:
    try:
        prompt_library.save_prompt(form.save(commit=False), before, request.user)
    except prompt_library.CannotSave as problem:
        form.add_error(problem.field, str(problem))
        return False
    return True


@requires("generate")
@require_POST
def prompt_preview(request: HttpRequest) -> HttpResponse:
    """What the text becomes, while it is written."""
    product = Product.objects.filter(pk=id_of(request.POST.get("sample", ""))).first()
    if product is None or "another" in request.POST:
        chosen = request.POST.getlist("categories")[:200]
        product = prompt_library.sample_product(chosen, product.pk if product else 0)
    prompt = Prompt(
        text=request.POST.get("text", "")[:4000], negative_text=request.POST.get("negative_text", "")[:4000],
        follows_category="follows_category" in request.POST,
    )  # fmt: skip
    context: dict[str, Any] = {"sample": product}
    try:
        prompt.image_scale = float(request.POST.get("image_scale", ""))
    except ValueError:
        prompt.image_scale = 0.5
    if product is not None and prompt.text:
        try:
            context["words"] = prompt_library.previews(prompt, product, seed=1)
            context["untaught"] = untaught(one.text for one in context["words"])
        except wording.WordingError as problem:
            context["problem"] = str(problem)
    return render(request, "generation/prompt.html#preview", context)


@requires("generate")
@require_POST
def prompt_copy(request: HttpRequest, pk: int) -> HttpResponse:
    prompt = get_object_or_404(Prompt, pk=pk)
    wanted = request.POST.get("suffix", "")
    suffix = next((one for one in prompt_library.SUFFIXES if one.key == wanted), None)
    try:
        made = prompt_library.copy_prompt(prompt, suffix)
    except prompt_library.CannotSave as problem:
        messages.error(request, str(problem))
        return redirect("prompt", pk)
    messages.success(request, f"“{made}” is a copy{' with a suffix' if suffix else ''}: draw with both and compare.")
    return redirect("prompt", made.pk)


# --- lists of values


@requires("see_candidates")
@require_safe
def variables(request: HttpRequest) -> HttpResponse:
    used, rows = prompt_library.uses(), list(VariableList.objects.order_by("name"))
    for row in rows:
        row.uses = used.get(row.name, 0)
    return render(request, "generation/variables.html", {"rows": rows})


@requires("generate")
@require_http_methods(["GET", "HEAD", "POST"])
def variable_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    row = _there(request, VariableList, pk)
    form = VariableListForm(request.POST if request.method == "POST" else None, instance=row)
    changes: list[edits.Change] = []
    if form.is_bound and form.is_valid() and (row or not pk):
        with transaction.atomic():
            before = VariableList.objects.select_for_update().filter(pk=pk).first() if pk else None
            if before is not None:
                changes = edits.changed_since(before, VariableListForm.SEEN, request.POST.get("seen", ""))
            if not changes and (before or not pk) and _saved_list(form):
                messages.success(request, f"{{{form.cleaned_data['name']}}} is saved.")
                return redirect("variables")
    now = (VariableList.objects.filter(pk=pk).first() if pk else None) or VariableList(name="", values=[])
    if is_gone := bool(form.is_bound and pk and not now.pk):
        form.add_error(None, prompt_library.LIST_IS_GONE)
    context = {
        "form": form, "row": now if now.pk else None, "changes": changes,
        "action": reverse("variable_create") if is_gone else "",
        "seen": edits.seen_next(now, VariableListForm.SEEN, request.POST.get("seen", ""), changes) if now.pk else "",
        "used": prompt_library.users_of(now.name) if now.pk else [],
    }  # fmt: skip
    return render(request, "generation/variable.html", context, status=422 if form.is_bound else 200)


def _saved_list(form: VariableListForm) -> bool:
    try:
        prompt_library.save_list(form.save(commit=False))
    except prompt_library.CannotSave as problem:
        form.add_error(problem.field, str(problem))
        return False
    return True


@requires("generate")
@require_POST
def variable_delete(request: HttpRequest, pk: int) -> HttpResponse:
    get_object_or_404(VariableList, pk=pk)
    try:
        messages.success(request, f"{{{prompt_library.delete_list(pk)}}} is deleted.")
    except prompt_library.CannotSave as problem:
        messages.error(request, str(problem))
        return redirect("variable", pk) if VariableList.objects.filter(pk=pk).exists() else redirect("variables")
    return redirect("variables")


# --- what is usual for a category


@requires("generate")
@require_http_methods(["GET", "HEAD", "POST"])
def category_defaults(request: HttpRequest) -> HttpResponse:
    """All categories; with ?category=, the form of one."""
    name = request.GET.get("category", "")[:80]
    there = {row.category: row for row in CategoryDefaults.objects.prefetch_related("prompts").order_by("category")}
    names = sorted({*categories(), *there})
    if not name:
        rows = [{"name": one, "defaults": there.get(one)} for one in names]
        return render(request, "generation/category_defaults.html", {"rows": rows})
    row = there.get(name) or CategoryDefaults(category=name)
    form = CategoryDefaultsForm(request.POST if request.method == "POST" else None, instance=row)
    if form.is_bound and name not in names:
        form.add_error(None, f"No product is of the category “{name}”.")
    changes: list[edits.Change] = []
    if form.is_bound and form.is_valid():
        with transaction.atomic():
            # Also where two people say it for the first time in the same moment.
            now, _ = CategoryDefaults.objects.select_for_update().get_or_create(category=name)
            changes = edits.changed_since(now, CategoryDefaultsForm.SEEN, request.POST.get("seen", ""))
            chosen = [prompt.pk for prompt in form.cleaned_data["prompts"]]
            held = Prompt.objects.select_for_update(no_key=True).filter(pk__in=chosen).order_by("pk")
            if len(held) < len(chosen):
                form.add_error(
                    "prompts", "Somebody has deleted one of these prompts meanwhile: look at the ticks once more."
                )
            elif not changes:
                form.instance.pk, form.instance._state.adding = now.pk, False
                form.save()
                messages.success(request, f"What is usual for “{name}” is saved.")
                return redirect("category_defaults")
    stands = CategoryDefaults.objects.filter(category=name).first() or CategoryDefaults(category=name)
    context = {
        "form": form, "name": name, "changes": changes,
        "seen": edits.seen_next(stands, CategoryDefaultsForm.SEEN, request.POST.get("seen", ""), changes),
    }  # fmt: skip
    return render(request, "generation/category_defaults.html", context, status=422 if form.is_bound else 200)


# --- which prompts work


@dataclass
class Row:
    prompt: Prompt
    results: Results

    @property
    def name(self) -> str:
        return self.prompt.name


def _results_rows(order: str) -> list[Row]:
    results = prompt_results.by_prompt()
    rows = [Row(prompt, results[prompt.pk]) for prompt in Prompt.objects.filter(pk__in=results)]
    if order == "name":
        return sorted(rows, key=lambda row: row.name)
    if order == "candidates":
        return sorted(rows, key=lambda row: (-row.results.candidates, row.name))
    return prompt_results.surest_first(rows, order)


@requires("see_candidates")
@require_safe
def results(request: HttpRequest) -> HttpResponse:
    order = request.GET.get("order", "people")
    order = order if order in ORDERS else "people"
    rows = _results_rows(order)
    context = {
        "rows": rows[:SHOWN_RESULTS],
        "more": max(0, len(rows) - SHOWN_RESULTS),
        "order": order,
        "orders": ORDERS,
        "labels": TITLES,
        "is_unsaid": not any(row.results.people.total or row.results.judge.total for row in rows),
    }
    return render(request, "generation/prompt_results.html", context)


@requires("see_candidates")
@require_safe
def results_table(request: HttpRequest) -> HttpResponse:
    """All of it as CSV."""
    names = [title.lower().replace(" ", "_") for title in TITLES.values()]
    head = ["prompt", "text", "categories", "candidates", "given_up_early"]
    for who in ("people", "rfnet"):
        head += [
            f"{who}_said",
            *(f"{who}_{name}" for name in names),
            f"{who}_availability",
            f"{who}_low",
            f"{who}_high",
        ]
    return as_csv("prompts", head, (_line(row) for row in _results_rows("people")))


def _line(row: Row) -> list[Any]:
    line: list[Any] = [
        row.name,
        row.prompt.text,
        ", ".join(row.prompt.categories),
        row.results.candidates,
        row.results.abandoned,
    ]
    for said in (row.results.people, row.results.judge):
        low, high = said.interval
        share = said.availability
        line += [
            said.total,
            *said.counts,
            *(["", "", ""] if share is None else [round(x, 4) for x in (share, low, high)]),
        ]
    return line


@requires("see_candidates")
@require_safe
def result(request: HttpRequest, pk: int) -> HttpResponse:
    prompt = get_object_or_404(Prompt.objects.select_related("copied_from"), pk=pk)
    detail = prompt_results.detail_of(pk)
    relatives = [*prompt.copies.order_by("name")[:20], *([prompt.copied_from] if prompt.copied_from else [])]
    every = prompt_results.by_prompt()
    parts = [
        ("By generator", sorted(detail.by_generator.items())),
        ("By category", sorted(detail.by_category.items(), key=lambda item: -item[1].candidates)[:100]),
        ("Beside its copies", [(one.name, every[one.pk]) for one in relatives if one.pk in every]),
    ]
    earlier = (
        prompt.candidates.filter(created_at__lt=prompt.words_changed_at).exists() if prompt.words_changed_at else False
    )
    worst = detail.whole.best.worst
    add_newest([prompt], "prompt", 10)
    context = {
        "prompt": prompt, "whole": detail.whole, "parts": [part for part in parts if part[1]], "labels": TITLES, "earlier": earlier,
        "texts": prompt.earlier_texts.select_related("changed_by").order_by("-pk")[:20], "suffixes": prompt_library.SUFFIXES,
        "worst": worst, "worst_title": TITLES[worst] if worst else "", "back": reverse("prompt_results"),
    }  # fmt: skip
    return render(request, "generation/prompt_result.html", context)
