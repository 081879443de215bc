"""One picture without transparency on its way to a product: cut out by U2-Net in a worker, or left for a person to cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from adproof.perception.masks import confidence_to_png
from adproof.perception.pictures import open_picture, picture_to_png
from generation.actions import PICTURE_IN_USE, Cut, save_product
from generation.blobs import blobs
from generation.importing import ProductFile
from generation.models import ImportProblem, Product
from runs.context import RunContext

BY_HAND = "It waits among the cut-outs with nothing kept: cut it out there by brush or with a mask of your own."


def cut_one(ctx: RunContext, item: dict[str, Any]) -> str:
    """Returns "cut out", "by hand" (it waits with nothing kept) or "left out"; what is wrong is listed with the run."""
    from adproof.perception.saliency import NothingFound, cut_out_found
    from generation import runtime

    sentence = ""
    try:
        picture = open_picture(blobs().get(item["sha256"]))[..., :3]
        rgba, found = cut_out_found(picture, runtime.saliency())
    except NothingFound as nothing:
        sentence, found = str(nothing), nothing.found
        if _has_another_picture(item):
            return _listed(ctx, item, f"{sentence} The product keeps the picture it has.")
        rgba = np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)])
    except ValueError as problem:
        return _listed(ctx, item, str(problem))
    cut = Cut(item["sha256"], blobs().put(confidence_to_png(found)), is_found=not sentence)
    png = picture_to_png(rgba)
    file = ProductFile(
        item["where"], item["sku"], item["title"], png, True, rgba.shape[1], rgba.shape[0], item["values"]
    )
    with ctx.writing():
        state = save_product(file, cut_out_by_model=True, cut=cut)
        if state == "held":
            _note(ctx, item, PICTURE_IN_USE)
        elif sentence:
            _note(ctx, item, f"{sentence.split('. ')[0]}. {BY_HAND}")
    return "by hand" if sentence else "cut out"


def _has_another_picture(item: dict[str, Any]) -> bool:
    known = Product.objects.filter(sku=item["sku"]).first()
    return known is not None and not known.is_uncut and known.original_sha256 != item["sha256"]


def _listed(ctx: RunContext, item: dict[str, Any], problem: str) -> str:
    with ctx.writing():
        _note(ctx, item, problem)
    ctx.log(f"{item['where']}: {problem}", "warning")
    return "left out"


def _note(ctx: RunContext, item: dict[str, Any], problem: str) -> None:
    ImportProblem.objects.get_or_create(run=ctx.run, where=item["where"][:300], problem=problem[:500])
