"""Designers' pages: prompts with variables, two people at once, what a prompt said before, and which prompts work."""

import csv
import io

import pytest
from django.urls import reverse

from generation.models import CategoryDefaults, Product, Prompt, PromptText, VariableList
from tests import build
from tests.data_rows import checkpoint, consensus, verdict

pytestmark = pytest.mark.django_db


@pytest.fixture
def max_(client, people):
    client.force_login(people["max"])
    return client


@pytest.fixture
def colours():
    return VariableList.objects.create(name="colour", values=["sand", "sage", "slate"])


def values(**changes):
    return {
        "name": "Oak", "text": "on an oak table", "negative_text": "", "image_scale": "0.5", "tags": "", "notes": "",
        "is_active": "on", **changes,
    }  # fmt: skip


def edit(client, prompt, **changes):
    return client.post(reverse("prompt", args=[prompt.pk]), values(**changes))


def test_the_sample_lists_hold_words_that_mini_knows_and_touch_no_list_of_somebodys(db):
    from adproof.adworld.words import VOCABULARY
    from generation.samples import make_variables

    make_variables()
    lists = {row.name: row.values for row in VariableList.objects.all()}
    assert set(lists) == {"surface", "colour"} and {word for row in lists.values() for value in row for word in value.split()} <= set(VOCABULARY)
    VariableList.objects.filter(name="surface").delete()
    VariableList.objects.update(values=["mine"])
    make_variables()
    assert [row.values for row in VariableList.objects.all()] == [["mine"]]


class TestEditor:
    def test_variables_categories_and_tags_are_saved(self, max_, colours):
        build.product(1)
        build.product(2, category="mugs, small")
        data = values(text="{colour} wall, {product}", categories=["lamps", "mugs, small"], tags="summer, studio,, summer")
        assert max_.post(reverse("prompt_create"), data).status_code == 302
        prompt = Prompt.objects.get()
        assert (prompt.categories, prompt.tags) == (["lamps", "mugs, small"], ["summer", "studio"])
        assert prompt.fits("lamps") and not prompt.fits("chairs")

    @pytest.mark.parametrize("field", ["text", "negative_text"])
    def test_an_unknown_variable_is_named_with_the_known_ones_and_nothing_is_lost(self, max_, colours, field):
        response = max_.post(reverse("prompt_create"), values(**{field: "a {color} wall"}))
        html = response.content.decode()
        assert response.status_code == 422 and not Prompt.objects.exists()
        assert "There is no variable {color}. Known: {category}, {colour}, {product}." in html and "a {color} wall" in html

    def test_the_preview_shows_what_it_becomes_while_it_is_written(self, max_, colours):
        lamp, mug = build.product(1), build.product(2, title="Mug <b>", category="mugs")
        asked = values(text="{colour} wall, {product}", categories=["mugs"])
        html = max_.post(reverse("prompt_preview"), asked).content.decode()
        assert "wall, Mug &lt;b&gt;" in html and html.count('class="prompt-words"') == 3 and "<html" not in html
        assert "wall, Lamp 1" in max_.post(reverse("prompt_preview"), {**asked, "sample": lamp.pk}).content.decode()
        other = max_.post(reverse("prompt_preview"), {"text": "{product}", "sample": lamp.pk, "another": "1"}).content.decode()
        assert "Mug &lt;b&gt;" in other and str(mug.pk) in other
        assert "There is no variable {wall}" in max_.post(reverse("prompt_preview"), {"text": "{wall}"}).content.decode()

    def test_the_preview_names_the_words_that_the_small_generator_was_never_taught(self, max_):
        build.product(1)
        url, chance = reverse("prompt_preview"), "draws something by chance"
        asked = {"text": "on a white marble table, books beside it, velvet curtain"}
        assert chance not in max_.post(url, asked).content.decode(), "another kind of generator is in use, or none"
        type(build.generator()).objects.update(is_in_use=True)
        html = max_.post(url, asked).content.decode()
        assert chance in html and "<strong>velvet, curtain</strong>" in html
        assert chance not in max_.post(url, {"text": "on white tiles, in front of a blue wall, soft light"}).content.decode()

    def test_the_second_of_two_people_sees_what_the_first_changed(self, max_):
        prompt = build.prompt("Oak")
        seen = max_.get(reverse("prompt", args=[prompt.pk])).context["seen"]
        edit(max_, prompt, seen=seen, text="on a pine table", tags="test")
        refused = edit(max_, prompt, seen=seen, text="on an oak floor", image_scale="7")
        assert refused.status_code == 422 and "Somebody else" not in refused.content.decode()
        response = edit(max_, prompt, seen=refused.context["seen"], text="on an oak floor")
        html = response.content.decode()
        assert response.status_code == 422 and "Somebody else has saved this while you were writing" in html
        assert "<del>on a light wood table</del> <ins>on a pine table</ins>" in html and "<ins>test</ins>" in html
        assert "on an oak floor</textarea>" in html, "what was written is still there"
        assert edit(max_, prompt, seen=response.context["seen"], text="on an oak floor").status_code == 302

    def test_what_candidates_were_drawn_with_stays_readable(self, max_, people):
        prompt = build.candidate(1).prompt
        edit(max_, prompt, name="table", text="on a marble table")
        edit(max_, prompt, name="table", text="on a marble table", notes="no other words")
        kept = PromptText.objects.get()
        assert (kept.text, kept.changed_by, kept.prompt) == ("on a light wood table", people["max"], prompt)
        html = max_.get(reverse("prompt_result", args=[prompt.pk])).content.decode()
        assert "The text has changed since" in html and "on a light wood table" in html
        candidate = prompt.candidates.get()
        html = max_.get(reverse("candidate", args=[candidate.pk])).content.decode()
        assert "The text has changed since. Now: on a marble table" in html and "takes what it says now" in html
        edit(max_, prompt, name="table", text="on a light wood table")
        html = max_.get(reverse("candidate", args=[candidate.pk])).content.decode()
        assert "has changed since" not in html, "it says again what it said then"
        fresh = build.prompt("fresh")
        edit(max_, fresh, name="fresh", text="never drawn")
        assert not fresh.earlier_texts.exists()

    def test_a_copy_asks_for_more_and_knows_what_it_is_a_copy_of(self, max_):
        prompt = build.prompt("Oak", text="on an oak table.", negative_text="people")
        for wanted in ("support", "shape", "shape", ""):
            max_.post(reverse("prompt_copy", args=[prompt.pk]), {"suffix": wanted})
        made = list(prompt.copies.order_by("pk"))
        assert [one.name for one in made] == ["Oak, support", "Oak, shape", "Oak, shape 2", "Oak, copy"]
        assert made[0].text == "on an oak table, standing firmly on the surface, with a soft contact shadow"
        assert made[1].negative_text.startswith("people, extra base") and made[3].text == prompt.text


