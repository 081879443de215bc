"""A classifier that did not see the items helps to find their labels, as far as it is worth something."""

import numpy as np
import pytest

from adproof.aggregation.crowdlab import crowdlab
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.aggregation.majority import majority


def crowd(rng, n_items, accuracies, votes_per_item=2, n_classes=5):
    truth = rng.integers(0, n_classes, n_items)
    items = np.repeat(np.arange(n_items), votes_per_item)
    people = np.argsort(rng.random((n_items, len(accuracies))), axis=1)[:, :votes_per_item].ravel()
    right = rng.random(items.size) < np.asarray(accuracies)[people]
    wrong = (truth[items] + rng.integers(1, n_classes, items.size)) % n_classes
    return truth, items, people, np.where(right, truth[items], wrong)


def classifier(rng, truth, accuracy, n_classes=5):
    said = np.where(
        rng.random(truth.size) < accuracy, truth, (truth + rng.integers(1, n_classes, truth.size)) % n_classes
    )
    rest = (1 - accuracy) / (n_classes - 1)
    return np.eye(n_classes)[said] * (accuracy - rest) + rest


# Items 1, 2, 3, 4; people 1 and 2 (item 4: only 1). They differ on item 3; the classifier knows 1 to 3.
ITEMS, PEOPLE, LABELS = [1, 1, 2, 2, 3, 3, 4], [1, 2, 1, 2, 1, 2, 1], [0, 0, 1, 1, 0, 1, 1]
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])


def by_hand():
    return crowdlab(ITEMS, PEOPLE, LABELS, 2, model_items=[1, 2, 3], model_probs=PROBS)


def test_weights_by_hand():
    # The tie on 3 goes to label 1, as the classifier says: majority 0, 1, 1. P = (1 + 1 + 1/2) / 3.
    found = by_hand()
    assert found.crowd_accuracy == pytest.approx(5 / 6)
    # A_MLC = 2/3. s_j = 2/3 for both: w_j = 1 - (1/3) / (1/3) = 0, kept at 1e-6. The classifier never errs: sqrt(7/4).
    assert found.weight == pytest.approx([1e-6, 1e-6])
    assert found.model_weight == pytest.approx(np.sqrt(7 / 4))


def test_posterior_and_scores_by_hand():
    # Three items agree, 0 1 1 0: s = 1, w = 1, P = 1; the classifier errs on one of four, the commonest on two.
    items, people = np.repeat([1, 2, 3, 4], 2), np.tile([1, 2], 4)
    labels = np.repeat([0, 1, 1, 0], 2)
    probs = [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]]
    found = crowdlab(items, people, labels, 2, model_items=[1, 2, 3, 4], model_probs=probs)
    w = (1 - 0.25 / 0.5) * np.sqrt(2)
    assert found.model_weight == pytest.approx(w)
    assert found.posterior[0] == pytest.approx(np.array([w * 0.8 + 2, w * 0.2]) / (w + 2))
    assert found.label.tolist() == [0, 1, 1, 0]
    assert found.quality[3] == pytest.approx((w * 0.1 + 2) / (w + 2))
    assert found.activelab[3] == pytest.approx((w * 0.1 + 2 + 0.5) / (w + 3))
    assert found.activelab.argmin() == 3, "where classifier and people differ, one more label is worth most"
    unseen = found.activelab_unlabelled([[0.6, 0.4]])
    assert unseen == pytest.approx([(w * 0.6 + 0.5) / (w + 1)])
    believed = (found.posterior[range(4), [0, 1, 1, 0]]).mean()
    share = w / (w + 2)
    assert found.annotator_quality == pytest.approx([share * believed + 1 - share] * 2)


def test_an_item_that_the_classifier_does_not_know_is_judged_by_its_people():
    found = by_hand()
    assert found.item_ids.tolist() == [1, 2, 3, 4]
    assert found.posterior[3] == pytest.approx([1 / 6, 5 / 6])
    assert found.posterior.sum(axis=1) == pytest.approx(np.ones(4))


