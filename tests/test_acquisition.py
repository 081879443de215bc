"""Which candidates people see next."""

import numpy as np
import pytest

from adproof.acquisition.picking import doubt, pick

SURE, DOUBTFUL, TORN = [0.96, 0.01, 0.01, 0.01, 0.01], [0.4, 0.2, 0.2, 0.1, 0.1], [0.5, 0.48, 0.01, 0.005, 0.005]


def pool(n, rng, n_products=None):
    probs = rng.dirichlet(np.ones(5) * 0.7, n)
    return probs, rng.integers(0, n_products or n, n)


def test_doubt_by_hand():
    p = np.array([[1, 0, 0, 0, 0], [0.2] * 5, [0.5, 0.5, 0, 0, 0]])
    assert doubt(p, "margin").tolist() == pytest.approx([0, 1, 1])
    assert doubt(p, "least_confidence").tolist() == pytest.approx([0, 1, 0.625])
    assert doubt(p, "entropy").tolist() == pytest.approx([0, 1, np.log(2) / np.log(5)])


@pytest.mark.parametrize("strategy, first", [("margin", 2), ("entropy", 1), ("least_confidence", 1)])
def test_the_most_doubtful_come_first(strategy, first):
    picked = pick(np.array([SURE, DOUBTFUL, TORN]), np.arange(3), 2, np.random.default_rng(0), 0.0, None, strategy)
    assert picked.index[0] == first
    assert set(picked.index) == {1, 2}
    assert picked.reason == (strategy, strategy)
    assert picked.inclusion_probability.tolist() == [1, 1]
    assert (np.diff(picked.score) <= 0).all()


def test_a_share_of_the_batch_is_drawn_at_random_from_all_the_rest():
    rng = np.random.default_rng(1)
    probs, products = pool(500, rng)
    picked = pick(probs, products, 50, rng, random_share=0.1, per_product_cap=None)
    assert picked.reason.count("random") == 5
    assert len(set(picked.index.tolist())) == 50
    drawn = np.array(picked.reason) == "random"
    assert picked.inclusion_probability[drawn] == pytest.approx(5 / 455)


def test_no_product_takes_more_than_its_cap_of_the_doubtful():
    rng = np.random.default_rng(2)
    probs, products = pool(300, rng, n_products=20)
    picked = pick(probs, products, 50, rng, random_share=0.0, per_product_cap=3)
    assert np.bincount(products[picked.index]).max() == 3
    few = pick(probs, products, 300, rng, random_share=0.0, per_product_cap=3)
    assert len(few.index) == 60  # 20 products x 3: fewer come back


def test_recorded_probabilities_are_those_with_which_candidates_are_picked():
    # Ties and a cap included: over many runs the mean of 1 / p over the picks is the size of the pool.
    rng = np.random.default_rng(3)
    probs, products = pool(60, rng, n_products=12)
    sizes = [
        (1 / pick(probs, products, 20, rng, random_share=0.5, per_product_cap=2).inclusion_probability).sum()
        for _ in range(200)
    ]
    assert np.mean(sizes) == pytest.approx(60)


def test_random_is_a_plain_sample():
    rng = np.random.default_rng(4)
    probs, products = pool(40, rng)
    seen = np.zeros(40)
    for _ in range(2000):
        picked = pick(probs, products, 10, rng, strategy="random")
        seen[picked.index] += 1
        assert picked.inclusion_probability.tolist() == [0.25] * 10
    assert np.abs(seen / 2000 - 0.25).max() < 0.05


def test_ties_fall_at_random():
    first = {
        int(pick(np.tile(TORN, (10, 1)), np.arange(10), 1, np.random.default_rng(s), 0.0).index[0]) for s in range(50)
    }
    assert len(first) > 5


def test_round_zero_spreads_over_products():
    products = np.repeat(["sofa", "lamp", "cup", "piano"], [50, 3, 2, 1])
    picked = pick(None, products, 8, np.random.default_rng(5), per_product_cap=3)
    names, counts = np.unique(products[picked.index], return_counts=True)
    assert len(names) == 4
    assert sorted(counts.tolist()) in ([1, 2, 2, 3], [1, 2, 2, 3])
    assert len(set(products[picked.index[:4]])) == 4  # one of each before a second of any
    assert set(picked.reason) == {"cover"}


def test_round_zero_records_true_probabilities():
    rng = np.random.default_rng(6)
    products = np.repeat([0, 1, 2, 3, 4], [10, 1, 4, 2, 3])
    seen, recorded = np.zeros(20), np.full(20, np.nan)
    for _ in range(4000):
        picked = pick(None, products, 7, rng)
        seen[picked.index] += 1
        recorded[picked.index] = picked.inclusion_probability
    assert np.abs(seen / 4000 - recorded).max() < 0.04


def test_the_same_rng_state_gives_the_same_picks():
    probs, products = pool(200, np.random.default_rng(7), n_products=50)
    one, two = (pick(probs, products, 30, np.random.default_rng(9)) for _ in range(2))
    assert one.index.tolist() == two.index.tolist()


def test_small_pools_are_no_special_case():
    nothing = pick(np.zeros((0, 5)), np.zeros(0, dtype=int), 5, np.random.default_rng(0))
    assert len(nothing.index) == 0
    assert len(pick(None, np.zeros(0, dtype=int), 5, np.random.default_rng(0)).index) == 0
    assert sorted(pick(np.array([SURE, TORN]), np.arange(2), 5, np.random.default_rng(0)).index) == [0, 1]


@pytest.mark.parametrize("probs, message", [
    ([[0.5, 0.6, 0, 0, 0]], "sum to 1"), ([[np.nan, 1, 0, 0, 0]], "sum to 1"), ([[1.5, -0.5, 0, 0, 0]], "sum to 1"),
    ([SURE, SURE], "2 rows"),
])
def test_it_refuses_what_are_no_probabilities(probs, message):
    with pytest.raises(ValueError, match=message):
        pick(np.array(probs), np.array([1]), 1, np.random.default_rng(0))


def test_it_refuses_an_unknown_strategy():
    with pytest.raises(ValueError, match="margin"):
        pick(np.array([SURE]), np.array([1]), 1, np.random.default_rng(0), strategy="bald")
