"""What a fit says of all answers together: kept in the result of its run, so that no page counts millions of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils import timezone

from adproof.aggregation.agreement import cohen_kappas, fleiss_kappa, krippendorff_alpha
from adproof.aggregation.dawid_skene import Consensus as Fitted
from adproof.aggregation.pace import Pace, pace
from adproof.labels import N_LABELS
from generation.models import Candidate, Product

DAYS = 31  # of which the hours are kept
MIN_SHARED = 20  # candidates that two people must share for Cohen's kappa
MOST_PAIRS = 300
MOST_CATEGORIES = 60
MOST_UNSURE = 60  # finished candidates worth one more label
_SEED = 20_241  # of the bootstrap: the same answers give the same interval
_HOUR = 3600


@dataclass(frozen=True)
class Votes:
    """All standing answers, one place each, in no particular order."""

    candidate: np.ndarray  # int64
    annotator: np.ndarray
    label: np.ndarray
    seconds: np.ndarray
    needed: np.ndarray  # the overlap of the answer's task
    project: np.ndarray
    at: np.ndarray  # seconds since 1970, UTC


def summary(
    votes: Votes, fitted: Fitted, label: np.ndarray, gold: dict[int, int], decided: Iterable[int] = ()
) -> dict[str, Any]:
    """JSON-able. label: (N,) the consensus of fitted.item_ids. gold: candidate -> its known label. decided: candidates
    whose label is a reviewer's."""
    place = np.searchsorted(fitted.item_ids, votes.candidate)
    alpha = krippendorff_alpha(
        votes.candidate, votes.annotator, votes.label, N_LABELS, rng=np.random.default_rng(_SEED)
    )
    known = np.fromiter({*gold, *decided}, dtype=np.int64)
    cohen, kappas = _cohen(votes)
    people = _people(votes, place, label, fitted, gold, known)
    for annotator, (kappa, pairs) in kappas.items():
        people["people"][str(annotator)] |= {"kappa": _number(kappa), "kappa_pairs": pairs}
    return {
        "last_at": float(votes.at.max()),
        "annotations": int(votes.label.size),
        "candidates": len(fitted.item_ids),
        "annotators": len(fitted.annotator_ids),
        "labels": np.bincount(label, minlength=N_LABELS).tolist(),
        "answered": np.bincount(votes.label, minlength=N_LABELS).tolist(),
        "alpha": _number(alpha.value),
        "alpha_low": _number(alpha.low),
        "alpha_high": _number(alpha.high),
        "alpha_items": int(alpha.n_items),
        "iterations": int(fitted.iterations),
        "converged": bool(fitted.converged),
        "prior": _digits(fitted.prior),
        "crowd_confusion": [_digits(row) for row in fitted.crowd_confusion],
        "by_label": _by_label(votes, place, label),
        "by_category": _by_category(votes, place, fitted.item_ids),
        "fleiss": _fleiss(votes, place, len(fitted.item_ids)),
        **cohen,
        "hours": _hours(votes.at),
        "projects": _projects(votes),
        **people,
    }


def unsure(candidates: np.ndarray, activelab: np.ndarray, is_complete: np.ndarray) -> list[int]:
    """The finished candidates most worth one more label; known labels (score nan) are worth none."""
    finished = np.flatnonzero(is_complete & ~np.isnan(activelab))
    order = np.argsort(activelab[finished], kind="stable")[:MOST_UNSURE]
    found: list[int] = candidates[finished[order]].tolist()
    return found


def _by_label(votes: Votes, place: np.ndarray, label: np.ndarray) -> list[dict[str, Any]]:
    """Of the candidates with one consensus label: how far their answers say the same."""
    count = np.bincount(place, minlength=label.size)
    agreeing = np.bincount(place, weights=votes.label == label[place], minlength=label.size)
    several = count > 1
    rows = []
    for number in range(N_LABELS):
        own = several & (label == number)
        n = int(own.sum())
        rows.append(
            {
                "label": number,
                "candidates": n,
                "agreement": _number((agreeing[own] / count[own]).mean()) if n else None,
                "unanimous": _number((agreeing[own] == count[own]).mean()) if n else None,
            }
        )
    return rows


