"""Samples for the bench of writing: rows as the platform keeps them, pictures of random bytes in the store."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

import numpy as np

BATCH = 1000
AT = datetime(2026, 3, 1, tzinfo=UTC).isoformat()


def fill(name: str, n_rows: int, picture_kb: int) -> int:
    """A frozen version of n_rows samples; returns its number in the database."""
    from adproof.shards.splits import combine, row_digest, split_of
    from annotation.models import LABEL_CHOICES
    from datasets_app.models import DatasetVersion, VersionRow
    from generation.models import Candidate, Generator, Product, Prompt

    rng = np.random.default_rng(len(name) + n_rows)
    prompt, _ = Prompt.objects.get_or_create(name="bench", defaults={"text": "on a light wood table"})
    generator, _ = Generator.objects.get_or_create(name="bench", defaults={"kind": "mini", "key": "bench"})
    version = DatasetVersion.objects.create(name=name, number=1, salt=name, digest="", row_count=n_rows)
    digests = []
    for start in range(0, n_rows, BATCH):
        numbers = range(start, min(start + BATCH, n_rows))
        products = Product.objects.bulk_create(
            Product(
                sku=f"{name}-{number}", title=f"Lamp {number}", description="A lamp of oak, about 30 cm tall. " * 4,
                category=f"category {number % 40}", source="bench", image_sha256=_picture(rng, picture_kb), width_px=512,
                height_px=512,
            )
            for number in numbers
        )  # fmt: skip
        candidates = Candidate.objects.bulk_create(
            Candidate(
                product=product, prompt=prompt, generator=generator, prompt_text="a lamp on a light wood table, soft light",
                negative_text="blurry", image_scale=0.5, seed=number, draw=uuid.uuid4(),
                key=hashlib.sha256(f"{name}/{number}".encode()).hexdigest(), image_sha256=_picture(rng, picture_kb),
                depth_sha256=_picture(rng, picture_kb), saliency_sha256=_picture(rng, picture_kb),
            )
            for number, product in zip(numbers, products, strict=True)
        )  # fmt: skip
        rows = []
        for candidate in candidates:
            label = int(rng.integers(len(LABEL_CHOICES)))
            split = split_of(candidate.product.sku, name, (0.8, 0.1, 0.1))
            shas = (
                candidate.image_sha256, candidate.product.image_sha256, candidate.depth_sha256, candidate.saliency_sha256,
            )  # fmt: skip
            digest = row_digest(f"c-{candidate.key[:20]}", label, split, shas)
            digests.append(digest)
            answers = [
                {"annotator": f"annotator-{vote:08d}", "label": label, "seconds": 3.1, "at": AT} for vote in range(3)
            ]
            rows.append(
                VersionRow(
                    version=version, candidate=candidate, label=label, posterior=[0.2] * 5, agreement=1.0,
                    annotation_count=3, split=split, row_digest=digest.hex(), annotations=answers,
                )
            )  # fmt: skip
        VersionRow.objects.bulk_create(rows)
    DatasetVersion.objects.filter(pk=version.pk).update(digest=combine(digests))
    return version.pk


def _picture(rng: np.random.Generator, kb: int) -> str:
    """Bytes that shrink as little as an encoded picture's do; put by hand, for the store would flush each to the disk."""
    from generation.blobs import blobs

    content = rng.bytes(int(kb * 1000 * rng.uniform(0.7, 1.3)))
    sha = hashlib.sha256(content).hexdigest()
    path = blobs().path(sha)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return sha
