"""The verbs of this station: bring products in, have candidates drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from adproof import wording
from generation.blobs import blobs
from generation.importing import Problem, ProductFile, from_csv, from_pictures
from generation.looks import look_of
from generation.models import Candidate, Generator, Product, Prompt, candidate_key
from runs.actions import start_in_parts, start_run
from runs.models import Run

PART_SIZE = 16
PERCEIVED_TOGETHER = 256
MAX_ATTEMPTS = 8
MAX_CANDIDATES_A_RUN = 1_000_000


@dataclass
class ImportReport:
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    # Pictures without alpha wait for U2-Net: this run cuts them out.
    cut_out_run: Run | None = None


class CannotStart(ValueError):
    """A run can't be started as asked; the message says what to change."""


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
        report.cut_out_run = start_run(
            "cut_out",
            {"items": waiting},
            title=f"Cut out {len(waiting)} products",
            user=user,
            total=len(waiting),
        )
    return report


@dataclass(frozen=True)
class Cut:
    """Where a cut-out of U2-Net's comes from; it waits for a person's look."""

    original_sha256: str
    confidence_sha256: str


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
        "cut_settings": {"by": "model"} if by_model else {},
    }  # fmt: skip


def register_generator(
    name: str, kind: str, config: dict[str, Any], key: str, *, parent: Generator | None = None, note: str = ""
) -> Generator:
    return Generator.objects.get_or_create(
        key=key, defaults={"name": name, "kind": kind, "config": config, "parent": parent, "note": note}
    )[0]


def put_in_use(generator: Generator) -> None:
    """Raises CannotStart: it draws nothing."""
    if generator.kind == Generator.IMPORTED:
        raise CannotStart(f"{generator} stands for a generator elsewhere and can't draw here.")
    with transaction.atomic():
        list(Generator.objects.select_for_update().filter(is_in_use=True))
        Generator.objects.filter(is_in_use=True).update(is_in_use=False)
        Generator.objects.filter(pk=generator.pk).update(is_in_use=True)
    generator.is_in_use = True


def seed_of(base: int, product: Product, prompt: Prompt, number: int, attempt: int = 1) -> int:
    """A seed for each image that depends on nothing but what is drawn: running a plan again draws the same."""
    text = f"{base}/{product.pk}/{prompt.pk}/{number}/{attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def plan_items(
    products: Sequence[Product], prompts: Sequence[Prompt], per_pair: int, base_seed: int
) -> list[dict[str, Any]]:
    """Products x prompts x seeds, interleaved so that the first images show many products.

    Prompts of another category are left out.
    """
    items = []
    for number in range(per_pair):
        for shift in range(len(prompts)):
            for index, product in enumerate(products):
                prompt = prompts[(index + shift) % len(prompts)]
                if not prompt.fits(product.category):
                    continue
                items.append(
                    {
                        "product": product.pk,
                        "prompt": prompt.pk,
                        "number": number,
                        "seed": seed_of(base_seed, product, prompt, number),
                    }
                )
    return items


