"""The label browser's pages: who may, saved filters, and what is done to all candidates of a snapshot."""

import csv
import io
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import bulk, label_browser
from annotation.actions import Pick, add_tasks, lease
from annotation.gold import Known, make_gold
from annotation.models import Consensus, Gold, Project, SavedFilter, Snapshot, Task, Team
from generation.actions import flag_unsuitable
from runs.models import Run
from tests import build
from tests.page_checks import assert_sane
from tests.test_label_browser import five
from tests.test_queue import leased

pytestmark = pytest.mark.django_db
READERS, MANAGERS = {"rita", "max", "mia", "olga"}, {"max", "olga"}


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


@pytest.fixture
def rows(project, people):
    return five(project, people)


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


@pytest.fixture
def snapshot(rows, people):
    return label_browser.make_snapshot(people["max"], {"order": "oldest"})


def text(response):
    return response.content.decode()


def act(client, snapshot, action, **data):
    return client.post(reverse("snapshot_act", args=[snapshot.pk, action]), {"sure": "yes", **data}, follow=True)


class TestWhoMay:
    def test_read(self, client, people, rows):
        for person, user in people.items():
            client.force_login(user)
            own = label_browser.make_snapshot(user, {})
            for name, args in (("labels", []), ("snapshot", [own.pk]), ("snapshot_csv", [own.pk])):
                response = client.get(reverse(name, args=args))
                assert response.status_code == (200 if person in READERS else 403), (person, name)
                if name != "snapshot_csv":
                    assert_sane(response)

    def test_change(self, client, people, rows, project):
        for person, user in people.items():
            client.force_login(user)
            own = label_browser.make_snapshot(user, {})
            for action in bulk.ACTIONS:
                response = client.post(reverse("snapshot_act", args=[own.pk, action]), {"project": project.pk})
                assert (response.status_code == 403) == (person not in MANAGERS), (person, action)
            response = client.post(reverse("filter_save"), {"name": "mine"})
            assert (response.status_code == 403) == (person not in READERS)
            response = client.post(reverse("snapshot_make"), {})
            assert (response.status_code == 403) == (person not in READERS)

    def test_somebody_elses_snapshot_is_not_found(self, client, people, snapshot, project):
        client.force_login(people["olga"])
        assert client.get(reverse("snapshot", args=[snapshot.pk])).status_code == 404
        assert client.get(reverse("snapshot_csv", args=[snapshot.pk])).status_code == 404
        assert client.post(reverse("snapshot_act", args=[snapshot.pk, "add"]), {"project": project.pk}).status_code == 404

    @pytest.mark.parametrize("pk", [0, 2**62, 10**30])
    def test_made_up_ids_are_not_found(self, manager, pk):
        for name in ("snapshot", "snapshot_csv"):
            assert manager.get(reverse(name, args=[pk])).status_code == 404
        assert manager.post(reverse("snapshot_act", args=[pk, "add"])).status_code == 404
        assert manager.post(reverse("filter_delete", args=[pk])).status_code == 404

    def test_reviewers_have_no_word_for_gold(self, client, people, rows, project):
        make_gold(project, {rows[0].pk: Known(0)}, None)
        client.force_login(people["rita"])
        html = text(client.get(reverse("labels") + "?gold=yes"))
        assert 'name="gold"' not in html and "5</strong> candidates" in html
        assert label_browser.make_snapshot(people["rita"], {"gold": "yes"}).count == 5
        client.force_login(people["max"])
        assert "1</strong> candidate<" in text(client.get(reverse("labels") + "?gold=yes"))


class TestPage:
    def test_it_shows_what_everybody_said(self, manager, rows):
        html = text(manager.get(reverse("labels") + "?state=disputed"))
        assert "1</strong> candidate<" in html and "50% agree" in html
        assert html.index("alice") < html.index("bob") and "Shape hallucination" in html

    def test_the_next_page_follows_and_comes_alone_when_asked(self, manager, rows, monkeypatch):
        monkeypatch.setattr("annotation.browse_views.PAGE_SIZE", 2)
        url = reverse("labels") + "?order=disputed&state=answered"
        html = text(manager.get(url))
        more = html.partition('id="more"')[2].partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
        part = text(manager.get(more, headers={"hx-request": "true"}))
        assert "<html" not in part and part.count("<article") == 2 and 'id="more"' not in part

    def test_a_wrong_word_is_named(self, manager, rows):
        response = manager.get(reverse("labels") + "?agreement_from=200&label=0")
        assert response.status_code == 400 and "Agreement from: " in text(response)
        assert_sane(response)
        assert manager.get(reverse("labels") + "?after=x").status_code == 400
        assert manager.get(reverse("labels") + "?q=%00").status_code == 400

    def test_it_costs_the_same_for_many(self, manager, rows):
        def queries():
            with CaptureQueriesContext(connection) as seen:
                manager.get(reverse("labels"))
            return len(seen)

        few = queries()
        for n in range(12):
            build.candidate(100 + n)
        assert queries() == few

    def test_empty_says_what_to_do(self, manager, rows):
        assert "Take one condition away" in text(manager.get(reverse("labels") + "?q=boat"))
        assert "refit the consensus" in text(manager.get(reverse("labels") + "?order=unsure"))


