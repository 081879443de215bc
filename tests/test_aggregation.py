"""Votes become a label, a posterior, and a measure of how far people agree."""

import time

import numpy as np
import pytest

from adproof.aggregation.agreement import cohen_kappas, fleiss_kappa, krippendorff_alpha, percent_agreement
from adproof.aggregation.dawid_skene import DawidSkene
from adproof.aggregation.majority import majority
from adproof.aggregation.votes import codes

# item 10: 0 0 1, item 20: 1 1 1, item 30: 0 1, item 40: 2
ITEMS = np.array([10, 10, 10, 20, 20, 20, 30, 30, 40])
PEOPLE = np.array([1, 2, 3, 1, 2, 3, 1, 2, 3])
LABELS = np.array([0, 0, 1, 1, 1, 1, 0, 1, 2])


def crowd_votes(rng, n_items, confusions, votes_per_item=3, prior=None):
    n_people, n_classes = confusions.shape[:2]
    truth = rng.choice(n_classes, n_items, p=prior)
    items = np.repeat(np.arange(n_items), votes_per_item)
    people = np.argsort(rng.random((n_items, n_people)), axis=1)[:, :votes_per_item].ravel()
    chance = confusions[people, truth[items]].cumsum(axis=1)
    labels = (rng.random(len(items))[:, None] > chance).sum(axis=1).clip(max=n_classes - 1)
    return truth, items, people, labels


def symmetric(accuracies, n_classes):
    accuracies = np.asarray(accuracies)[:, None, None]
    return accuracies * np.eye(n_classes) + (1 - accuracies) / (n_classes - 1) * (1 - np.eye(n_classes))


class TestMajority:
    def test_it_counts_votes(self):
        result = majority(ITEMS, PEOPLE, LABELS, 3)
        assert result.item_ids.tolist() == [10, 20, 30, 40]
        assert result.label.tolist() == [0, 1, 0, 2]
        assert result.n_votes.tolist() == [3, 3, 2, 1]
        assert result.share.tolist() == pytest.approx([2 / 3, 1, 1 / 2, 1])
        assert result.tied.tolist() == [False, False, True, False]
        assert result.posterior[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])

    def test_smoothing_keeps_a_lone_vote_from_being_certain(self):
        result = majority(ITEMS, PEOPLE, LABELS, 3, smoothing=1)
        assert result.posterior[3].tolist() == pytest.approx([1 / 4, 1 / 4, 2 / 4])
        assert result.share[3] == 1

    def test_ties_fall_at_random_with_an_rng(self):
        items, labels = np.repeat(np.arange(1000), 2), np.tile([0, 3], 1000)
        result = majority(items, np.zeros_like(items), labels, 5, rng=np.random.default_rng(0))
        assert set(result.label) == {0, 3}
        assert 400 < (result.label == 3).sum() < 600

    def test_it_agrees_with_crowd_kit(self):
        crowdkit = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
        pandas = pytest.importorskip("pandas")
        _, items, people, labels = crowd_votes(np.random.default_rng(1), 300, symmetric([0.7] * 6, 4))
        frame = pandas.DataFrame({"task": items, "worker": people, "label": labels})
        theirs = crowdkit.MajorityVote().fit_predict_proba(frame).sort_index()
        assert np.allclose(majority(items, people, labels, 4).posterior, theirs[range(4)].to_numpy())

    @pytest.mark.parametrize("labels, message", [
        ([0, 5], "0..4"), ([-1, 0], "0..4"), ([0], "lengths"), ([0.5, 1.0], "integers"),
    ])
    def test_it_refuses_what_are_no_votes(self, labels, message):
        with pytest.raises(ValueError, match=message):
            majority([1, 2], [1, 1], np.array(labels), 5)

    def test_ids_may_lie_far_apart(self):
        ids = np.array([2**60, 5, 2**60, -7])
        distinct, places = codes(ids)
        assert distinct.tolist() == [-7, 5, 2**60]
        assert distinct[places].tolist() == ids.tolist()


