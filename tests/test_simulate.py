"""Simulated annotators answer late and wrong, as people do."""

import json

import numpy as np
import pytest

from adproof.aggregation.dawid_skene import DawidSkene
from adproof.labels import Label
from adproof.simulate import BadCrowd, SimulatedAnnotator, confusion_of, crowd, read_crowd


def answers(annotator, truth, n):
    labels, seconds = zip(*(annotator.label(truth) for _ in range(n)), strict=True)
    return np.array(labels), np.array(seconds)


def test_answers_follow_the_confusion():
    confusion = confusion_of(0.7, bias=[1, 0, 0, 0, 0])
    annotator = SimulatedAnnotator("ann", confusion, 4.0, 2.0, np.random.default_rng(0))
    labels, _ = answers(annotator, Label.SIZE_MISMATCH, 4000)
    assert np.bincount(labels, minlength=5) / 4000 == pytest.approx([0.3, 0, 0.7, 0, 0], abs=0.03)


def test_answers_take_time():
    annotator = SimulatedAnnotator("ann", np.eye(5), 4.0, 2.0, np.random.default_rng(1))
    labels, seconds = answers(annotator, 3, 4000)
    assert set(labels) == {Label.INDISTINCTIVENESS}
    assert seconds.mean() == pytest.approx(4.0, rel=0.05)
    assert seconds.std() == pytest.approx(2.0, rel=0.1)
    assert seconds.min() >= 0.3


def test_a_candidate_on_which_people_may_differ():
    annotator = SimulatedAnnotator("ann", np.eye(5), 4.0, 2.0, np.random.default_rng(2))
    labels, _ = answers(annotator, [0.25, 0.75, 0, 0, 0], 4000)
    assert (labels == 1).mean() == pytest.approx(0.75, abs=0.03)


def test_the_same_seed_gives_the_same_answers():
    one, two = (crowd(5, np.random.default_rng(3)) for _ in range(2))
    assert [a.name for a in one] == [a.name for a in two]
    assert [a.label(2) for a in one] == [a.label(2) for a in two]


def test_a_crowd_is_varied():
    people = crowd(20, np.random.default_rng(4))
    kinds = [person.name.split("-")[0] for person in people]
    assert (kinds.count("sloppy"), kinds.count("biased"), kinds.count("spammer")) == (4, 4, 0)
    assert len({person.name for person in people}) == 20
    right = {kind: np.mean([p.confusion.diagonal().mean() for p, k in zip(people, kinds, strict=True) if k == kind])
             for kind in set(kinds)}
    assert right["good"] > right["sloppy"] + 0.1
    biased = next(p for p, k in zip(people, kinds, strict=True) if k == "biased")
    assert biased.confusion[1:, 0].mean() > 2 * biased.confusion[0, 1:].sum()


def test_spammers_answer_alike_whatever_they_see():
    spammer = crowd(1, np.random.default_rng(5), spammer_share=1.0, sloppy_share=0, biased_share=0)[0]
    assert np.ptp(spammer.confusion, axis=0).max() == 0


def test_dawid_skene_finds_out_who_is_who():
    rng = np.random.default_rng(6)
    people = crowd(10, rng, spammer_share=0.1)
    truth = rng.choice(5, 300, p=[0.5, 0.15, 0.1, 0.15, 0.1])
    votes = [(i, p, int(people[p].label(t)[0])) for i, t in enumerate(truth.tolist()) for p in rng.permutation(10)[:5]]
    fitted = DawidSkene().fit(*np.array(votes).T, 5)
    assert (fitted.label == truth).mean() > 0.9
    spammer = next(i for i, p in enumerate(people) if p.name.startswith("spammer"))
    assert fitted.confusion[:, range(5), range(5)].mean(axis=1).argmin() == spammer