class TestSavedFilters:
    def test_saved_shown_and_opened(self, manager, people, rows):
        manager.post(reverse("filter_save"), {"name": "Lamps", "state": "disputed", "category": "lamps"})
        row = SavedFilter.objects.get()
        assert (row.owner, row.query, row.is_shared) == (people["max"], {"state": "disputed", "category": "lamps"}, False)
        assert urlencode(row.query).replace("&", "&amp;") in text(manager.get(reverse("labels")))

    def test_the_same_name_again_means_this_from_now_on(self, manager, rows):
        manager.post(reverse("filter_save"), {"name": "Lamps", "state": "disputed"})
        manager.post(reverse("filter_save"), {"name": "Lamps", "state": "complete", "is_shared": "on"})
        assert SavedFilter.objects.values_list("query", "is_shared").get() == ({"state": "complete"}, True)

    def test_others_see_shared_ones_and_cannot_delete_them(self, client, manager, people, rows):
        for name, shared in (("Open secret", "on"), ("Private", "")):
            manager.post(reverse("filter_save"), {"name": name, "label": "1", "is_shared": shared}, follow=True)
        client.force_login(people["rita"])
        html = text(client.get(reverse("labels")))
        assert "Open secret" in html and "Private" not in html
        for row in SavedFilter.objects.all():
            assert client.post(reverse("filter_delete", args=[row.pk])).status_code == 404
        client.force_login(people["max"])
        for row in SavedFilter.objects.all():
            client.post(reverse("filter_delete", args=[row.pk]))
        assert not SavedFilter.objects.exists()

    @pytest.mark.parametrize("data", [{"name": ""}, {"name": "a" * 121}, {"name": "a\0"}, {"name": "a", "label": "9"}])
    def test_what_makes_no_sense_is_not_saved(self, manager, rows, data):
        response = manager.post(reverse("filter_save"), data, follow=True)
        assert response.status_code == 200 and "note-error" in text(response)
        assert not SavedFilter.objects.exists()


class TestSnapshotPage:
    def test_it_is_made_from_the_filter_and_says_of_when(self, manager, rows):
        response = manager.post(reverse("snapshot_make"), {"state": "answered"}, follow=True)
        html = text(response)
        assert "4 candidates as of" in html and "State: Has answers" in html
        assert_sane(response)

    def test_nothing_found_makes_none(self, manager, rows):
        assert "No candidate is like that" in text(manager.post(reverse("snapshot_make"), {"q": "boat"}, follow=True))
        assert not Snapshot.objects.exists()

    def test_it_asks_before_it_acts(self, manager, snapshot, project):
        response = manager.post(reverse("snapshot_act", args=[snapshot.pk, "overlap"]), {"project": project.pk, "overlap": 4})
        assert "Ask 4 people about each of 5 candidates, in “first”?" in text(response)
        assert_sane(response)
        assert not Task.objects.filter(overlap=4).exists()

    @pytest.mark.parametrize(
        ("action", "data", "sentence"),
        [
            ("overlap", {"overlap": "10"}, "less than or equal to 9"),
            ("overlap", {"overlap": "²"}, "Enter a whole number"),
            ("overlap", {"overlap": "3", "project": ""}, "Choose a project."),
            ("overlap", {"overlap": "3", "project": "9" * 25}, "There is no such project."),
            ("reserve", {"team": "77"}, "There is no such team."),
            ("priority", {"priority": "inf"}, "Enter a number."),
            ("priority", {"priority": "1e300"}, "less than or equal"),
            ("gold", {"reason": "a\0"}, "Null characters"),
        ],
    )
    def test_what_makes_no_sense_gets_a_sentence(self, manager, snapshot, project, action, data, sentence):
        before = list(Task.objects.order_by("pk").values())
        response = act(manager, snapshot, action, **{"project": project.pk, **data})
        assert response.status_code == 422 and sentence in text(response)
        assert_sane(response)
        assert list(Task.objects.order_by("pk").values()) == before

    def test_an_unknown_action_is_not_found(self, manager, snapshot):
        assert act(manager, snapshot, "explode").status_code == 404

    def test_the_table_is_safe_and_in_order(self, manager, snapshot, rows):
        product = rows[2].product
        product.title = "=1+1"
        product.save()
        response = manager.get(reverse("snapshot_csv", args=[snapshot.pk]))
        lines = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert [int(line["candidate"]) for line in lines] == snapshot.candidates
        assert lines[2]["product"] == "'=1+1" and lines[2]["agreement"] == "0.5"
        assert lines[2]["who_said_what"] == "alice: size_mismatch; bob: shape_hallucination"
        assert lines[4]["consensus"] == ""