def test_prompts_and_how_they_work_are_read_over_http(max_):
    lamps = build.prompt("Oak", categories=["lamps"], tags=["wood"])
    candidate, old = build.candidate(1), build.prompt("Old", is_active=False)
    first = max_.get("/api/v1/prompts/", {"limit": 2}).json()
    assert [row["name"] for row in first["prompts"]] == ["Old", "table"] and first["next"] == candidate.prompt_id
    assert [row["name"] for row in max_.get("/api/v1/prompts/", {"before": candidate.prompt_id}).json()["prompts"]] == ["Oak"]
    assert [row["id"] for row in max_.get("/api/v1/prompts/", {"q": "wood", "category": "lamps", "is_active": "true"}).json()["prompts"]] == [
        candidate.prompt_id, lamps.pk,
    ]  # fmt: skip
    told = max_.get(f"/api/v1/prompts/{candidate.prompt_id}").json()
    assert told["text"] == candidate.prompt_text and told["people"]["availability"] is None and told["rfnet"]["counts"]["available"] == 0
    assert old.pk in [row["id"] for row in max_.get("/api/v1/prompts/", {"is_active": "false"}).json()["prompts"]]
    assert max_.get("/api/v1/prompts/", {"tag": "x"}).status_code == 400 and max_.get("/api/v1/prompts/99").status_code == 404


