"""Cut-outs that wait for a person: accept one, or cut it out anew. No model is needed: U2-Net's confidence is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from adproof.perception import masks
from adproof.perception.pictures import PictureError, Pixels, open_picture, picture_to_png
from generation.actions import picture_in_use
from generation.blobs import blobs
from generation.looks import look_of
from generation.models import Product


class CannotChange(ValueError):
    """Not possible as asked; the sentence says what to do."""


NOTHING_KEPT = (
    "Nothing is kept of this picture yet: bring the product back with the brush, lower the threshold,"
    " or give a mask of your own."
)
LOOK_AGAIN = "Somebody else has cut this product out anew since you opened it: look at the new cut-out first."


@dataclass(frozen=True)
class Redo:
    """How to cut out anew. base: "confidence" (U2-Net's, with threshold and softness), "current" or "mask"."""

    base: str = "current"
    threshold: float = masks.THRESHOLD
    softness: float = masks.SOFTNESS
    mask: bytes = b""
    strokes: bytes = b""


def next_waiting(after: int = 0) -> Product | None:
    """The next one that waits, from the beginning again behind the last."""
    rows = Product.objects.waiting().order_by("pk")
    return rows.filter(pk__gt=after).first() or rows.exclude(pk=after).first() or rows.first()


def accept(pk: int, seen_sha256: str, user: Any) -> Product:
    """This cut-out, as it was seen, is right: the product may be drawn. Raises CannotChange."""
    with transaction.atomic():
        product = Product.objects.select_for_update().get(pk=pk)
        _check_seen(product, seen_sha256)
        if product.is_uncut:
            raise CannotChange(NOTHING_KEPT)
        if product.is_waiting:
            product.is_waiting, product.accepted_by, product.accepted_at = False, user, timezone.now()
            product.save(update_fields=["is_waiting", "accepted_by", "accepted_at"])
    return product


def redo(pk: int, seen_sha256: str, how: Redo) -> Product:
    """Cut it out anew; it waits for a look again. Raises CannotChange, MaskError, PictureError."""
    product = Product.objects.get(pk=pk)
    picture = picture_to_png(cut_anew(product, how))  # takes a second for a large picture: outside the transaction
    sha256, look = blobs().put(picture), look_of(picture)
    with transaction.atomic():
        product = Product.objects.select_for_update().get(pk=pk)
        _check_seen(product, seen_sha256)
        if sha256 == product.image_sha256:
            return product
        if problem := picture_in_use(product):
            raise CannotChange(f"The picture stays as it is: {problem}")
        if not product.original_sha256 and product.is_cut_out_by_model:
            # From before originals were kept; the colours under its alpha are the shop's.
            product.original_sha256 = blobs().put(picture_to_png(original_of(product)))
        product.image_sha256, product.look_hash = sha256, look
        product.cut_settings = _settings(how, product)
        product.is_waiting, product.accepted_by, product.accepted_at = True, None, None
        product.save(
            update_fields=[
                "image_sha256", "look_hash", "cut_settings", "is_waiting", "accepted_by", "accepted_at", "original_sha256",
            ]
        )  # fmt: skip
    return product


def original_of(product: Product) -> Pixels:
    """(H, W, 3): the picture with its background. Without an original: the colours under the cut-out's alpha."""
    if product.original_sha256:
        return open_picture(blobs().get(product.original_sha256))[..., :3]
    return np.ascontiguousarray(open_picture(blobs().get(product.image_sha256))[..., :3])


def cut_anew(product: Product, how: Redo) -> Pixels:
    """(H, W, 4): the original's colours with the alpha asked for. Raises MaskError, PictureError, CannotChange."""
    colours = original_of(product)
    height, width = colours.shape[:2]
    alpha = _base(product, how, width, height)
    if how.strokes:
        strokes = _read(how.strokes, "The brush's strokes")
        if strokes.shape[2] == 4:  # otherwise nothing in it is transparent: not a page of ours
            alpha = masks.with_strokes(alpha, strokes)
    if how.base == "current" and not alpha.any():
        raise CannotChange(NOTHING_KEPT)
    masks.check_share(alpha)
    return np.dstack([colours, alpha])


def _base(product: Product, how: Redo, width: int, height: int) -> Pixels:
    if how.base == "mask":
        if not how.mask:
            raise CannotChange("Choose the file of the mask first.")
        return masks.alpha_from_upload(_read(how.mask, "The mask"), width, height)
    if how.base == "confidence":
        if not product.confidence_sha256:
            raise CannotChange("U2-Net's confidence is not kept for this product: use the brush or a mask of your own.")
        found = masks.png_to_confidence(blobs().get(product.confidence_sha256))
        return masks.alpha_of(found, width, height, threshold=how.threshold, softness=how.softness)
    picture = open_picture(blobs().get(product.image_sha256))
    if picture.shape[2] == 3:
        return np.full((height, width), 255, np.uint8)
    return masks.alpha_from_upload(picture, width, height)


def _read(data: bytes, name: str) -> Pixels:
    try:
        return open_picture(data, min_side_px=1)
    except PictureError as error:
        raise CannotChange(f"{name} can't be read. {error}") from error


def _settings(how: Redo, product: Product) -> dict[str, Any]:
    made: dict[str, Any] = {"by": "upload" if how.base == "mask" else "hand" if how.strokes else "model"}
    if how.base == "confidence":
        made |= {"threshold": how.threshold, "softness": how.softness}
    elif how.base == "current":
        made = {**product.cut_settings, **made}
    return made


def _check_seen(product: Product, seen_sha256: str) -> None:
    if seen_sha256 and product.image_sha256 != seen_sha256:
        raise CannotChange(LOOK_AGAIN)
