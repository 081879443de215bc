"""What the figures of a judge of availability must be, on toys worked by hand and against scikit-learn."""

import numpy as np
import pytest

from adproof.rfnet.calibration import fit_temperature, softmax
from adproof.rfnet.metrics import (
    average_precision,
    confusion,
    evaluate,
    expected_calibration_error,
)


def one_hot(predicted, n=5):
    return np.eye(n)[predicted]


def test_rows_of_the_confusion_are_true_labels():
    counts = confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert counts.tolist() == [[1, 1], [0, 1]]


def test_confusion_refuses_a_label_outside():
    with pytest.raises(ValueError, match="0..4"):
        confusion(np.array([5]), np.array([0]))


def test_precision_recall_and_f1_are_those_of_available():
    labels = np.array([0, 0, 0, 1, 2, 3])
    figures = evaluate(one_hot([0, 0, 4, 0, 2, 1]), labels)
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(2 / 3)
    assert figures.accuracy == pytest.approx(3 / 6)
    assert figures.recall_per_label[:4] == pytest.approx([2 / 3, 0, 1, 0])
    assert np.isnan(figures.recall_per_label[4])
    assert figures.share_available == pytest.approx(0.5)


def test_average_precision_by_hand():
    # Best first: yes (1/1), no, yes (2/3), no, yes (3/5).
    positive = np.array([True, False, True, False, True])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert average_precision(positive, scores) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_equal_scores_are_one_step_of_average_precision():
    assert average_precision(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(0.5)
    assert average_precision(np.array([False, True]), np.array([0.5, 0.5])) == pytest.approx(0.5)


def test_figures_agree_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)
    probabilities = rng.dirichlet(np.ones(5), 300) * 0.6 + 0.4 * one_hot(labels)
    probabilities = np.round(probabilities, 2)  # ties
    probabilities /= probabilities.sum(1, keepdims=True)
    figures = evaluate(probabilities, labels)
    predicted = probabilities.argmax(1)
    assert figures.average_precision == pytest.approx(sklearn.average_precision_score(labels == 0, probabilities[:, 0]))
    assert figures.f1 == pytest.approx(sklearn.f1_score(labels == 0, predicted == 0))
    assert figures.confusion == sklearn.confusion_matrix(labels, predicted).tolist()
    assert figures.nll == pytest.approx(sklearn.log_loss(labels, probabilities), rel=1e-6)


def test_a_split_without_samples_has_no_figures_but_is_json():
    figures = evaluate(np.empty((0, 5)), np.empty(0, np.int64)).as_dict()
    assert figures["n"] == 0
    assert figures["f1"] is None
    assert figures["average_precision"] is None


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.8, 0.2]] * 10)
    labels = np.array([0] * 6 + [1] * 4)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.2)
    assert expected_calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 1.5, (4000, 5))
    labels = np.array([rng.choice(5, p=p / p.sum()) for p in softmax(honest).astype(np.float64)])
    temperature = fit_temperature(honest * 3, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    before = expected_calibration_error(softmax(honest * 3), labels)
    after = expected_calibration_error(softmax(honest * 3, temperature), labels)
    assert after < before / 3


def test_without_validation_samples_the_temperature_is_one():
    assert fit_temperature(np.empty((0, 5)), np.empty(0, np.int64)) == 1.0


def test_softmax_rows_sum_to_one_even_for_huge_logits():
    assert softmax(np.array([[1000.0, 999.0, -1000.0]])).sum() == pytest.approx(1)