class TestWritingElsewhere:
    """Over HTTP and in the admin: the checks of the page, what it said before, and nobody's change overwritten unseen."""

    def send(self, client, method, path, body):
        return getattr(client, method)(f"/api/v1/prompts/{path}", body, content_type="application/json")

    def test_prompts_are_written_and_edited_over_http(self, max_, people):
        build.product(1)
        VariableList.objects.create(name="colour", values=["sand"])
        asked = {"name": "Oak", "text": "{product}, {colour} wall", "tags": ["wood", "test"], "categories": ["lamps"]}
        made = self.send(max_, "post", "", asked).json()
        row = Prompt.objects.get(pk=made["id"])
        assert (row.tags, row.categories, row.image_scale, row.is_active) == (["wood", "test"], ["lamps"], 0.5, True)
        for wrong, name, sentence in (
            ({"text": "{wall}"}, "text", "There is no variable {wall}"), ({"categories": ["cars"]}, "categories", "cars"),
            ({"tags": ["a,b"]}, "tags", "A tag has no comma"), ({"image_scale": 2}, "image_scale", "0.95"),
        ):  # fmt: skip
            response = self.send(max_, "patch", row.pk, wrong)
            assert response.status_code == 400 and sentence in str(response.json()[name]), wrong
        assert self.send(max_, "post", "", asked).json() == {
            "name": ["There is a prompt of this name already: choose another."]
        }

        build.candidate(2, of=build.product(2)).__class__.objects.update(prompt=row)
        changed = self.send(max_, "patch", row.pk, {"text": "on marble", "version": max_.get(f"/api/v1/prompts/{row.pk}").json()["version"]})
        assert changed.json()["text"] == "on marble" and changed.json()["tags"] == ["wood", "test"]
        kept = PromptText.objects.get()
        assert (kept.text, kept.changed_by) == (asked["text"], people["max"])
        outdated = self.send(max_, "patch", row.pk, {"text": "on slate", "version": made["version"]})
        assert outdated.status_code == 409 and "read it again" in outdated.json()["detail"]
        row.refresh_from_db()
        assert row.text == "on marble" and PromptText.objects.count() == 1

    def test_the_admin_writes_by_the_same_form_and_keeps_what_it_said(self, client, people):
        type(people["olga"]).objects.update(is_staff=True)
        client.force_login(people["olga"])
        url = reverse("admin:generation_prompt_add")
        none = {"earlier_texts-TOTAL_FORMS": "0", "earlier_texts-INITIAL_FORMS": "0"}
        asked = {"name": "Oak", "text": "on {wood}", "image_scale": "0.5", "tags": "a, b", "is_active": "on", **none}
        refused = client.post(url, asked).content.decode()
        assert "There is no variable {wood}" in refused and not Prompt.objects.exists()
        client.post(url, {**asked, "text": "on oak"})
        row = Prompt.objects.get()
        assert (row.text, row.tags) == ("on oak", ["a", "b"])
        build.candidate(1).__class__.objects.update(prompt=row)
        url = reverse("admin:generation_prompt_change", args=[row.pk])
        seen = client.get(url).context["adminform"].form.initial["seen"]
        Prompt.objects.filter(pk=row.pk).update(text="on pine")
        warned = client.post(url, {**asked, "text": "on teak", "seen": seen})
        html = warned.content.decode()
        assert "Somebody else has saved this" in html and "on pine" in html and "on teak</textarea>" in html
        again = client.post(url, {**asked, "text": "on teak", "seen": warned.context["adminform"].form.data["seen"]})
        row.refresh_from_db()
        assert again.status_code == 302 and row.text == "on teak" and row.words_changed_at
        assert PromptText.objects.get().text == "on pine" and "on pine" in client.get(url).content.decode()
        people["rita"].__class__.objects.update(is_staff=True)
        client.force_login(people["rita"])
        assert client.post(url, asked).status_code == 403


    def test_lists_are_written_over_http_by_the_checks_of_their_page(self, max_):
        def call(method, path="", body=None):
            response = getattr(max_, method)(f"/api/v1/variables/{path}", body, content_type="application/json")
            return response.status_code, response.json()

        made = call("post", "", {"name": "{Colour}", "values": ["sand", " warm  sage ", "sand"]})[1]
        assert (made["name"], made["values"], made["prompts"]) == ("colour", ["sand", "warm sage"], 0)
        build.prompt("Walls", text="{colour} wall")
        for wrong, name, sentence in (
            ({"name": "color"}, "name", "{colour} is used by “Walls”: keep its name"), ({"values": []}, "values", "at least one value"),
            ({"values": ["x" * 201]}, "values", "200"), ({"name": "product"}, "name", "the product's own"),
        ):  # fmt: skip
            status, told = call("patch", made["id"], wrong)
            assert status == 400 and sentence in str(told[name]), wrong
        assert call("patch", made["id"], {"values": ["slate"], "version": made["version"]})[1]["values"] == ["slate"]
        status, told = call("patch", made["id"], {"values": ["moss"], "version": made["version"]})
        assert status == 409 and "Somebody has changed this list" in told["detail"]
        assert call("get")[1]["variables"][0]["prompts"] == 1 and call("get", "?before=1")[1]["variables"] == []
        status, told = call("post", f"{made['id']}/delete", {})
        assert status == 400 and "used by “Walls”: change those first" in told["detail"]
        Prompt.objects.update(text="a wall")
        assert call("post", f"{made['id']}/delete", {}) == (200, {"deleted": "colour"}) and call("get", made["id"])[0] == 404

    def test_and_in_the_admin(self, client, people, colours):
        type(people["olga"]).objects.update(is_staff=True)
        client.force_login(people["olga"])
        build.prompt("Walls", text="{colour} wall")
        url = reverse("admin:generation_variablelist_change", args=[colours.pk])
        form = client.get(url).context["adminform"].form
        assert "sand\nsage\nslate" in form.as_p()
        refused = client.post(url, {"name": "color", "values": "sand"}).content.decode()
        assert "{colour} is used by “Walls”: keep its name" in refused
        VariableList.objects.update(values=["moss"])
        warned = client.post(url, {"name": "colour", "values": "sand", "seen": form.initial["seen"]}).content.decode()
        assert "Somebody else has saved this" in warned and "moss" in warned
        assert client.post(url, {"name": "colour", "values": "sand\nice"}).status_code == 302
        assert VariableList.objects.get().values == ["sand", "ice"]
        gone = reverse("admin:generation_variablelist_delete", args=[colours.pk])
        html = client.post(gone, {"post": "yes"}, follow=True).content.decode()
        assert "used by “Walls”: change those first" in html and VariableList.objects.exists()
        Prompt.objects.update(text="a wall")
        client.post(gone, {"post": "yes"})
        assert not VariableList.objects.exists()


