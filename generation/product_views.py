"""Pages about products besides the list and the single one: edit, change many, look at cut-outs."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from accounts.roles import requires
from adproof.perception.masks import SOFTNESS, THRESHOLD, MaskError
from adproof.perception.pictures import PictureError, picture_to_png
from config.numbers import id_of
from generation import actions, cut_outs, cutting, edits
from generation.forms import UnsuitableForm, categories
from generation.models import Product
from generation.planning import MOST_TICKED
from generation.product_forms import BulkForm, ProductForm, RecutForm, RedoForm
from runs.models import Run

CUT_SHOWN = 24
MOST_TOLD = 50


@requires("edit_products")
@require_http_methods(["GET", "HEAD", "POST"])
def product_edit(request: HttpRequest, pk: int) -> HttpResponse:
    product = get_object_or_404(Product, pk=pk)
    form = ProductForm(request.POST or None, request.FILES or None, instance=product)
    changes: list[edits.Change] = []
    if form.is_bound and form.is_valid():
        with transaction.atomic():
            now = Product.objects.select_for_update().filter(pk=pk).first()
            if now is not None:
                changes = edits.changed_since(now, ProductForm.SEEN, request.POST.get("seen", ""))
                if not changes:
                    return _save(request, form, now)
    row = Product.objects.filter(pk=pk).first()
    if row is None:
        row = product
        form.add_error(
            None, "Somebody has deleted this product meanwhile. What you wrote is still here: bring it in anew."
        )
    context = {
        "form": form, "product": row, "seen": edits.seen_next(row, ProductForm.SEEN, request.POST.get("seen", ""), changes),
        "changes": changes, "categories": categories(), "in_use": actions.picture_in_use(row),
    }  # fmt: skip
    return render(request, "generation/product_edit.html", context, status=422 if form.is_bound else 200)


def _save(request: HttpRequest, form: ProductForm, now: Product) -> HttpResponse:
    file, new_sku = form.file, form.cleaned_data["new_sku"]
    if not new_sku:
        names = [*form.Meta.fields, "size_cm"]
        Product.objects.filter(pk=now.pk).update(**{name: getattr(form.instance, name) for name in names})
    if file is None:
        messages.success(request, "Saved.")
        return redirect("product", now.pk)
    report = actions.store_products([file], request.user)
    for problem in report.problems:  # a run began to draw it in this very moment
        messages.error(request, str(problem))
    if report.cut_out_run:
        messages.success(request, "Saved. The picture is being cut out; look at the cut-out then.")
        return redirect("run", report.cut_out_run.pk)
    if not report.problems:
        messages.success(request, f"“{file.title}” is a new product." if new_sku else "Saved, with another picture.")
    return redirect("product", Product.objects.filter(sku=file.sku).values_list("pk", flat=True).first() or now.pk)


@requires("edit_products")
@require_POST
def product_fit(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the flag "unsuitable" back."""
    actions.unflag(get_object_or_404(Product, pk=pk))
    messages.success(request, "The flag is taken back: its candidates are in the queue again, and in later versions.")
    return redirect("product", pk)


@requires("edit_products")
@require_POST
def products_bulk(request: HttpRequest) -> HttpResponse:
    form = BulkForm(request.POST)
    back = redirect(f"{reverse('products')}?{request.POST.get('query', '')[:500]}".rstrip("?"))
    if not form.is_valid():
        messages.error(request, form.sentence())
        return back
    data = form.cleaned_data
    rows = Product.objects.filter(pk__in=data["products"])
    match data["do"]:
        case "flag":
            changed = rows.update(unsuitable=True, unsuitable_reason=data["reason"])
            said = "flagged: their candidates leave the queue and every later dataset version."
        case "unflag":
            changed = rows.update(unsuitable=False, unsuitable_reason="")
            said = "without the flag: their candidates are in the queue again."
        case _:
            changed = rows.update(category=data["new_category"])
            said = (
                f"in the category “{data['new_category']}” now." if data["new_category"] else "without a category now."
            )
    messages.success(request, f"{changed:,} product{'' if changed == 1 else 's'} {said}")
    return back


@requires("edit_products")
@require_POST
def products_recut(request: HttpRequest) -> HttpResponse:
    """U2-Net cuts the ticked products out anew, or all that the list's filter finds; those that a person worked on stay."""
    # Whole: a filter that is cut short finds more than what was on the page.
    query = request.POST.get("query", "")
    form = RecutForm(request.POST)
    back = redirect(f"{reverse('products')}?{query}".rstrip("?"))
    if not form.is_valid():
        messages.error(request, form.sentence())
        return back
    data = form.cleaned_data
    try:
        if data["what"] == "all":
            asked = QueryDict(query.replace("%00", ""))
            run = cutting.cut_anew_matching(asked, data["threshold"] / 100, user=request.user)
        else:
            ticked = cutting.recuttable().filter(pk__in=data["products"])
            run = cutting.cut_anew(ticked, data["threshold"] / 100, request.user)
    except cutting.NothingToCut as problem:
        messages.error(request, str(problem))
        return back
    return redirect("run", run.pk)


