"""RFNet's verdicts at the desk. They belong to a later station of the loop, which says here how to read them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypedDict


class Verdict(TypedDict):
    checkpoint: int
    label: int
    probs: list[float]


# Of these candidates; by these checkpoints, or (None) by the one in use. Keys: (candidate, checkpoint). One query.
Source = Callable[[Collection[int], Collection[int] | None], dict[tuple[int, int], Verdict]]
_sources: list[Source] = []


def verdicts_come_from(source: Source) -> None:
    _sources[:] = [source]


def verdicts_to_show(candidates: Collection[int]) -> dict[int, Verdict]:
    """By candidate; those without a verdict of the checkpoint in use are missing."""
    if not candidates or not _sources:
        return {}
    return {candidate: verdict for (candidate, _), verdict in _sources[0](candidates, None).items()}


def verdicts_shown(pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Verdict]:
    """What these checkpoints say about these candidates, as (candidate, checkpoint): for what a desk has shown."""
    if not pairs or not _sources:
        return {}
    found = _sources[0]({candidate for candidate, _ in pairs}, {checkpoint for _, checkpoint in pairs})
    return {pair: found[pair] for pair in pairs if pair in found}
