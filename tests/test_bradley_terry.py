"""Strengths from preferences: by hand, on simulated people, and where the data say nothing."""

import numpy as np
import pytest

from adproof.aggregation.bradley_terry import FIRST, SECOND, TIE, fit, fit_counts, grouped_error, leave_one_out


def repeated(*rows):
    """(first, second, outcome, how often) -> three columns."""
    first, second, outcome, times = np.array(rows).T
    return np.repeat(first, times), np.repeat(second, times), np.repeat(outcome, times)


class TestByHand:
    def test_three_to_one_is_log_three(self):
        found = fit(*repeated((0, 1, FIRST, 300), (0, 1, SECOND, 100)), n=2, prior_sd=1e3)
        assert found.strength[0] - found.strength[1] == pytest.approx(np.log(3), abs=1e-3)

    def test_equals_that_tie_in_half_have_a_tie_parameter_of_log_two(self):
        # exp(t) : 1 : 1 with a share of 1/2 means exp(t) = 2.
        found = fit(*repeated((0, 1, FIRST, 100), (0, 1, SECOND, 100), (0, 1, TIE, 200)), n=2, prior_sd=1e3)
        assert found.tie == pytest.approx(np.log(2), abs=1e-3)
        assert found.strength == pytest.approx([0, 0], abs=1e-9)

    def test_the_standard_error_is_that_of_a_logit(self):
        # The difference of two without ties is a binomial's logit: variance 1/wins + 1/losses.
        found = fit(*repeated((0, 1, FIRST, 300), (0, 1, SECOND, 100)), n=2, prior_sd=1e3)
        difference = np.array([1, -1])
        assert difference @ found.covariance @ difference == pytest.approx(1 / 300 + 1 / 100, rel=1e-2)

    def test_who_is_called_first_does_not_matter(self):
        one = fit(*repeated((0, 1, FIRST, 7), (1, 2, SECOND, 4), (0, 2, TIE, 3)), n=3)
        other = fit(*repeated((1, 0, SECOND, 7), (2, 1, FIRST, 4), (2, 0, TIE, 3)), n=3)
        assert one.strength == pytest.approx(other.strength)


def simulated(strength, tie, m, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(strength), m)
    second = (first + rng.integers(1, len(strength), m)) % len(strength)
    a, b = strength[first], strength[second]
    weights = np.exp(np.stack([a, b, tie + (a + b) / 2], axis=1))
    outcome = (rng.random((m, 1)) > np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    return first, second, outcome


class TestSimulated:
    def test_strengths_and_ties_are_found_again(self):
        true = np.linspace(-1.5, 1.5, 12)
        found = fit(*simulated(true, -0.5, 40_000), n=12)
        assert np.abs(found.strength - true).max() < 0.1
        assert found.tie == pytest.approx(-0.5, abs=0.05)

    def test_intervals_hold_the_truth_as_often_as_they_say(self):
        true = np.linspace(-1, 1, 8)
        held = []
        for seed in range(150):
            low, high = fit(*simulated(true, 0.0, 600, seed), n=8).interval()
            held.append((low <= true) & (true <= high))
        assert 0.92 < np.mean(held) < 0.98


class TestWhatTheDataDoNotSay:
    def test_never_beaten_is_finite_and_uncertain(self):
        found = fit(*repeated((0, 1, FIRST, 20), (1, 2, FIRST, 10), (1, 2, SECOND, 10)), n=3)
        assert np.isfinite(found.strength).all() and found.strength[0] > found.strength[1]
        assert found.standard_error[0] > found.standard_error[2]

    def test_groups_never_compared_are_told_apart(self):
        rows = repeated((0, 1, FIRST, 60), (0, 1, SECOND, 20), (2, 3, FIRST, 60), (2, 3, SECOND, 20))
        found = fit(*rows, n=5)
        assert found.group.tolist() == [0, 0, 2, 2, 4]
        within, across = np.array([1, -1, 0, 0, 0]), np.array([1, 0, -1, 0, 0])
        assert across @ found.covariance @ across > 10 * (within @ found.covariance @ within)
        assert found.compared.tolist() == [80, 80, 80, 80, 0]

    def test_a_long_chain_is_one_group(self):
        order = np.random.default_rng(3).permutation(200)
        found = fit(order[:-1], order[1:], np.zeros(199, int), n=200)
        assert set(found.group.tolist()) == {0}

    def test_nothing_compared_leaves_everything_at_the_mean(self):
        found = fit([], [], [], n=3)
        assert found.strength.tolist() == [0, 0, 0] and found.compared.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (([0], [0], [FIRST]), "itself"),
        (([0], [3], [FIRST]), "from 0 to 2"),
        (([0], [-1], [FIRST]), "from 0 to 2"),
        (([0], [1], [3]), "outcome"),
        (([0, 1], [1], [0]), "equally long"),
        (([0.5], [1.0], [0]), "integers"),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows, says):
    with pytest.raises(ValueError, match=says):
        fit(*rows, n=3)


