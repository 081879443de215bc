"""CROWDLAB: annotators and a classifier weighed together; ActiveLab: which items are worth one more label.

Sources: Goh, Tkachenko and Mueller, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for
data with multiple annotators" (2022); Goh and Mueller, "ActiveLab: Active Learning with Re-Labeling by Multiple
Annotators" (2023). Symbols as there: P, s_j, w_j, w_M, A_M, A_MLC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from adproof.aggregation.votes import Floats, Ints, Votes

# The least weight, and the least error of always answering the commonest label: neither may be 0.
_LEAST = 1e-6


@dataclass(frozen=True)
class Crowdlab:
    """What votes and classifier add up to.

    Attributes:
        item_ids: (N,) int64, sorted: the items that have votes. label: (N,) int64, the most probable.
        posterior: (N, C) float64, rows sum to 1. quality: (N,) float64 in [0, 1], the posterior of the label.
        activelab: (N,) float64 in [0, 1]; the LOWEST scores are most worth one more label.
        has_model: (N,) bool, whether the classifier had a say.
        annotator_ids: (A,) int64, sorted. weight: (A,) float64 in [1e-6, 1], w_j.
        annotator_quality: (A,) float64 in [0, 1].
        model_weight: w_M, 0 or more. crowd_accuracy: P, the share of votes that equal the majority.
    """

    item_ids: Ints
    label: Ints
    posterior: Floats
    quality: Floats
    activelab: Floats
    has_model: np.ndarray
    annotator_ids: Ints
    weight: Floats
    annotator_quality: Floats
    model_weight: float
    crowd_accuracy: float

    def activelab_unlabelled(self, probs: ArrayLike) -> Floats:
        """ActiveLab scores of items without votes, on the same scale as `activelab`.

        Args: probs: (M, C) the classifier's probabilities. Returns: (M,) float64.
        Raises: ValueError: probs are no probabilities of C labels.
        """
        n_classes = self.posterior.shape[1]
        p = _probabilities(probs, n_classes)
        mean = float(self.weight.mean())
        scores: Floats = (self.model_weight * p.max(axis=1) + mean / n_classes) / (self.model_weight + mean)
        return scores


def crowdlab(
    items: ArrayLike,
    annotators: ArrayLike,
    labels: ArrayLike,
    n_classes: int,
    *,
    model_items: ArrayLike,
    model_probs: ArrayLike,
) -> Crowdlab:
    """Weigh all votes and the classifier's probabilities.

    Args:
        items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
        model_items: (M,) integers, each once. model_probs: (M, n_classes), rows sum to 1: OUT-OF-SAMPLE, of a
            classifier that was not trained on these items, and calibrated; else it is trusted too much. Items
            without votes are ignored; items with votes but no row here are judged by their annotators alone.
    Raises: ValueError: see Votes.of; no item has two votes, or none of those a probability (then use
        DawidSkene); an item of the classifier is named twice; model_probs are no probabilities.
    """
    votes = Votes.of(items, annotators, labels, n_classes)
    probs, has_model = _place_probabilities(votes, model_items, model_probs)
    counts = votes.counts
    n_votes = counts.sum(axis=1)
    several = n_votes > 1
    if not several.any():
        raise ValueError("CROWDLAB needs items with two votes or more: use DawidSkene")
    if not (several & has_model).any():
        raise ValueError("no item with two votes has a probability of the classifier: use DawidSkene")

    # Ties of the majority go to the label that the classifier finds more probable (probs < 1 can't outweigh a vote).
    majority = (counts + probs * 0.5).argmax(axis=1)
    agreeing = np.take_along_axis(counts, majority[:, None], axis=1)[:, 0]
    accuracy = float((agreeing[several] / n_votes[several]).mean())
    # A_MLC and A_M: how often the commonest label, and the classifier, equal the majority.
    commonest = np.bincount(majority[several], minlength=n_classes).max() / several.sum()
    baseline_error = max(float(1 - commonest), _LEAST)
    judged = several & has_model
    model_error = float((probs[judged].argmax(axis=1) != majority[judged]).mean())
    model_weight = max(1 - model_error / baseline_error, _LEAST) * float(np.sqrt(n_votes.mean()))
    weight = np.maximum(1 - (1 - _agreement_with_others(votes, counts, n_votes)) / baseline_error, _LEAST)

    item_weight = np.bincount(votes.item, weights=weight[votes.annotator], minlength=votes.n_items).astype(
        np.float64, copy=False
    )
    own_model_weight = np.where(has_model, model_weight, 0.0)
    posterior = _pool(votes, weight, item_weight, accuracy) + own_model_weight[:, None] * probs
    total = item_weight + own_model_weight
    posterior /= total[:, None]
    label = posterior.argmax(axis=1).astype(np.int64, copy=False)
    quality: Floats = np.take_along_axis(posterior, label[:, None], axis=1)[:, 0]
    mean = float(weight.mean())
    return Crowdlab(
        item_ids=votes.item_ids,
        label=label,
        posterior=posterior,
        quality=quality,
        # As if one more average annotator had said nothing: the answer that is to be asked for.
        activelab=(quality * total + mean / n_classes) / (total + mean),
        has_model=has_model,
        annotator_ids=votes.annotator_ids,
        weight=weight,
        annotator_quality=_annotator_quality(votes, posterior, label, several, model_weight, float(item_weight.mean())),
        model_weight=model_weight,
        crowd_accuracy=accuracy,
    )


def activelab_of_votes(quality: ArrayLike, n_votes: ArrayLike, n_classes: int) -> Floats:
    """ActiveLab scores where there is no classifier: all annotators weigh the same, and the consensus may come from
    any method (w_M = 0 and w_j = 1 in the paper's formula).

    Args: quality: (N,) the probability that the consensus is right. n_votes: (N,) 0 or more.
    Returns: (N,) in [0, 1]; the LOWEST scores are most worth one more label.
    Raises: ValueError: lengths differ, or a quality outside 0..1.
    """
    q, n = np.asarray(quality, dtype=np.float64), np.asarray(n_votes, dtype=np.float64)
    if q.shape != n.shape:
        raise ValueError(f"quality {q.shape} and n_votes {n.shape} must be of one length")
    if not ((q >= 0) & (q <= 1)).all():
        raise ValueError("quality must lie in 0..1")
    scores: Floats = (q * n + 1 / n_classes) / (n + 1)
    return scores


def _probabilities(probs: ArrayLike, n_classes: int) -> Floats:
    p = np.asarray(probs, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != n_classes:
        raise ValueError(f"probabilities must be (M, {n_classes}), not {p.shape}")
    if not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("probabilities must be 0 or more, and each row must sum to 1")
    return p


def _place_probabilities(votes: Votes, ids: ArrayLike, probs: ArrayLike) -> tuple[Floats, np.ndarray]:
    """(N, C) probabilities of the voted items, 0 where there are none, and (N,) bool where there are."""
    p, item = _probabilities(probs, votes.n_classes), np.asarray(ids)
    if item.shape != (len(p),):
        raise ValueError(f"{len(p)} rows of probabilities, but model_items has shape {item.shape}")
    if item.size and item.dtype.kind not in "iu":
        raise ValueError(f"model_items must be integers, not {item.dtype}")
    if np.unique(item).size != item.size:
        raise ValueError("an item of the classifier is named twice: choose one probability for each")
    placed, has_model = np.zeros((votes.n_items, votes.n_classes)), np.zeros(votes.n_items, dtype=bool)
    place = np.searchsorted(votes.item_ids, item)
    known = place < votes.n_items
    known[known] = votes.item_ids[place[known]] == item[known]
    placed[place[known]], has_model[place[known]] = p[known], True
    return placed, has_model


def _agreement_with_others(votes: Votes, counts: Ints, n_votes: Ints) -> Floats:
    """(A,) s_j: of all other votes on an annotator's items, the share that says the same; the mean if there are none."""
    others = np.bincount(votes.annotator, weights=n_votes[votes.item] - 1, minlength=votes.n_annotators)
    same = np.bincount(votes.annotator, weights=counts[votes.item, votes.label] - 1, minlength=votes.n_annotators)
    mean = same.sum() / others.sum()
    agreement: Floats = np.where(others > 0, same / np.maximum(others, 1), mean)
    return agreement


def _pool(votes: Votes, weight: Floats, item_weight: Floats, accuracy: float) -> Floats:
    """(N, C) sums over an item's annotators of w_j times P for the label given, (1 - P) / (C - 1) for each other."""
    wrong = (1 - accuracy) / (votes.n_classes - 1)
    cell = votes.item * votes.n_classes + votes.label
    given = np.bincount(cell, weights=weight[votes.annotator], minlength=votes.n_items * votes.n_classes)
    pooled: Floats = item_weight[:, None] * wrong + given.reshape(votes.n_items, -1) * (accuracy - wrong)
    return pooled


def _annotator_quality(
    votes: Votes, posterior: Floats, label: Ints, several: np.ndarray, model_weight: float, votes_weight: float
) -> Floats:
    """(A,) mean posterior of an annotator's labels, and agreement with the consensus where others voted too."""
    n_given = np.bincount(votes.annotator, minlength=votes.n_annotators)
    believed = (
        np.bincount(votes.annotator, weights=posterior[votes.item, votes.label], minlength=votes.n_annotators) / n_given
    )
    shared = several[votes.item]
    n_shared = np.bincount(votes.annotator, weights=shared, minlength=votes.n_annotators)
    right = np.bincount(
        votes.annotator, weights=shared & (votes.label == label[votes.item]), minlength=votes.n_annotators
    )
    agreement = np.where(n_shared > 0, right / np.maximum(n_shared, 1), believed)
    share = model_weight / (model_weight + votes_weight)
    quality: Floats = share * believed + (1 - share) * agreement
    return quality
