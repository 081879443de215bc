"""From planned items to finished candidates: draw, perceive, store. Runs in a worker's child."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adproof.perception.pictures import depth_to_png, open_picture, picture_to_png, saliency_to_png
from generation.actions import key_of
from generation.blobs import blobs
from generation.model_sets import part_in_use
from generation.models import Candidate, Generator, Product, Prompt, Words
from runs.context import RunContext

BATCH = 8


@dataclass(frozen=True)
class Item:
    """One image to draw."""

    product: Product
    prompt: Prompt
    seed: int
    draw: uuid.UUID
    attempt: int = 1

    @property
    def words(self) -> Words:
        return self.prompt.words(self.product, self.seed)


def items_of(params: dict[str, Any]) -> list[Item]:
    products = Product.objects.in_bulk({item["product"] for item in params["items"]})
    prompts = Prompt.objects.in_bulk({item["prompt"] for item in params["items"]})
    return [
        Item(
            products[item["product"]],
            prompts[item["prompt"]],
            item["seed"],
            # Named by what is drawn, so that a part that runs again continues the same draw.
            uuid.uuid5(uuid.NAMESPACE_OID, f"{params['generator']}/{item['product']}/{item['prompt']}/{item['seed']}"),
        )
        for item in params["items"]
    ]


def product_rgba(product: Product) -> np.ndarray:
    return open_picture(blobs().get(product.image_sha256))


def batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def already_drawn(items: Sequence[Item], generator: Generator) -> dict[str, Candidate]:
    keys = [key_of(item.product, item.prompt, generator, item.seed) for item in items]
    return {candidate.key: candidate for candidate in Candidate.objects.filter(key__in=keys)}


def draw_batch(ctx: RunContext, generator: Generator, items: Sequence[Item]) -> list[Candidate]:
    """Draw, perceive and store these items; those drawn before are returned as they are. In the order of `items`."""
    from adproof.diffusion.generator import DrawRequest
    from generation import runtime

    there = already_drawn(items, generator)
    missing = [item for item in items if key_of(item.product, item.prompt, generator, item.seed) not in there]
    if missing:
        started = time.monotonic()
        drawer = runtime.drawer(generator.key, json.dumps(generator.config, sort_keys=True))
        images = drawer.generate(
            [
                DrawRequest(
                    product_rgba=product_rgba(item.product), prompt=item.words.text,
                    negative_prompt=item.words.negative, image_scale=item.words.image_scale, seed=item.seed,
                )
                for item in missing
            ]
        )  # fmt: skip
        depths, saliencies = runtime.depth()(images), runtime.saliency()(images)
        seconds = (time.monotonic() - started) / len(missing)
        rows = [
            Candidate(
                product=item.product, prompt=item.prompt, generator=generator, prompt_text=item.words.text,
                negative_text=item.words.negative, image_scale=item.words.image_scale, seed=item.seed, draw=item.draw,
                attempt=item.attempt, key=key_of(item.product, item.prompt, generator, item.seed), seconds=seconds,
                image_sha256=blobs().put(picture_to_png(image)), depth_sha256=blobs().put(depth_to_png(depth)),
                saliency_sha256=blobs().put(saliency_to_png(saliency)), depth_model=part_in_use("depth").name,
                saliency_model=part_in_use("saliency").name, run=ctx.run,
            )
            for item, image, depth, saliency in zip(missing, images, depths, saliencies, strict=True)
        ]  # fmt: skip
        with ctx.writing():
            Candidate.objects.bulk_create(rows, ignore_conflicts=True)
        there = already_drawn(items, generator)
    return [there[key_of(item.product, item.prompt, generator, item.seed)] for item in items]
