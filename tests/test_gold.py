"""The gold manager: making, retiring and judging gold, by hand, from a table, from what people agree on."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from annotation import gold_table
from annotation.actions import Pick, add_tasks
from annotation.gold import Known, make_gold
from annotation.models import Consensus, Gold, Project, Task
from tests import build
from tests.page_checks import assert_sane
from tests.test_queue import fill, leased, save

pytestmark = pytest.mark.django_db
POSTS = ("gold_add", "gold_upload", "gold_take", "gold_rate")


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=1, gold_percent=5)


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


def text(response):
    return response.content.decode()


def gold_of(project):
    return {row.task.candidate_id: (row.label, row.reason) for row in Gold.objects.filter(task__project=project).select_related("task")}


def upload(client, project, table, follow=True):
    table = table if isinstance(table, bytes) else table.encode()
    return client.post(reverse("gold_upload", args=[project.pk]), {"table": SimpleUploadedFile("g.csv", table)}, follow=follow)


def answered(gold_task, labels):
    """So many people say these labels of it, as if it had been handed to them."""
    from annotation.models import Slot

    for label in labels:
        user = User.objects.create(username=f"answers-{User.objects.count()}")
        number = gold_task.slots.count()
        Slot.objects.create(task=gold_task, number=number, annotator=user, lease_until="2999-01-01T00:00Z")
        assert save(user, gold_task.pk, label).status == "saved"


class TestWhoMay:
    def test_only_those_who_manage_tasks(self, client, people, project):
        for person, user in people.items():
            client.force_login(user)
            may = person in {"max", "olga"}
            response = client.get(reverse("gold", args=[project.pk]))
            assert response.status_code == (200 if may else 403), person
            assert_sane(response)
            for name in POSTS:
                assert (client.post(reverse(name, args=[project.pk])).status_code == 403) == (not may), (person, name)
            assert client.post(reverse("gold_retire", args=[project.pk, 1])).status_code == (404 if may else 403)

    @pytest.mark.parametrize("pk", [0, 2**62, 10**30])
    def test_made_up_ids_are_not_found(self, manager, project, pk):
        assert manager.get(reverse("gold", args=[pk])).status_code == 404
        for name in POSTS:
            assert manager.post(reverse(name, args=[pk])).status_code == 404
        assert manager.post(reverse("gold_retire", args=[project.pk, pk]), {"retired": "1"}).status_code == 404

    def test_annotators_cannot_tell_gold_from_any_page_of_theirs(self, client, people, project):
        """Every page an annotator may open says the same with and without a reason, label or the word."""
        fill(project, 30)
        row = build.candidate(900)
        make_gold(project, {row.pk: Known(3, "xyzzy-reason")}, people["max"])
        task = Task.objects.get(candidate=row.pk)
        client.force_login(people["alice"])
        lease = client.post("/api/v1/desk/lease", {"project": project.pk, "count": 20}, content_type="application/json")
        seen = [lease.content.decode(), client.get("/api/v1/desk/projects").content.decode()]
        for name, args in (("desk", []), ("guidelines", []), ("candidate", [row.pk]), ("labels", []), ("gold", [project.pk]), ("home", [])):
            seen.append(client.get(reverse(name, args=args)).content.decode())
        for body in seen:
            body = body.lower()
            assert "xyzzy" not in body and "is_gold" not in body and "gold_percent" not in body
        assert client.get(reverse("admin:annotation_gold_changelist")).status_code != 200 if _has_admin() else True
        assert task.is_gold


def _has_admin():
    from django.contrib import admin

    return Gold in admin.site._registry


class TestByHand:
    def test_one_candidate_with_a_reason(self, manager, people, project):
        row = build.candidate()
        response = manager.post(reverse("gold_add", args=[project.pk]), {"candidate": row.pk, "label": 2, "reason": "too big"}, follow=True)
        assert "is gold: Size mismatch" in text(response) and "too big" in text(response)
        assert Gold.objects.values_list("label", "reason", "author").get() == (2, "too big", people["max"].pk)
        assert Task.objects.values_list("is_gold", "is_open").get() == (True, False)

    def test_again_it_is_corrected(self, manager, project):
        row = build.candidate()
        make_gold(project, {row.pk: Known(2, "too big")}, None)
        page = text(manager.get(reverse("gold", args=[project.pk]) + f"?candidate={row.pk}"))
        assert 'value="too big"' in page
        manager.post(reverse("gold_add", args=[project.pk]), {"candidate": row.pk, "label": 0})
        assert gold_of(project) == {row.pk: (0, "")}

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"candidate": "²", "label": 0}, "Enter a whole number"),
            ({"candidate": "7777", "label": 0}, "There is no candidate of this number"),
            ({"candidate": str(2**70), "label": 0}, "less than or equal"),
            ({"candidate": "0", "label": 0}, "greater than or equal"),
            ({"label": 9}, "Select a valid choice"),
            ({"label": 0, "reason": "a" * 501}, "at most 500"),
            ({"label": 0, "reason": "a\0"}, "Null characters"),
        ],
    )
    def test_what_makes_no_sense_gets_a_sentence(self, manager, project, data, sentence):
        row = build.candidate()
        response = manager.post(reverse("gold_add", args=[project.pk]), {"candidate": row.pk, **data})
        assert response.status_code == 422 and sentence in text(response)
        assert_sane(response)
        assert not Gold.objects.exists()

    @pytest.mark.parametrize("query", ["?candidate=²", "?candidate=99999999999999999999"])
    def test_a_made_up_candidate_in_the_address_is_ignored(self, manager, project, query):
        assert manager.get(reverse("gold", args=[project.pk]) + query).status_code == 200

    def test_an_open_task_leaves_the_queue_and_a_held_one_is_still_taken(self, manager, people, project):
        task = fill(project, 1)[0]
        assert leased(people["alice"], project) == [task.pk]
        manager.post(reverse("gold_add", args=[project.pk]), {"candidate": task.candidate_id, "label": 1})
        assert leased(people["bob"], project) == []
        assert save(people["alice"], task.pk, 1).status == "saved"


class TestRetiring:
    def test_there_and_back_and_twice(self, manager, project):
        make_gold(project, {build.candidate().pk: Known(1)}, None)
        row = Gold.objects.get()
        url = reverse("gold_retire", args=[project.pk, row.pk])
        for wanted, is_retired in (("1", True), ("1", True), ("0", False), ("maybe", False)):
            manager.post(url, {"retired": wanted})
            row.refresh_from_db()
            assert row.is_retired == is_retired

    def test_only_by_its_own_project(self, manager, project):
        make_gold(project, {build.candidate().pk: Known(1)}, None)
        other = Project.objects.create(name="other")
        assert manager.post(reverse("gold_retire", args=[other.pk, Gold.objects.get().pk]), {"retired": "1"}).status_code == 404

    def test_the_rate(self, manager, project):
        assert "20 %" in text(manager.post(reverse("gold_rate", args=[project.pk]), {"gold_percent": 20}, follow=True))
        for wrong in ("51", "-1", "²", "", "1e9"):
            assert manager.post(reverse("gold_rate", args=[project.pk]), {"gold_percent": wrong}).status_code == 422
        project.refresh_from_db()
        assert project.gold_percent == 20


class TestTable:
    def test_the_most_often_missed_come_first(self, manager, project):
        rows = build.candidates(4)
        make_gold(project, {row.pk: Known(0) for row in rows}, None)
        tasks = [Task.objects.get(candidate=row.pk) for row in rows]
        answered(tasks[0], [0, 0, 1])
        answered(tasks[1], [0])
        answered(tasks[2], [1, 2, 0])
        found = gold_table.most_missed(project, 10)
        assert [row.task_id for row in found] == [tasks[2].pk, tasks[0].pk, tasks[3].pk, tasks[1].pk]
        assert [(row.answered, row.missed) for row in found] == [(3, 2), (3, 1), (0, 0), (1, 0)]
        assert found[0].right == pytest.approx(1 / 3) and found[2].right is None
        seen, after = [], None
        while page := gold_table.most_missed(project, 1, after):
            seen.append(page[0].task_id)
            after = (page[0].missed, page[0].pk)
        assert seen == [row.task_id for row in found]
        assert "33%" in text(manager.get(reverse("gold", args=[project.pk])))

    def test_pages(self, manager, project, monkeypatch):
        monkeypatch.setattr("annotation.gold_views.PAGE_SIZE", 2)
        make_gold(project, {row.pk: Known(0) for row in build.candidates(3)}, None)
        url = reverse("gold", args=[project.pk])
        last = gold_table.most_missed(project, 2)[-1]
        assert f"after=0:{last.pk}" in text(manager.get(url))
        part = text(manager.get(url + f"?after=0:{last.pk}", headers={"hx-request": "true"}))
        assert part.count("<tr") == 1 and "<html" not in part
        for wrong in ("x", "1:²", "1:2:3", "1:" + "9" * 30):
            assert manager.get(url, {"after": wrong}).status_code == 404

    def test_it_costs_the_same_for_many(self, manager, people, project):
        def queries():
            with CaptureQueriesContext(connection) as seen:
                manager.get(reverse("gold", args=[project.pk]))
            return len(seen)

        make_gold(project, {build.candidate(50).pk: Known(0)}, people["max"])
        few = queries()
        make_gold(project, {row.pk: Known(0) for row in build.candidates(12)}, people["max"])
        assert queries() == few

    def test_without_any_it_says_what_to_do(self, manager, project):
        assert "No gold yet" in text(manager.get(reverse("gold", args=[project.pk])))


class TestUpload:
    def test_by_id_and_by_picture_with_names_of_labels(self, manager, project):
        rows = build.candidates(3)
        make_gold(project, {rows[2].pk: Known(0)}, None)
        table = f"\ufeffCandidate,image_sha256,Label,reason\n{rows[0].pk},,available,clear\n,{rows[1].image_sha256.upper()},Space Mismatch,\n\n{rows[2].pk},,4,changed\n"
        assert "3 read: 2 new, 1 changed" in text(upload(manager, project, table))
        assert gold_of(project) == {rows[0].pk: (0, "clear"), rows[1].pk: (1, ""), rows[2].pk: (4, "changed")}

    def test_every_wrong_line_is_named_and_nothing_is_stored(self, manager, project):
        rows = build.candidates(2)
        twin = build.candidate(7)
        rows[1].__class__.objects.filter(pk=rows[1].pk).update(image_sha256=twin.image_sha256)
        lines = [
            f"{rows[0].pk},,available,", f"{rows[0].pk},,available,again", "7777,,available,", "²,,available,", f"{rows[1].pk},,bad,",
            ",,available,", f",{'0' * 64},available,", f",{twin.image_sha256},available,", f"{twin.pk},,available,{'a' * 501}",
            f"{rows[1].pk}",
        ]  # fmt: skip
        response = upload(manager, project, "candidate,image_sha256,label,reason\n" + "\n".join(lines))
        html = text(response)
        assert response.status_code == 422 and not Gold.objects.exists()
        for number, why in (
            (3, f"line 2 has candidate {rows[0].pk} already"), (4, "there is no candidate"), (5, "there is no candidate"),
            (6, "is not a label"), (7, "it names no candidate"), (8, "no candidate has the picture"),
            (9, "several candidates have this picture"), (10, "longer than 500"), (11, "is not a label"),
        ):  # fmt: skip
            assert f"Line {number}: " in html and why in html, number
        assert "Line 2: " not in html
        assert_sane(response)

    @pytest.mark.parametrize(
        ("table", "sentence"),
        [
            (b"", "submitted file is empty"),
            (b"id,colour\n1,red", "must name the columns"),
            (b"candidate,label\n", "no line below the first"),
            (b"\xff\xfe\x00c", "not UTF-8"),
            (b"candidate,label\n1,\x00", "NUL"),
            (b'candidate,label\n1,"' + b"a" * 200_000, "read as CSV"),
        ],
    )
    def test_what_is_no_table_gets_a_sentence(self, manager, project, table, sentence):
        response = upload(manager, project, table)
        assert response.status_code == 422 and sentence in text(response)

    def test_too_many_lines_and_too_large_a_file(self, manager, project, monkeypatch):
        monkeypatch.setattr(gold_table, "LINES_AT_MOST", 1)
        assert "1 is the most" in text(upload(manager, project, "candidate,label\n1,0\n2,0\n"))
        monkeypatch.setattr("annotation.gold_views.MAX_CSV_BYTES", 4)
        assert "larger than" in text(upload(manager, project, "candidate,label\n1,0\n"))


class TestSuggestions:
    @pytest.fixture
    def agreed(self, project):
        rows = build.candidates(4)
        for row, count, agreement in zip(rows, (3, 3, 2, 4), (1, 0.67, 1, 1), strict=True):
            Consensus.objects.create(candidate=row, label=1, posterior=[0, 1, 0, 0, 0], method="majority", annotation_count=count, agreement=agreement)
        return rows

    def test_three_must_agree_wholly(self, manager, project, agreed):
        assert [row.candidate_id for row in gold_table.suggestions(project, 9)] == [agreed[3].pk, agreed[0].pk]
        make_gold(project, {agreed[3].pk: Known(1)}, None)
        assert [row.candidate_id for row in gold_table.suggestions(project, 9)] == [agreed[0].pk]

    def test_the_chosen_are_taken_with_their_label_and_others_are_not(self, manager, project, agreed):
        data = {"candidate": [agreed[0].pk, agreed[1].pk, "²", str(10**30)]}
        html = text(manager.post(reverse("gold_take", args=[project.pk]), data, follow=True))
        assert "1 candidate is gold now" in html and "1 left out" in html
        assert gold_of(project) == {agreed[0].pk: (1, "3 agreed")}
        assert "Choose at least one" in text(manager.post(reverse("gold_take", args=[project.pk]), follow=True))

    def test_tasks_of_other_projects_stay(self, manager, project, agreed):
        other = Project.objects.create(name="other")
        add_tasks(other, [Pick(agreed[0].pk)])
        manager.post(reverse("gold_take", args=[project.pk]), {"candidate": [agreed[0].pk]})
        assert Task.objects.get(project=other).is_open
