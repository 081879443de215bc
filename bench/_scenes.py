"""Candidates with real pictures: scenes of the ad world at 512 px, their products cut out."""

from __future__ import annotations

import io
import uuid

import numpy as np
from PIL import Image

SIZE = 512
TURNS = 8  # pictures made of one scene by shifting its colours: drawing takes longer than all the rest


def candidates(n: int, seed: int = 0) -> list[int]:
    """Ids of n new candidates, each with a picture of its own, by a few dozen products."""
    from adproof.adworld.catalogue import load_catalogue
    from adproof.adworld.scenes import World
    from generation.blobs import blobs
    from generation.models import Candidate, Generator, Product, Prompt

    world, rng = World(load_catalogue(), size=SIZE), np.random.default_rng(seed)
    prompt = Prompt.objects.create(name="scenes", text="on a table in a bright room")
    generator = Generator.objects.create(name="scenes", kind="mini", key="scenes")
    made = []
    for number in range(n):
        if number % TURNS == 0:
            scene = world.draw(rng)
            title, _, description = scene.caption.partition(". ")
            product = Product.objects.create(
                sku=f"scene-{number}", title=title, description=description, width_px=SIZE, height_px=SIZE,
                image_sha256=blobs().put(_png(scene.product_rgba)),
            )  # fmt: skip
            grey = blobs().put(_png(scene.image.mean(axis=2).astype(np.uint8)))
        shift = np.roll(np.array([0, 4, 8]), number) * (number % TURNS) // 2
        picture = np.clip(scene.image.astype(np.int16) + shift, 0, 255).astype(np.uint8)
        made.append(
            Candidate(
                product=product, prompt=prompt, generator=generator, prompt_text=prompt.text, image_scale=0.5,
                seed=number, draw=uuid.uuid4(), key=f"{number:064x}", image_sha256=blobs().put(_png(picture)),
                depth_sha256=grey, saliency_sha256=grey,
            )
        )  # fmt: skip
    return [row.pk for row in Candidate.objects.bulk_create(made)]


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
