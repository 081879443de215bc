"""What a candidate's standing annotations add up to, kept with every answer. The full fit is a run (tasks.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from adproof.labels import N_LABELS, Label


@dataclass(frozen=True)
class Tally:
    """The majority of one candidate's votes."""

    candidate_id: int
    label: int
    posterior: list[float]
    count: int
    agreement: float
    is_complete: bool


def tally(candidate_id: int, labels: Iterable[int], needed: int) -> Tally:
    """Count at least one vote. A tie goes to a defect: a bad picture that passes costs more than a good one lost."""
    votes = Counter(labels)
    count = votes.total()
    best = max(range(N_LABELS), key=lambda label: (votes[label], label != Label.AVAILABLE, -label))
    return Tally(
        candidate_id=candidate_id,
        label=best,
        posterior=[round(votes[label] / count, 6) for label in range(N_LABELS)],
        count=count,
        agreement=votes[best] / count,
        is_complete=count >= needed,
    )