class TestDawidSkene:
    def test_it_beats_the_majority_where_annotators_are_biased(self):
        # Two of five call every second defect (1) available (0); one is good at defects.
        lenient = np.array([[0.98, 0.02], [0.6, 0.4]])
        good = np.array([[0.95, 0.05], [0.05, 0.95]])
        confusions = np.stack([lenient, lenient, lenient, good, good])
        truth, items, people, labels = crowd_votes(np.random.default_rng(2), 4000, confusions, prior=[0.7, 0.3])
        fitted = DawidSkene().fit(items, people, labels, 2)
        accuracy = (fitted.label == truth).mean()
        assert accuracy > (majority(items, people, labels, 2).label == truth).mean() + 0.04
        assert np.abs(fitted.confusion - confusions).max() < 0.06
        assert fitted.prior == pytest.approx([0.7, 0.3], abs=0.03)
        assert fitted.converged

    def test_one_step_by_hand(self):
        # Items 0, 1 get (0, 0) and (0, 1) from people a, b. Vote shares: item 0 is 0 for sure, item 1 is even.
        fitted = DawidSkene(strength=0, max_iterations=1).fit([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], 2)
        # prior = (1 + .5) / 2 = .75, .25. a always says 0. b says 0 for truth 0 with 1 / 1.5, for truth 1 with 0 / .5.
        assert fitted.prior == pytest.approx([0.75, 0.25])
        assert fitted.confusion[0] == pytest.approx(np.array([[1, 0], [1, 0]]), abs=1e-9)
        assert fitted.confusion[1] == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]), abs=1e-9)
        # item 1: .75 * 1 * 1/3 = .25 against .25 * 1 * 1 = .25
        assert fitted.posterior == pytest.approx(np.array([[1, 0], [0.5, 0.5]]), abs=1e-9)

    def test_it_agrees_with_crowd_kit(self):
        crowdkit = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
        pandas = pytest.importorskip("pandas")
        rng = np.random.default_rng(3)
        confusions = symmetric(rng.uniform(0.5, 0.95, 12), 5)
        _, items, people, labels = crowd_votes(rng, 400, confusions, prior=[0.5, 0.2, 0.1, 0.1, 0.1])
        frame = pandas.DataFrame({"task": items, "worker": people, "label": labels})
        theirs = crowdkit.DawidSkene(n_iter=20, tol=-1.0).fit(frame)
        ours = DawidSkene(strength=0, max_iterations=20, tolerance=-1).fit(items, people, labels, 5)
        assert np.abs(ours.posterior - theirs.probas_.sort_index()[range(5)].to_numpy()).max() < 1e-6

    @pytest.mark.parametrize("strength", [0.0, 2.0])
    def test_its_objective_never_falls(self, strength):
        rng = np.random.default_rng(4)
        _, items, people, labels = crowd_votes(rng, 500, symmetric(rng.uniform(0.3, 0.9, 20), 5))
        gold = np.arange(50), rng.integers(0, 5, 50)
        fitted = DawidSkene(strength=strength, tolerance=0).fit(items, people, labels, 5, gold=gold)
        assert len(fitted.objective) > 5
        assert np.diff(fitted.objective).min() > -1e-9

    def test_gold_stays_what_it_is_and_shows_who_is_wrong(self):
        # All call gold "0"; it is 1. With gold known, their answer 0 on other items is no proof of 0 any more.
        items = np.repeat(np.arange(60), 3)
        people, labels = np.tile([0, 1, 2], 60), np.zeros(180, dtype=int)
        gold = np.arange(0, 40), np.ones(40, dtype=int)
        fitted = DawidSkene().fit(items, people, labels, 2, gold=gold)
        assert (fitted.posterior[:40] == [0, 1]).all()
        assert (fitted.confusion[:, 1, 0] > 0.9).all()
        unknown_ids = DawidSkene().fit(items, people, labels, 2, gold=([999, -5], [1, 1]))
        assert (unknown_ids.label == 0).all()

    def test_an_annotator_with_two_labels_is_taken_for_the_crowds_average(self):
        truth, items, people, labels = crowd_votes(np.random.default_rng(5), 2000, symmetric([0.85] * 8, 5))
        items, people = np.append(items, [0, 1]), np.append(people, [99, 99])
        labels = np.append(labels, (truth[:2] + 1) % 5)
        plain = DawidSkene(strength=0).fit(items, people, labels, 5)
        ours = DawidSkene().fit(items, people, labels, 5)
        newcomer = ours.annotator_ids == 99
        seen = truth[:2]  # rows of which the two labels tell anything
        assert plain.confusion[newcomer, seen, seen].max() < 0.1
        assert 0.3 < ours.confusion[newcomer, seen, seen].min() < 0.85
        unseen = np.setdiff1d(np.arange(5), seen)
        assert ours.confusion[newcomer, unseen, unseen] == pytest.approx(0.85, abs=0.1)
        assert ours.n_labels[newcomer].tolist() == [2]

    def test_lone_votes_are_believed_but_not_blindly(self):
        fitted = DawidSkene().fit(np.arange(50), np.zeros(50, dtype=int), np.arange(50) % 5, 5)
        assert (fitted.label == np.arange(50) % 5).all()
        assert fitted.posterior.max() == pytest.approx(0.8, abs=0.05)

    def test_a_new_annotation_changes_its_item_at_once(self):
        truth, items, people, labels = crowd_votes(np.random.default_rng(6), 1000, symmetric([0.8] * 9, 5))
        fitted = DawidSkene(tolerance=1e-9).fit(items, people, labels, 5)
        mine = items == 17
        at_once = fitted.posterior_of(people[mine], labels[mine])
        assert at_once == pytest.approx(fitted.posterior[17], abs=1e-3)
        more = fitted.posterior_of(np.append(people[mine], 12345), np.append(labels[mine], truth[17]))
        assert more[truth[17]] > at_once[truth[17]]
        assert fitted.posterior_of([], []) == pytest.approx(fitted.prior)

    def test_items_may_have_from_one_to_many_votes(self):
        rng = np.random.default_rng(7)
        items = np.repeat([5, 9, 2], [40, 1, 3])
        order = rng.permutation(44)
        labels = np.where(items == 5, 3, np.where(items == 9, 1, 0))
        people = np.arange(44)
        fitted = DawidSkene().fit(items[order], people[order], labels[order], 5)
        assert fitted.item_ids.tolist() == [2, 5, 9]
        assert fitted.label.tolist() == [0, 3, 1]
        assert np.allclose(fitted.posterior.sum(axis=1), 1)

    def test_it_refuses_no_votes_and_bad_gold(self):
        with pytest.raises(ValueError, match="no votes"):
            DawidSkene().fit([], [], [], 5)
        with pytest.raises(ValueError, match="gold labels"):
            DawidSkene().fit([1], [1], [1], 5, gold=([1], [7]))

    @pytest.mark.slow
    def test_a_million_items_take_seconds(self):
        rng = np.random.default_rng(8)
        items = np.repeat(np.arange(1_000_000), 3)
        people, labels = rng.integers(0, 200, items.size), rng.integers(0, 5, items.size)
        started = time.process_time()  # whatever else the machine does
        DawidSkene(max_iterations=10, tolerance=-1).fit(items, people, labels, 5)
        assert time.process_time() - started < 15


