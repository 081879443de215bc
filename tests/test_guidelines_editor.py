"""The guidelines' editor: versions, examples, two people at once; and what annotators then read."""

import threading

import pytest
from django.db import connections
from django.urls import reverse

from annotation import guidelines
from annotation.gold import Known, make_gold, retire_gold
from annotation.guidelines import Outdated, difference, examples_of, in_force
from annotation.models import Gold, Guidelines, Project
from annotation.templatetags.guidelines import as_guidelines
from tests import build
from tests.page_checks import assert_sane
from tests.test_queue import fill, leased, save

pytestmark = pytest.mark.django_db
MANAGERS = {"max", "olga"}


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


def page(client, project, **query):
    return client.get(reverse("guidelines_edit", args=[project.pk]), query)


def write(client, project, text="", based_on=1, follow=True, **fields):
    url = reverse("guidelines_edit", args=[project.pk])
    return client.post(url, {"text": text, "based_on": based_on, **fields}, follow=follow)


def said(response):
    return [str(message) for message in response.context["messages"]]


def html(response):
    return response.content.decode()


class TestWhoMay:
    def test_everybody_reads_and_managers_write(self, client, people, project):
        for person, user in people.items():
            client.force_login(user)
            assert client.get(reverse("guidelines")).status_code == 200
            assert (page(client, project).status_code == 200) == (person in MANAGERS)
            assert (write(client, project, f"By {person}").status_code == 403) == (person not in MANAGERS)
        assert "guidelines_edit" not in html(client.get(reverse("guidelines")))

    def test_only_managers_find_the_way_to_the_editor(self, client, people, project):
        url = reverse("guidelines_edit", args=[project.pk])
        for person in ("alice", "max"):
            client.force_login(people[person])
            assert (url in html(client.get(reverse("guidelines")))) == (person == "max")


class TestSaving:
    def test_a_save_is_a_new_version_with_its_author(self, manager, project, people):
        response = write(manager, project, "Look at the whole picture.")
        assert said(response) == ["Version 2 is in force: the desk shows it from now on."]
        project.refresh_from_db()
        assert (project.guidelines, project.guidelines_version) == ("Look at the whole picture.", 2)
        rows = Guidelines.objects.filter(project=project).order_by("version")
        assert [(row.version, row.text, row.author) for row in rows] == [
            (1, "", None), (2, "Look at the whole picture.", people["max"]),
        ]  # fmt: skip

    def test_nothing_different_is_no_new_version(self, manager, project):
        write(manager, project, "Look.")
        response = write(manager, project, "Look.  \r\n", based_on=2)
        assert said(response) == ["Nothing is different: no new version."]
        assert Guidelines.objects.count() == 2

    def test_answers_keep_the_version_that_was_in_force(self, manager, project, people):
        first, second = fill(project, 2)
        leased(people["alice"], project)
        save(people["alice"], first.pk)
        write(manager, project, "Look twice.")
        save(people["alice"], second.pk)
        versions = dict(people["alice"].annotations.values_list("task", "guidelines_version"))
        assert versions == {first.pk: 1, second.pk: 2}

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"text": "x" * 20_001}, "at most 20000 characters"),
            ({"text": "a\0b"}, "Null characters are not allowed"),
            ({"label_0": "one"}, "“one” is no candidate"),
            ({"label_0": "9" * 40}, "is no candidate"),
            ({"label_0": "-5"}, "is no candidate"),
            ({"label_0": "461168601842738790"}, "There is no candidate 461168601842738790."),
            ({"label_1": "1 2 3 4 5 6 7"}, "6 examples at most"),
            ({"based_on": "x"}, "The form is incomplete"),
            ({"based_on": "0"}, "The form is incomplete"),
        ],
    )
    def test_bad_input_says_why_and_keeps_what_was_written(self, manager, project, fields, sentence):
        response = write(manager, project, **{"text": "My hour of work", **fields})
        assert response.status_code == 422 and sentence in html(response)
        if "text" not in fields:
            assert "My hour of work" in html(response)
        assert not Guidelines.objects.filter(version=2).exists()

    def test_a_preview_stores_nothing(self, manager, project):
        response = write(manager, project, "# Shadows\n- **No** shadow\n- <b>none</b>", preview="1")
        assert "<h3>Shadows</h3>" in html(response) and "<li><strong>No</strong> shadow</li>" in html(response)
        assert "<b>none</b>" not in html(response) and "Not saved yet." in html(response)
        assert not Guidelines.objects.filter(version=2).exists()


