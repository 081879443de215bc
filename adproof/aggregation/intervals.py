"""How sure a share is that was counted."""

from __future__ import annotations

import math

Z = 1.959963984540054  # of the normal distribution: 95 % lie within


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); all there is when nothing was counted.

    Args:
        hits, n: how many of how many.
    Returns: (low, high), each in [0, 1].
    """
    if not n:
        return 0.0, 1.0
    share, z2 = hits / n, Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
