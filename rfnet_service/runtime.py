"""The only door of this app to torch: RFNet in use, loaded once per worker process."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adproof.rfnet.scoring import Scorer


@lru_cache(maxsize=2)
def scorer(folder: str, sha256: str) -> "Scorer":
    """The checkpoint of this folder; the sha256 is part of the key, so a replaced folder is loaded anew."""
    from adproof.rfnet.scoring import Scorer
    from generation.runtime import one_thread

    one_thread()
    return Scorer(folder)