def test_with_a_good_classifier_two_votes_are_worth_more_than_without():
    rng = np.random.default_rng(0)
    truth, items, people, labels = crowd(rng, 2000, rng.uniform(0.5, 0.8, 20))
    probs = classifier(rng, truth, 0.85)
    ours = (crowdlab(items, people, labels, 5, model_items=np.arange(2000), model_probs=probs).label == truth).mean()
    ds = (DawidSkene().fit(items, people, labels, 5).label == truth).mean()
    plain = (majority(items, people, labels, 5).label == truth).mean()
    assert ours > max(ds, plain) + 0.05
    assert ours > 0.85, "and than the classifier without people"


def test_a_classifier_that_guesses_has_next_to_no_weight():
    rng = np.random.default_rng(1)
    truth, items, people, labels = crowd(rng, 3000, [0.85] * 6, votes_per_item=3)
    found = crowdlab(items, people, labels, 5, model_items=np.arange(3000), model_probs=classifier(rng, truth, 0.2))
    assert found.model_weight < 0.1
    plain = (majority(items, people, labels, 5).label == truth).mean()
    assert (found.label == truth).mean() > plain - 0.01


def test_good_annotators_weigh_more():
    rng = np.random.default_rng(2)
    accuracies = np.array([0.95, 0.8, 0.65, 0.5, 0.35])
    truth, items, people, labels = crowd(rng, 3000, accuracies, votes_per_item=3)
    found = crowdlab(items, people, labels, 5, model_items=np.arange(3000), model_probs=classifier(rng, truth, 0.8))
    assert (np.diff(found.weight) < 0).all()
    assert (np.diff(found.annotator_quality) < 0).all()


def test_the_items_most_worth_a_label_are_more_often_wrong():
    rng = np.random.default_rng(3)
    truth, items, people, labels = crowd(rng, 2000, rng.uniform(0.5, 0.8, 20))
    found = crowdlab(items, people, labels, 5, model_items=np.arange(2000), model_probs=classifier(rng, truth, 0.8))
    wrong = (found.label != truth)[np.argsort(found.activelab)]
    assert wrong[:200].mean() > 2 * wrong.mean()


def test_neither_the_order_nor_rows_without_votes_change_anything():
    rng = np.random.default_rng(4)
    truth, items, people, labels = crowd(rng, 200, [0.7] * 5)
    probs = classifier(rng, truth, 0.8)
    plain = crowdlab(items, people, labels, 5, model_items=np.arange(200), model_probs=probs)
    order, rows = rng.permutation(items.size), rng.permutation(201)
    more = np.vstack([probs, np.full((1, 5), 0.2)])[rows]
    again = crowdlab(
        items[order], people[order], labels[order], 5,
        model_items=np.append(np.arange(200), 10**12)[rows], model_probs=more,
    )  # fmt: skip
    assert again.posterior == pytest.approx(plain.posterior)
    assert again.weight == pytest.approx(plain.weight)


def test_all_say_the_same():
    found = crowdlab([1, 1, 2, 2], [1, 2, 1, 2], [3, 3, 3, 3], 5, model_items=[1], model_probs=[[0, 0, 0, 1, 0]])
    assert found.label.tolist() == [3, 3]
    assert np.isfinite(found.posterior).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_items": [1, 1, 3]}, "named twice"),
        ({"model_items": [1, 2]}, "3 rows"),
        ({"model_items": [1.0, 2.0, 3.0]}, "integers"),
        ({"model_items": [7, 8, 9]}, "use DawidSkene"),
        ({"model_probs": np.full((3, 3), 1 / 3)}, r"\(M, 2\)"),
        ({"model_probs": np.full((3, 2), 0.6)}, "sum to 1"),
        ({"model_probs": np.array([[1.5, -0.5]] * 3)}, "sum to 1"),
        ({"model_probs": np.full((3, 2), np.nan)}, "sum to 1"),
        ({"labels": [0, 0, 1, 1, 0, 1, 2]}, "0..1"),
        ({"items": [1, 2, 3, 4, 5, 6, 7]}, "two votes"),
        ({"items": [], "annotators": [], "labels": []}, "two votes"),
    ],
)
def test_it_refuses_what_it_cannot_weigh(changes, message):
    values = {
        "items": ITEMS, "annotators": PEOPLE, "labels": LABELS, "n_classes": 2,
        "model_items": [1, 2, 3], "model_probs": PROBS, **changes,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        crowdlab(**values)
