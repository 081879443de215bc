"""Pairs: which are made, who is handed them, and what becomes of preferences; straight through the actions."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from accounts.models import User
from annotation import pair_actions, pair_statements
from annotation.actions import Refused
from annotation.models import Consensus, Pair, PairHandout, PairSlot, Preference, Project
from annotation.pair_actions import Choice, lease, save_preferences
from annotation.pairs import Wanted, make_pairs, plan
from generation.models import Candidate
from tests import build, pair_rows

pytestmark = pytest.mark.django_db
LATER = timedelta(minutes=6)


@pytest.fixture
def project():
    return Project.objects.create(name="taste")


def leased(user, project, count=10, now=None):
    return [slot.pair_id for slot in lease(user, project, count, now)]


def choice(pair, said="left", **values):
    return Choice(**{"id": uuid.uuid4(), "pair": pair, "choice": said, "seconds": 2.5, **values})


def save(user, pair, said="left", **values):
    return save_preferences(user, [choice(pair, said)], **values)[0]


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def why(found):
    return {which: (count, what) for count, what, which in found.left_out}


class TestMaking:
    def test_a_pair_is_one_candidate_of_each_generator_of_one_product(self, project):
        before, after = pair_rows.products(4, per_generator=2)
        made = make_pairs(project, pair_rows.wanted())
        assert made.made == made.products == 4 and made.left_out == []
        for pair in Pair.objects.select_related("first", "second"):
            assert {pair.first.generator.name, pair.second.generator.name} == {"before", "after"}
            assert pair.first.product_id == pair.second.product_id
            assert pair.slots.count() == pair.overlap == 3

    def test_the_same_seed_plans_the_same_and_another_seed_others(self, project):
        pair_rows.products(12, per_generator=3)
        first = plan(project, pair_rows.wanted(at_most=6)).pairs
        assert plan(project, pair_rows.wanted(at_most=6)).pairs == first
        assert plan(project, pair_rows.wanted(at_most=6, seed=1)).pairs != first
        assert not Pair.objects.exists()

    def test_made_again_no_product_gets_more_than_its_share(self, project):
        pair_rows.products(3, per_generator=3)
        assert make_pairs(project, pair_rows.wanted(per_product=2)).made == 6
        again = make_pairs(project, pair_rows.wanted(per_product=2))
        assert again.made == 0 and why(again) == {"that the project has already": (6, "pair")}
        assert make_pairs(project, pair_rows.wanted(per_product=3)).made == 3

    def test_a_limit_is_gone_on_from_the_next_time(self, project):
        pair_rows.products(5)
        first = make_pairs(project, pair_rows.wanted(at_most=3))
        assert first.made == 3 and why(first) == {"not needed for the 3 pairs asked for": (2, "product")}
        assert make_pairs(project, pair_rows.wanted(at_most=3)).made == 2

    def test_no_candidate_is_used_twice_while_there_are_others(self, project):
        pair_rows.products(1, per_generator=4)
        make_pairs(project, pair_rows.wanted(per_product=4))
        used = Counter(pk for pair in Pair.objects.all() for pk in (pair.first_id, pair.second_id))
        assert len(used) == 8 and set(used.values()) == {1}

    @pytest.mark.parametrize("generators", [True, False], ids=["two generators", "any two"])
    def test_every_pair_of_a_product_comes_once_before_there_are_no_more(self, project, generators):
        pair_rows.products(1, per_generator=3)
        asked = pair_rows.wanted(per_product=50) if generators else Wanted(per_product=50)
        assert make_pairs(project, asked).made == (9 if generators else 15)

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
    def test_any_candidates_of_a_product_are_paired_once_each(self, project, n):
        of = build.product()
        for seed in range(n):
            build.candidate(seed, of=of)
        assert make_pairs(project, Wanted(per_product=50)).made == n * (n - 1) // 2

    def test_both_are_drawn_from_one_prompt_unless_that_does_not_matter(self, project):
        [one], [other] = pair_rows.products(1)
        Candidate.objects.filter(pk=other.pk).update(prompt=build.prompt("shelf"))
        left_out = why(plan(project, pair_rows.wanted()))
        assert left_out == {"without candidates of both generators drawn from one prompt": (1, "product")}
        assert len(plan(project, pair_rows.wanted(same_prompt=False)).pairs) == 1

    def test_what_may_not_be_shown_is_left_out_and_said(self, project):
        before, after = pair_rows.products(4)
        flagged = before[0].product
        flagged.unsuitable = True
        flagged.save()
        Candidate.objects.filter(pk=after[1].pk).update(image_sha256="")
        found = plan(project, pair_rows.wanted())
        assert len(found.pairs) == 2
        assert why(found) == {
            "of products flagged as unsuitable": (2, "candidate"),
            "without a picture": (1, "candidate"),
            "without candidates of both generators drawn from one prompt": (1, "product"),
        }

    def test_only_what_people_found_available_if_asked(self, project):
        before, after = pair_rows.products(3)
        for candidate, label in ((before[0], 0), (after[0], 0), (before[1], 0), (after[1], 2), (before[2], 0)):
            Consensus.objects.create(
                candidate=candidate, label=label, posterior=[0.2] * 5, method="majority", annotation_count=1, agreement=1
            )
        found = plan(project, pair_rows.wanted(only_available=True))
        assert found.pairs == [(before[0].pk, after[0].pk)]
        assert why(found)["that nobody has judged yet"] == (1, "candidate")
        assert why(found)["with a defect by the consensus"] == (1, "candidate")

    def test_other_pairs_of_a_product_are_no_reason_not_to_make_these(self, project):
        pair_rows.products(1, per_generator=2)
        build.candidate(99, of=build.Product.objects.get(), generator=build.generator("third"))
        third, before = build.generator("third"), build.generator("before")
        assert make_pairs(project, Wanted(generators=(before.pk, third.pk))).made == 1
        assert make_pairs(project, pair_rows.wanted()).made == 1

    @pytest.mark.parametrize("wrong", [{"per_product": 0}, {"at_most": 10_001}, {"overlap": 10}, {"generators": (1, 1)}])
    def test_nonsense_is_refused(self, wrong):
        with pytest.raises(ValueError):
            Wanted(**wrong)

    def test_many_pairs_cost_as_many_statements_as_few(self, project, django_assert_max_num_queries):
        pair_rows.products(40)
        with django_assert_max_num_queries(10):
            assert make_pairs(project, pair_rows.wanted()).made == 40


class TestLease:
    def test_pairs_come_in_an_order_drawn_when_they_were_made(self, people):
        project, pairs = pair_rows.pairs(5)
        assert leased(people["alice"], project, 3) == [pair.pk for pair in pairs[:3]]

    def test_nobody_gets_a_pair_twice_and_no_pair_more_people_than_its_overlap(self, people):
        project, pairs = pair_rows.pairs(2, overlap=2)
        given = [leased(people[name], project) for name in ("alice", "alice", "bob", "rita")]
        assert [len(ids) for ids in given] == [2, 0, 2, 0]

    def test_a_lapsed_lease_goes_to_others_and_comes_back_to_oneself(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=1)
        assert leased(people["alice"], project)
        assert not leased(people["bob"], project)
        assert leased(people["alice"], project, now=timezone.now() + LATER) == [pair.pk]
        assert leased(people["bob"], project, now=timezone.now() + 2 * LATER) == [pair.pk]

    def test_a_paused_project_hands_out_nothing(self, people):
        project, _ = pair_rows.pairs(1)
        project.is_paused = True
        assert leased(people["alice"], project) == []

    def test_pairs_of_a_product_found_unsuitable_are_not_handed_out(self, people):
        project, pairs = pair_rows.pairs(2)
        product = pairs[0].first.product
        product.unsuitable = True
        product.save()
        assert leased(people["alice"], project) == [pairs[1].pk]

    def test_which_is_left_is_random_and_stays_so_for_one_person(self, people):
        project, pairs = pair_rows.pairs(40)
        first = {slot.pair_id: slot.first_is_left for slot in lease(people["alice"], project, 40)}
        assert 5 <= sum(first.values()) <= 35  # a coin falls otherwise once in millions of times
        pair_actions.release(people["alice"], list(first))
        assert {slot.pair_id: slot.first_is_left for slot in lease(people["alice"], project, 40)} == first
        assert {slot.pair_id: slot.first_is_left for slot in lease(people["bob"], project, 40)} != first

    def test_released_pairs_are_free_at_once_and_renewing_tells_which_were_lost(self, people):
        project, pairs = pair_rows.pairs(2, overlap=1)
        now = timezone.now()
        first, second = leased(people["alice"], project, now=now)
        assert pair_actions.release(people["alice"], [first]) == 1
        assert leased(people["bob"], project, now=now) == [first]
        assert pair_actions.renew(people["alice"], [first, second], now + LATER) == [second]
        assert PairSlot.objects.get(pair=second).lease_until == now + LATER + timedelta(minutes=5)

    def test_what_was_on_the_screen_and_not_answered_comes_again_before_what_is_new(self, people):
        project, pairs = pair_rows.pairs(6)
        mine = leased(people["alice"], project, 4)
        save(people["alice"], mine[0])
        pair_actions.skip(people["alice"], mine[1])
        pair_actions.release(people["alice"], mine)
        assert leased(people["alice"], project, 4) == [pair.pk for pair in pairs[2:]]

    def test_somebody_alone_walks_past_what_they_have_answered_at_one_look_each(self, people):
        """However long they have worked: the plan looks at their handouts, and at products and slots of the rest only."""
        project, _ = pair_rows.pairs(30)
        for pair in leased(people["alice"], project, 25):
            save(people["alice"], pair)
        values = {"person": people["alice"].pk, "project": project.pk, "now": timezone.now(), "window": 10}
        with connections["default"].cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + pair_statements.COUNT_LEFT, values)
            [plan] = cursor.fetchone()[0]
        looked = {node["Relation Name"]: [] for node in nodes(plan["Plan"]) if "Relation Name" in node}
        for node in nodes(plan["Plan"]):
            if node.get("Relation Name") == "annotation_pairslot":
                looked["annotation_pairslot"].append(node["Actual Loops"])
        assert max(looked["annotation_pairslot"]) <= 10

    def test_what_is_left_counts_only_what_this_person_may_take(self, people):
        project, _ = pair_rows.pairs(4)
        leased(people["alice"], project, 1)
        assert pair_actions.count_left(people["alice"], project) == 3
        assert pair_actions.count_left(people["bob"], project) == 4


class TestSaving:
    def test_left_and_right_become_first_and_second_as_they_stood(self, people):
        project, _ = pair_rows.pairs(20)
        for slot in lease(people["alice"], project, 20):
            save(people["alice"], slot.pair_id, "left")
        for row in Preference.objects.all():
            assert row.choice == ("first" if row.first_was_left else "second")
            assert row.first_was_left == PairHandout.objects.get(pair=row.pair).first_is_left

    def test_sent_twice_it_counts_once_and_says_the_same(self, people):
        project, [pair] = pair_rows.pairs(1)
        leased(people["alice"], project)
        given = [choice(pair.pk, "right")]
        assert [save_preferences(people["alice"], given)[0].status for _ in range(3)] == ["saved"] * 3
        assert Preference.objects.count() == 1

    def test_an_id_of_another_answer_or_of_somebody_else_is_refused(self, people):
        project, pairs = pair_rows.pairs(2)
        leased(people["alice"], project), leased(people["bob"], project)
        mine = choice(pairs[0].pk, "left")
        save_preferences(people["alice"], [mine])
        for user, other in (
            (people["alice"], choice(pairs[0].pk, "right", id=mine.id)),
            (people["alice"], choice(pairs[1].pk, "left", id=mine.id)),
            (people["bob"], mine),
        ):
            [outcome] = save_preferences(user, [other])
            assert outcome.status == "refused" and "another answer" in outcome.message
        assert Preference.objects.count() == 1
        with pytest.raises(Refused, match="no preference with this id"):
            pair_actions.undo(people["bob"], mine.id)

    def test_made_up_pairs_are_refused_with_a_sentence(self, people):
        project, pairs = pair_rows.pairs(2)
        other, [foreign] = pair_rows.pairs(1, name="other")
        leased(people["alice"], project, 1)
        leased(people["alice"], other)
        outcomes = save_preferences(
            people["alice"],
            [choice(10**12), choice(pairs[1].pk), choice(foreign.pk), choice(pairs[0].pk), choice(pairs[0].pk)],
            project_id=project.pk,
        )
        assert [row.status for row in outcomes] == ["refused", "refused", "refused", "saved", "refused"]
        said = ("no such pair", "was not handed", "no such pair", "", "answered this pair already")
        assert all(part in row.message for part, row in zip(said, outcomes, strict=True))

    def test_after_the_lease_lapsed_it_counts_if_a_place_is_free_else_it_is_surplus(self, people):
        project, pairs = pair_rows.pairs(2, overlap=1)
        now = timezone.now()
        first, second = leased(people["alice"], project, now=now)
        assert leased(people["bob"], project, 1, now=now + LATER) == [first]
        save(people["bob"], first, now=now + LATER)
        late = [save(people["alice"], pair, now=now + LATER) for pair in (first, second)]
        assert [row.status for row in late] == ["surplus", "saved"]
        assert "does not count" in late[0].message
        assert Preference.objects.standing().count() == 2 and Preference.objects.count() == 3
        assert not Pair.objects.filter(is_open=True).exists()

    def test_a_full_pair_leaves_the_queue_and_an_undo_brings_it_back_to_the_same_person(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=1)
        leased(people["alice"], project)
        mine = choice(pair.pk)
        save_preferences(people["alice"], [mine])
        assert not Pair.objects.get().is_open
        for _ in range(2):
            assert pair_actions.undo(people["alice"], mine.id)
        assert Pair.objects.get().is_open and leased(people["bob"], project) == []
        assert save_preferences(people["alice"], [mine])[0].status == "undone"
        assert save(people["alice"], pair.pk, "tie").status == "saved"
        assert [row.choice for row in Preference.objects.standing()] == ["tie"]

    def test_an_undone_surplus_frees_no_place(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=1)
        now = timezone.now()
        leased(people["alice"], project, now=now), leased(people["bob"], project, now=now + LATER)
        save(people["bob"], pair.pk, now=now + LATER)
        late = choice(pair.pk)
        save_preferences(people["alice"], [late], now=now + LATER)
        assert pair_actions.undo(people["alice"], late.id) is None
        assert not Pair.objects.get().is_open

    def test_skipped_pairs_go_to_others_and_can_be_taken_back(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=1)
        leased(people["alice"], project)
        for _ in range(2):
            pair_actions.skip(people["alice"], pair.pk)
        assert leased(people["alice"], project) == []
        assert pair_actions.take_back_skip(people["alice"], pair.pk)
        assert leased(people["bob"], project) == []
        pair_actions.skip(people["alice"], pair.pk)
        assert leased(people["bob"], project) == [pair.pk]
        assert pair_actions.take_back_skip(people["alice"], pair.pk) is None
        with pytest.raises(Refused, match="not handed"):
            pair_actions.skip(people["rita"], pair.pk)

    def test_an_answered_pair_can_not_be_skipped(self, people):
        project, [pair] = pair_rows.pairs(1)
        leased(people["alice"], project)
        save(people["alice"], pair.pk)
        with pytest.raises(Refused, match="undo that answer"):
            pair_actions.skip(people["alice"], pair.pk)

    def test_a_batch_takes_the_same_statements_as_one(self, people, django_assert_num_queries):
        project, _ = pair_rows.pairs(12)
        ids = leased(people["alice"], project, 12)
        for batch in (ids[:1], ids[1:]):
            with django_assert_num_queries(6):  # two of them are the savepoint
                save_preferences(people["alice"], [choice(pair) for pair in batch])


class TestTheTablesThemselves:
    def test_refuse_a_preference_without_a_place_or_in_a_taken_one(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=1)
        values = {"pair": pair, "choice": "tie", "first_was_left": True, "seconds": 1}
        slot = pair.slots.get()
        Preference.objects.create(id=uuid.uuid4(), annotator=people["alice"], slot=slot, **values)
        for wrong in ({"slot": None}, {"slot": slot}):
            with pytest.raises(IntegrityError), transaction.atomic():
                Preference.objects.create(id=uuid.uuid4(), annotator=people["bob"], **values, **wrong)

    def test_refuse_two_places_of_one_person_and_two_preferences_of_one_person(self, people):
        project, [pair] = pair_rows.pairs(1, overlap=2)
        with pytest.raises(IntegrityError), transaction.atomic():
            PairSlot.objects.update(annotator=people["alice"])
        first, second = pair.slots.all()
        values = {"pair": pair, "annotator": people["alice"], "choice": "tie", "first_was_left": True, "seconds": 1}
        Preference.objects.create(id=uuid.uuid4(), slot=first, **values)
        with pytest.raises(IntegrityError), transaction.atomic():
            Preference.objects.create(id=uuid.uuid4(), slot=second, **values)


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    def test_no_pair_over_its_overlap_nobody_twice_nothing_lost(self):
        """Real threads, real connections: 10 people, a batch each, some going twice with the same ids."""
        project, _ = pair_rows.pairs(30, overlap=3)
        people = [User.objects.create(username=f"person-{number}") for number in range(10)]
        saved, errors = [], []

        def work(user, number):
            try:
                for turn in range(60):
                    slots = lease(user, project, 1 + (number + turn) % 7)
                    if not slots and not pair_actions.count_left(user, project):
                        break
                    batch = [choice(slot.pair_id, ("left", "right", "tie")[slot.pair_id % 3]) for slot in slots]
                    if turn % 5 == 4 and batch:
                        pair_actions.release(user, [batch.pop().pair])
                    if turn % 7 == 6 and batch:
                        pair_actions.skip(user, batch.pop().pair)
                    for _ in range(1 + turn % 2):  # every other batch is sent twice
                        outcomes = save_preferences(user, batch)
                    saved.extend(outcome.id for outcome in outcomes if outcome.status == "saved")
                    if turn % 6 == 5 and batch:
                        pair_actions.undo(user, batch[0].id)
                        saved.remove(batch[0].id)
            except Exception as error:  # noqa: BLE001 - whatever a thread meets fails the test
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=row[::-1]) for row in enumerate(people)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        standing = list(Preference.objects.standing().values_list("id", "pair_id", "annotator_id"))
        assert {row[0] for row in standing} == set(saved) and len(standing) == len(saved)
        per_pair = Counter(pair for _, pair, _ in standing)
        assert max(per_pair.values()) <= 3
        assert max(Counter((pair, person) for _, pair, person in standing).values()) == 1
        assert PairSlot.objects.filter(is_filled=True).count() == len(standing)
        open_ones = PairHandout.objects.filter(is_open=True)
        assert not open_ones.exclude(skipped_at=None).exists()
        assert not {(row.pair_id, row.annotator_id) for row in open_ones} & {row[1:] for row in standing}
        full = {pair for pair, count in per_pair.items() if count == 3}
        assert set(Pair.objects.filter(is_open=False).values_list("pk", flat=True)) == full

    def test_two_tabs_of_one_person_get_different_pairs(self):
        project, _ = pair_rows.pairs(20, overlap=2)
        user = User.objects.create(username="two-tabs")
        given, barrier = [], threading.Barrier(4)

        def tab():
            barrier.wait()
            given.extend(leased(user, project, 4))
            connections.close_all()

        threads = [threading.Thread(target=tab) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == len(set(given)) == 16

    def test_two_managers_making_pairs_at_once_make_each_once(self):
        project = Project.objects.create(name="taste")
        pair_rows.products(30)
        asked, made, barrier = pair_rows.wanted(), [], threading.Barrier(2)

        def make():
            barrier.wait()
            made.append(make_pairs(project, asked).made)
            connections.close_all()

        threads = [threading.Thread(target=make) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(made) == Pair.objects.count() == 30
        assert PairSlot.objects.count() == 90
