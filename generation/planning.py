"""What a run of drawing has to do, and how it starts: from the pages, the admin, the API and the command line alike.

A plan keeps the ids of products and prompts once. A part of the run only knows from which item to which it goes, so a plan
of a million pictures is a few kilobytes for each of its parts and one array of products.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from adproof import wording
from generation import choosing
from generation.choosing import Counted
from generation.models import Generator, Plan, Product, Prompt
from generation.scenes import Scene, packed
from runs.actions import add_parts, asked_just_now, start_run
from runs.models import Run

PART_SIZE = 16
# A run has about so many parts at most: then a part is larger.
MOST_PARTS = 1000
# Beyond so many parts a worker makes them, not the request that starts the run.
PARTS_AT_ONCE = 64
# Ticked in the admin or on a page: more would make an address too long.
MOST_TICKED = 500
MAX_ATTEMPTS = 8
MAX_CANDIDATES_A_RUN = 1_000_000
# Of products and prompts, fitting or not: so many are put in order in a second, in a hundred megabytes.
MOST_PAIRS = 50_000_000


class CannotStart(ValueError):
    """A run can't be started as asked; the message says what to change."""


@dataclass(frozen=True)
class Budget:
    """The most that a run may make. None: no limit."""

    images: int | None = None
    minutes: float | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.minutes is None else self.minutes * 60

    def check(self) -> None:
        """Raises CannotStart: nothing could be made with it."""
        if (self.images is not None and self.images < 1) or (self.minutes is not None and self.minutes <= 0):
            raise CannotStart("A budget is at least one picture, and more than no time: leave it empty for no limit.")


@dataclass
class Chosen:
    """The products and prompts that are drawn, with their categories as they were then (generation/choosing.py)."""

    products: list[int]
    product_kinds: list[int]
    prompts: list[int]
    # Of each prompt the categories it is for; empty: for all.
    prompt_kinds: list[list[int]]

    @cached_property
    def fitting(self) -> np.ndarray:
        """Places of the pairs that are drawn, in their order, within one round of all pairs: product in turn, prompts shifted."""
        n_products, n_prompts = len(self.products), len(self.prompts)
        kinds = np.asarray(self.product_kinds, np.int64)
        allowed = np.zeros((n_prompts, kinds.max() + 1), bool)
        for place, wanted in enumerate(self.prompt_kinds):
            allowed[place, [kind for kind in wanted if kind < allowed.shape[1]] if wanted else slice(None)] = True
        index = np.arange(n_products)
        return np.flatnonzero(np.concatenate([allowed[(index + n) % n_prompts, kinds] for n in range(n_prompts)]))

    def pair(self, place: int) -> tuple[int, int]:
        shift, index = divmod(place, len(self.products))
        return self.products[index], self.prompts[(index + shift) % len(self.prompts)]


