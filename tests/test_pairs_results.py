"""What preferences say: strengths, intervals, sides, agreement; the manager's page and its tables."""

import csv
import io
import itertools
import math
import uuid
from collections import Counter

import numpy as np
import pytest
from django.urls import reverse

from accounts.models import User
from annotation import pair_actions, preference_figures
from annotation.crowd import simulated_people
from annotation.models import Pair, PairHandout, PairSlot, Preference, Project
from annotation.pair_actions import Choice
from annotation.pairs import Wanted, make_pairs
from annotation.simulated_pairs import choose, prefer_together
from generation.models import Candidate
from tests import build, pair_rows
from tests.page_checks import assert_sane

pytestmark = pytest.mark.django_db
READERS, MANAGERS = {"rita", "max", "mia", "olga"}, {"max", "olga"}


def person(name):
    return User.objects.get_or_create(username=name)[0]


def say(pair, name, choice, is_left=True, seconds=2.0):
    """A preference straight into the tables: "before", "after" or "tie"."""
    slot = pair.slots.filter(is_filled=False).first()
    PairSlot.objects.filter(pk=slot.pk).update(is_filled=True, annotator=person(name))
    first = pair.first.generator.name
    stored = "tie" if choice == "tie" else "first" if choice == first else "second"
    PairHandout.objects.create(pair=pair, annotator=person(name), first_is_left=(stored == "first") == is_left)
    return Preference.objects.create(
        id=uuid.uuid4(), pair=pair, annotator=person(name), choice=stored, first_was_left=(stored == "first") == is_left,
        seconds=seconds, slot=slot,
    )


def filled(project, n=12, overlap=2, says=("after", "after", "after", "before", "tie", "after")):
    """n pairs of before and after, all answered, one way after the other."""
    pair_rows.products(n)
    make_pairs(project, pair_rows.wanted(overlap=overlap))
    turn = itertools.cycle(says)
    for pair in Pair.objects.select_related("first__generator").order_by("pk"):
        for number in range(overlap):
            say(pair, f"p{number}", next(turn), is_left=bool((pair.pk + number) % 2))


@pytest.fixture
def project():
    return Project.objects.create(name="taste")


