"""Dawid-Skene: true labels and annotators' confusions, found together by EM.

Source: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm",
Applied Statistics 28 (1979). Symbols: T[i, c] posterior, pi[a, c, l] confusion, p[c] prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from adproof.aggregation.votes import Floats, Ints, Votes

# log(0) would make one odd vote overrule all others; crowd-kit floors at the same value.
_FLOOR = 1e-10
# Items worked on at a time: their rows stay in the processor's cache, and memory does not grow with
# temporaries.
_BLOCK = 16_384


@dataclass(frozen=True)
class Consensus:
    """A fitted model.

    Attributes:
        item_ids: (N,) int64, sorted. label: (N,) int64, the most probable. posterior: (N, C) float64, rows
            sum to 1.
        annotator_ids: (A,) int64, sorted. n_labels: (A,) int64, how many votes each gave.
        confusion: (A, C, C) float64, confusion[a, c, l] = P(a answers l | truth c); rows sum to 1.
        crowd_confusion: (C, C) float64, the crowd's average; stands in for an annotator never seen.
        prior: (C,) float64, how common each label is among items that are not gold.
        iterations, converged: EM steps done, and whether the objective had come to rest.
        objective: mean over items of the log posterior density after each step; never falls.
    """

    item_ids: Ints
    label: Ints
    posterior: Floats
    annotator_ids: Ints
    n_labels: Ints
    confusion: Floats
    crowd_confusion: Floats
    prior: Floats
    iterations: int
    converged: bool
    objective: Floats

    def accuracy(self) -> Floats:
        """(A,) float64: the probability that the annotator is right on an item drawn from the prior."""
        diagonal: Floats = np.einsum("acc,c->a", self.confusion, self.prior)
        return diagonal

    def posterior_of(self, annotators: ArrayLike, labels: ArrayLike) -> Floats:
        """The posterior of ONE item from its votes, without a new fit: what a new annotation changes at once.

        Args: annotators: (v,) ids; unknown ones count as the crowd's average. labels: (v,) in 0..C-1.
        Returns: (C,) float64, sums to 1; the prior when there are no votes.
        """
        ids, label = np.asarray(annotators, dtype=np.int64), np.asarray(labels, dtype=np.int64)
        if ids.shape != label.shape or ids.ndim != 1:
            raise ValueError(f"annotators {ids.shape} and labels {label.shape} must be flat, of one length")
        if label.size and not (label.min() >= 0 and label.max() < self.prior.size):
            raise ValueError(f"labels must lie in 0..{self.prior.size - 1}")
        confusions = np.concatenate([self.confusion, self.crowd_confusion[None]])
        place = np.searchsorted(self.annotator_ids, ids)
        known = place < self.annotator_ids.size
        known[known] = self.annotator_ids[place[known]] == ids[known]
        rows = np.where(known, place, len(confusions) - 1)
        log_joint = _log(self.prior) + _log(confusions[rows, :, label]).sum(axis=0)
        joint = np.exp(log_joint - log_joint.max())
        posterior: Floats = joint / joint.sum()
        return posterior


# Layer k holds the k-th vote of every item that has more than k, in order of the items: annotator * C +
# label.
_Layers = list[Ints]


class _Prior(NamedTuple):
    """Dirichlet pseudo-votes of every annotator's row c: strength * mean[c]."""

    mean: Floats
    strength: float