class TestFromCounts:
    def test_counts_give_what_single_answers_give_in_whatever_order(self):
        single = fit(*repeated((0, 1, FIRST, 7), (1, 2, SECOND, 4), (0, 2, TIE, 3), (0, 1, SECOND, 2)), n=3)
        counted = fit_counts([1, 1, 2], [0, 2, 0], [[2, 7, 0], [0, 4, 0], [0, 0, 3]], 3)
        assert counted.strength == pytest.approx(single.strength, abs=1e-9)
        assert counted.standard_error == pytest.approx(single.standard_error, abs=1e-9)
        assert counted.tie == pytest.approx(single.tie, abs=1e-9)
        assert list(counted.compared) == list(single.compared)

    def test_a_million_answers_cost_what_one_hundred_cost(self):
        assert fit_counts([0], [1], [[600_000, 400_000, 0]], 2).strength[0] == pytest.approx(np.log(1.5) / 2, abs=1e-3)

    @pytest.mark.parametrize("counts", [[[1, 2]], [[1, 2, -1]], [[1, 2, float("nan")]], [[1, 2, 3], [1, 2, 3]]])
    def test_counts_that_make_no_sense_are_refused(self, counts):
        with pytest.raises(ValueError, match="counts must be"):
            fit_counts([0], [1], counts, 2)

    def test_nothing_compared_says_nothing(self):
        assert list(fit_counts(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), 2).strength) == [0, 0]


class TestGroupedErrors:
    def test_answers_that_do_not_hang_together_have_the_error_of_the_fit(self):
        rng = np.random.default_rng(0)
        counts = rng.multinomial(40, [0.5, 0.3, 0.2], size=(200, 1)).astype(float)
        found = fit_counts([0], [1], counts.sum(axis=0), 2)
        contrast = np.array([1, -1])
        usual = np.sqrt(contrast @ found.covariance @ contrast)
        assert grouped_error(leave_one_out([0], [1], counts, 2), contrast) == pytest.approx(usual, rel=0.15)

    def test_groups_of_one_mind_are_worth_one_answer_each(self):
        """100 groups, each of ten that say the same: the error is that of 100, not of 1000."""
        rng = np.random.default_rng(1)
        wins = rng.random(100) < 0.6
        counts = np.stack([[[10.0 * win, 10.0 * (not win), 0.0]] for win in wins])
        contrast = np.array([1, -1])
        expected = np.sqrt(1 / wins.sum() + 1 / (100 - wins.sum()))
        assert grouped_error(leave_one_out([0], [1], counts, 2), contrast) == pytest.approx(expected, rel=0.1)

    def test_one_group_tells_no_error(self):
        assert np.isnan(grouped_error(leave_one_out([0], [1], np.ones((1, 1, 3)), 2), [1, -1]))
