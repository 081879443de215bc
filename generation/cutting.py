"""Pictures without transparency on their way to products: cut out by U2-Net in workers, or left for a person to cut.

A run cuts many out in parts of CUT_TOGETHER, each worked off in small batches. A part that is done again gives what it gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Q

from adproof.perception.masks import SOFTNESS, THRESHOLD, confidence_to_png
from adproof.perception.pictures import Pixels, open_picture, picture_to_png
from generation.actions import PICTURE_IN_USE, Cut, cut_out_again, picture_in_use, picture_values, save_product
from generation.blobs import blobs
from generation.cut_outs import original_of
from generation.importing import ProductFile
from generation.models import ImportProblem, Product
from generation.ordering import some_of
from generation.product_filter import Asked, matching
from runs.context import RunContext
from runs.models import Run

# So many pictures at once, and of large ones fewer.
TOGETHER, PIXELS_TOGETHER = 8, 20_000_000
BY_HAND = "It waits among the cut-outs with nothing kept: cut it out there by brush or with a mask of your own."
GONE = "Its picture is not in the store any more: upload it again."
NONE_WAITS = (
    "None of them waits as U2-Net cut it out: accepted products, those cut by hand, and those with candidates stay."
)


class NothingToCut(ValueError):
    """No product may be cut out anew; the sentence says why."""


@dataclass
class Found:
    """One picture cut out; `problem`: nothing of it is kept, and why."""

    picture: Pixels
    rgba: Pixels
    confidence: Any
    problem: str = ""


def cut_items(ctx: RunContext) -> dict[str, int]:
    """What a part of a run does with its items: new pictures of products, or products to be cut out anew."""
    items, threshold = ctx.params["items"], ctx.params.get("threshold", THRESHOLD)
    made = left_out = by_hand = done = 0
    for group in _groups(ctx, items):
        ctx.stop_if_asked()
        for item, found in zip(
            [item for item, _ in group], _cut([picture for _, picture in group], threshold), strict=True
        ):
            state = _kept(ctx, item, found, threshold)
            left_out += state == "left out"
            by_hand += state == "by hand"
            made += state != "left out"
        done += len(group)
        ctx.progress(done, len(items))
    left_out += len(items) - done
    ctx.progress(len(items), len(items), force=True)
    return {"products": made, "left_out": left_out, **({"to_cut_by_hand": by_hand} if by_hand else {})}


def recuttable() -> Any:
    """Products that U2-Net may cut out anew: nobody has accepted them or worked on them, and nothing was drawn from them."""
    untouched = Q(cut_settings__by__in=["model", "nothing"]) | Q(cut_settings__by__isnull=True)
    return Product.objects.waiting().filter(untouched, is_cut_out_by_model=True, candidates=None)


def cut_anew_matching(asked: Asked, threshold: float, *, skus: Sequence[str] = (), user: Any = None) -> Run:
    """A run for all that the list's filter finds, of these SKUs where some are named. Raises NothingToCut."""
    rows = recuttable().filter(pk__in=matching(asked).values("pk"))
    if skus:
        known = set(Product.objects.filter(sku__in=skus).values_list("sku", flat=True))
        if unknown := [sku for sku in skus if sku not in known]:
            raise NothingToCut(f"No product has the SKU {some_of(unknown)}.")
        rows = rows.filter(sku__in=skus)
    return cut_anew(rows, threshold, user)


def cut_anew(rows: Any, threshold: float, user: Any = None) -> Run:
    """A run for products of `recuttable()`. Raises NothingToCut where there are none."""
    run = cut_out_again(rows, threshold, user)
    if run is None:
        raise NothingToCut(NONE_WAITS)
    return run


def _groups(ctx: RunContext, items: Sequence[dict[str, Any]]) -> Iterator[list[tuple[dict[str, Any], Pixels]]]:
    """Those whose picture can be read, a few together; the others are listed."""
    group: list[tuple[dict[str, Any], Pixels]] = []
    for item in items:
        try:
            picture = _picture_of(item)
        except FileNotFoundError:
            _listed(ctx, item, GONE)
            continue
        except ValueError as problem:
            _listed(ctx, item, str(problem))
            continue
        if picture is None:
            continue
        size = sum(one.shape[0] * one.shape[1] for one in [*(one for _, one in group), picture])
        if group and (len(group) == TOGETHER or size > PIXELS_TOGETHER):
            yield group
            group = []
        group.append((item, picture))
    if group:
        yield group