@dataclass(frozen=True)
class DawidSkene:
    """Settings of the fit.

    strength: how many pseudo-votes the crowd's average weighs in each row of each annotator's confusion. It
        keeps an annotator with three labels from looking perfect or useless. 0 = maximum likelihood, as
        published (then EM starts from vote shares, as in crowd-kit).
    prior_accuracy: what the crowd is believed to be worth before its votes are seen; matters only when next
        to no item has two votes.
    max_iterations, tolerance: EM stops when the objective per item grows by less than the tolerance.
    """

    strength: float = 2.0
    prior_accuracy: float = 0.8
    max_iterations: int = 100
    tolerance: float = 1e-5

    def fit(
        self,
        items: ArrayLike,
        annotators: ArrayLike,
        labels: ArrayLike,
        n_classes: int,
        *,
        gold: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Consensus:
        """Fit to all votes at once.

        Args:
            items, annotators: (V,) integers, any ids. labels: (V,) integers in 0..n_classes-1.
            gold: (item ids, true labels): items whose truth is known. Their posterior stays one-hot and they
                do not count in the prior, because gold is picked and not drawn. Ids without votes are
                ignored.
        Returns: Consensus of the items that have votes. Linear in V: 3 million votes take some seconds.
        Raises: ValueError: see Votes.of; or there are no votes, or gold is not in 0..n_classes-1.
        """
        votes = Votes.of(items, annotators, labels, n_classes)
        if not votes.item.size:
            raise ValueError("there are no votes to aggregate")
        order, layers = _layers(votes)
        truth = _gold_of(votes, gold)[order]
        return self._expectation_maximisation(votes, order, layers, truth)

    def _expectation_maximisation(
        self, votes: Votes, order: Ints, layers: _Layers, truth: Ints
    ) -> Consensus:
        # posterior is (C, N) with items sorted by falling number of votes: then layer k touches the first
        # n_k columns, and no step has to gather or to sort.
        is_gold = truth >= 0
        crowd = _Prior(_crowd_confusion(votes, order, truth, self.prior_accuracy), self.strength)
        shares = (votes.counts[order] / votes.counts[order].sum(axis=1, keepdims=True)).T.copy()
        posterior = shares
        if self.strength > 0:
            everyone = np.broadcast_to(crowd.mean, (votes.n_annotators, *crowd.mean.shape))
            posterior, _ = _expect(layers, everyone, shares.mean(axis=1), shares.shape[1], truth)
        _fix_gold(posterior, truth)

        history: list[float] = []
        converged = False
        while len(history) < self.max_iterations and not converged:
            prior = posterior[:, ~is_gold].mean(axis=1) if not is_gold.all() else posterior.mean(axis=1)
            confusion = _confusions(layers, posterior, votes.n_annotators, crowd)
            posterior, log_evidence = _expect(layers, confusion, prior, posterior.shape[1], truth)
            history.append((log_evidence + _log_density(confusion, crowd)) / votes.n_items)
            converged = len(history) > 1 and history[-1] - history[-2] < self.tolerance

        by_item = np.empty((votes.n_items, votes.n_classes))
        by_item[order] = posterior.T
        return Consensus(
            item_ids=votes.item_ids,
            label=by_item.argmax(axis=1).astype(np.int64, copy=False),
            posterior=by_item,
            annotator_ids=votes.annotator_ids,
            n_labels=np.bincount(votes.annotator, minlength=votes.n_annotators),
            confusion=confusion,
            crowd_confusion=crowd.mean,
            prior=prior,
            iterations=len(history),
            converged=converged,
            objective=np.array(history),
        )


def _layers(votes: Votes) -> tuple[Ints, _Layers]:
    """Items by falling number of votes, and the votes cut into layers over the items in that order."""
    n_votes = np.bincount(votes.item, minlength=votes.n_items)
    order = np.argsort(-n_votes, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    by_rank = np.argsort(rank[votes.item], kind="stable")
    cell = (votes.annotator * votes.n_classes + votes.label)[by_rank]
    start = np.concatenate([[0], np.cumsum(n_votes[order])[:-1]])
    falling = n_votes[order]
    layers = []
    for k in range(int(falling[0])):
        n_k = int(np.searchsorted(-falling, -k, side="left"))  # items with more than k votes
        layers.append(cell[start[:n_k] + k])
    return order, layers


def _gold_of(votes: Votes, gold: tuple[ArrayLike, ArrayLike] | None) -> Ints:
    """(N,) int64: the known label of each item, -1 where it is not known."""
    truth = np.full(votes.n_items, -1, dtype=np.int64)
    if gold is None:
        return truth
    ids, labels = np.asarray(gold[0], dtype=np.int64), np.asarray(gold[1], dtype=np.int64)
    if ids.shape != labels.shape or ids.ndim != 1:
        raise ValueError(f"gold ids {ids.shape} and labels {labels.shape} must be flat, of one length")
    if labels.size and not (labels.min() >= 0 and labels.max() < votes.n_classes):
        raise ValueError(f"gold labels must lie in 0..{votes.n_classes - 1}")
    place = np.searchsorted(votes.item_ids, ids)
    has_votes = place < votes.n_items
    has_votes[has_votes] = votes.item_ids[place[has_votes]] == ids[has_votes]
    truth[place[has_votes]] = labels[has_votes]
    return truth


def _fix_gold(posterior: Floats, truth: Ints) -> None:
    known = np.flatnonzero(truth >= 0)
    posterior[:, known] = 0.0
    posterior[truth[known], known] = 1.0


def _crowd_confusion(votes: Votes, order: Ints, truth: Ints, prior_accuracy: float) -> Floats:
    """(C, C): the average annotator against gold and against vote shares.

    A lone vote agrees with itself and says nothing about its annotator, so items with one vote are left out;
    ten pseudo-votes a row of an annotator right with prior_accuracy stand for what is then missing.
    """
    n_classes = votes.n_classes
    counts = votes.counts[order]
    reference = counts / counts.sum(axis=1, keepdims=True)
    known = np.flatnonzero(truth >= 0)
    reference[known] = np.eye(n_classes)[truth[known]]
    tells = (counts.sum(axis=1) > 1) | (truth >= 0)
    seen = reference[tells].T @ counts[tells]
    believed = np.full((n_classes, n_classes), (1 - prior_accuracy) / (n_classes - 1))
    np.fill_diagonal(believed, prior_accuracy)
    total = seen + 10 * believed
    mean: Floats = total / total.sum(axis=1, keepdims=True)
    return mean


def _confusions(layers: _Layers, posterior: Floats, n_annotators: int, crowd: _Prior) -> Floats:
    """M step: (A, C, C), the posterior-weighted counts of each annotator plus the pseudo-votes, rows
    normalised."""
    n_classes = posterior.shape[0]
    weight = np.zeros((n_classes, n_annotators * n_classes))
    for layer in layers:
        n_k = layer.size
        for c in range(n_classes):
            weight[c] += np.bincount(layer, weights=posterior[c, :n_k], minlength=weight.shape[1])
    counts = weight.reshape(n_classes, n_annotators, n_classes).transpose(1, 0, 2)
    counts = np.maximum(counts + crowd.strength * crowd.mean, _FLOOR)
    confusion: Floats = counts / counts.sum(axis=2, keepdims=True)
    return confusion


def _expect(
    layers: _Layers, confusion: Floats, prior: Floats, n_items: int, truth: Ints
) -> tuple[Floats, float]:
    """E step: (C, N) posterior with gold fixed, and the log evidence of all votes (natural log)."""
    # row = truth, column = annotator * C + label
    table = np.ascontiguousarray(_log(confusion).transpose(1, 0, 2)).reshape(prior.size, -1)
    posterior = np.empty((prior.size, n_items))
    evidence = 0.0
    for start in range(0, n_items, _BLOCK):
        block = slice(start, min(start + _BLOCK, n_items))
        log_joint = posterior[:, block]
        log_joint[:] = _log(prior)[:, None]
        for layer in layers:
            cell = layer[block]
            if not cell.size:  # layers grow shorter
                break
            for c in range(prior.size):
                log_joint[c, : cell.size] += table[c].take(cell)
        evidence += _normalise(log_joint, prior, truth[block])
    return posterior, evidence


def _normalise(log_joint: Floats, prior: Floats, truth: Ints) -> float:
    """(C, n) log joint -> posterior, in place; gold becomes one-hot. Returns the log evidence of these
    items."""
    known = np.flatnonzero(truth >= 0)
    # Of gold the truth is given: its evidence is the likelihood of its votes alone.
    gold_evidence = (log_joint[truth[known], known] - _log(prior)[truth[known]]).sum()
    top = log_joint.max(axis=0)
    log_joint -= top
    np.exp(log_joint, out=log_joint)
    total = log_joint.sum(axis=0)
    log_joint /= total
    _fix_gold(log_joint, truth)
    return float((np.log(total) + top)[truth < 0].sum() + gold_evidence)


def _log_density(confusion: Floats, crowd: _Prior) -> float:
    """Log density of the Dirichlet pseudo-votes, up to a constant; 0 without them."""
    if crowd.strength == 0:
        return 0.0
    return float(crowd.strength * (crowd.mean * _log(confusion)).sum())


def _log(probability: Floats) -> Floats:
    floored: Floats = np.log(np.maximum(probability, _FLOOR))
    return floored