class TestStrengths:
    def test_are_those_of_the_counts(self, project):
        filled(project)
        found = preference_figures.results(project)
        assert [(thing.name, thing.wins, thing.losses, thing.ties) for thing in found.things] == [
            ("after", 16, 4, 4), ("before", 4, 16, 4),
        ]
        after, before = found.things
        assert after.strength - before.strength == pytest.approx(math.log(4), abs=0.1)
        assert after.low < after.strength < after.high and after.strength == pytest.approx(-before.strength)
        assert found.compared == 24 and found.alike == 0 and found.is_grouped
        share, low, high = found.best
        assert share == pytest.approx(0.8, abs=0.02) and 0.5 < low < share < high < 1

    def test_do_not_depend_on_which_candidate_has_the_smaller_number(self, project):
        filled(project)
        Candidate.objects.filter(generator__name="before").update(generator=build.generator("x"))
        Candidate.objects.filter(generator__name="after").update(generator=build.generator("before"))
        Candidate.objects.filter(generator__name="x").update(generator=build.generator("after"))
        assert [thing.name for thing in preference_figures.results(project).things] == ["before", "after"]

    def test_count_neither_what_was_taken_back_nor_what_came_too_late(self, project):
        filled(project)
        first, second = Preference.objects.all()[:2]
        Preference.objects.filter(pk=first.pk).update(is_undone=True)
        Preference.objects.filter(pk=second.pk).update(is_surplus=True, slot=None)
        assert preference_figures.results(project).compared == 22
        assert preference_figures.sides(project).total == 22

    def test_of_another_project_are_its_own(self, project):
        filled(project)
        assert preference_figures.results(Project.objects.create(name="other")).things == []

    def test_answers_about_one_product_hang_together_and_the_intervals_know_it(self, project):
        """Everybody agrees on each product: nine people tell hardly more than one."""
        pair_rows.products(30)
        make_pairs(project, pair_rows.wanted(overlap=9))
        for number, pair in enumerate(Pair.objects.select_related("first__generator")):
            for who in range(9):
                say(pair, f"p{who}", "after" if number % 3 else "before")
        found = preference_figures.results(project)
        share, low, high = found.best
        logit_error = (math.log(high / (1 - high)) - math.log(low / (1 - low))) / 2 / 1.96
        by_products, by_answers = math.sqrt(1 / 20 + 1 / 10), math.sqrt(1 / 180 + 1 / 90)
        assert by_products * 0.85 < logit_error < by_products * 1.3 and logit_error > 2 * by_answers

    def test_with_few_products_the_fit_is_all_there_is(self, project):
        filled(project, n=3)
        assert not preference_figures.results(project).is_grouped

    def test_of_prompts_and_within_one_prompt(self, project):
        shelf = build.prompt("shelf")
        before, after = pair_rows.products(12)
        for row in after[:6]:
            Candidate.objects.filter(pk=row.pk).update(prompt=shelf)
        make_pairs(project, pair_rows.wanted(same_prompt=False, overlap=4))
        for pair in Pair.objects.select_related("first__generator"):
            for who in range(4):
                say(pair, f"p{who}", "after" if who else "before")
        by_prompt = preference_figures.results(project, by="prompt")
        assert [(thing.name, thing.wins, thing.losses) for thing in by_prompt.things] == [("shelf", 18, 6), ("table", 6, 18)]
        assert by_prompt.alike == 24
        assert [(row.name, n) for row, n in preference_figures.prompts(project)] == [("table", 24)]
        assert preference_figures.results(project, prompt=build.prompt().pk).compared == 24

    def test_pairs_of_one_generator_are_told_apart(self, project):
        of = build.product()
        for seed in range(2):
            build.candidate(seed, of=of)
        make_pairs(project, Wanted())
        say(Pair.objects.get(), "p0", "tie")
        found = preference_figures.results(project)
        assert found.things == [] and found.alike == 1

    def test_those_never_compared_are_said_to_be_apart(self, project):
        of = build.product(500)
        names = ["a", "b", "c", "d"]
        rows = [build.candidate(9000 + n, of=of, generator=build.generator(name)) for n, name in enumerate(names)]
        for first, second in (rows[:2], rows[2:]):
            make_pairs(project, Wanted(generators=(first.generator_id, second.generator_id)))
        for pair in Pair.objects.select_related("first__generator"):
            say(pair, "p0", pair.first.generator.name)
        assert preference_figures.results(project).is_apart

    def test_cost_the_same_statements_however_many_preferences(self, project, django_assert_num_queries):
        filled(project, n=4)
        with django_assert_num_queries(2):
            preference_figures.results(project)


class TestTrust:
    def test_a_favoured_side_is_found(self, project):
        pair_rows.products(30)
        make_pairs(project, pair_rows.wanted(overlap=2))
        for number, pair in enumerate(Pair.objects.select_related("first__generator")):
            say(pair, "fair", ("after", "before")[number % 2], is_left=number % 4 < 2)
            say(pair, "lefty", ("after", "before")[number % 2], is_left=True)
        sides = preference_figures.sides(project)
        assert (sides.left, sides.right, sides.ties, sides.people) == (46, 14, 0, 2) and sides.is_biased
        assert {row.name: row.is_biased for row in preference_figures.people(project)} == {"fair": False, "lefty": True}

    def test_agreement_is_of_two_people_on_one_pair(self, project):
        filled(project, n=6, says=("after", "after", "after", "before", "tie", "tie"))
        found = preference_figures.agreement(project)
        assert found.share == pytest.approx(4 / 6)
        assert found.alpha.n_items == 6 and found.alpha.low <= found.alpha.value <= found.alpha.high
        assert {row.agreement for row in preference_figures.people(project)} == {4 / 6}

    def test_alpha_is_that_of_the_library(self, project):
        krippendorff = pytest.importorskip("krippendorff")
        filled(project, n=20, says=("after", "tie", "before", "after", "after"))
        table = np.full((2, 20), np.nan)
        for row, pair in enumerate(Pair.objects.order_by("pk")):
            for who in range(2):
                said = pair.preferences.get(annotator__username=f"p{who}").choice
                table[who, row] = ["first", "second", "tie"].index(said)
        expected = krippendorff.alpha(table, level_of_measurement="nominal")
        assert preference_figures.agreement(project).alpha.value == pytest.approx(expected)

    def test_the_interval_of_a_share(self):
        assert preference_figures.wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
        assert preference_figures.wilson(0, 10)[0] == 0 and preference_figures.wilson(0, 0) == (0, 1)