class TestTwoPeopleAtOnce:
    def test_the_second_is_told_and_loses_nothing(self, client, people, project):
        client.force_login(people["olga"])
        write(client, project, "By Olga\nThe floor counts.")
        client.force_login(people["max"])
        response = write(client, project, "By Max\nThe floor counts.")
        text = html(response)
        assert response.status_code == 409 and "Version 2 was saved by olga meanwhile." in text
        assert "By Max\nThe floor counts.</textarea>" in text  # still in the form
        assert '<li class="removed"><del><span class="visually-hidden">Removed: </span>By Olga' in text
        assert '<li class="added"><ins><span class="visually-hidden">Added: </span>By Max' in text
        project.refresh_from_db()
        assert project.guidelines == "By Olga\nThe floor counts."
        assert 'name="based_on" value="2"' in text
        assert said(write(client, project, "Both", based_on=2)) == ["Version 3 is in force: the desk shows it from now on."]

    def test_the_second_is_told_of_other_examples_too(self, client, people, project):
        first, second = build.candidates(2)
        guidelines.save(project, "Look.", {0: [first.pk]}, people["olga"], based_on=1)
        client.force_login(people["max"])
        text = html(write(client, project, "Look.", label_0=str(second.pk)))
        assert "The text is the same." in text and f"Available: {second.pk} added, {first.pk} removed" in text

    @pytest.mark.django_db(transaction=True)
    def test_saved_in_the_same_moment_one_of_them_wins(self, people, project):
        won, told, barrier = [], [], threading.Barrier(6)

        def save_one(number):
            barrier.wait()
            try:
                won.append(guidelines.save(project, f"By {number}", {}, people["max"], based_on=1).version)
            except Outdated as outdated:
                told.append(outdated.newest.version)
            connections.close_all()

        threads = [threading.Thread(target=save_one, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [2] and told == [2] * 5
        assert list(Guidelines.objects.order_by("version").values_list("version", flat=True)) == [1, 2]


class TestExamples:
    @pytest.fixture
    def rows(self):
        return build.candidates(4)

    def test_chosen_pictures_stand_in_the_guidelines_and_on_the_desk(self, manager, project, rows):
        write(manager, project, "Look.", label_2=f"{rows[1].pk}, {rows[0].pk}")
        version = in_force(Project.objects.get())
        assert version.examples == {"2": [rows[1].pk, rows[0].pk]}
        text = html(manager.get(reverse("guidelines")))
        assert text.index(rows[1].image_sha256) < text.index(rows[0].image_sha256)
        assert "examples/0-1.webp" in text and "examples/2-1.webp" not in text and "Version 2" in text
        desk = html(manager.get(reverse("desk")))
        assert rows[1].image_sha256 in desk and rows[0].image_sha256 not in desk

    def test_gold_is_refused_and_what_becomes_gold_is_shown_no_more(self, manager, project, rows):
        make_gold(project, {rows[0].pk: Known(0)}, None)
        response = write(manager, project, label_0=str(rows[0].pk))
        assert "as an example everybody would know it" in html(response)
        write(manager, project, label_0=str(rows[1].pk))
        make_gold(project, {rows[1].pk: Known(0)}, None)
        assert rows[1].image_sha256 not in html(manager.get(reverse("guidelines")))
        retire_gold(Gold.objects.get(task__candidate=rows[1]))
        assert rows[1].image_sha256 in html(manager.get(reverse("guidelines")))

    def test_gold_is_no_usual_example_either(self, client, people, project, rows):
        from tests.data_rows import consensus

        for row in rows:
            consensus(row, label=1, count=3)
        client.force_login(people["alice"])
        assert rows[3].image_sha256 in html(client.get(reverse("guidelines")))
        make_gold(project, {rows[3].pk: Known(1)}, None)
        assert rows[3].image_sha256 not in html(client.get(reverse("guidelines")))

    def test_one_picture_shows_one_label(self, manager, project, rows):
        response = write(manager, project, label_0=str(rows[0].pk), label_3=str(rows[0].pk))
        assert "is an example of another label already" in html(response)

    def test_the_label_browser_offers_a_picture(self, manager, project, people, rows):
        from tests.data_rows import consensus

        consensus(rows[2], label=3)
        link = f"{reverse('guidelines_edit', args=[project.pk])}?label=3&amp;example={rows[2].pk}"
        assert link in html(manager.get(reverse("labels")))
        text = html(page(manager, project, label=3, example=rows[2].pk))
        assert f'value="{rows[2].pk}"' in text and "Not saved yet." in text and rows[2].image_sha256 in text
        assert not Guidelines.objects.exists()

    @pytest.mark.parametrize("query", [{"label": "9", "example": "1"}, {"label": "1", "example": "9" * 40}, {"example": "é"}, {"before": "x"}])
    def test_made_up_words_in_the_address_are_passed_over(self, manager, project, query):
        assert_sane(page(manager, project, **query))


class TestVersions:
    @pytest.fixture
    def three(self, project, people):
        row = build.candidate()
        guidelines.save(project, "One\nTwo", {0: [row.pk]}, people["max"], based_on=1)
        guidelines.save(project, "One\nThree", {}, people["olga"], based_on=2)
        return project

    def test_they_are_listed_with_author_and_date(self, manager, three):
        text = html(page(manager, three))
        assert text.index("Version 3") < text.index("Version 2") < text.index("Version 1")
        assert "<td>olga</td>" in text and "<td>max</td>" in text

    def test_a_version_shows_what_changed(self, manager, three):
        text = html(manager.get(reverse("guidelines_version", args=[three.pk, 3])))
        assert "Removed: </span>Two" in text and "Added: </span>Three" in text
        assert "Available:" in text and "removed</li>" in text
        text = html(manager.get(reverse("guidelines_version", args=[three.pk, 3]), {"against": 1}))
        assert "since version 1" in text and "Added: </span>One" in text

    def test_restoring_makes_a_new_version(self, manager, three, people):
        response = manager.post(reverse("guidelines_restore", args=[three.pk, 2]), {"based_on": 3}, follow=True)
        assert said(response) == ["Version 2 is in force again, as version 4."]
        row = Guidelines.objects.get(version=4)
        assert (row.text, row.author) == ("One\nTwo", people["max"]) and row.examples == Guidelines.objects.get(version=2).examples
        three.refresh_from_db()
        assert three.guidelines == "One\nTwo" and examples_of(row)[0]

    def test_a_version_saved_meanwhile_is_not_undone_unseen(self, manager, three):
        response = manager.post(reverse("guidelines_restore", args=[three.pk, 1]), {"based_on": 2}, follow=True)
        assert said(response) == ["Version 3 was saved by olga meanwhile. Nothing was restored: look at that one first."]
        assert Guidelines.objects.count() == 3

    @pytest.mark.parametrize(("version", "query"), [(9, {}), (10**12, {}), (3, {"against": "77"}), (3, {"against": "x"})])
    def test_versions_that_are_not_there(self, manager, three, version, query):
        assert manager.get(reverse("guidelines_version", args=[three.pk, version]), query).status_code == 404

    @pytest.mark.parametrize("based_on", ["", "x", "9" * 20])
    def test_a_bare_press_says_what_is_missing(self, manager, three, based_on):
        response = manager.post(reverse("guidelines_restore", args=[three.pk, 1]), {"based_on": based_on}, follow=True)
        assert "Say which version" in said(response)[0] and Guidelines.objects.count() == 3

    def test_many_are_shown_a_page_at_a_time(self, manager, project, people):
        for number in range(1, 25):
            guidelines.save(project, f"Text {number}", {}, people["max"], based_on=number)
        assert "?before=6" in html(page(manager, project))
        assert "Version 5<" in html(page(manager, project, before=6))


class TestTheText:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("", ""),
            ("One\nTwo\n\nThree", "<p>One<br>Two</p>\n<p>Three</p>"),
            ("## Head\ntext", "<h3>Head</h3>\n<p>text</p>"),
            ("- a\n* b\nc", "<ul><li>a</li><li>b</li></ul>\n<p>c</p>"),
            ("**bold** and 2 ** 3 ** 4", "<p><strong>bold</strong> and 2 ** 3 ** 4</p>"),
            ("<script>alert(1)</script> & **<i>**", "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; <strong>&lt;i&gt;</strong></p>"),
            ("#no heading -no item", "<p>#no heading -no item</p>"),
        ],
    )
    def test_what_it_becomes(self, text, wanted):
        assert as_guidelines(text) == wanted

    def test_a_difference_is_line_by_line(self):
        assert list(difference("a\nb", "a\nc")) == [("same", "a"), ("removed", "b"), ("added", "c")]
        assert list(difference("", "a")) == [("added", "a")] and list(difference("", "")) == []
