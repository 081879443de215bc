"""Label errors by confident learning: against figures worked out by hand, and against cleanlab where it is installed."""

import numpy as np
import pytest

from adproof.aggregation.confident_learning import find_label_errors

# Two classes. Thresholds: mean of p(0) over the first three = (0.9 + 0.8 + 0.1) / 3 = 0.6; of p(1) over the others
# = (0.9 + 0.7 + 0.2) / 3 = 0.6.
LABELS = np.array([0, 0, 0, 1, 1, 1])
PROBS = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]])


def simulated(n=3000, k=5, wrong=0.1, seed=1):
    """(true, given, probs): a classifier that is right in 85 of 100 and knows how sure it is."""
    rng = np.random.default_rng(seed)
    true = rng.choice(k, n, p=[0.5, 0.15, 0.1, 0.15, 0.1])
    given = np.where(rng.random(n) < wrong, (true + rng.integers(1, k, n)) % k, true)
    logits = rng.normal(0, 1, (n, k))
    logits[np.arange(n), true] += 2.6
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, given, probs


class TestByHand:
    def test_thresholds_suspects_and_joint(self):
        found = find_label_errors(LABELS, PROBS)
        assert found.thresholds == pytest.approx([0.6, 0.6])
        assert found.rows.tolist() == [2, 5] and found.guesses.tolist() == [1, 0]
        assert found.self_confidence == pytest.approx([0.1, 0.2])
        assert found.joint == pytest.approx(np.array([[2.0, 1.0], [1.0, 2.0]])) and found.estimated == pytest.approx(2)

    def test_the_joint_has_as_many_of_each_label_as_there_are(self):
        _, given, probs = simulated()
        found = find_label_errors(given, probs)
        assert found.joint.sum(axis=1) == pytest.approx(np.bincount(given))

    def test_who_is_confident_of_nothing_is_no_suspect(self):
        found = find_label_errors(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9], [0.2, 0.8]]))
        assert found.thresholds == pytest.approx([0.675, 0.85])
        assert found.rows.size == 0

    def test_a_label_that_the_classifier_would_give_too_is_no_suspect(self):
        """Its own class's threshold is high, another's is low: 0.5 of class 0 is below 0.7, 0.3 of class 1 reaches 0.3."""
        labels = np.array([0, 0, 1])
        probs = np.array([[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
        assert find_label_errors(labels, probs).rows.size == 0

    def test_a_class_that_nobody_has_gets_no_suspects(self):
        found = find_label_errors(np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]]))
        assert np.isnan(found.thresholds[1]) and found.rows.size == 0

    def test_nothing_at_all(self):
        found = find_label_errors(np.empty(0, int), np.empty((0, 5)))
        assert found.rows.size == 0 and found.estimated == 0


class TestFindingThem:
    def test_most_wrong_labels_are_found_and_most_suspects_are_wrong(self):
        true, given, probs = simulated()
        rows = find_label_errors(given, probs).rows
        wrong = given != true
        assert wrong[rows].mean() > 0.8 and wrong[rows].sum() / wrong.sum() > 0.65

    def test_the_first_are_the_surest(self):
        true, given, probs = simulated()
        rows = find_label_errors(given, probs).rows
        wrong = given[rows] != true[rows]
        assert wrong[:100].mean() > 0.9 and wrong[:100].mean() >= wrong[-100:].mean()

    def test_the_estimate_is_near_the_truth(self):
        true, given, probs = simulated(n=20_000)
        assert find_label_errors(given, probs).estimated == pytest.approx((true != given).sum(), rel=0.35)

    def test_it_is_what_cleanlab_finds(self):
        filter_ = pytest.importorskip("cleanlab.filter")
        _, given, probs = simulated()
        theirs = filter_.find_label_issues(
            given, probs, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
        )
        assert find_label_errors(given, probs).rows.tolist() == theirs.tolist()


class TestWhatItRefuses:
    @pytest.mark.parametrize(
        ("labels", "probs"),
        [
            ([0, 1], [[0.5, 0.5]]),
            ([0], [[0.5, 0.6]]),
            ([0], [[1.5, -0.5]]),
            ([0], [[np.nan, 1.0]]),
            ([2], [[0.5, 0.5]]),
            ([-1], [[0.5, 0.5]]),
            ([0.5], [[0.5, 0.5]]),
        ],
    )
    def test_says_so(self, labels, probs):
        with pytest.raises(ValueError, match="."):
            find_label_errors(np.array(labels), np.array(probs))
