"""The consensus of all answers (Dawid-Skene, CROWDLAB), and what it says about annotators and their agreement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from django.utils import timezone

from adproof.aggregation.crowdlab import Crowdlab, activelab_of_votes, crowdlab
from adproof.aggregation.dawid_skene import Consensus as Fitted
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.labels import N_LABELS
from annotation import classifier, statements
from annotation.consensus import CROWDLAB, DAWID_SKENE, FIT, GOLD, REVIEW, Tally, consensus_columns
from annotation.fit_summary import Votes, summary, unsure
from annotation.models import Annotation, AnnotatorQuality, Consensus, Gold
from runs.actions import start_run
from runs.models import Run

KIND = FIT
REFIT_EVERY = 200  # new answers
PAUSE = 4  # times as long as the last fit took: fits cost at most a fifth of one core, however many answers there are
MIN_JUDGED = 30  # verdicts on candidates with two answers: fewer say nothing about how good the judge is
_CHUNK = 1024


# --- starting a fit


def start_fit(user: Any = None) -> Run:
    """A run that fits the consensus anew; the unfinished one if there is one."""
    return start_run(KIND, {}, user=user, key=KIND)


def fit_if_due(every: int = REFIT_EVERY) -> Run | None:
    """Start a fit when `every` answers have come (or been taken back) since the last one began.

    Called by every worker once a minute, by the page and by the loop, not by a signal; costs two small queries
    however many answers there are. Where a fit takes minutes, the next one waits some.
    """
    last = Run.objects.filter(kind=KIND).order_by("-id").first()
    if last is not None and not last.is_finished:
        return last
    if last is not None and _is_pausing(last):
        return None
    answers = Annotation.objects.all()
    if last is not None:
        answers = answers.filter(created_at__gt=last.started_at or last.created_at)
    # The first fit is wanted at once; later ones only when there is enough news.
    enough = every if last is not None else 1
    return start_fit() if answers[:enough].count() >= enough else None


def _is_pausing(last: Run) -> bool:
    if last.started_at is None or last.finished_at is None:
        return False
    return timezone.now() < last.finished_at + PAUSE * (last.finished_at - last.started_at)


def last_fit() -> Run | None:
    return Run.objects.filter(kind=KIND, state=Run.State.SUCCEEDED).order_by("-id").first()


def running_fit() -> Run | None:
    return Run.objects.unfinished().filter(kind=KIND).first()


# --- the fit


def fit(writing: Callable[[], AbstractContextManager[None]], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Fit, write the consensus of every candidate and the quality of every annotator; returns what the page shows.

    Gold and what reviewers decided are known truth: they are not altered, and they tell who is right. A candidate that
    got an answer after we read keeps what that answer made of it until the next fit.
    """
    read_at = timezone.now()
    votes = read_votes()
    if not votes.label.size:
        with writing():
            AnnotatorQuality.objects.all().delete()
        return {"annotations": 0, "candidates": 0}
    gold, decided = known_labels()
    truth = {**gold, **decided}
    fitted = DawidSkene().fit(
        votes.candidate, votes.annotator, votes.label, N_LABELS, gold=(_ints(truth.keys()), _ints(truth.values()))
    )
    weighed, why_not, judge = _weigh_with_verdicts(votes)
    table = _Table.of(votes, fitted, weighed, gold, decided)
    total = len(fitted.item_ids)
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        columns = {**consensus_columns(table.tallies(start, stop)), "now": read_at, "read_at": read_at}
        with writing(), connection.cursor() as cursor:
            cursor.execute(statements.FIT_CONSENSUS, columns)
            cursor.execute(statements.ADD_MISSING_CONSENSUS, columns)
        progress(stop, total)
    found = summary(votes, fitted, table.label, gold, decided)
    with writing():
        _write_annotators(fitted, found["people"], read_at)
    return {
        **found,
        "method": CROWDLAB if weighed else DAWID_SKENE,
        "why_not_crowdlab": why_not,
        "judge": judge,
        "weighed": int(table.has_verdict.sum()),
        "decided": len(decided),
        "unsure": unsure(table.candidate, table.activelab, table.count >= table.needed),
        "read_at": read_at.isoformat(),
    }


def read_votes() -> Votes:
    """All standing answers. Streamed, so that memory is a few dozen bytes an answer."""
    rows = (
        Annotation.objects.standing()
        .values_list(
            "candidate_id", "annotator_id", "label", "seconds", "task__overlap", "task__project_id", "created_at"
        )
        .iterator(chunk_size=20_000)
    )
    kind = [
        ("candidate", "i8"), ("annotator", "i4"), ("label", "i1"), ("seconds", "f4"), ("needed", "i1"),
        ("project", "i4"), ("at", "f8"),
    ]  # fmt: skip
    table = np.fromiter(((*row[:-1], row[-1].timestamp()) for row in rows), dtype=kind)
    return Votes(*(np.ascontiguousarray(table[name]) for name, _ in kind))


def known_labels() -> tuple[dict[int, int], dict[int, int]]:
    """candidate -> label: of gold (the newest, where projects differ), and as reviewers decided."""
    gold = Gold.objects.filter(task__is_gold=True).order_by("id").values_list("task__candidate_id", "label")
    return dict(gold), dict(Consensus.objects.filter(method=REVIEW).values_list("candidate_id", "label"))


