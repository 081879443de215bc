"""From planned items to finished candidates: draw, perceive, store. Runs in a worker's child."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from adproof.perception.pictures import depth_to_png, open_picture, picture_to_png, saliency_to_png
from generation.blobs import blobs
from generation.models import Candidate, Environment, Generator, Product, Prompt, candidate_key
from generation.planned import Asked, asked
from generation.scenes import Words
from runs.context import RunContext

if TYPE_CHECKING:
    from adproof.diffusion.generator import Drawn, DrawRequest
    from adproof.diffusion.generator import Generator as Drawer

BATCH = 8


@dataclass(frozen=True, eq=False)
class Item:
    """One image to draw. Its words and its key are made once."""

    product: Product
    prompt: Prompt
    seed: int
    draw: uuid.UUID
    generator: Generator
    attempt: int = 1
    # Which of its pair's pictures it is: seeds of further attempts follow from that.
    number: int = 0
    asked: Asked = Asked()

    @cached_property
    def words(self) -> Words:
        """Raises WordingError, where no plan holds them."""
        return self.asked.words(self.product, self.prompt, self.seed)

    @cached_property
    def key(self) -> str:
        """Of its picture drawn to the end."""
        return self.key_at(None)

    def key_at(self, abandoned_at: int | None) -> str:
        """Of its picture given up after this step."""
        words = self.words
        return candidate_key(
            product_sha256=self.product.image_sha256, prompt=words.text, negative=words.negative,
            image_scale=words.image_scale, generator=self.generator.key, seed=self.seed, abandoned_at=abandoned_at,
        )  # fmt: skip


def items_of(params: dict[str, Any], generator: Generator, tell: Callable[[str], object]) -> list[Item]:
    """The pictures of a part (generation.planned); without those whose product or prompt has been deleted since."""
    products = Product.objects.in_bulk({item["product"] for item in params["items"]})
    prompts = Prompt.objects.in_bulk({item["prompt"] for item in params["items"]})
    held = asked(params)
    there = [item for item in params["items"] if item["product"] in products and item["prompt"] in prompts]
    if gone := len(params["items"]) - len(there):
        tell(f"{gone:,} of its pictures are left out: their product or prompt has been deleted since it was planned.")
    return [
        Item(
            products[item["product"]], prompts[item["prompt"]], item["seed"], _draw_of(generator.pk, item), generator,
            attempt=item.get("attempt", 1), number=item.get("number", 0), asked=held,
        )
        for item in there
    ]  # fmt: skip


def _draw_of(generator: int, item: dict[str, Any]) -> uuid.UUID:
    """Named by what its first attempt draws, so that a part that runs again, or a later attempt, continues the same draw."""
    seed = item.get("first_seed", item["seed"])
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{generator}/{item['product']}/{item['prompt']}/{seed}")


def product_rgba(product: Product) -> np.ndarray:
    return open_picture(blobs().get(product.image_sha256))


def batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    """So many at once, or as many as their generator draws at once, where those are more."""
    size = max([size, *(item.generator.config.get("batch", 0) for item in items[:1])])
    for at in range(0, len(items), size):
        yield items[at : at + size]


@dataclass(frozen=True)
class EarlyLook:
    """After `step` steps a judge looks at what pictures are heading for; under `threshold` they are given up.

    judge(items, pictures, depths, saliencies) -> p(available) of each.
    """

    step: int
    threshold: float
    judge: Callable[[Sequence[Item], Sequence[np.ndarray], Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]


@dataclass
class Finished:
    """One picture with its maps."""

    drawn: "Drawn"
    depth: np.ndarray
    saliency: np.ndarray


def already_drawn(items: Sequence[Item], early: EarlyLook | None = None) -> dict[str, Candidate]:
    """Candidates of these items that are there, by the item's key; drawn to the end, or given up at the same step."""
    found = {row.key: row for row in Candidate.objects.filter(key__in={item.key for item in items})}
    if early is not None:
        middles = {item.key_at(early.step): item.key for item in items if item.key not in found}
        found |= {middles[row.key]: row for row in Candidate.objects.filter(key__in=middles)}
    return found