@requires("generate")
@require_POST
def products_draw(request: HttpRequest) -> HttpResponse:
    """The ticked products, into the form that has candidates drawn."""
    ticked = [value for value in request.POST.getlist("products") if id_of(value) is not None]
    if not ticked:
        messages.error(request, "Tick at least one product first.")
        return redirect(f"{reverse('products')}?{request.POST.get('query', '')[:500]}".rstrip("?"))
    if len(ticked) > MOST_TICKED:
        messages.warning(request, f"The first {MOST_TICKED:,} of the {len(ticked):,} ticked products are chosen here.")
    return redirect(f"{reverse('generate')}?products={','.join(ticked[:MOST_TICKED])}")


@requires("edit_products")
@require_safe
def cut_outs_next(request: HttpRequest) -> HttpResponse:
    """To the next cut-out that waits; a page of its own when none does."""
    found = cut_outs.next_waiting(id_of(request.GET.get("after", "")) or 0)
    if found is not None:
        return redirect("cut_out", found.pk)
    at_work = list(Run.objects.top_level().unfinished().filter(kind="cut_out").order_by("-pk")[:MOST_TOLD])
    being_cut = sum(max(run.total - run.done, 0) for run in at_work)
    context = {"being_cut": being_cut, "run": at_work[0] if at_work else None}
    return render(request, "generation/cut_outs_done.html", context)


@requires("edit_products")
@require_safe
def cut_out(request: HttpRequest, pk: int) -> HttpResponse:
    return _desk(request, get_object_or_404(Product.objects.select_related("accepted_by"), pk=pk))


@requires("see_runs")
@require_safe
def cut_out_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """A part of the page of a run that cuts out: how they look, and where somebody accepts them."""
    run = get_object_or_404(Run, pk=pk, kind="cut_out")
    items = [item for part in run.parts.filter(done__gt=0).order_by("-pk")[:2] for item in part.params.get("items", [])]
    known = Q(sku__in=[item["sku"] for item in items if "sku" in item])
    known |= Q(pk__in=[item["product"] for item in items if "product" in item])
    shown = list(Product.objects.filter(known, is_cut_out_by_model=True).order_by("-pk")[:CUT_SHOWN])
    told = run.result or {}
    context = {"run": run, "shown": shown, "cut": told.get("products", 0) - told.get("to_cut_by_hand", 0)}
    content = render_to_string("generation/cut_out_panel.html", context, request=request)
    return HttpResponseStopPolling(content) if run.is_finished and request.htmx else HttpResponse(content)


@requires("edit_products")
@require_safe
def cut_out_original(request: HttpRequest, pk: int) -> HttpResponse:
    """The colours under a cut-out's alpha, where no original is kept."""
    product = get_object_or_404(Product, pk=pk)
    try:
        picture = picture_to_png(cut_outs.original_of(product))
    except (OSError, ValueError) as error:
        raise Http404("No such picture.") from error
    return HttpResponse(picture, content_type="image/png", headers={"X-Content-Type-Options": "nosniff"})


def _desk(request: HttpRequest, product: Product, problem: str = "") -> HttpResponse:
    settings = product.cut_settings
    context: dict[str, Any] = {
        "product": product, "waiting": Product.objects.waiting()[:10_000].count(), "problem": problem, "form": UnsuitableForm(),
        "threshold": round(100 * settings.get("threshold", THRESHOLD)), "softness": round(100 * settings.get("softness", SOFTNESS)),
        "in_use": actions.picture_in_use(product),
    }  # fmt: skip
    return render(request, "generation/cut_out.html", context, status=422 if problem else 200)


@requires("edit_products")
@require_POST
def cut_out_accept(request: HttpRequest, pk: int) -> HttpResponse:
    product = get_object_or_404(Product, pk=pk)
    try:
        cut_outs.accept(pk, request.POST.get("seen", "")[:64], request.user)
    except cut_outs.CannotChange as problem:
        messages.error(request, str(problem))
        return redirect("cut_out", pk)
    messages.success(request, f"Accepted: {product.title}.")
    return redirect(f"{reverse('cut_outs')}?after={pk}")


@requires("edit_products")
@require_POST
def cut_out_redo(request: HttpRequest, pk: int) -> HttpResponse:
    product = get_object_or_404(Product, pk=pk)
    form = RedoForm(request.POST, request.FILES)
    if not form.is_valid():
        return _desk(
            request, product, "Move the threshold or use the brush, then save: something of the form was missing."
        )
    try:
        made = cut_outs.redo(pk, form.cleaned_data["seen"], form.how())
        if request.POST.get("then") == "accept":
            cut_outs.accept(pk, made.image_sha256, request.user)
    except (cut_outs.CannotChange, MaskError, PictureError) as problem:
        text = str(problem)
        return _desk(request, product, text[:1].upper() + text[1:])
    if request.POST.get("then") == "accept":
        messages.success(request, f"Cut out anew and accepted: {product.title}.")
        return redirect(f"{reverse('cut_outs')}?after={pk}")
    messages.success(request, "Cut out anew: look at it once more.")
    return redirect("cut_out", pk)
