"""Products that U2-Net has cut out, without running it: an original, a confidence map and a cut-out that belong together."""

import numpy as np

from adproof.perception import masks
from adproof.perception.pictures import picture_to_png
from generation.actions import Cut, save_product
from generation.blobs import blobs
from generation.importing import ProductFile
from generation.models import Product

W, H = 120, 90


def confidence():
    """A sure block, and a half-sure strip to its right that a lower threshold takes in."""
    found = np.zeros((64, 64), np.float32)
    found[16:48, 12:36] = 0.95
    found[24:40, 36:52] = 0.25
    return found


def photo(seed=0):
    rng = np.random.default_rng(seed)
    picture = np.full((H, W, 3), 225, np.uint8) - rng.integers(0, 12, (H, W, 3), dtype=np.uint8)
    picture[22:68, 22:68] = (180, 60, 40)
    picture[34:56, 68:98] = (60, 90, 160)
    return picture


def waiting(sku="jug", **values) -> Product:
    colours, found = photo(), confidence()
    alpha = masks.alpha_of(found, W, H)
    cut = Cut(blobs().put(picture_to_png(colours)), blobs().put(masks.confidence_to_png(found)))
    file = ProductFile(
        sku, sku, values.pop("title", f"Jug {sku}"), picture_to_png(np.dstack([colours, alpha])), True, W, H, {"category": "jugs", **values},
    )  # fmt: skip
    assert save_product(file, cut_out_by_model=True, cut=cut) == "created"
    return Product.objects.get(sku=sku)
