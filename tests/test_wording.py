"""Prompts with variables: what is written comes out, each value as often as the others, the same for the same seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adproof import wording
from adproof.wording import WordingError, expand
from tests import build

LISTS = {"colour": ["sand", "sage", "slate"], "surface": ["oak table", "marble {slab}"]}


def of(text, seed=1, product="Mug {red}", category="cups", lists=LISTS):
    return expand(text, product=product, category=category, seed=seed, lists=lists)


class TestExpand:
    @given(st.text(max_size=200), st.integers(0, 2**48))
    def test_any_text_that_was_escaped_comes_out_as_it_was(self, text, seed):
        assert of(wording.escape(text), seed) == text

    @given(st.text(max_size=60))
    def test_any_text_is_expanded_or_refused_with_a_sentence(self, text):
        try:
            of(text)
        except WordingError as problem:
            assert str(problem).endswith(".") and len(str(problem)) < 400

    @given(st.integers(0, 2**48), st.text(max_size=30), st.text(max_size=30))
    def test_names_become_words_once_and_words_are_not_read_again(self, seed, product, category):
        text = of("{product}/{ Colour }/{surface}/{category}/{{colour}}", seed, product, category)
        colour = wording.pick("colour", LISTS["colour"], seed)
        surface = wording.pick("surface", LISTS["surface"], seed)
        assert text == f"{product}/{colour}/{surface}/{category}/{{colour}}"

    def test_one_name_has_one_value_in_a_text_and_in_the_text_beside_it(self):
        for seed in range(20):
            first, second = of("{colour} {colour}", seed).split()
            assert first == second == of("{colour}", seed)

    def test_every_value_is_taken_about_equally_often_and_lists_do_not_go_in_step(self):
        drawn = Counter((of("{colour}", seed), of("{surface}", seed)) for seed in range(3000))
        assert len(drawn) == 6 and all(400 < count < 600 for count in drawn.values())

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("a {color} wall", "There is no variable {color}. Known: {category}, {colour}, {product}, {surface}."),
            ("a {colour wall", "opens a brace that nothing closes"),
            ("a {{colour} wall", "closes a brace that nothing opens"),
            ("a {two words} wall", "“{two words}” is no variable"),
            ("a {} wall", "“{}” is no variable"),
            ("a {none} wall", "The list {none} has no values"),
        ],
    )
    def test_what_is_wrong_is_named_with_what_is_known(self, text, sentence):
        lists = {**LISTS, "none": []} if "none" in text else LISTS
        with pytest.raises(WordingError) as problem:
            of(text, lists=lists)
        assert sentence in str(problem.value)


@pytest.mark.django_db
class TestWordsOfAPrompt:
    @pytest.fixture(autouse=True)
    def lists(self):
        from generation.models import VariableList

        VariableList.objects.create(name="colour", values=["sand", "sage"])

    def test_the_key_of_a_candidate_is_of_the_words_that_were_drawn(self, django_assert_num_queries):
        import uuid

        from generation.drawing import Item

        product, generator = build.product(1), build.generator()

        def key(prompt, seed):
            return Item(product, prompt, seed, uuid.uuid4(), generator).key

        asked = build.prompt("walls", text="{product}, {colour} wall", negative_text="no {colour}")
        plain = {
            word: build.prompt(word, text=f"Lamp 1, {word} wall", negative_text=f"no {word}") for word in ("sand", "sage")
        }
        met = set()
        with django_assert_num_queries(1):  # the lists, once
            for seed in range(12):
                words = asked.words(product, seed)
                (word,) = [one for one in plain if one in words.text]
                met.add(word)
                assert key(asked, seed) == key(plain[word], seed)
        assert met == {"sand", "sage"}

    def test_a_category_gives_its_size_and_what_must_not_appear_to_prompts_that_follow_it(self):
        from generation.models import CategoryDefaults

        CategoryDefaults.objects.create(category="lamps", image_scale=0.7, negative_text="cables")
        lamp, mug = build.product(1), build.product(2, category="mugs")
        follows = build.prompt("follows", negative_text="people", follows_category=True)
        own = build.prompt("own", negative_text="people")
        assert (follows.words(lamp, 1).image_scale, follows.words(lamp, 1).negative) == (0.7, "people, cables")
        assert (follows.words(mug, 1).image_scale, follows.words(mug, 1).negative) == (0.5, "people")
        assert (own.words(lamp, 1).image_scale, own.words(lamp, 1).negative) == (0.5, "people")

    def test_a_run_with_an_unknown_variable_does_not_start(self):
        from generation.planning import CannotStart, start_generation

        with pytest.raises(CannotStart, match="“bad” can't be drawn: There is no variable {wall}"):
            start_generation(
                products=[build.product(1)], prompts=[build.prompt("bad", text="{wall}")], generator=build.generator()
            )  # fmt: skip
