"""How annotators work: what is odd is flagged, and what is only fast or lucky is not."""

import numpy as np
import pytest

from adproof.aggregation.crowdlab import activelab_of_votes
from adproof.aggregation.pace import longest_run, pace

SHARES = [0.5, 0.2, 0.1, 0.1, 0.1]


def person(rng, number, n=200, median=4.0, label=None, gaps=None):
    seconds = rng.lognormal(np.log(median), 0.5, n)
    labels = rng.choice(5, n, p=SHARES) if label is None else np.full(n, label)
    between = rng.lognormal(np.log(median), 0.5, n) if gaps is None else np.full(n, gaps) + rng.normal(0, 0.05, n)
    return np.full(n, number), labels, seconds, 1e9 + np.cumsum(between)


def read(*people):
    return pace(*(np.concatenate(column) for column in zip(*people, strict=True)), 5)


def test_people_who_work_as_people_do_are_not_flagged():
    rng = np.random.default_rng(0)
    found = read(*(person(rng, number, median=2.5 + number % 4) for number in range(40)))
    assert not (found.is_fast | found.is_monotonous | found.is_regular).any()
    assert found.everybody == pytest.approx(4, abs=0.5)


def test_each_oddity_is_told_from_the_others():
    rng = np.random.default_rng(1)
    usual = [person(rng, number) for number in range(5)]
    found = read(*usual, person(rng, 10, median=0.8), person(rng, 11, label=0), person(rng, 12, gaps=3.0))
    assert found.annotator_ids[found.is_fast].tolist() == [10]
    assert found.annotator_ids[found.is_monotonous].tolist() == [11]
    assert found.annotator_ids[found.is_regular].tolist() == [12]
    assert (found.longest_run[6], found.run_label[6]) == (200, 0)


def test_a_few_answers_are_no_ground_for_suspicion():
    rng = np.random.default_rng(2)
    usual = [person(rng, number) for number in range(5)]
    found = read(*usual, person(rng, 10, n=29, median=0.2, label=3, gaps=1.0))
    assert not (found.is_fast | found.is_monotonous | found.is_regular)[5]
    assert np.isnan(found.gap_spread[5])


def test_where_nearly_all_is_one_label_its_long_runs_are_usual():
    rng = np.random.default_rng(3)
    people = [(who, np.where(rng.random(200) < 0.97, 0, 1), s, at) for who, _, s, at in
              (person(rng, number) for number in range(4))]
    assert not read(*people).is_monotonous.any()


def test_breaks_and_answers_sent_together_do_not_count_as_gaps():
    rng = np.random.default_rng(4)
    who, labels, seconds, at = person(rng, 1, gaps=3.0)
    at[100:] += 3600
    at[50] = at[49]
    assert read((who, labels, seconds, at)).is_regular.tolist() == [True]


def test_the_longest_run():
    assert longest_run(np.array([1, 1, 0, 0, 0, 2])) == (3, 0)
    assert longest_run(np.array([4])) == (1, 4)
    assert longest_run(np.array([1, 1, 2, 2])) == (2, 1)


def test_it_refuses_what_is_no_work():
    with pytest.raises(ValueError, match="no answers"):
        pace([], [], [], [], 5)
    with pytest.raises(ValueError, match="0..4"):
        pace([1], [5], [1.0], [1.0], 5)
    with pytest.raises(ValueError, match="one length"):
        pace([1, 2], [1], [1.0], [1.0], 5)


def test_activelab_of_votes_asks_where_little_is_known():
    scores = activelab_of_votes([0.6, 0.6, 0.99, 0.5], [1, 3, 3, 0], 5)
    assert scores[1] == pytest.approx((0.6 * 3 + 0.2) / 4)
    assert scores.argsort().tolist() == [3, 0, 1, 2]
    with pytest.raises(ValueError, match="0..1"):
        activelab_of_votes([1.2], [1], 5)
    with pytest.raises(ValueError, match="one length"):
        activelab_of_votes([1.0], [1, 2], 5)