def checked_early_stop(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Raises CannotStart for a step or threshold that can't be."""
    if values is None:
        return None
    step, threshold = values.get("step"), values.get("threshold")
    if not isinstance(step, int) or step < 1:
        raise CannotStart("Early stop looks after a step: name one from 1 on, before the generator's last.")
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise CannotStart("Early stop's threshold is a probability: 0 gives nothing up, 1 gives everything up.")
    return {"step": step, "threshold": float(threshold)}


def start_generation(
    *,
    products: Iterable[Product],
    prompts: Iterable[Prompt],
    per_pair: int = 1,
    attempts: int = 1,
    generator: Generator | None = None,
    limit: int | None = None,
    base_seed: int = 0,
    user: Any = None,
    then: list[list[Any]] | None = None,
    then_each_part: list[list[Any]] | None = None,
    part_size: int = PART_SIZE,
    early_stop: dict[str, Any] | None = None,
) -> Run:
    """Draw candidates for products x prompts x `per_pair` seeds, with up to `attempts` draws each (Recurrent Generation).

    early_stop: {"step": after which RFNet looks at what a picture is heading for, "threshold": the p(available) under
    which it is given up}; None: every picture is drawn to its end.
    Raises CannotStart with what to change.
    """
    products = [product for product in products if product.is_drawable]
    prompts = [prompt for prompt in prompts if prompt.is_active]
    generator = generator or Generator.objects.filter(is_in_use=True).first()
    if not products:
        raise CannotStart(
            "No product to draw: choose at least one that is not flagged unsuitable and whose cut-out is accepted."
        )
    if not prompts:
        raise CannotStart("No prompt to draw with: choose at least one active prompt.")
    for prompt in prompts:
        try:
            wording.check(f"{prompt.text} {prompt.negative_text}", prompt.lists)
        except wording.WordingError as problem:
            raise CannotStart(f"The prompt “{prompt}” can't be drawn: {problem}") from problem
    if generator is None:
        raise CannotStart("No generator is in use: put one in use on the generators page.")
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise CannotStart(f"Attempts must lie between 1 and {MAX_ATTEMPTS}.")
    if per_pair < 1 or len(products) * len(prompts) * per_pair > MAX_CANDIDATES_A_RUN:
        raise CannotStart(
            f"That makes {len(products) * len(prompts) * per_pair:,} images; 1 to {MAX_CANDIDATES_A_RUN:,} a run are allowed."
        )
    early_stop = checked_early_stop(early_stop)
    items = plan_items(products, prompts, per_pair, base_seed)[:limit]
    if not items:
        raise CannotStart("None of the chosen prompts fits the categories of the chosen products.")
    kind = "generate_part" if attempts == 1 and early_stop is None else "recurrent_part"
    parts = [
        {
            "generator": generator.pk,
            "items": items[at : at + part_size],
            "attempts": attempts,
            "base_seed": base_seed,
            "early_stop": early_stop,
            "then": then_each_part or [],
        }
        for at in range(0, len(items), part_size)
    ]
    title = (
        f"Draw {len(items)} candidates"
        if attempts == 1
        else f"Draw {len(items)} candidates, up to {attempts} attempts each"
    )
    return start_in_parts(
        "generate", kind, parts, params={"generator": generator.pk, "images": len(items), "attempts": attempts,
                                   "early_stop": early_stop, "then": then or []},
        title=title, user=user, sizes=[len(part["items"]) for part in parts],
    )  # fmt: skip


def key_of(product: Product, prompt: Prompt, generator: Generator, seed: int, abandoned_at: int | None = None) -> str:
    words = prompt.words(product, seed)
    return candidate_key(
        product_sha256=product.image_sha256, prompt=words.text, negative=words.negative,
        image_scale=words.image_scale, generator=generator.key, seed=seed, abandoned_at=abandoned_at,
    )  # fmt: skip


def flag_unsuitable(product: Product, reason: str) -> None:
    """The source picture is at fault: its candidates leave the queue of tasks and every later dataset version."""
    product.unsuitable, product.unsuitable_reason = True, reason[:300]
    product.save(update_fields=["unsuitable", "unsuitable_reason"])


def unflag(product: Product) -> None:
    """Its picture is good after all: its candidates are back in the queue and in later versions."""
    product.unsuitable, product.unsuitable_reason = False, ""
    product.save(update_fields=["unsuitable", "unsuitable_reason"])


def start_perception(candidates: QuerySet[Candidate], user: Any = None) -> Run | None:
    """Depth and saliency for those of these candidates that lack them, in parts; None where none does."""
    ids = list(candidates.lacking_maps().order_by("pk").values_list("pk", flat=True))
    if not ids:
        return None
    parts = [ids[at : at + PERCEIVED_TOGETHER] for at in range(0, len(ids), PERCEIVED_TOGETHER)]
    return start_in_parts(
        "perceive_many", "perceive", [{"candidates": part} for part in parts], params={"images": len(ids)},
        title=f"Depth and saliency of {len(ids):,} candidates", user=user, sizes=[len(part) for part in parts],
    )  # fmt: skip