class TestAgreement:
    def test_alpha_by_hand(self):
        # Krippendorff 2011, section C: nominal data with missing values, alpha = 0.743.
        table = np.array([
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ])
        people, items = np.nonzero(table)
        alpha = krippendorff_alpha(items, people, table[people, items] - 1, 5)
        assert alpha.value == pytest.approx(0.743, abs=0.0005)
        assert (alpha.n_items, alpha.n_votes) == (11, 40)
        assert np.isnan(alpha.low)

    def test_alpha_agrees_with_the_krippendorff_package(self):
        krippendorff = pytest.importorskip("krippendorff", reason="krippendorff is not installed")
        _, items, people, labels = crowd_votes(np.random.default_rng(9), 200, symmetric([0.6] * 7, 5))
        table = np.full((7, 200), np.nan)
        table[people, items] = labels
        theirs = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
        assert krippendorff_alpha(items, people, labels, 5).value == pytest.approx(theirs, abs=1e-12)

    def test_its_interval_is_that_of_items_drawn_again(self):
        rng = np.random.default_rng(10)
        _, items, people, labels = crowd_votes(rng, 150, symmetric([0.7] * 6, 3))
        alpha = krippendorff_alpha(items, people, labels, 3, rng=np.random.default_rng(0), resamples=4000)
        by_item = labels.reshape(150, 3)
        drawn = [
            krippendorff_alpha(np.repeat(np.arange(150), 3), np.tile([0, 1, 2], 150),
                               by_item[rng.integers(0, 150, 150)].ravel(), 3).value
            for _ in range(1000)
        ]
        assert [alpha.low, alpha.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)
        assert alpha.low < alpha.value < alpha.high

    def test_alpha_is_not_defined_without_disagreement_by_chance(self):
        assert np.isnan(krippendorff_alpha([1, 1], [1, 2], [3, 3], 5, rng=np.random.default_rng(0)).value)
        assert np.isnan(krippendorff_alpha([1, 2], [1, 2], [3, 4], 5).value)

    def test_percent_agreement(self):
        # item 10: 1 of 3 pairs, item 20: 3 of 3, item 30: 0 of 1, item 40 has none
        assert percent_agreement(ITEMS, PEOPLE, LABELS, 3) == pytest.approx((1 / 3 + 1 + 0) / 3)
        assert np.isnan(percent_agreement([1], [1], [0], 3))

    def test_cohen_kappa_by_hand(self):
        # 50 items: both yes 20, only first yes 5, only second yes 10, both no 15. Observed .7, by chance .5, kappa .4.
        first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
        second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
        items, people = np.tile(np.arange(50), 2), np.repeat([70, 30], 50)
        kappas = cohen_kappas(items, people, np.concatenate([first, second]), 2)
        assert (kappas.first.tolist(), kappas.second.tolist()) == ([30], [70])
        assert kappas.n_shared.tolist() == [50]
        assert kappas.agreement.tolist() == pytest.approx([0.7])
        assert kappas.kappa.tolist() == pytest.approx([0.4])

    def test_every_pair_that_shares_enough_items_has_its_kappa(self):
        metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
        _, items, people, labels = crowd_votes(np.random.default_rng(11), 120, symmetric([0.6] * 5, 4))
        kappas = cohen_kappas(items, people, labels, 4, min_shared=20)
        assert len(kappas.kappa) == 10
        by_person = [dict(zip(items[people == p], labels[people == p], strict=True)) for p in range(5)]
        pairs = zip(kappas.first, kappas.second, kappas.n_shared, kappas.kappa, strict=True)
        for a, b, n, kappa in pairs:
            shared = sorted(by_person[a].keys() & by_person[b].keys())
            assert n == len(shared)
            theirs = metrics.cohen_kappa_score([by_person[a][i] for i in shared], [by_person[b][i] for i in shared])
            assert kappa == pytest.approx(theirs)
        assert len(cohen_kappas(items, people, labels, 4, min_shared=1000).kappa) == 0


