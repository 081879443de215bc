"""What is known on two sides of a split, found in the files alone: whoever gets a version can look for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np

from adproof.perception.pictures import PictureError, open_picture
from adproof.shards.duplicates import NEAR, groups, look_hash, near_pairs
from adproof.shards.reading import DatasetVersion
from adproof.shards.schema import SPLITS


def leaks(version: DatasetVersion, within: int = NEAR) -> dict[str, int]:
    """{"near_duplicate_groups": groups of alike products that lie in more than one split, "identical_pictures":
    generated pictures that do}.

    Reads all product and generated pictures; each product is decoded once. Memory: 32 bytes a generated
    picture, 8 a product.
    """
    side: dict[bytes, int] = {}
    twice: set[bytes] = set()
    hashes, splits = [], []
    for number, split in enumerate(SPLITS):
        for generated, look in _pictures(version, split):
            if side.setdefault(generated, number) != number:
                twice.add(generated)
            if look is not None:
                hashes.append(look)
                splits.append(number)
    group = groups(len(hashes), near_pairs(np.asarray(hashes, np.int64), within))
    torn = {int(group[at]) for at in range(len(hashes)) if splits[at] != splits[int(group[at])]}
    return {"near_duplicate_groups": len(torn), "identical_pictures": len(twice)}


def _pictures(version: DatasetVersion, split: str) -> Iterator[tuple[bytes, int | None]]:
    """Of each row: the sha256 of its generated picture, and its product's hash where the product is new."""
    seen: set[str] = set()
    columns = ["product_id", "generated_image", "product_image"]
    for row in version.rows(split, columns, decode=False):
        look = None
        if row["product_id"] not in seen and row["product_image"] is not None:
            seen.add(row["product_id"])
            try:
                look = look_hash(open_picture(row["product_image"], min_side_px=1))
            except PictureError:
                look = None  # another check's matter
        yield sha256(row["generated_image"] or b"").digest(), look
