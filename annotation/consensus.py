"""What a candidate's standing annotations add up to, kept with every answer. The full fit is a run (quality.py)."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adproof.labels import N_LABELS, Label
from annotation.models import AnnotatorQuality, Gold
from runs.models import Run

FIT = "fit_consensus"
MAJORITY, DAWID_SKENE, CROWDLAB, GOLD, REVIEW = "majority", "dawid-skene", "crowdlab", "gold", "review"
IMPORTED = "imported"  # as it came from elsewhere; no fit alters it until a person has answered
LOOK_EVERY = 60.0  # seconds, for a newer fit
_FLOOR = 1e-10  # as in adproof.aggregation.dawid_skene

Vote = tuple[int, int]  # annotator, label


@dataclass(frozen=True)
class Tally:
    """What one candidate's votes say."""

    candidate_id: int
    label: int
    posterior: list[float]
    count: int
    agreement: float
    is_complete: bool
    method: str = MAJORITY
    activelab_score: float | None = None
    crowdlab_quality: float | None = None


@dataclass(frozen=True)
class Beliefs:
    """The last fit in the form that one answer needs: natural logs, added up in plain Python (a few microseconds)."""

    fit: int  # its run
    scores: bool  # whether ActiveLab scores may be told from votes alone (not where the fit knew RFNet's verdicts)
    prior: tuple[float, ...]
    # annotator -> given label -> one log probability per true label
    given: dict[int, tuple[tuple[float, ...], ...]]
    # of people whom the fit did not know: the crowd's average
    newcomer: tuple[tuple[float, ...], ...]

    @classmethod
    def of(
        cls, prior: Sequence[float], confusions: dict[int, Any], crowd: Any, *, fit: int = 0, scores: bool = True
    ) -> Beliefs:
        """confusions[annotator][true label][given label], crowd[true label][given label]: probabilities."""
        return cls(
            fit=fit,
            scores=scores,
            prior=tuple(_log(p) for p in prior),
            given={annotator: _by_given(confusion) for annotator, confusion in confusions.items()},
            newcomer=_by_given(crowd),
        )

    def posterior(self, votes: Iterable[Vote]) -> list[float]:
        """The E step of Dawid-Skene for one candidate."""
        logs = list(self.prior)
        for annotator, label in votes:
            row = self.given.get(annotator, self.newcomer)[label]
            logs = [a + b for a, b in zip(logs, row, strict=True)]
        top = max(logs)
        joint = [math.exp(value - top) for value in logs]
        total = sum(joint)
        return [value / total for value in joint]


def _log(probability: float) -> float:
    return math.log(max(probability, _FLOOR))


def _by_given(confusion: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(_log(confusion[truth][label]) for truth in range(N_LABELS)) for label in range(N_LABELS))


_held: Beliefs | None = None
_looked_at = -math.inf


def beliefs() -> Beliefs | None:
    """What the last fit found, kept by this process; None before the first. Looks for a newer fit once a minute."""
    global _held, _looked_at
    if time.monotonic() - _looked_at > LOOK_EVERY:
        newest = Run.objects.filter(kind=FIT, state=Run.State.SUCCEEDED).order_by("-id").values_list("id").first()
        if newest is None:
            _held = None
        elif _held is None or _held.fit != newest[0]:
            _held = _read(newest[0])
        _looked_at = time.monotonic()
    return _held


def forget() -> None:
    """Look at the next answer for a newer fit."""
    global _held, _looked_at
    _held, _looked_at = None, -math.inf


def _read(run: int) -> Beliefs | None:
    result = Run.objects.values_list("result", flat=True).get(pk=run)
    if not result.get("prior") or not result.get("crowd_confusion"):
        return None  # there was nothing to fit
    confusions = dict(AnnotatorQuality.objects.values_list("annotator_id", "confusion"))
    return Beliefs.of(
        result["prior"], confusions, result["crowd_confusion"], fit=run, scores=result.get("method") != CROWDLAB
    )


def tally(
    candidate_id: int,
    votes: Iterable[Vote],
    needed: int,
    *,
    known: int | None = None,
    given: Beliefs | None = None,
) -> Tally:
    """Add up at least one vote (annotator, label): by what the last fit says of each annotator, before it by majority.

    known: the candidate's gold label, which no vote alters. given: beliefs other than the last fit's.
    """
    votes = list(votes)
    counts = Counter(label for _, label in votes)
    given = given or beliefs()
    score: float | None = None
    if known is not None:
        label, method = known, GOLD
        posterior = [float(number == known) for number in range(N_LABELS)]
    elif given is not None:
        posterior, method = given.posterior(votes), DAWID_SKENE
        label = posterior.index(max(posterior))
        if given.scores:
            score = (posterior[label] * len(votes) + 1 / N_LABELS) / (len(votes) + 1)
        posterior = [round(p, 6) for p in posterior]
    else:
        label, method = majority(counts), MAJORITY
        posterior = [round(counts[number] / len(votes), 6) for number in range(N_LABELS)]
    return Tally(
        candidate_id=candidate_id,
        label=label,
        posterior=posterior,
        count=len(votes),
        agreement=counts[label] / len(votes),
        is_complete=len(votes) >= needed,
        method=method,
        activelab_score=score,
    )


def majority(counts: Counter[int]) -> int:
    """A tie goes to a defect: a bad picture that passes costs more than a good one lost."""
    return max(range(N_LABELS), key=lambda label: (counts[label], label != Label.AVAILABLE, -label))


def known_label(candidate_id: int) -> int | None:
    """Its gold label, if it is gold in any project; the newest where projects differ."""
    gold = Gold.objects.filter(task__candidate=candidate_id, task__is_gold=True)
    return gold.order_by("-id").values_list("label", flat=True).first()


def consensus_columns(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Parameters of the statements that write consensus rows. Two tasks of one candidate give it one row."""
    # In order of candidates, as the fit locks them.
    rows = sorted({row.candidate_id: row for row in tallies}.values(), key=lambda row: row.candidate_id)
    return {
        "c_candidates": [row.candidate_id for row in rows],
        "c_labels": [row.label for row in rows],
        "c_posteriors": [json.dumps(row.posterior) for row in rows],
        "c_votes": [row.count for row in rows],
        "c_agreements": [row.agreement for row in rows],
        "c_complete": [row.is_complete for row in rows],
        "c_methods": [row.method for row in rows],
        "c_activelab": [row.activelab_score for row in rows],
        "c_crowdlab": [row.crowdlab_quality for row in rows],
    }
