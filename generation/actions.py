"""The verbs of this station: bring products in, put a generator in use. Drawing starts in generation/planning.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from generation.blobs import blobs
from generation.importing import Problem, ProductFile, from_csv, from_pictures
from generation.looks import look_of
from generation.models import Candidate, Generator, Product
from generation.planning import CannotStart
from runs.actions import digest_of, start_in_parts
from runs.models import Run

PERCEIVED_TOGETHER = 256
CUT_TOGETHER = 64
MOST_CUT_ANEW = 100_000


@dataclass
class ImportReport:
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    # Pictures without alpha wait for U2-Net: this run cuts them out.
    cut_out_run: Run | None = None


def import_product_files(
    files: Iterable[tuple[str, bytes]], *, values: dict[str, Any] | None = None, user: Any = None
) -> ImportReport:
    """One product per picture. Bad files are listed in the report; the good ones are stored."""
    return store_products(from_pictures(files, values), user)


def import_products_csv(data: bytes, pictures: Any, *, user: Any = None) -> ImportReport:
    """One product per row of a CSV. Raises BadImport when the CSV as a whole can't be read."""
    return store_products(from_csv(data, pictures), user)


def store_products(items: Iterable[ProductFile | Problem], user: Any) -> ImportReport:
    """Store what has alpha, and start a run that cuts out the rest."""
    report = ImportReport()
    waiting: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, Problem):
            report.problems.append(item)
        elif item.has_alpha:
            state = save_product(item)
            if state == "held":
                why = picture_in_use(Product.objects.get(sku=item.sku)) or PICTURE_IN_USE
                report.problems.append(Problem(item.where, why))
            else:
                getattr(report, state).append(item.sku)
        else:
            waiting.append(
                {
                    "sku": item.sku,
                    "title": item.title,
                    "values": item.values,
                    "where": item.where,
                    "sha256": blobs().put(item.picture),
                }
            )
    if waiting:
        report.cut_out_run = start_cutting(waiting, user)
    return report


def start_cutting(items: list[dict[str, Any]], user: Any = None, **params: Any) -> Run:
    """Have U2-Net cut these out, in parts that all free workers take: see generation/cutting.py."""
    parts = [items[at : at + CUT_TOGETHER] for at in range(0, len(items), CUT_TOGETHER)]
    return start_in_parts(
        "cut_out", "cut_out_items", [{"items": part, **params} for part in parts], params={"products": len(items)},
        title=f"Cut out {len(items):,} product{'' if len(items) == 1 else 's'}", user=user,
        sizes=[len(part) for part in parts], asked=digest_of(user, items, params),
    )  # fmt: skip


def cut_out_again(products: QuerySet[Product], threshold: float, user: Any = None) -> Run | None:
    """Have U2-Net cut these out anew, with another threshold perhaps; they wait for a look again. None: there are none.

    Call it with products of generation.cutting.recuttable().
    """
    found = products.order_by("pk").values_list("pk", "sku")[:MOST_CUT_ANEW]
    items = [{"product": pk, "where": sku} for pk, sku in found]
    return start_cutting(items, user, threshold=threshold) if items else None


@dataclass(frozen=True)
class Cut:
    """Where a cut-out of U2-Net's comes from; it waits for a person's look."""

    original_sha256: str
    confidence_sha256: str
    # False: U2-Net found no one thing, so nothing is kept until a person cuts it out by hand.
    is_found: bool = True


PICTURE_IN_USE = "candidates were drawn from the picture it has: give the new picture a SKU of its own."
BEING_DRAWN = (
    "candidates are being drawn: another picture now would be of something else. Wait until the runs have ended."
)


def picture_in_use(product: Product) -> str:
    """Why this product's picture can't be replaced, as a sentence; empty: it can.

    Ask with the row locked. What waits for a look is in no plan, so no run can be about to draw it.
    """
    if product.candidates.exists():
        return PICTURE_IN_USE
    if product.is_drawable and Run.objects.unfinished().filter(kind="generate").exists():
        return BEING_DRAWN
    return ""


def save_product(item: ProductFile, *, cut_out_by_model: bool = False, cut: Cut | None = None) -> str:
    """As `_save_product`; where another brings the same SKU in in the same moment, that one is updated."""
    try:
        with transaction.atomic():
            return _save_product(item, cut_out_by_model, cut)
    except IntegrityError:
        return _save_product(item, cut_out_by_model, cut)


