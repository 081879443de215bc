"""What somebody asks to have drawn, in their words; the form, the admin, the API and the command line all give one of these."""

from __future__ import annotations

import secrets
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Q, QuerySet

from adproof.wording import WordingError
from config.numbers import id_of
from generation import choosing
from generation.costs import pace_of
from generation.models import Generator, Product, Prompt
from generation.planning import Budget, CannotStart, start_generation
from generation.scenes import packed
from runs.actions import digest_of
from runs.models import Run

MAX_SEEDS = 50
# So many of the chosen products are shown before drawing.
SOME = 8


@dataclass(frozen=True)
class Wish:
    """Products: all that every given condition fits; `newest` of them. Prompts: those named, or all active ones."""

    skus: Sequence[str] = ()
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
        """Raises CannotStart for a product, category or source that is not there."""
        rows = Product.objects.order_by("-pk")
        if self.skus:
            known = Product.objects.filter(sku__in=self.skus).values_list("sku", flat=True)
            _check_known(self.skus, set(known), "No product has the SKU")
            rows = rows.filter(sku__in=self.skus)
        for name in ("category", "source"):
            if value := getattr(self, name):
                rows = rows.filter(**{name: value})
                _check_some(name, value)
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
        return list(rows.filter(pk__in=_named(self.prompts, Prompt, "There is no prompt called")))

    def chosen_generator(self) -> Generator | None:
        if self.generator is None:
            return Generator.objects.filter(is_in_use=True).first()
        return Generator.objects.get(pk__in=_named([self.generator], Generator, "There is no generator"))


def some_of(values: Sequence[str], most: int = 5) -> str:
    """A few of many, as they stand in a sentence."""
    return ", ".join(value[:80] for value in values[:most]) + (" …" if len(values) > most else "")


def _named(wanted: Sequence[int | str], model: Any, sentence: str) -> list[int]:
    """The ids of what is named. A word is a name first, and an id only where nothing has that name."""
    words = [value for value in wanted if isinstance(value, str)]
    found: dict[int | str, int] = dict(model.objects.filter(name__in=words).values_list("name", "pk"))
    numbers = {value: id_of(value) for value in wanted if value not in found}
    there = set(
        model.objects.filter(pk__in=[pk for pk in numbers.values() if pk is not None]).values_list("pk", flat=True)
    )
    found |= {value: pk for value, pk in numbers.items() if pk in there}
    _check_known(wanted, found, sentence)
    return [found[value] for value in wanted]


def _check_known(wanted: Sequence[int | str], known: Container[int | str], sentence: str) -> None:
    unknown = [str(value) for value in wanted if value not in known]
    if unknown:
        raise CannotStart(f"{sentence} {some_of(unknown)}.")


def _check_some(name: str, value: str) -> None:
    """name: "category" or "source"."""
    if not Product.objects.filter(**{name: value}).exists():
        there = Product.objects.exclude(**{name: ""}).order_by(name).values_list(name, flat=True).distinct()
        some = list(there[: SOME + 1])
        known = f" There are: {some_of(some, SOME)}." if some else ""
        raise CannotStart(f"No product has the {name} {value[:80]}.{known}")


def has_judge() -> bool:
    return bool(apps.get_model("rfnet_service", "Checkpoint").objects.filter(is_promoted=True).exists())


def check_judged(wish: Wish) -> None:
    """Raises CannotStart: what is wished for needs an RFNet in use, and there is none."""
    if (wish.attempts > 1 or wish.early_stop) and not has_judge():
        raise CannotStart(
            "Drawing again, and giving up early, need an RFNet in use to judge: choose neither, or promote a checkpoint first."
        )


def start(wish: Wish, user: Any = None, *, once: bool = False) -> Run:
    """once: asked for by the same person in the same words within a minute, it is the run that is there; unless what they
    mean has changed since (`_meant`).

    Raises CannotStart with what to change.
    """
    check_judged(wish)
    products, prompts, generator = wish.chosen_products(), wish.chosen_prompts(), wish.chosen_generator()
    return start_generation(
        products=products, prompts=prompts, per_pair=wish.per_pair, attempts=wish.attempts, generator=generator,
        limit=wish.limit, user=user, budget=wish.budget, early_stop=wish.early_stop,
        base_seed=secrets.randbelow(2**31) if wish.base_seed is None else wish.base_seed,
        asked=digest_of(user, asdict(wish), _meant(products, prompts, generator)) if once else "",
    )  # fmt: skip


def _meant(products: QuerySet[Product], prompts: list[Prompt], generator: Generator | None) -> list[Any]:
    """What a wish comes to just now: a prompt written anew, a product brought in or another generator make it another one."""
    counted = choosing.count(products, prompts)
    try:
        said = packed({prompt.pk: prompt.scene for prompt in prompts})
    except WordingError:
        said = {}  # whoever starts it says so
    kinds = [[prompt.pk, prompt.categories] for prompt in prompts]
    newest = list(products.values_list("pk", flat=True)[:1])
    return [generator and generator.pk, kinds, said, newest, counted.by_category, counted.left_out]


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
    products = wish.chosen_products()
    chosen = choosing.count(products, wish.chosen_prompts())
    planned = chosen.pairs * wish.per_pair
    images = min(planned, wish.limit or planned)
    pace_s = pace_of(wish.chosen_generator())
    if wish.budget.images is not None:
        images = min(images, wish.budget.images)
    if wish.budget.seconds is not None and pace_s:
        images = min(images, max(1, int(wish.budget.seconds / pace_s)))
    some = choosing.some_of_them(products, SOME)
    return Estimate(
        images, images * pace_s if images and pace_s else None, chosen.left_out, images < planned,
        chosen.products, some,
    )  # fmt: skip
