"""What each product looks like, kept with it: taken when it comes in, and by a run for those that came before."""

from __future__ import annotations

from collections.abc import Callable

from adproof.perception.pictures import PictureError, open_picture
from adproof.shards.duplicates import look_hash
from generation.blobs import blobs
from generation.models import Product

CHUNK = 200


def look_of(picture: bytes) -> int | None:
    """None: the picture can't be read."""
    try:
        return look_hash(open_picture(picture, min_side_px=1))
    except (PictureError, ValueError):
        return None


def hash_missing(after_each: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Give a look to every product that has none; returns how many still have none, as their picture is not there.

    after_each(done, total) is called after some hundred; what it raises ends the work, and what is done stays.
    """
    waiting = Product.objects.filter(look_hash=None)
    total, done, missing, last = waiting.count(), 0, 0, 0
    while rows := list(waiting.filter(pk__gt=last).order_by("pk").only("pk", "image_sha256")[:CHUNK]):
        last = rows[-1].pk
        for row in rows:
            try:
                row.look_hash = look_of(blobs().get(row.image_sha256))
            except (OSError, ValueError):
                row.look_hash = None
        found = [row for row in rows if row.look_hash is not None]
        # Only while the picture is still the one that was looked at.
        for row in found:
            Product.objects.filter(pk=row.pk, image_sha256=row.image_sha256).update(look_hash=row.look_hash)
        done, missing = done + len(rows), missing + len(rows) - len(found)
        after_each(done, total)
    return missing