def _save_product(item: ProductFile, cut_out_by_model: bool, cut: Cut | None) -> str:
    """Create or update the product of this SKU; returns "created", "updated", "unchanged" or "held".

    "held": candidates were drawn from its picture, or are being, so that one stays (they would be of something else);
    the rest is updated.
    """
    values = {
        "title": item.title, "image_sha256": blobs().put(item.picture), "width_px": item.width_px,
        "height_px": item.height_px, "is_cut_out_by_model": cut_out_by_model, **item.values,
    }  # fmt: skip
    with transaction.atomic():
        existing = Product.objects.select_for_update().filter(sku=item.sku).first()
        if existing is not None and cut is not None and existing.original_sha256 == cut.original_sha256:
            # The same picture once more: what a person made of it meanwhile stays.
            for name in ("image_sha256", "is_cut_out_by_model"):
                values[name] = getattr(existing, name)
        is_new = existing is None or existing.image_sha256 != values["image_sha256"]
        is_held = existing is not None and is_new and bool(picture_in_use(existing))
        if is_held:
            for name in ("image_sha256", "width_px", "height_px", "is_cut_out_by_model"):
                del values[name]
        elif is_new:
            values |= picture_values(item.picture, cut, by_model=cut_out_by_model)
        if existing is None:
            Product.objects.create(sku=item.sku, **values)
            return "created"
        changed = [name for name, value in values.items() if getattr(existing, name) != value]
        for name in changed:
            setattr(existing, name, values[name])
        if changed:
            existing.save(update_fields=changed)
    return "held" if is_held else "updated" if changed else "unchanged"


def picture_values(picture: bytes, cut: Cut | None, *, by_model: bool) -> dict[str, Any]:
    """What a product's row says of a new picture besides its size."""
    return {
        "look_hash": look_of(picture), "is_waiting": by_model, "accepted_by": None, "accepted_at": None,
        "original_sha256": cut.original_sha256 if cut else "", "confidence_sha256": cut.confidence_sha256 if cut else "",
        "cut_settings": {"by": "model" if cut is None or cut.is_found else "nothing"} if by_model else {},
    }  # fmt: skip


def register_generator(
    name: str, kind: str, config: dict[str, Any], key: str, *, parent: Generator | None = None, note: str = ""
) -> Generator:
    return Generator.objects.get_or_create(
        key=key, defaults={"name": name, "kind": kind, "config": config, "parent": parent, "note": note}
    )[0]


def put_in_use(generator: Generator) -> None:
    """Raises CannotStart: it draws nothing, or is not there any more; then the one in use stays in use."""
    if generator.kind == Generator.IMPORTED:
        raise CannotStart(f"{generator} stands for a generator elsewhere and can't draw here.")
    with transaction.atomic():
        # All of them, in one order: two people who choose in the same moment come one after the other.
        there = list(Generator.objects.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
        if generator.pk not in there:
            raise CannotStart(f"{generator} is not there any more: choose another.")
        Generator.objects.filter(is_in_use=True).update(is_in_use=False)
        Generator.objects.filter(pk=generator.pk).update(is_in_use=True)
    generator.is_in_use = True


def flag_unsuitable(product: Product, reason: str) -> None:
    """The source picture is at fault: its candidates leave the queue of tasks and every later dataset version."""
    _flagged(product, unsuitable=True, unsuitable_reason=reason[:300])


def unflag(product: Product) -> None:
    """Its picture is good after all: its candidates are back in the queue and in later versions."""
    _flagged(product, unsuitable=False, unsuitable_reason="")


def _flagged(product: Product, **values: Any) -> None:
    for name, value in values.items():
        setattr(product, name, value)
    Product.objects.filter(pk=product.pk).update(**values)  # deleted in this very moment: nothing to flag


def start_perception(candidates: QuerySet[Candidate]) -> Run | None:
    """Depth and saliency for those of these candidates that lack them, in parts; None where none does."""
    ids = list(candidates.lacking_maps().order_by("pk").values_list("pk", flat=True))
    if not ids:
        return None
    parts = [ids[at : at + PERCEIVED_TOGETHER] for at in range(0, len(ids), PERCEIVED_TOGETHER)]
    return start_in_parts(
        "perceive_many", "perceive", [{"candidates": part} for part in parts], params={"images": len(ids)},
        title=f"Depth and saliency of {len(ids):,} candidates", sizes=[len(part) for part in parts],
    )  # fmt: skip