def draw_missing(
    ctx: RunContext, items: Sequence[Item], there: Mapping[str, Candidate], early: EarlyLook | None = None
) -> list[Candidate]:
    """Draw, perceive and store those of the items that are not `there` (already_drawn). All, in the order of `items`."""
    from adproof.environment import environment
    from generation import runtime

    missing = [item for item in items if item.key not in there]
    if missing:
        generator = missing[0].generator
        started = time.monotonic()
        drawer = runtime.drawer_of(generator)
        finished = draw(drawer, missing, early)
        machine = Environment.of(environment(drawer.config.device))
        seconds = shared_out(time.monotonic() - started, finished)
        rows = [
            candidate_row(ctx, item, one, machine, share)
            for item, one, share in zip(missing, finished, seconds, strict=True)
        ]
        with ctx.writing():
            Candidate.objects.bulk_create(rows, ignore_conflicts=True)
        # As they are stored: whoever drew one in the same moment may have been first.
        there = {**there, **already_drawn(missing, early)}
    return [there[item.key] for item in items]


def draw(drawer: "Drawer", items: Sequence[Item], early: EarlyLook | None = None) -> list[Finished]:
    """Pictures with depth and saliency; those that are given up have the picture that was judged."""
    from adproof.diffusion.generator import EarlyStop

    looked_at: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def keep(_step: int, places: Sequence[int], pictures: Sequence[np.ndarray]) -> list[bool]:
        assert early is not None
        depths, saliencies = glanced(pictures)
        looked_at.update(zip(places, zip(depths, saliencies, strict=True), strict=True))
        chances = early.judge([items[i] for i in places], pictures, depths, saliencies)
        return [bool(chance >= early.threshold) for chance in chances]

    requests = [request_of(item) for item in items]
    stop = EarlyStop((early.step,), keep) if early is not None else None
    drawn = drawer.draw(requests, early_stop=stop)
    ends = [i for i, one in enumerate(drawn) if one.abandoned_at is None]
    maps = dict(zip(ends, zip(*perceived([drawn[i].image for i in ends]), strict=True), strict=True)) if ends else {}
    return [Finished(one, *(maps[i] if i in maps else looked_at[i])) for i, one in enumerate(drawn)]


def perceived(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(depths, saliencies) of these pictures."""
    from generation import runtime

    return runtime.depth()(pictures), runtime.saliency()(pictures)


def glanced(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(depths, saliencies), the latter by the quick net: a look must cost less than what it may save."""
    from generation import runtime

    return runtime.depth()(pictures), runtime.quick_saliency()(pictures)


def request_of(item: Item) -> "DrawRequest":
    from adproof.diffusion.generator import DrawRequest

    words = item.words
    return DrawRequest(
        product_rgba=product_rgba(item.product), prompt=words.text, negative_prompt=words.negative,
        image_scale=words.image_scale, seed=item.seed,
    )  # fmt: skip


def shared_out(seconds: float, finished: Sequence[Finished]) -> list[float]:
    """A batch's seconds over its pictures, by the passes through the net that each took."""
    taken = [one.drawn.passes for one in finished]
    return [seconds * of_one / sum(taken) for of_one in taken]


def candidate_row(ctx: RunContext, item: Item, one: Finished, machine: Environment, seconds: float) -> Candidate:
    from generation import runtime

    words, drawn = item.words, one.drawn
    depth_model, saliency_model = runtime.perceived_by()
    if drawn.abandoned_at is not None:
        saliency_model += "-quick"  # see `glanced`
    return Candidate(
        product=item.product, prompt=item.prompt, generator=item.generator, prompt_text=words.text,
        negative_text=words.negative, image_scale=words.image_scale, seed=item.seed, draw=item.draw,
        attempt=item.attempt, key=item.key if drawn.abandoned_at is None else item.key_at(drawn.abandoned_at),
        seconds=seconds, image_sha256=blobs().put(picture_to_png(drawn.image)),
        depth_sha256=blobs().put(depth_to_png(one.depth)), saliency_sha256=blobs().put(saliency_to_png(one.saliency)),
        depth_model=depth_model, saliency_model=saliency_model, run=ctx.run,
        abandoned_at_step=drawn.abandoned_at, batch=[list(shape) for shape in drawn.shapes], environment=machine,
    )  # fmt: skip