FORM = {
    "compare": "generators", "per_product": 1, "at_most": 100, "overlap": 2, "seed": 0, "same_prompt": "on",
}  # fmt: skip


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


def form(**values):
    before, after = pair_rows.two_generators()
    return {**FORM, "before": before.pk, "after": after.pk, **values}


class TestPage:
    def url(self, project):
        return reverse("project_pairs", args=[project.pk])

    def test_who_may(self, client, people, project):
        filled(project)
        assert client.get(self.url(project)).status_code == 302
        for name, user in people.items():
            client.force_login(user)
            response = client.get(self.url(project))
            assert response.status_code == (200 if name in READERS else 403), name
            if name in READERS:
                assert_sane(response)
                assert ("Make pairs" in response.content.decode()) == (name in MANAGERS)
            assert (client.post(self.url(project), form(do="preview")).status_code == 403) == (name not in MANAGERS)

    def test_a_preview_makes_nothing_and_making_says_what_was_left_out(self, manager, project):
        before, after = pair_rows.products(4)
        Candidate.objects.filter(pk=after[0].pk).update(image_sha256="")
        response = manager.post(self.url(project), form(do="preview"))
        html = response.content.decode()
        assert_sane(response)
        assert "3 pairs of 3 products" in html and "1 candidate without a picture" in html
        assert not Pair.objects.exists()
        html = manager.post(self.url(project), form(do="make"), follow=True).content.decode()
        assert "3 pairs of 3 products made." in html and "Left out: 1 candidate without a picture." in html
        assert Pair.objects.count() == 3
        assert "No pair was made." in manager.post(self.url(project), form(do="make"), follow=True).content.decode()

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"before": ""}, "Choose a generator."),
            ({"after": "999999"}, "Select a valid choice"),
            ({"per_product": 0}, "greater than or equal to 1"),
            ({"at_most": 10_001}, "less than or equal to 10000"),
            ({"overlap": ""}, "required"),
            ({"seed": "x"}, "whole number"),
        ],
    )
    def test_a_wrong_form_is_said_beside_its_field(self, manager, project, wrong, said):
        response = manager.post(self.url(project), form(do="make", **wrong))
        assert response.status_code == 422 and said in response.content.decode()
        assert not Pair.objects.exists()

    def test_a_generator_is_not_compared_with_itself(self, manager, project):
        one = build.generator("before").pk
        response = manager.post(self.url(project), form(before=one, after=one))
        assert response.status_code == 422 and "compared with itself" in response.content.decode()

    def test_the_newest_tuned_generator_and_its_parent_are_proposed(self, manager, project):
        before, after = pair_rows.two_generators()
        after.parent = before
        after.save()
        build.generator("newest")
        initial = manager.get(self.url(project)).context["form"].initial
        assert initial == {"before": before.pk, "after": after.pk}

    def test_it_says_what_the_numbers_are(self, manager, project):
        filled(project)
        html = manager.get(self.url(project)).content.decode()
        assert "after is preferred to before in 80% of decided choices" in html
        assert "24 of 24 preferences given" in html
        assert manager.get(self.url(project) + "?by=colour").status_code == 404
        assert manager.get(self.url(project) + "?prompt=x").status_code == 404
        assert manager.get(self.url(project) + "?prompt=99999").status_code == 200

    def test_figures_that_take_long_are_kept_for_a_while_and_the_page_says_so(self, manager, project, monkeypatch):
        monkeypatch.setattr(preference_figures, "SLOW_S", 0)
        filled(project, n=4)
        for said in (False, True):
            assert ("all numbers as of" in manager.get(self.url(project)).content.decode()) == said
        pair_rows.products(1)
        manager.post(self.url(project), form(do="make"))
        assert "8 of 10 preferences given" in manager.get(self.url(project)).content.decode()

    def test_it_costs_the_same_however_many_pairs(self, manager, project, django_assert_max_num_queries):
        filled(project)
        with django_assert_max_num_queries(16):
            manager.get(self.url(project))