def _picture_of(item: dict[str, Any]) -> Pixels | None:
    """None: the product was accepted, drawn or worked on meanwhile, and stays as it is."""
    if "product" not in item:
        return open_picture(blobs().get(item["sha256"]))[..., :3]
    product = recuttable().filter(pk=item["product"]).first()
    return None if product is None else original_of(product)


def _cut(pictures: Sequence[Pixels], threshold: float) -> list[Found | ValueError]:
    from adproof.perception.saliency import NothingFound, cut_out_all
    from generation import runtime

    made: list[Found | ValueError] = []
    for picture, cut in zip(pictures, cut_out_all(pictures, runtime.saliency(), threshold), strict=True):
        if isinstance(cut, NothingFound):
            nothing = np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)])
            made.append(Found(picture, nothing, cut.found, str(cut)))
        elif isinstance(cut, ValueError):
            made.append(cut)
        else:
            made.append(Found(picture, *cut))
    return made


def _kept(ctx: RunContext, item: dict[str, Any], found: Found | ValueError, threshold: float) -> str:
    """Returns "cut out", "by hand" (it waits with nothing kept) or "left out"; what is wrong is listed with the run."""
    if isinstance(found, ValueError):
        return _listed(ctx, item, str(found))
    if "product" in item:
        return _cut_anew(ctx, item, found, threshold)
    if found.problem and _has_another_picture(item):
        return _listed(ctx, item, f"{found.problem} The product keeps the picture it has.")
    cut = Cut(item["sha256"], blobs().put(confidence_to_png(found.confidence)), is_found=not found.problem)
    height, width = found.rgba.shape[:2]
    file = ProductFile(
        item["where"], item["sku"], item["title"], picture_to_png(found.rgba), True, width, height, item["values"]
    )
    with ctx.writing():
        state = save_product(file, cut_out_by_model=True, cut=cut)
        if state == "held":
            _note(ctx, item, PICTURE_IN_USE)
        elif found.problem:
            _note(ctx, item, f"{found.problem.split('. ')[0]}. {BY_HAND}")
    return "by hand" if found.problem else "cut out"


def _cut_anew(ctx: RunContext, item: dict[str, Any], found: Found, threshold: float) -> str:
    png, confidence = picture_to_png(found.rgba), blobs().put(confidence_to_png(found.confidence))
    sha256 = blobs().put(png)
    with ctx.writing():
        product = recuttable().select_for_update(of=("self",)).filter(pk=item["product"]).first()
        if product is None or picture_in_use(product):
            return "left out"
        original = product.original_sha256 or blobs().put(picture_to_png(found.picture))
        cut = Cut(original, confidence, is_found=not found.problem)
        values = {**picture_values(png, cut, by_model=True), "image_sha256": sha256}
        if not found.problem:
            values["cut_settings"] |= {"threshold": threshold, "softness": SOFTNESS}
        Product.objects.filter(pk=product.pk).update(**values)
        if found.problem:
            _note(ctx, item, f"{found.problem.split('. ')[0]}. {BY_HAND}")
    return "by hand" if found.problem else "cut out"


def _has_another_picture(item: dict[str, Any]) -> bool:
    known = Product.objects.filter(sku=item["sku"]).first()
    return known is not None and not known.is_uncut and known.original_sha256 != item["sha256"]


def _listed(ctx: RunContext, item: dict[str, Any], problem: str) -> str:
    with ctx.writing():
        _note(ctx, item, problem)
    ctx.log(f"{item['where']}: {problem}", "warning")
    return "left out"


def _note(ctx: RunContext, item: dict[str, Any], problem: str) -> None:
    """With the whole run, whose page shows it."""
    run = ctx.run.parent_id or ctx.run.pk
    ImportProblem.objects.get_or_create(run_id=run, where=item["where"][:300], problem=problem[:500])
