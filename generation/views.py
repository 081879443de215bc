import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.roles import requires
from config.paging import newest_first
from generation import actions
from generation.costs import money, pace_of_generators
from generation.figures import candidates_by_generator, categories, sources
from generation.forms import (
    CsvForm,
    PicturesForm,
    UnsuitableForm,
)
from generation.gallery import with_labels
from generation.importing import BadImport, Problem, ZipPictures
from generation.models import Generator, Product
from generation.planning import CannotStart
from generation.product_filter import matching
from generation.strips import add_newest

PAGE_SIZE = 40
IMPORTED_SHOWN = 16
PRODUCT_STATES = [
    ("", "Any"), ("drawable", "May be drawn"), ("waiting", "Waiting for a look"), ("unsuitable", "Unsuitable"),
]  # fmt: skip


def page_or_part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    return render(request, f"{template}#rows" if request.htmx else template, context)


@requires("see_candidates")
@require_safe
def products(request: HttpRequest) -> HttpResponse:
    asked = request.GET
    context = {
        "page": newest_first(request, matching(asked), PAGE_SIZE), "state": asked.get("state", ""), "states": PRODUCT_STATES,
        "q": asked.get("q", "").strip()[:200], "category": asked.get("category", "")[:80], "categories": categories(),
        "source": asked.get("source", "")[:80], "sources": sources(),
    }  # fmt: skip
    return page_or_part(request, "generation/products.html", context)


@requires("see_candidates")
@require_safe
def product(request: HttpRequest, pk: int) -> HttpResponse:
    product = get_object_or_404(Product.objects.select_related("accepted_by"), pk=pk)
    page = newest_first(request, with_labels(product.candidates.all()), PAGE_SIZE)
    context = {"product": product, "page": page, "form": UnsuitableForm()}
    if request.htmx:
        return render(request, "generation/candidates.html#rows", context)
    return render(request, "generation/product.html", context)


@requires("edit_products")
@require_POST
def product_unsuitable(request: HttpRequest, pk: int) -> HttpResponse:
    product = get_object_or_404(Product, pk=pk)
    form = UnsuitableForm(request.POST)
    if form.is_valid():
        actions.flag_unsuitable(product, form.cleaned_data["reason"])
        messages.success(request, "Flagged. Its candidates leave the queue and every later dataset version.")
        if request.POST.get("next") == "cut-outs":
            return redirect(f"{reverse('cut_outs')}?after={pk}")
    else:
        messages.error(request, " ".join(form.errors["reason"]))
    return redirect("product", pk)


@requires("edit_products")
@require_http_methods(["GET", "HEAD", "POST"])
def product_import(request: HttpRequest) -> HttpResponse:
    """Two forms on one page; whatever can be stored is stored, and the rest is listed with what to do."""
    by_csv = "table" in request.FILES or request.POST.get("form") == "csv"
    pictures = PicturesForm(request.POST, request.FILES) if request.method == "POST" and not by_csv else PicturesForm()
    table = (
        CsvForm(request.POST, request.FILES, auto_id="csv_%s")
        if request.method == "POST" and by_csv
        else CsvForm(auto_id="csv_%s")
    )
    report, too_large = None, []
    if pictures.is_bound and pictures.is_valid():
        too_large = pictures.too_large()
        report = actions.import_product_files(pictures.files_to_import(), values=pictures.values, user=request.user)
    elif table.is_bound and table.is_valid():
        try:
            report = actions.import_products_csv(
                table.cleaned_data["table"].read(),
                ZipPictures(table.cleaned_data["pictures"].read()),
                user=request.user,
            )
        except BadImport as problem:
            table.add_error(None, str(problem)[:1].upper() + str(problem)[1:])
    problems: list[str | Problem] = [*too_large, *(report.problems if report else [])]
    if report and not problems and report.cut_out_run is None:
        messages.success(request, import_sentence(report))
        return redirect("products")
    context = {
        "pictures": pictures, "table": table, "report": report, "problems": problems,
        "sentence": import_sentence(report) if report else "", "categories": categories(),
    }  # fmt: skip
    if report:
        came_in = [*report.created, *report.updated]
        context["shown"] = Product.objects.filter(sku__in=came_in[:IMPORTED_SHOWN]).order_by("pk")
        context["not_shown"] = max(0, len(came_in) - IMPORTED_SHOWN)
    refused = request.method == "POST" and report is None
    return render(request, "generation/product_import.html", context, status=422 if refused else 200)


def import_sentence(report: actions.ImportReport) -> str:
    counts = [(len(report.created), "new"), (len(report.updated), "updated"), (len(report.unchanged), "already there")]
    said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    if not said and report.cut_out_run:
        count = report.cut_out_run.total
        return f"{count:,} picture{' is' if count == 1 else 's are'} being cut out."
    return f"Products: {said}." if said else "No product was stored."


@requires("see_candidates")
@require_safe
def generators(request: HttpRequest) -> HttpResponse:
    counts = dict(candidates_by_generator())
    rows = list(Generator.objects.select_related("parent").order_by("-is_in_use", "-pk"))
    paces = dict(pace_of_generators())
    add_newest(rows, "generator", 8)
    for row in rows:
        row.candidate_count = counts.get(row.pk, 0)
        row.pace_s = paces.get(row.pk)
        row.money = money(row.pace_s)
        row.config_json = json.dumps({"key": row.key, **row.config}, indent=2, ensure_ascii=False) if row.config else ""
    return render(request, "generation/generators.html", {"generators": rows})


@requires("promote")
@require_POST
def generator_use(request: HttpRequest, pk: int) -> HttpResponse:
    generator = get_object_or_404(Generator, pk=pk)
    try:
        actions.put_in_use(generator)
    except CannotStart as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, f"{generator} draws from now on.")
    return redirect("generators")
