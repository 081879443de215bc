"""What somebody asks to have drawn, in their words; the form, the admin, the API and the command line all give one of these."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Avg, Q, QuerySet

from generation.models import Candidate, Generator, Product, Prompt
from generation.planning import Budget, CannotStart, choose, start_generation
from runs.models import Run

MAX_SEEDS = 50
# So many of the chosen products are shown before drawing.
SOME = 8


@dataclass(frozen=True)
class Wish:
    """Products: all that every given condition fits; `newest` of them. Prompts: those named, or all active ones."""

    skus: Sequence[str] = ()
    products: Sequence[int] = ()
    category: str = ""
    source: str = ""
    q: str = ""
    newest: int | None = None
    prompts: Sequence[int | str] = ()
    prompt_category: str | None = None
    per_pair: int = 1
    attempts: int = 1
    generator: int | str | None = None
    base_seed: int | None = None
    limit: int | None = None
    budget: Budget = Budget()
    early_stop: dict[str, Any] | None = None

    def chosen_products(self) -> QuerySet[Product]:
        """Raises CannotStart for a product that is not there."""
        rows = Product.objects.order_by("-pk")
        if self.skus:
            rows = rows.filter(sku__in=_all_there(self.skus, Product, "sku", "No product has the SKU"))
        if self.products:
            rows = rows.filter(pk__in=_all_there(self.products, Product, "pk", "No product has the id"))
        for name in ("category", "source"):
            if value := getattr(self, name):
                rows = rows.filter(**{name: value})
        if self.q:
            rows = rows.filter(Q(title__icontains=self.q) | Q(sku__icontains=self.q))
        return rows[: self.newest or None]

    def chosen_prompts(self) -> list[Prompt]:
        rows = Prompt.objects.filter(is_active=True).order_by("pk")
        if self.prompt_category is not None:
            own = [self.prompt_category] if self.prompt_category else []
            rows = rows.filter(categories__contains=own) if own else rows.filter(categories=[])
        if not self.prompts:
            return list(rows)
        # A name may be a number, too: then it is the name that counts.
        called = set(Prompt.objects.filter(name__in=map(str, self.prompts)).values_list("name", flat=True))
        ids = [value for value in self.prompts if _is_id(value) and str(value) not in called]
        names = [value for value in self.prompts if value not in ids]
        known = _all_there(names, Prompt, "name", "There is no prompt called")
        found = _all_there([int(value) for value in ids], Prompt, "pk", "There is no prompt of the id")
        return list(rows.filter(Q(name__in=known) | Q(pk__in=found)))

    def chosen_generator(self) -> Generator | None:
        if self.generator is None:
            return Generator.objects.filter(is_in_use=True).first()
        by = "pk" if _is_id(self.generator) else "name"
        return Generator.objects.get(**{by: _all_there([self.generator], Generator, by, "There is no generator")[0]})


def _is_id(value: int | str) -> bool:
    return isinstance(value, int) or value.isdecimal()


def some_of(values: Sequence[str], most: int = 5) -> str:
    """A few of many, as they stand in a sentence."""
    return ", ".join(value[:80] for value in values[:most]) + (" …" if len(values) > most else "")


def _all_there(wanted: Sequence[Any], model: Any, name: str, sentence: str) -> Sequence[Any]:
    if not wanted:
        return []
    known = {str(value) for value in model.objects.filter(**{f"{name}__in": wanted}).values_list(name, flat=True)}
    unknown = [str(value) for value in wanted if str(value) not in known]
    if unknown:
        raise CannotStart(f"{sentence} {some_of(unknown)}.")
    return wanted


def has_judge() -> bool:
    return bool(apps.get_model("rfnet_service", "Checkpoint").objects.filter(is_promoted=True).exists())


def start(wish: Wish, user: Any = None) -> Run:
    """Raises CannotStart with what to change."""
    if (wish.attempts > 1 or wish.early_stop) and not has_judge():
        raise CannotStart(
            "Drawing again, and giving up early, need an RFNet in use to judge: choose neither, or promote a checkpoint first."
        )
    return start_generation(
        products=wish.chosen_products(), prompts=wish.chosen_prompts(), per_pair=wish.per_pair, attempts=wish.attempts,
        generator=wish.chosen_generator(), limit=wish.limit, user=user, budget=wish.budget, early_stop=wish.early_stop,
        base_seed=secrets.randbelow(2**31) if wish.base_seed is None else wish.base_seed,
    )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    images: int
    seconds: float | None  # of one worker; None: nothing is known of this generator's pace
    left_out: dict[str, int]
    is_cut: bool  # the budget ends it earlier
    products: int = 0
    some: list[Product] = field(default_factory=list)  # of the products, to be shown


def estimate(wish: Wish) -> Estimate:
    """What `start` would make, not counting attempts."""
    chosen = choose(wish.chosen_products(), wish.chosen_prompts())
    planned = len(chosen.fitting) * wish.per_pair if chosen.products and chosen.prompts else 0
    images = min(planned, wish.limit or planned)
    pace_s = pace_of(wish.chosen_generator())
    if wish.budget.images is not None:
        images = min(images, wish.budget.images)
    if wish.budget.seconds is not None and pace_s:
        images = min(images, max(1, int(wish.budget.seconds / pace_s)))
    some = list(Product.objects.filter(pk__in=chosen.products[:SOME]).order_by("-pk"))
    return Estimate(
        images, images * pace_s if images and pace_s else None, chosen.left_out, images < planned,
        len(chosen.products), some,
    )  # fmt: skip


def pace_of(generator: Generator | None) -> float | None:
    """Seconds a picture takes, over the newest hundred of this generator."""
    newest = Candidate.objects.filter(generator=generator, seconds__gt=0).order_by("-pk")[:100]
    mean: float | None = Candidate.objects.filter(pk__in=newest.values("pk")).aggregate(mean=Avg("seconds"))["mean"]
    return mean