def _ints(values: Any) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64)


def _weigh_with_verdicts(votes: Votes) -> tuple[Crowdlab | None, str, str]:
    """CROWDLAB's answer, else why there is none; and the name of the judge."""
    found = classifier.verdicts()
    if found is None:
        return None, "No RFNet with a known training set is in use.", ""
    ids, n_votes = np.unique(votes.candidate, return_counts=True)
    n_judged = int(np.isin(found.candidate, ids[n_votes > 1]).sum())
    if n_judged < MIN_JUDGED:
        said = f"{found.judge} has judged {n_judged} candidates with two answers that it was not trained on; "
        return None, said + f"its word counts from {MIN_JUDGED}.", found.judge
    try:
        weighed = crowdlab(
            votes.candidate, votes.annotator, votes.label, N_LABELS,
            model_items=found.candidate, model_probs=found.probs,
        )  # fmt: skip
    except ValueError as error:
        return None, f"CROWDLAB refused: {error}.", found.judge
    return weighed, "", found.judge


@dataclass(frozen=True)
class _Table:
    """What the fit says of each candidate, in the order of fitted.item_ids."""

    candidate: np.ndarray
    label: np.ndarray
    posterior: np.ndarray
    method: list[str]
    count: np.ndarray
    agreeing: np.ndarray
    needed: np.ndarray
    has_verdict: np.ndarray
    crowdlab: np.ndarray  # quality, where it has a verdict
    activelab: np.ndarray

    @classmethod
    def of(
        cls, votes: Votes, fitted: Fitted, weighed: Crowdlab | None, gold: dict[int, int], decided: dict[int, int]
    ) -> _Table:
        ids, n_items = fitted.item_ids, len(fitted.item_ids)
        place = np.searchsorted(ids, votes.candidate)
        label, posterior = fitted.label.copy(), fitted.posterior.copy()
        count = np.bincount(place, minlength=n_items)
        is_gold, is_decided = np.isin(ids, _ints(gold)), np.isin(ids, _ints(decided))
        has_verdict, quality = np.zeros(n_items, dtype=bool), np.full(n_items, np.nan)
        if weighed is None:
            activelab = activelab_of_votes(posterior.max(axis=1).clip(0, 1), count, N_LABELS)
        else:
            # Both methods name the same candidates, in the same order: those with votes.
            has_verdict = weighed.has_model & ~is_gold & ~is_decided
            label[has_verdict], posterior[has_verdict] = weighed.label[has_verdict], weighed.posterior[has_verdict]
            quality[has_verdict] = weighed.quality[has_verdict]
            activelab = weighed.activelab.copy()
        activelab[is_gold | is_decided] = np.nan  # nothing is to be gained
        # A reviewer's word on gold stands in the row already; here gold is gold.
        for candidate in np.flatnonzero(is_gold & ~is_decided):
            label[candidate] = gold[int(ids[candidate])]
        method = np.where(is_gold, GOLD, np.where(has_verdict, CROWDLAB, DAWID_SKENE))
        needed = np.zeros(n_items, dtype=np.int64)
        np.maximum.at(needed, place, votes.needed.astype(np.int64))
        return cls(
            candidate=ids,
            label=label,
            posterior=posterior,
            method=method.tolist(),
            count=count,
            agreeing=np.bincount(place, weights=votes.label == label[place], minlength=n_items),
            needed=needed,
            has_verdict=has_verdict,
            crowdlab=quality,
            activelab=activelab,
        )

    def tallies(self, start: int, stop: int) -> list[Tally]:
        return [
            Tally(
                candidate_id=int(self.candidate[place]),
                label=int(self.label[place]),
                posterior=self.posterior[place].round(6).tolist(),
                count=int(self.count[place]),
                agreement=float(self.agreeing[place] / self.count[place]),
                is_complete=bool(self.count[place] >= self.needed[place]),
                method=self.method[place],
                activelab_score=_value(self.activelab[place]),
                crowdlab_quality=_value(self.crowdlab[place]),
            )
            for place in range(start, stop)
        ]


def _value(number: np.floating[Any]) -> float | None:
    return None if np.isnan(number) else float(number)


def _write_annotators(fitted: Fitted, people: dict[str, Any], now: datetime) -> None:
    accuracy, rows = fitted.accuracy(), []
    for place, annotator in enumerate(fitted.annotator_ids.tolist()):
        person = people[str(annotator)]
        rows.append(
            AnnotatorQuality(
                annotator_id=annotator,
                confusion=[[float(f"{p:.6g}") for p in row] for row in fitted.confusion[place].tolist()],
                annotation_count=person["answers"],
                accuracy=float(accuracy[place]),
                agreement=person["agreement"],
                median_seconds=person["median_seconds"],
                gold_count=person["gold"],
                gold_right=person["gold_right"],
                updated_at=now,
            )
        )
    AnnotatorQuality.objects.exclude(annotator_id__in=[row.annotator_id for row in rows]).delete()
    columns = ["confusion", "annotation_count", "accuracy", "agreement", "median_seconds", "gold_count", "gold_right"]
    AnnotatorQuality.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["annotator"], update_fields=[*columns, "updated_at"]
    )
