"""Dataset versions: `adproof.shards.open("data/versions/ads/v1")` reads one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adproof.shards.reading import open_version as open

__all__ = ["open"]


def __getattr__(name: str) -> Any:
    # Importing the package stays cheap: what reads and writes is loaded when it is asked for.
    if name == "open":
        from adproof.shards.reading import open_version

        return open_version
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
