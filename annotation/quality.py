"""The consensus of all answers (Dawid-Skene), and what it says about annotators and their agreement."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from django.utils import timezone

from adproof.aggregation.agreement import krippendorff_alpha
from adproof.aggregation.dawid_skene import Consensus as Fitted
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.labels import N_LABELS
from annotation import statements
from annotation.actions import consensus_columns
from annotation.consensus import Tally
from annotation.models import Annotation, AnnotatorQuality
from runs.actions import start_run
from runs.models import Run

KIND = "fit_consensus"
REFIT_EVERY = 200  # new answers
_CHUNK = 1024
_SEED = 20_241  # of the bootstrap: the same answers give the same interval


@dataclass(frozen=True)
class Votes:
    """All standing answers, one place each, in no particular order."""

    candidate: np.ndarray  # int64
    annotator: np.ndarray  # int64
    label: np.ndarray  # int64
    seconds: np.ndarray  # float64
    needed: np.ndarray  # int64, the overlap of the answer's task


# --- starting a fit


def start_fit(user: Any = None) -> Run:
    """A run that fits the consensus anew; the unfinished one if there is one."""
    return start_run(KIND, {}, user=user, key=KIND)


def fit_if_due(every: int = REFIT_EVERY) -> Run | None:
    """Start a fit when `every` answers have come (or been taken back) since the last one began.

    Called by every worker once a minute, by the page and by the loop, not by a signal; costs two small queries
    however many answers there are.
    """
    last = Run.objects.filter(kind=KIND).order_by("-id").first()
    if last is not None and not last.is_finished:
        return last
    answers = Annotation.objects.all()
    if last is not None:
        answers = answers.filter(created_at__gt=last.started_at or last.created_at)
    # The first fit is wanted at once; later ones only when there is enough news.
    enough = every if last is not None else 1
    return start_fit() if answers[:enough].count() >= enough else None


def last_fit() -> Run | None:
    return Run.objects.filter(kind=KIND, state=Run.State.SUCCEEDED).order_by("-id").first()


def running_fit() -> Run | None:
    return Run.objects.unfinished().filter(kind=KIND).first()


# --- the fit


def fit(writing: Callable[[], AbstractContextManager[None]], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Fit, write the consensus of every candidate and the quality of every annotator; returns what the page shows.

    A candidate that got an answer after we read keeps its newer, plain majority until the next fit.
    """
    read_at = timezone.now()
    votes = read_votes()
    if not votes.label.size:
        with writing():
            AnnotatorQuality.objects.all().delete()
        return {"annotations": 0, "candidates": 0}
    fitted = DawidSkene().fit(votes.candidate, votes.annotator, votes.label, N_LABELS)
    tables = _Tables.of(votes, fitted)
    total = len(fitted.item_ids)
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        columns = consensus_columns(tables.tallies(start, stop))
        with writing(), connection.cursor() as cursor:
            cursor.execute(statements.FIT_CONSENSUS, {**columns, "now": read_at, "read_at": read_at})
        progress(stop, total)
    with writing():
        _write_annotators(votes, fitted, read_at)
    return _summary(votes, fitted)


def read_votes() -> Votes:
    """Streamed, so that memory is a few dozen bytes an answer."""
    rows = (
        Annotation.objects.standing()
        .values_list("candidate_id", "annotator_id", "label", "seconds", "task__overlap")
        .iterator(chunk_size=20_000)
    )
    kind = [("candidate", "i8"), ("annotator", "i8"), ("label", "i8"), ("seconds", "f8"), ("needed", "i8")]
    table = np.fromiter(rows, dtype=kind)
    return Votes(*(np.ascontiguousarray(table[name]) for name, _ in kind))


@dataclass(frozen=True)
class _Tables:
    """Per candidate, in the order of fitted.item_ids."""

    fitted: Fitted
    count: np.ndarray
    agreeing: np.ndarray
    needed: np.ndarray

    @classmethod
    def of(cls, votes: Votes, fitted: Fitted) -> _Tables:
        place, n_items = np.searchsorted(fitted.item_ids, votes.candidate), len(fitted.item_ids)
        needed = np.zeros(n_items, dtype=np.int64)
        np.maximum.at(needed, place, votes.needed)
        return cls(
            fitted=fitted,
            count=np.bincount(place, minlength=n_items),
            agreeing=np.bincount(place, weights=votes.label == fitted.label[place], minlength=n_items),
            needed=needed,
        )

    def tallies(self, start: int, stop: int) -> list[Tally]:
        return [
            Tally(
                candidate_id=int(self.fitted.item_ids[place]),
                label=int(self.fitted.label[place]),
                posterior=self.fitted.posterior[place].round(6).tolist(),
                count=int(self.count[place]),
                agreement=float(self.agreeing[place] / self.count[place]),
                is_complete=bool(self.count[place] >= self.needed[place]),
            )
            for place in range(start, stop)
        ]


def _write_annotators(votes: Votes, fitted: Fitted, now: datetime) -> None:
    consensus = fitted.label[np.searchsorted(fitted.item_ids, votes.candidate)]
    accuracy, rows = fitted.accuracy(), []
    for place, annotator in enumerate(fitted.annotator_ids):
        own = votes.annotator == annotator
        rows.append(
            AnnotatorQuality(
                annotator_id=int(annotator),
                confusion=fitted.confusion[place].round(4).tolist(),
                annotation_count=int(own.sum()),
                accuracy=float(accuracy[place]),
                agreement=float((votes.label[own] == consensus[own]).mean()),
                median_seconds=float(np.median(votes.seconds[own])),
                updated_at=now,
            )
        )
    AnnotatorQuality.objects.exclude(annotator_id__in=[row.annotator_id for row in rows]).delete()
    AnnotatorQuality.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["annotator"],
        update_fields=["confusion", "annotation_count", "accuracy", "agreement", "median_seconds", "updated_at"],
    )


def _summary(votes: Votes, fitted: Fitted) -> dict[str, Any]:
    alpha = krippendorff_alpha(
        votes.candidate, votes.annotator, votes.label, N_LABELS, rng=np.random.default_rng(_SEED)
    )
    return {
        "annotations": int(votes.label.size),
        "candidates": len(fitted.item_ids),
        "annotators": len(fitted.annotator_ids),
        "labels": np.bincount(fitted.label, minlength=N_LABELS).tolist(),
        "alpha": _number(alpha.value),
        "alpha_low": _number(alpha.low),
        "alpha_high": _number(alpha.high),
        "alpha_items": int(alpha.n_items),
        "iterations": int(fitted.iterations),
        "converged": bool(fitted.converged),
    }


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else round(float(value), 4)