def _by_category(votes: Votes, place: np.ndarray, candidates: np.ndarray) -> list[dict[str, Any]]:
    """Agreement within each category of products, the most answered first."""
    category, names = _category_of(candidates)
    of_vote = category[place]
    sizes = np.bincount(of_vote, minlength=len(names))
    rows = []
    for number in np.argsort(-sizes, kind="stable")[:MOST_CATEGORIES].tolist():
        own = of_vote == number
        if not sizes[number]:
            break
        items, people, labels = votes.candidate[own], votes.annotator[own], votes.label[own]
        alpha = krippendorff_alpha(items, people, labels, N_LABELS)
        rows.append(
            {
                "category": names[number],
                "answers": int(sizes[number]),
                "candidates": alpha.n_items,
                "agreement": _pairs_agreeing(place[own], labels),
                "alpha": _number(alpha.value),
            }
        )
    return rows


def _category_of(candidates: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(N,) the number of each candidate's category, and the names of the numbers."""
    by_product: dict[int, int] = {}
    names: dict[str, int] = {}
    for product, name in Product.objects.values_list("id", "category").iterator(chunk_size=20_000):
        by_product[product] = names.setdefault(name, len(names))
    found = np.zeros(candidates.size, dtype=np.int64)
    rows = Candidate.objects.filter(consensus__isnull=False).values_list("id", "product_id")
    table = np.fromiter(rows.iterator(chunk_size=20_000), dtype=[("candidate", "i8"), ("product", "i8")])
    at = np.searchsorted(candidates, table["candidate"])
    known = at < candidates.size
    known[known] = candidates[at[known]] == table["candidate"][known]
    found[at[known]] = [by_product.get(product, 0) for product in table["product"][known].tolist()]
    return found, list(names) or [""]


def _pairs_agreeing(item: np.ndarray, label: np.ndarray) -> float | None:
    """Mean over candidates with two answers or more of the share of agreeing pairs."""
    _, item = np.unique(item, return_inverse=True)
    counts = np.bincount(item * N_LABELS + label).astype(np.float64)
    counts = np.concatenate([counts, np.zeros(-counts.size % N_LABELS)]).reshape(-1, N_LABELS)
    n = counts.sum(axis=1)
    several = n > 1
    if not several.any():
        return None
    agreeing = (counts * (counts - 1)).sum(axis=1)[several] / (n * (n - 1))[several]
    return _number(agreeing.mean())


def _fleiss(votes: Votes, place: np.ndarray, n_items: int) -> dict[str, Any] | None:
    """Fleiss' kappa over the candidates that have the commonest number of answers, two or more."""
    count = np.bincount(place, minlength=n_items)
    sizes = np.bincount(count)
    sizes[:2] = 0
    if not sizes.any():
        return None
    each = int(sizes.argmax())
    own = count[place] == each
    kappa = fleiss_kappa(place[own], votes.annotator[own], votes.label[own], N_LABELS)
    return {"kappa": _number(kappa), "answers_each": each, "candidates": int(sizes[each])}


def _cohen(votes: Votes) -> tuple[dict[str, Any], dict[int, tuple[float, int]]]:
    """What is kept of the pairs; and of each annotator the median kappa with the others, and with how many."""
    found = cohen_kappas(votes.candidate, votes.annotator, votes.label, N_LABELS, min_shared=MIN_SHARED)
    most = np.argsort(-found.n_shared, kind="stable")[:MOST_PAIRS]
    pairs = [
        {
            "first": int(found.first[pair]),
            "second": int(found.second[pair]),
            "shared": int(found.n_shared[pair]),
            "agreement": _number(found.agreement[pair]),
            "kappa": _number(found.kappa[pair]),
        }
        for pair in most.tolist()
    ]
    told = ~np.isnan(found.kappa)
    kappas, first, second = found.kappa[told], found.first[told], found.second[told]
    by_person = {}
    for annotator in np.union1d(first, second).tolist():
        own = kappas[(first == annotator) | (second == annotator)]
        by_person[annotator] = (float(np.median(own)), int(own.size))
    said = {
        "pairs": pairs,
        "pair_count": int(found.n_shared.size),
        "pair_median": _number(np.median(kappas)) if kappas.size else None,
    }
    return said, by_person


def _hours(at: np.ndarray) -> dict[str, int]:
    """Answers by the hour (hours since 1970) of the last DAYS days."""
    hour = (at // _HOUR).astype(np.int64)
    recent = hour[hour >= int(timezone.now().timestamp()) // _HOUR - 24 * DAYS]
    hours, counts = np.unique(recent, return_counts=True)
    return dict(zip(map(str, hours.tolist()), counts.tolist(), strict=True))


def _projects(votes: Votes) -> dict[str, Any]:
    """Per project: all answers, and those of its last days by hour."""
    found = {}
    for project in np.unique(votes.project).tolist():
        at = votes.at[votes.project == project]
        found[str(project)] = {"answers": int(at.size), "first": float(at.min()), "hours": _hours(at)}
    return found


def _days(person: np.ndarray, at: np.ndarray, n_people: int) -> list[dict[str, int]]:
    """Of each person: answers by the day (days since 1970, UTC) of the last DAYS days."""
    first = int(timezone.now().timestamp()) // (24 * _HOUR) - DAYS + 1
    day = (at // (24 * _HOUR)).astype(np.int64) - first
    recent = (day >= 0) & (day < DAYS)
    counts = np.bincount(person[recent] * DAYS + day[recent], minlength=n_people * DAYS).reshape(-1, DAYS)
    return [{str(first + day): int(row[day]) for day in np.flatnonzero(row).tolist()} for row in counts]


def _people(
    votes: Votes, place: np.ndarray, label: np.ndarray, fitted: Fitted, gold: dict[int, int], told: np.ndarray
) -> dict[str, Any]:
    """told: candidates whose label is known (gold, or decided by a reviewer)."""
    ids = fitted.annotator_ids
    person = np.searchsorted(ids, votes.annotator)
    consensus = label[place]
    known = np.full(fitted.item_ids.size, -1, dtype=np.int64)
    at = np.flatnonzero(np.isin(fitted.item_ids, np.fromiter(gold, dtype=np.int64)))
    known[at] = [gold[int(candidate)] for candidate in fitted.item_ids[at]]
    is_gold = known[place] >= 0
    n = np.bincount(person, minlength=ids.size)
    agreeing = np.bincount(person, weights=votes.label == consensus, minlength=ids.size)
    n_gold = np.bincount(person, weights=is_gold, minlength=ids.size)
    right = np.bincount(person, weights=is_gold & (votes.label == known[place]), minlength=ids.size)
    mix = np.bincount(person * N_LABELS + votes.label, minlength=ids.size * N_LABELS).reshape(-1, N_LABELS)
    # A lone answer is its own consensus and tells nothing of who gave it.
    judged = (np.bincount(place) > 1)[place] | np.isin(votes.candidate, told)
    cells = ((person * N_LABELS + consensus) * N_LABELS + votes.label)[judged]
    confusion = np.bincount(cells, minlength=ids.size * N_LABELS**2).reshape(-1, N_LABELS, N_LABELS)
    accuracy, days = fitted.accuracy(), _days(person, votes.at, ids.size)
    read = pace(votes.annotator, votes.label, votes.seconds, votes.at, N_LABELS)
    people = {
        str(annotator): {
            "answers": int(n[row]),
            "agreement": float(agreeing[row] / n[row]),
            "median_seconds": round(float(read.median_seconds[row]), 4),
            "gold": int(n_gold[row]),
            "gold_right": int(right[row]),
            "labels": mix[row].tolist(),
            "confusion": confusion[row].tolist(),  # [consensus][given], on what others answered too or what is known
            "accuracy": round(float(accuracy[row]), 4),
            "days": days[row],
            **_odd(read, row),
        }
        for row, annotator in enumerate(ids.tolist())
    }
    return {"people": people, "median_seconds": round(read.everybody, 4)}


def _odd(read: Pace, row: int) -> dict[str, Any]:
    flags = {"fast": read.is_fast, "monotonous": read.is_monotonous, "regular": read.is_regular}
    return {
        "longest_run": int(read.longest_run[row]),
        "run_label": int(read.run_label[row]),
        "gap_spread": _number(read.gap_spread[row]),
        "odd": [name for name, flagged in flags.items() if flagged[row]],
    }


def _digits(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else round(float(value), 4)
