"""The same answers as the published packages, where votes are as uneven as people's; and intervals that keep their word."""

import numpy as np
import pytest

from adproof.aggregation.agreement import krippendorff_alpha
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.aggregation.majority import majority
from tests.test_aggregation import crowd_votes, symmetric

PRIOR = [0.5, 0.2, 0.1, 0.1, 0.1]


def uneven(seed, n_items=400, n_people=15, n_classes=5):
    """From one to six votes an item; some people give hundreds, some a handful."""
    rng = np.random.default_rng(seed)
    confusions = symmetric(rng.uniform(0.5, 0.95, n_people), n_classes)
    truth = rng.choice(n_classes, n_items, p=PRIOR)
    chance = rng.dirichlet(np.full(n_people, 0.7))
    items, people = [], []
    for item in range(n_items):
        chosen = rng.choice(n_people, int(rng.integers(1, 7)), replace=False, p=0.9 * chance + 0.1 / n_people)
        items += [item] * len(chosen)
        people += chosen.tolist()
    labels = np.array([rng.choice(n_classes, p=confusions[who, truth[item]]) for item, who in zip(items, people, strict=True)])
    # As ids of a database: far from 0, with gaps, in no order.
    order = rng.permutation(labels.size)
    return truth, 7 * np.array(items)[order] + 100, 3 * np.array(people)[order] + 50, labels[order]


def frame(items, people, labels):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"task": items, "worker": people, "label": labels})


@pytest.fixture
def crowdkit():
    return pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_majority_as_crowd_kit(crowdkit, seed):
    _, *votes = uneven(seed)
    theirs = crowdkit.MajorityVote().fit_predict_proba(frame(*votes)).sort_index()
    ours = majority(*votes, 5)
    assert ours.item_ids.tolist() == theirs.index.tolist()
    assert np.allclose(ours.posterior, theirs[range(5)].to_numpy())
    told = ~ours.tied
    assert (ours.label[told] == theirs[range(5)].to_numpy().argmax(axis=1)[told]).all()


@pytest.mark.parametrize("seed", [4, 5, 6])
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_dawid_skene_as_crowd_kit(crowdkit, seed, steps):
    _, *votes = uneven(seed)
    theirs = crowdkit.DawidSkene(n_iter=steps, tol=-1.0).fit(frame(*votes))
    ours = DawidSkene(strength=0, max_iterations=steps, tolerance=-1).fit(*votes, 5)
    probas = theirs.probas_.sort_index()
    assert ours.item_ids.tolist() == probas.index.tolist()
    assert np.abs(ours.posterior - probas[range(5)].to_numpy()).max() < 1e-6


def test_dawid_skene_with_known_labels_as_crowd_kit_but_for_how_common_they_are(crowdkit):
    """Crowd-kit counts gold in how common a label is; here it does not count, because gold is picked and not drawn."""
    pandas = pytest.importorskip("pandas")
    truth, *votes = uneven(7, n_items=600)
    ids = np.unique(votes[0])
    known = np.random.default_rng(0).choice(ids.size, 60, replace=False)  # drawn, so that it makes no odds
    gold = pandas.Series(truth[known], index=ids[known])
    theirs = crowdkit.DawidSkene(n_iter=40, tol=-1.0).fit(frame(*votes), true_labels=gold).probas_.sort_index()
    ours = DawidSkene(strength=0, max_iterations=40, tolerance=-1).fit(*votes, 5, gold=(ids[known], truth[known]))
    assert (ours.posterior[known] == np.eye(5)[truth[known]]).all()
    assert np.abs(ours.posterior - theirs[range(5)].to_numpy()).mean() < 0.01
    assert (ours.label == theirs[range(5)].to_numpy().argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("seed", [8, 9, 10])
def test_alpha_as_the_krippendorff_package(seed):
    krippendorff = pytest.importorskip("krippendorff", reason="krippendorff is not installed")
    _, items, people, labels = uneven(seed)
    table = np.full((people.max() + 1, items.max() + 1), np.nan)
    table[people, items] = labels
    theirs = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
    assert krippendorff_alpha(items, people, labels, 5).value == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_the_interval_of_alpha_holds_the_true_value_as_often_as_it_says(accuracy):
    confusions = symmetric([accuracy] * 8, 5)
    _, *many = crowd_votes(np.random.default_rng(0), 100_000, confusions, prior=PRIOR)
    true_value = krippendorff_alpha(*many, 5).value
    held = 0
    for seed in range(300):
        _, *votes = crowd_votes(np.random.default_rng(1000 + seed), 150, confusions, prior=PRIOR)
        alpha = krippendorff_alpha(*votes, 5, rng=np.random.default_rng(seed))
        held += alpha.low <= true_value <= alpha.high
    # 95 % of 300, give or take three standard errors and what a bootstrap of 150 items loses.
    assert 0.90 <= held / 300 <= 0.99


def test_what_is_believed_beforehand_fades_with_many_votes_and_matters_with_few():
    _, *votes = crowd_votes(np.random.default_rng(11), 3000, symmetric([0.9, 0.8, 0.7, 0.6, 0.85, 0.75], 5))
    plain, ours = DawidSkene(strength=0).fit(*votes, 5), DawidSkene().fit(*votes, 5)
    assert np.abs(plain.confusion - ours.confusion).max() < 0.02
    assert (plain.label == ours.label).mean() > 0.995
    few = [column[:60] for column in votes]
    plain, ours = DawidSkene(strength=0).fit(*few, 5), DawidSkene().fit(*few, 5)
    assert np.abs(plain.confusion - ours.confusion).max() > 0.2
    assert ours.confusion.min() > 0, "nothing is impossible to somebody of whom little is known"
