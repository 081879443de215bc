"""Aggregation of votes: our Dawid-Skene beside a plain numpy bincount EM and majority vote, same votes."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from adproof.aggregation.agreement import krippendorff_alpha
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.aggregation.majority import majority

Ints = np.ndarray
N_CLASSES = 5
VOTES_PER_ITEM = 3


def simulate(n_items: int, n_annotators: int, rng: np.random.Generator) -> tuple[Ints, ...]:
    """truth, items, annotators, labels; annotators right with Beta(16, 4), wrong evenly."""
    truth = rng.choice(N_CLASSES, n_items, p=[0.5, 0.15, 0.1, 0.15, 0.1])
    items = np.repeat(np.arange(n_items), VOTES_PER_ITEM)
    annotators = rng.integers(0, n_annotators, items.size)
    right = rng.random(items.size) < rng.beta(16, 4, n_annotators)[annotators]
    wrong = (truth[items] + rng.integers(1, N_CLASSES, items.size)) % N_CLASSES
    return truth, items, annotators, np.where(right, truth[items], wrong)


def plain_em(items: Ints, annotators: Ints, labels: Ints, iterations: int) -> Ints:
    """Dawid-Skene as one writes it down with bincount: the yardstick. Ids must be codes. Gives labels."""
    n_items, n_annotators = items.max() + 1, annotators.max() + 1
    cell = annotators * N_CLASSES + labels
    votes = np.bincount(items * N_CLASSES + labels, minlength=n_items * N_CLASSES)
    posterior = votes.reshape(n_items, N_CLASSES) / VOTES_PER_ITEM
    for _ in range(iterations):
        prior = posterior.mean(axis=0)
        log_joint = np.tile(np.log(prior), (n_items, 1))
        for c in range(N_CLASSES):
            counts = np.bincount(cell, weights=posterior[items, c], minlength=n_annotators * N_CLASSES)
            confusion = np.maximum(counts.reshape(n_annotators, N_CLASSES), 1e-10)
            confusion /= confusion.sum(axis=1, keepdims=True)
            log_joint[:, c] += np.bincount(items, weights=np.log(confusion).ravel()[cell], minlength=n_items)
        posterior = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior.argmax(axis=1)


def alpha_only(rng: np.random.Generator, votes: Sequence[np.ndarray]) -> None:
    krippendorff_alpha(*votes, N_CLASSES, rng=rng)


def best_times(
    methods: dict[str, Callable[[], Ints | None]], truth: Ints, repeats: int
) -> list[tuple[str, float, float | None]]:
    """(name, seconds, accuracy) of each; in turn, so that a busy moment of the machine hits all alike."""
    seconds = dict.fromkeys(methods, float("inf"))
    accuracy: dict[str, float | None] = {}
    for _ in range(repeats):
        for name, method in methods.items():
            started = time.perf_counter()
            found = method()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            accuracy[name] = None if found is None else float((found == truth).mean())
    return [(name, seconds[name], accuracy[name]) for name in methods]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench aggregation", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="turns; the best time of each method counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100,000 items")
    args = parser.parse_args(argv)
    n_items = 100_000 if args.quick else args.items
    truth, *votes = simulate(n_items, args.annotators, np.random.default_rng(args.seed))

    exact = DawidSkene(strength=0, max_iterations=args.iterations, tolerance=-1)
    alpha_rng = np.random.default_rng(args.seed)
    methods: dict[str, Callable[[], Ints | None]] = {
        "majority vote": lambda: majority(*votes, N_CLASSES).label,
        f"plain bincount EM, {args.iterations} steps": lambda: plain_em(*votes, args.iterations),
        f"Dawid-Skene, {args.iterations} steps": lambda: exact.fit(*votes, N_CLASSES).label,
        "Dawid-Skene, default, to rest": lambda: DawidSkene().fit(*votes, N_CLASSES).label,
        "alpha with interval (1,000 draws)": lambda: alpha_only(alpha_rng, votes),
    }
    rows = best_times(methods, truth, args.repeats)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    print(f"{n_items:,} items x {VOTES_PER_ITEM} votes, {N_CLASSES} labels, {args.annotators} annotators")
    print(f"{'method (best of ' + str(args.repeats) + ')':36}{'seconds':>10}{'accuracy':>10}")
    for name, seconds, accuracy in rows:
        print(f"{name:36}{seconds:10.2f}{'' if accuracy is None else f'{accuracy:10.4f}'}")
    plain, ours = rows[1][1], rows[2][1]
    print(json.dumps({
        "items": n_items,
        "plain_em_s": round(plain, 3),
        "dawid_skene_s": round(ours, 3),
        "ratio_to_plain_em": round(ours / plain, 3),
        "default_s": round(rows[3][1], 3),
        "accuracy": round(rows[2][2] or 0.0, 4),
        "majority_accuracy": round(rows[0][2] or 0.0, 4),
        "peak_mb": round(peak_mb),
    }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