class TestActions:
    def test_more_people_are_asked_and_finished_tasks_open_again(self, manager, snapshot, project, rows, people):
        html = text(act(manager, snapshot, "overlap", project=project.pk, overlap=3))
        assert "Done for 4. Left out 1 (1: has no task in this project)." in html
        assert set(Task.objects.values_list("overlap", "is_open")) == {(3, True)}
        assert [task.slots.count() for task in Task.objects.all()] == [3] * 4
        assert not Consensus.objects.filter(is_complete=True).exists()
        assert len(leased(people["rita"], project)) == 4
        assert "Done for 0. Left out 5" in text(act(manager, snapshot, "overlap", project=project.pk, overlap=3))

    def test_reserving_and_setting_free(self, manager, snapshot, project, rows, people):
        team = Team.objects.create(name="kitchen")
        team.members.add(people["mia"])
        html = text(act(manager, snapshot, "reserve", project=project.pk, team=team.pk))
        assert "Done for 1." in html and "3: has all its answers already" in html
        assert leased(people["rita"], project) == [] and len(leased(people["mia"], project)) == 1
        assert "Done for 1." in text(act(manager, snapshot, "reserve", project=project.pk))
        assert not Task.objects.exclude(team=None).exists()

    def test_priority(self, manager, snapshot, project, rows):
        assert "Done for 1." in text(act(manager, snapshot, "priority", project=project.pk, priority="7.5"))
        assert Task.objects.get(candidate=rows[3].pk).priority == 7.5
        assert "1: is so already" in text(act(manager, snapshot, "priority", project=project.pk, priority="7.5"))

    def test_adding_to_another_project(self, manager, snapshot, rows, people):
        other = Project.objects.create(name="other", overlap=1)
        flag_unsuitable(rows[0].product, "cut off")
        add_tasks(other, [Pick(rows[1].pk)])
        html = text(act(manager, snapshot, "add", project=other.pk, priority="2"))
        assert "Done for 3." in html and "its product&#x27;s own picture is at fault" in html
        assert "1: has a task in this project already" in html
        assert len(lease(people["mia"], other, 10)) == 4

    def test_gold_with_its_consensus_label(self, manager, snapshot, project, rows, people):
        html = text(act(manager, snapshot, "gold", project=project.pk, reason="two agree"))
        assert "Done for 4." in html and "1: has no consensus" in html
        assert set(Gold.objects.values_list("task__candidate", "label")) == set(
            Consensus.objects.values_list("candidate", "label")
        )
        assert set(Gold.objects.values_list("reason", "author")) == {("two agree", people["max"].pk)}
        assert leased(people["rita"], project) == []
        assert "4: is gold" in text(act(manager, snapshot, "gold", project=project.pk))
        assert "4: is gold" in text(act(manager, snapshot, "overlap", project=project.pk, overlap=9))

    def test_what_is_deleted_meanwhile_is_left_out(self, manager, project, rows, people, snapshot):
        rows[4].delete()
        other = Project.objects.create(name="other")
        assert "1: is not there any more" in text(act(manager, snapshot, "add", project=other.pk, priority="0"))


class TestAsARun:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(bulk, "AT_ONCE", 2)
        monkeypatch.setattr(bulk, "CHUNK", 2)

    def start(self, manager, snapshot, project, overlap=3):
        url = reverse("snapshot_act", args=[snapshot.pk, "overlap"])
        response = manager.post(url, {"sure": "yes", "project": project.pk, "overlap": overlap})
        run = Run.objects.order_by("-pk").first()
        assert response.url == reverse("run", args=[run.pk])
        return run

    def test_many_are_a_run_and_pressing_twice_one(self, manager, snapshot, project):
        first, again = self.start(manager, snapshot, project), self.start(manager, snapshot, project)
        assert first == again and first.total == 5
        assert self.start(manager, snapshot, project, overlap=4) != first

    def test_it_says_what_was_done_and_goes_on_where_it_was_cut(self, manager, snapshot, project, monkeypatch):
        from annotation.tasks import bulk_labels
        from runs.context import RunContext

        run = self.start(manager, snapshot, project)
        run.claim("test")
        run.refresh_from_db()
        context, do, calls = RunContext(run), bulk.do, []

        def cut(*values):
            calls.append(values)
            if len(calls) == 2:
                raise RuntimeError("the machine went away")
            return do(*values)

        monkeypatch.setattr(bulk, "do", cut)
        with pytest.raises(RuntimeError):
            bulk_labels(context)
        result = bulk_labels(context)
        assert result == {"done": 4, "left_out": {bulk.NO_TASK: 1}}
        assert set(Task.objects.values_list("overlap", flat=True)) == {3}

    def test_a_project_deleted_meanwhile_is_a_sentence(self, manager, snapshot, project):
        from annotation.tasks import bulk_labels
        from runs.context import BadInput, RunContext

        other = Project.objects.create(name="other")
        run = self.start(manager, snapshot, other)
        run.claim("test")
        run.refresh_from_db()
        other.delete()
        with pytest.raises(BadInput, match="deleted meanwhile"):
            bulk_labels(RunContext(run))