class TestFleiss:
    # Ten subjects, fourteen raters, five categories: a published worked example, kappa 0.210.
    TABLE = np.array([
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ])  # fmt: skip

    def votes(self):
        labels = np.concatenate([np.repeat(np.arange(5), row) for row in self.TABLE])
        return np.repeat(np.arange(10), 14), np.tile(np.arange(14), 10), labels

    def test_a_published_example(self):
        assert fleiss_kappa(*self.votes(), 5) == pytest.approx(0.210, abs=5e-4)

    def test_the_order_of_votes_and_the_names_of_annotators_do_not_matter(self):
        items, people, labels = self.votes()
        order = np.random.default_rng(0).permutation(labels.size)
        given = fleiss_kappa(items[order] * 7, people[order] + 100, labels[order], 5)
        assert given == pytest.approx(fleiss_kappa(items, people, labels, 5))

    def test_full_agreement_is_one_and_one_label_only_tells_nothing(self):
        items, people = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
        assert fleiss_kappa(items, people, np.repeat([0, 1, 2, 1], 3), 3) == 1
        assert np.isnan(fleiss_kappa(items, people, np.zeros(12, dtype=int), 3))
        assert np.isnan(fleiss_kappa([], [], [], 3))

    @pytest.mark.parametrize("items", [[0, 0, 1], [0, 1, 2]], ids=["unequal", "one each"])
    def test_items_of_unequal_or_single_votes_are_refused_and_the_other_measure_named(self, items):
        with pytest.raises(ValueError, match="krippendorff_alpha"):
            fleiss_kappa(items, [0, 1, 2], [0, 1, 0], 2)
