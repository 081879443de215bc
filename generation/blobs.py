from functools import cache

from django.conf import settings

from adproof.blobs import BlobStore


@cache
def blobs() -> BlobStore:
    """The store of all pictures, in the data folder."""
    return BlobStore(settings.BLOBS_DIR)
