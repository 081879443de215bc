"""Small real rows for tests: products with pictures, candidates with four pictures each."""

import io
import uuid

import numpy as np
from PIL import Image

from generation.blobs import blobs
from generation.models import Candidate, Generator, Product, Prompt, candidate_key


def png(array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def cut_out(seed=0, size=96):
    """(size, size, 4) uint8: a coloured rectangle on nothing."""
    rng = np.random.default_rng(seed)
    rgba = np.zeros((size, size, 4), np.uint8)
    a, b = size // 4, 3 * size // 4
    rgba[a:b, a:b, :3] = rng.integers(0, 255, 3)
    rgba[a:b, a:b, :3] ^= rng.integers(0, 32, (b - a, b - a, 3), dtype=np.uint8)
    rgba[a:b, a:b, 3] = 255
    return rgba


def product(number=0, **values) -> Product:
    data = png(cut_out(number))
    values = {
        "sku": f"sku-{number}", "title": f"Lamp {number}", "description": "about 30 cm tall", "category": "lamps",
        "source": "test", "width_px": 96, "height_px": 96, **values,
    }  # fmt: skip
    return Product.objects.create(image_sha256=blobs().put(data), **values)


def prompt(name="table", **values) -> Prompt:
    return Prompt.objects.get_or_create(name=name, defaults={"text": "on a light wood table", **values})[0]


def generator(name="test generator") -> Generator:
    return Generator.objects.get_or_create(name=name, defaults={"kind": "mini", "key": name, "config": {}})[0]


def candidate(number=0, of=None, **values) -> Candidate:
    rng = np.random.default_rng(number)
    of = of or product(number)
    the_prompt, the_generator = prompt(), values.pop("generator", None) or generator()
    picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    depth = rng.integers(0, 65535, (64, 64), dtype=np.uint16)
    saliency = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    key = candidate_key(
        product_sha256=of.image_sha256, prompt=the_prompt.text, negative="", image_scale=0.5,
        generator=the_generator.key, seed=number,
    )  # fmt: skip
    return Candidate.objects.create(
        product=of, prompt=the_prompt, generator=the_generator, prompt_text=the_prompt.text, image_scale=0.5,
        seed=number, draw=uuid.uuid4(), key=key, image_sha256=blobs().put(png(picture)),
        depth_sha256=blobs().put(png(depth)), saliency_sha256=blobs().put(png(saliency)),
        depth_model="test", saliency_model="test", **values,
    )  # fmt: skip


def candidates(n, **values) -> list[Candidate]:
    return [candidate(number, **values) for number in range(n)]


def many_candidates(n) -> list[Candidate]:
    """Of one product, with the pictures of one: thousands in a second."""
    first = candidate(0)
    others = [
        Candidate(
            product=first.product, prompt=first.prompt, generator=first.generator, prompt_text=first.prompt_text,
            image_scale=0.5, seed=number, draw=uuid.uuid4(), key=f"{number:064x}", image_sha256=first.image_sha256,
            depth_sha256=first.depth_sha256, saliency_sha256=first.saliency_sha256,
        )
        for number in range(1, n)
    ]  # fmt: skip
    return [first, *Candidate.objects.bulk_create(others)]