@pytest.mark.parametrize("truth", [7, -1, [0.5, 0.5], [0, 0, 0, 0, 0], 1.0])
def test_it_refuses_what_is_no_label(truth):
    with pytest.raises(ValueError):
        SimulatedAnnotator("ann", np.eye(5), 4.0, 2.0, np.random.default_rng(0)).label(truth)


def test_it_refuses_what_is_no_annotator():
    with pytest.raises(ValueError, match="rows that sum to 1"):
        SimulatedAnnotator("ann", np.ones((5, 5)), 4.0, 2.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="shares"):
        crowd(3, np.random.default_rng(0), sloppy_share=0.8, biased_share=0.8)


class TestACrowdFromAFile:
    def read(self, tmp_path, content):
        path = tmp_path / "crowd.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_crowd(path, np.random.default_rng(0))

    def test_each_with_what_was_said_and_the_usual_for_the_rest(self, tmp_path):
        rows = [
            {"name": "ann", "accuracy": 0.9, "bias": {"available": 3, "size_mismatch": 1}, "seconds": 2.0, "spread": 0},
            {"name": "bo", "confusion": np.eye(5)[::-1].tolist(), "skips": 0.5, "flags": 0.25},
            {"name": "cleo"},
        ]
        ann, bo, cleo = self.read(tmp_path, rows)
        assert ann.confusion[Label.SPACE_MISMATCH] == pytest.approx([0.075, 0.9, 0.025, 0, 0])
        assert [ann.label(1)[1] for _ in range(3)] == pytest.approx([2.0] * 3)
        assert bo.label(0)[0] == Label.SHAPE_HALLUCINATION
        done = [bo.does() for _ in range(2000)]
        assert [done.count(what) / 2000 for what in ("skip", "flag", "label")] == pytest.approx([0.5, 0.25, 0.25], abs=0.04)
        assert cleo.confusion.diagonal() == pytest.approx(0.85) and cleo.does() == "label"

    def test_the_same_file_and_seed_give_the_same_answers(self, tmp_path):
        one, two = (self.read(tmp_path, [{"name": "ann", "skips": 0.3}])[0] for _ in range(2))
        assert [(one.does(), one.label(2)) for _ in range(20)] == [(two.does(), two.label(2)) for _ in range(20)]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("{", "can't be read as JSON"),
            ("[" * 100_000, "can't be read as JSON"),
            ([], "a list of 1 to 1000"),
            ({"name": "ann"}, "a list of 1 to 1000"),
            (["ann"], "Person 1: an object"),
            ([{"name": "ann", "mood": "good"}], "Person 1: an object"),
            ([{"accuracy": 1}], "Person 1: a name"),
            ([{"name": "a b"}], "Person 1: a name"),
            ([{"name": "ann"}, {"name": "ann"}], "'ann' is there twice"),
            ([{"name": "ann", "accuracy": 2}], "more than 1"),
            ([{"name": "ann", "accuracy": "0.9"}], "accuracy is 0.9; a number"),
            ('[{"name": "ann", "seconds": NaN}]', "seconds is nan"),
            ([{"name": "ann", "seconds": 0}], "is no time"),
            ([{"name": "ann", "bias": {"nice": 1}}], "not a label"),
            ([{"name": "ann", "bias": {"available": 0}}], "favours no label"),
            ([{"name": "ann", "bias": 3}], "bias is no object"),
            ([{"name": "ann", "confusion": [[1, 0], [0, 1]]}], "confusion must be"),
            ([{"name": "ann", "confusion": "x"}], "Person 1"),
            ([{"name": "ann", "confusion": [], "accuracy": 1}], "either a confusion, or"),
            ([{"name": "ann", "skips": 0.8, "flags": 0.3}], "shares"),
        ],
    )
    def test_nonsense_is_refused_with_whose_it_is(self, tmp_path, content, sentence):
        with pytest.raises(BadCrowd, match=sentence):
            self.read(tmp_path, content)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(BadCrowd, match="can't be read"):
            read_crowd(tmp_path / "none.json", np.random.default_rng(0))
