"""The sheet of candidates: which of them stand in each label's row."""

import numpy as np

from adproof.adworld.sheets import _surest
from adproof.labels import Label


def said(*labels: tuple[Label, float]) -> np.ndarray:
    """What a judge says of pictures: this label with this certainty, the rest evenly."""
    rows = np.array([[(1 - p) / 4] * 5 for _, p in labels])
    for row, (label, p) in zip(rows, labels, strict=True):
        row[label] = p
    return rows


def test_a_row_holds_the_surest_of_its_label_and_a_product_once():
    judged = said((Label.AVAILABLE, 0.7), (Label.AVAILABLE, 0.9), (Label.AVAILABLE, 0.8), (Label.AVAILABLE, 0.6))
    assert _surest(judged, ["mug", "lamp", "lamp", "sofa"], 2)[Label.AVAILABLE] == [1, 0]


def test_where_the_judge_gives_a_label_to_too_few_the_likeliest_follow_and_none_stands_twice():
    labels = [(Label.AVAILABLE, p) for p in (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)]
    chosen = _surest(said((Label.SPACE_MISMATCH, 0.9), *labels), [f"p{n}" for n in range(11)], 2)
    assert chosen[Label.AVAILABLE] == [1, 2] and chosen[Label.SPACE_MISMATCH][0] == 0
    every = [n for row in chosen.values() for n in row]
    assert len(every) == len(set(every)) == 10