class TestLists:
    def test_values_come_one_a_line_each_once(self, max_):
        max_.post(reverse("variable_create"), {"name": "{Surface}", "values": " oak  table\n\nmarble\noak table\n"})
        assert VariableList.objects.get().values == ["oak table", "marble"]
        assert "oak table" in max_.get(reverse("variables")).content.decode()

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"name": "two words"}, "small letters, digits and _"),
            ({"name": "product"}, "{product} is the product&#x27;s own"),
            ({"name": "colour"}, "There is a list of this name already"),
            ({"values": " \n "}, "Write at least one value"),
            ({"values": "x" * 201}, "has 201 characters; 200 is the most"),
            ({"values": "\n".join(map(str, range(501)))}, "These are 501 values; 500 is the most"),
        ],
    )
    def test_what_is_wrong_is_said(self, max_, colours, changes, sentence):
        response = max_.post(reverse("variable_create"), {"name": "new", "values": "a", **changes})
        assert response.status_code == 422 and sentence in response.content.decode()
        assert VariableList.objects.count() == 1

    def test_a_list_in_use_keeps_its_name_and_stays(self, max_, colours):
        build.prompt("Walls", text="{colour} wall")
        build.prompt("Braces", text="{{colour}} wall")
        url = reverse("variable", args=[colours.pk])
        response = max_.post(url, {"name": "color", "values": "a"})
        assert response.status_code == 422 and "{colour} is used by “Walls”: keep its name" in response.content.decode()
        html = max_.post(reverse("variable_delete", args=[colours.pk]), follow=True).content.decode()
        assert "used by “Walls”: change those first" in html and VariableList.objects.exists()
        Prompt.objects.filter(name="Walls").update(text="a wall")
        max_.post(reverse("variable_delete", args=[colours.pk]))
        assert not VariableList.objects.exists()

    def test_what_is_usual_for_a_category(self, max_):
        build.product(1)
        prompt = build.prompt()
        url = f"{reverse('category_defaults')}?category=lamps"
        assert max_.post(url, {"image_scale": "2", "negative_text": ""}).status_code == 422
        max_.post(url, {"image_scale": "0.4", "negative_text": "cables", "prompts": [prompt.pk]})
        row = CategoryDefaults.objects.get()
        assert (row.category, row.image_scale, list(row.prompts.all())) == ("lamps", 0.4, [prompt])
        assert "cables" in max_.get(reverse("category_defaults")).content.decode()
        assert max_.post(f"{reverse('category_defaults')}?category=unknown", {}).status_code == 422