def seed_of(base: int, product: Product | int, prompt: Prompt | int, number: int, attempt: int = 1) -> int:
    """A seed for each image that depends on nothing but what is drawn: running a plan again draws the same."""
    ids = [row if isinstance(row, int) else row.pk for row in (product, prompt)]
    text = f"{base}/{ids[0]}/{ids[1]}/{number}/{attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def items_between(chosen: Chosen, start: int, end: int, base_seed: int) -> Iterator[dict[str, Any]]:
    """Products x prompts x seeds, interleaved so that the first pictures show many products."""
    places = chosen.fitting
    for at in range(start, end):
        number, place = divmod(at, len(places))
        product, prompt = chosen.pair(int(places[place]))
        yield {
            "product": product, "prompt": prompt, "number": number,
            "seed": seed_of(base_seed, product, prompt, number),
        }  # fmt: skip


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
    products: Iterable[Product] | QuerySet[Product],
    prompts: Iterable[Prompt],
    per_pair: int = 1,
    attempts: int = 1,
    generator: Generator | None = None,
    limit: int | None = None,
    base_seed: int = 0,
    user: Any = None,
    then: list[list[Any]] | None = None,
    then_each_part: list[list[Any]] | None = None,
    part_size: int | None = None,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    early_stop: dict[str, Any] | None = None,
    asked: str = "",
) -> Run:
    """Draw candidates for products x prompts x `per_pair` seeds, with up to `attempts` draws each (Recurrent Generation).

    `limit` plans no more than so many; `budget` lets the run end earlier, to be given more later.

    early_stop: {"step": after which RFNet looks at what a picture is heading for, "threshold": the p(available) under
    which it is given up}; None: every picture is drawn to its end. asked: a digest (runs.actions.digest_of); asked for by the
    same once more within a minute, the run that is there is returned.
    Raises CannotStart with what to change.
    """
    offered = [prompt for prompt in prompts if prompt.is_active]
    budget.check()
    early_stop = checked_early_stop(early_stop)
    with transaction.atomic():
        if asked and (before := asked_just_now("generate", asked)) is not None:
            return before
        generator = _held_generator(generator)
        run = Run.objects.create(
            kind="generate", title="Draw candidates", state=Run.State.WAITING, started_at=timezone.now(),
            created_by=user if user is not None and user.is_authenticated else None,
        )  # fmt: skip
        plan = Plan.objects.create(
            run=run, generator=generator, products=[], product_kinds=[], prompts=[prompt.pk for prompt in offered],
            total=0, part_size=0, budget_images=budget.images, budget_seconds=budget.seconds,
        )  # fmt: skip
        scenes = _scenes(offered)
        said = {name for scene in scenes.values() for name in scene.variables()}
        chosen = choosing.fill(plan, products, offered, titles=wording.PRODUCT in said)
        total = _checked(chosen, per_pair, attempts, limit)
        size = part_size or max(PART_SIZE, -(-total // MOST_PARTS))
        says_product = bool(said & set(wording.RESERVED)) or any(scene.usual for scene in scenes.values())
        names = chosen.categories if says_product else []
        # The words of the plan: what it asks for does not change under way.
        Plan.objects.filter(pk=plan.pk).update(
            prompt_kinds=chosen.prompt_kinds, total=total, part_size=size, left_out=chosen.left_out,
            wording={**packed(scenes), "says_product": says_product, "categories": names},
            part_params={
                "generator": generator.pk, "attempts": attempts, "base_seed": base_seed, "then": then_each_part or [],
                "early_stop": early_stop,
            },
        )  # fmt: skip
        run.total, run.title = total, _title(total, attempts)
        run.params = {
            "generator": generator.pk, "images": total, "attempts": attempts, "per_pair": per_pair,
            "early_stop": early_stop, "then": then or [], **({"asked": asked} if asked else {}),
        }  # fmt: skip
        run.save(update_fields=["total", "title", "params"])
        if total > size * PARTS_AT_ONCE:
            start_run("plan_generation", {"plan": run.pk}, title=f"Plan {total:,} candidates", user=user, parent=run)
        else:
            make_parts(run)
    run.refresh_from_db()  # it remembers its plan as it was before it was filled
    return run


def _title(total: int, attempts: int) -> str:
    each = f", up to {attempts} attempts each" if attempts > 1 else ""
    return f"Draw {total:,} candidate{'' if total == 1 else 's'}{each}"


def _held_generator(generator: Generator | None) -> Generator:
    """The one asked for, or the one in use; nobody deletes it until the plan is there. Raises CannotStart."""
    rows = Generator.objects.select_for_update(no_key=True)
    held = rows.filter(pk=generator.pk).first() if generator else rows.filter(is_in_use=True).first()
    if held is None and generator is not None:
        raise CannotStart(f"{generator} is not there any more: choose another generator.")
    if held is None:
        raise CannotStart("No generator is in use: put one in use on the generators page.")
    if held.kind == Generator.IMPORTED:
        raise CannotStart(f"{held} stands for a generator elsewhere and can't draw here: choose another.")
    return held


def _scenes(offered: Sequence[Prompt]) -> dict[int, Scene]:
    """By prompt. Raises CannotStart: there is none, or one can't be drawn with."""
    if not offered:
        raise CannotStart("No prompt to draw with: choose at least one active prompt.")
    for prompt in offered:
        try:
            prompt.scene.check()
        except wording.WordingError as problem:
            raise CannotStart(f"The prompt “{prompt}” can't be drawn: {problem}") from problem
    return {prompt.pk: prompt.scene for prompt in offered}


def _checked(chosen: Counted, per_pair: int, attempts: int, limit: int | None) -> int:
    """How many pictures it makes; raises CannotStart."""
    if not chosen.products:
        left = sum(chosen.left_out.values())
        which = "The one chosen is unsuitable or waits" if left == 1 else f"All {left:,} chosen are unsuitable or wait"
        why = f" {which} for a look." if left else ""
        raise CannotStart(
            f"No product to draw: choose at least one that is not flagged unsuitable and whose cut-out is accepted.{why}"
        )
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise CannotStart(f"Attempts must lie between 1 and {MAX_ATTEMPTS}.")
    total = chosen.pairs * per_pair
    if limit is not None:
        total = min(total, limit)
    if per_pair < 1 or total > MAX_CANDIDATES_A_RUN:
        raise CannotStart(
            f"That makes {total:,} images; 1 to {MAX_CANDIDATES_A_RUN:,} a run are allowed: choose fewer products or prompts."
        )
    if chosen.products * len(chosen.prompts) > MOST_PAIRS:
        raise CannotStart(
            f"{chosen.products:,} products with {len(chosen.prompts):,} prompts are more pairs than a run can put in "
            "order: choose fewer of either."
        )
    if total < 1:
        raise CannotStart("None of the chosen prompts fits the categories of the chosen products.")
    return total


def part_kind(plan: Plan) -> str:
    params = plan.part_params
    return "generate_part" if params["attempts"] == 1 and params.get("early_stop") is None else "recurrent_part"


def make_parts(run: Run) -> int:
    """The parts of the run's plan, once; none of a run that is being stopped."""
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        plan = Plan.objects.light().select_for_update().get(run=run)
        if plan.is_planned or run.stop_requested:
            return 0
        cuts = range(0, plan.total, plan.part_size)
        parts = (
            ({**plan.part_params, "plan": run.pk, "from": at, "to": min(at + plan.part_size, plan.total)},
             min(plan.part_size, plan.total - at))
            for at in cuts
        )  # fmt: skip
        made = add_parts(run, part_kind(plan), parts)
        Plan.objects.filter(pk=plan.pk).update(is_planned=True)
    return made


def give_more(run: Run, budget: Budget) -> None:
    """Another budget for this run, from its next picture on. Raises CannotStart."""
    budget.check()
    Plan.objects.filter(run=run).update(budget_images=budget.images, budget_seconds=budget.seconds)