class TestTables:
    def rows(self, client, project, name, query=""):
        response = client.get(reverse("pairs_table", args=[project.pk, name]) + query)
        assert response["Content-Type"].startswith("text/csv")
        content = b"".join(response.streaming_content) if response.streaming else response.content
        return list(csv.DictReader(io.StringIO(content.decode())))

    def test_strengths_counts_people_and_every_preference(self, manager, project):
        filled(project)
        assert [(row["generator"], row["wins"], row["preferences"]) for row in self.rows(manager, project, "strengths")] == [
            ("after", "16", "24"), ("before", "4", "24"),
        ]
        assert [row["wins"] for row in self.rows(manager, project, "counts")] == ["16", "4"]
        assert {row["person"]: row["preferences"] for row in self.rows(manager, project, "people")} == {"p0": "12", "p1": "12"}
        every = self.rows(manager, project, "preferences")
        assert len(every) == 24
        won = Counter(row[f"{row['choice']}_generator"] for row in every if row["choice"] != "tie")
        assert won == {"after": 16, "before": 4}
        assert manager.get(reverse("pairs_table", args=[project.pk, "secrets"])).status_code == 404

    def test_a_name_that_is_a_formula_stays_text(self, manager, project):
        filled(project)
        generator = build.generator("after")
        generator.name = "=1+1"
        generator.save()
        assert self.rows(manager, project, "strengths")[0]["generator"] == "'=1+1"
        assert any(row["second_generator"] == "'=1+1" for row in self.rows(manager, project, "preferences"))


class TestSimulatedPeople:
    def test_choose_as_the_model_has_it(self):
        rng = np.random.default_rng(0)
        said = Counter(choose(1.0, 0.0, rng) for _ in range(4000))
        assert said["left"] / said["right"] == pytest.approx(math.e, rel=0.1)
        even = Counter(choose(0.0, 0.0, rng) for _ in range(4000))
        assert even["tie"] / 4000 == pytest.approx(0.2, abs=0.03)

    @pytest.mark.django_db(transaction=True)
    def test_work_through_the_api_and_their_taste_is_found(self, live_server):
        project, _ = pair_rows.pairs(60, overlap=4)
        liked = set(Candidate.objects.filter(generator__name="after").values_list("image_sha256", flat=True))

        def taste(client, url):
            return 1.2 if url.rsplit("/", 1)[1] in liked else 0.0

        works = prefer_together(live_server.url, simulated_people(5, seed=0), project.pk, taste)
        assert [work.error for work in works] == [""] * 5 and sum(work.saved for work in works) == 240
        found = preference_figures.results(project)
        after, before = found.things
        assert after.name == "after" and 0.5 < after.strength - before.strength < 1.9
        # Sides are drawn anew in every run: a bound that a fair draw breaks once in 16,000 runs, not once in 20 as the page's.
        sides = preference_figures.sides(project)
        assert abs(sides.left - sides.right) < 4 * math.sqrt(sides.left + sides.right)
        assert pair_actions.count_left(person("somebody"), project) == 0

    @pytest.mark.django_db(transaction=True)
    def test_look_at_the_pictures_when_left_to_themselves(self, live_server, capsys):
        from django.core.management import call_command

        project, _ = pair_rows.pairs(2, overlap=1)
        call_command("prefer", people=1, project="taste", base_url=live_server.url)
        assert "2 saved" in capsys.readouterr().out


def test_a_preference_of_the_api_is_what_the_figures_count(project, people):
    project, [pair] = pair_rows.pairs(1, overlap=1)
    [slot] = pair_actions.lease(people["alice"], project, 1)
    pair_actions.save_preferences(people["alice"], [Choice(uuid.uuid4(), pair.pk, "left", 2.0)])
    assert preference_figures.sides(project).left == 1
    won = preference_figures.results(project).things[0]
    left = slot.pair.first if slot.first_is_left else slot.pair.second
    assert won.name == left.generator.name