class TestResults:
    @pytest.fixture
    def drawn(self):
        """Prompt good: 3 of 4 available by people; bad: 1 of 4 floats less; RFNet has judged six."""
        rows = build.candidates(8)
        good, bad = build.prompt("good"), build.prompt("=bad", text="{{x}}")
        for number, row in enumerate(rows):
            row.prompt = good if number < 4 else bad
            row.save()
            consensus(row, label=(0, 0, 0, 2, 0, 1, 1, 1)[number], agreement=1, count=2)
        in_use = checkpoint(promoted=True)
        other = checkpoint(name="old", promoted=False)
        for row in rows[:6]:
            verdict(row, in_use, 0)
            verdict(row, other, 4)
        return good, bad, rows

    def test_availability_and_mix_by_people_and_by_the_rfnet_in_use(self, max_, drawn):
        from generation.prompt_results import by_prompt, counts_by_prompt, detail_of

        good, bad, rows = drawn
        results = by_prompt(counts_by_prompt.count())
        assert results[good.pk].people.counts == [3, 0, 1, 0, 0] and results[good.pk].judge.counts == [4, 0, 0, 0, 0]
        assert results[bad.pk].people.counts == [1, 3, 0, 0, 0] and results[bad.pk].judge.total == 2
        low, high = results[good.pk].people.interval
        assert 0.30 < low < 0.31 and 0.95 < high < 0.96  # Wilson of 3 in 4
        assert sum(piece["share"] for piece in results[bad.pk].people.mix) == pytest.approx(100)
        assert detail_of(bad.pk).by_category["lamps"].people.counts == [1, 3, 0, 0, 0]
        Product.objects.filter(pk=rows[3].product_id).update(unsuitable=True)
        assert by_prompt(counts_by_prompt.count())[good.pk].people.counts == [3, 0, 0, 0, 0], "unsuitable products do not count"

    def test_the_pages_show_the_best_first_and_what_may_help(self, max_, drawn):
        good, bad, _ = drawn
        html = max_.get(reverse("prompt_results")).content.decode()
        assert html.index(">good<") < html.index(">=bad<") and "<strong>75 %</strong>" in html and "Nobody has said yet" not in html
        by_name = max_.get(reverse("prompt_results"), {"order": "name"}).content.decode()
        assert by_name.index(">=bad<") < by_name.index(">good<")
        detail = max_.get(reverse("prompt_result", args=[bad.pk])).content.decode()
        assert "against its most frequent defect" in detail.split("Ask for support")[1].split("Ask for true scale")[0]
        library = max_.get(reverse("prompts")).content.decode()
        assert "<strong class=\"number\">75 %</strong> available" in library

    def test_while_nobody_has_said_anything_the_page_says_what_to_do(self, max_):
        build.candidates(1)
        html = max_.get(reverse("prompt_results")).content.decode()
        assert "Nobody has said yet" in html and f'<a href="{reverse("candidates")}">Send candidates to annotators</a>' in html

    def test_a_prompt_shows_the_newest_pictures_that_it_made(self, max_, drawn):
        good, _, rows = drawn
        wanted = [f"{reverse('candidate', args=[row.pk])}?prompt={good.pk}" for row in reversed(rows[:4])]
        for url in (reverse("prompts"), reverse("prompt", args=[good.pk]), reverse("prompt_result", args=[good.pk])):
            html = max_.get(url).content.decode()
            places = [html.index(f'href="{one}"') for one in wanted]
            assert places == sorted(places), "the newest first"
            assert f"{reverse('candidate', args=[rows[7].pk])}?prompt={good.pk}" not in html, "of each its own"

    def test_the_table_runs_no_formula(self, max_, drawn):
        rows = list(csv.DictReader(io.StringIO(max_.get(reverse("prompt_results_table")).content.decode())))
        assert [row["prompt"] for row in rows] == ["good", "'=bad"]
        assert rows[0]["people_availability"] == "0.75" and rows[1]["people_space_mismatch"] == "3" and rows[1]["rfnet_said"] == "2"
