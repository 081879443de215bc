"""Teams and reserved tasks: by skill, for named people, for a whole queue; and when a team may go."""

import threading

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from annotation import bulk, label_browser, queue_changes, teams
from annotation.actions import Pick, add_tasks, lease
from annotation.gold import Known, make_gold
from annotation.models import Project, Task, Team
from annotation.teams import TeamInUse, team_of
from runs.models import Run
from tests import build
from tests.data_rows import do

pytestmark = pytest.mark.django_db
MANAGERS = {"max", "olga"}


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


@pytest.fixture
def tasks(project):
    rows = build.candidates(4)
    add_tasks(project, [Pick(row.pk, priority=-number) for number, row in enumerate(rows)])
    return list(Task.objects.order_by("-priority"))


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


@pytest.fixture
def glass(people):
    team = Team.objects.create(name="Glass")
    team.members.add(people["alice"])
    return team


def said(response):
    return [str(message) for message in response.context["messages"]]


def leased(user, project):
    return {slot.task_id for slot in lease(user, project, 20)}


class TestNamedPeople:
    def test_the_same_people_are_the_same_team_in_any_order(self, people):
        first = team_of([people["bob"], people["alice"]])
        assert team_of([people["alice"], people["bob"]]) == first
        assert first.name == "alice, bob" and set(first.members.all()) == {people["alice"], people["bob"]}
        assert team_of([people["alice"]]) != first

    def test_a_team_of_a_manager_with_just_them_is_not_taken_for_it(self, people, glass):
        """Its members may change tomorrow."""
        assert team_of([people["alice"]]) != glass

    def test_a_name_that_is_taken_is_no_obstacle(self, people):
        Team.objects.create(name="alice")
        assert team_of([people["alice"]]).name == f"alice ({people['alice'].pk})"

    def test_nobody_and_too_many_are_refused(self):
        with pytest.raises(ValueError, match="Name 1 to 12"):
            team_of([])
        with pytest.raises(ValueError, match="make a team"):
            team_of([User.objects.create(username=f"person-{number}") for number in range(13)])

    def test_many_long_names_fit(self):
        crowd = [User.objects.create(username=f"{'x' * 40}-{number}") for number in range(12)]
        assert len(team_of(crowd).name) <= 120

    @pytest.mark.django_db(transaction=True)
    def test_asked_for_at_once_it_is_made_once(self, people):
        made, barrier = [], threading.Barrier(6)

        def ask():
            barrier.wait()
            team = team_of([people["alice"], people["bob"]])
            made.append((team.pk, team.members.count()))
            connections.close_all()

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 6 and set(made) == {(Team.objects.get().pk, 2)}

    def test_its_members_stay(self, manager, people):
        team = team_of([people["alice"]])
        with pytest.raises(ValueError, match="make another one"):
            teams.set_members(team, [people["bob"]])
        manager.post(reverse("team", args=[team.pk]), {"name": "Alice alone", "members": [people["bob"].pk]})
        team.refresh_from_db()
        assert team.name == "Alice alone" and set(team.members.all()) == {people["alice"]}


class TestPages:
    def test_only_managers_see_and_change_them(self, client, people, glass):
        for person, user in people.items():
            client.force_login(user)
            for name, args in (("teams", []), ("team", [glass.pk]), ("team_create", [])):
                assert (client.get(reverse(name, args=args)).status_code == 200) == (person in MANAGERS), (person, name)
            for name in ("team", "team_set_free", "team_delete"):
                if person not in MANAGERS:
                    assert client.post(reverse(name, args=[glass.pk])).status_code == 403
        assert Team.objects.filter(pk=glass.pk).exists()

    def test_make_one_and_change_it(self, manager, people):
        ids = [people[name].pk for name in ("alice", "rita")]
        manager.post(reverse("team_create"), {"name": "Glass", "members": ids})
        team = Team.objects.get()
        assert set(team.members.values_list("pk", flat=True)) == set(ids)
        manager.post(reverse("team", args=[team.pk]), {"name": "Glass and china", "members": ids[:1]})
        team.refresh_from_db()
        assert team.name == "Glass and china" and team.members.get() == people["alice"]

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"name": ""}, "Give the team a name."),
            ({"name": "Glass"}, "There is a team of this name already"),
            ({"name": "x", "members": ["999999"]}, "There is no such person."),
            ({"name": "x", "members": ["9" * 30]}, "There is no such person."),
            ({"name": "x", "members": ["alice"]}, "There is no such person."),
            ({"name": "x" * 121}, "at most 120 characters"),
            ({"name": "a\0b"}, "Null characters are not allowed"),
        ],
    )
    def test_a_bad_form_says_why_and_changes_nothing(self, manager, glass, data, sentence):
        response = manager.post(reverse("team_create"), data)
        assert response.status_code == 422 and sentence in response.content.decode()
        assert Team.objects.count() == 1

    def test_who_left_stays_a_member_until_taken_out(self, manager, people, glass):
        User.objects.filter(pk=people["alice"].pk).update(is_active=False)
        assert ">alice<" in manager.get(reverse("team", args=[glass.pk])).content.decode()
        assert ">alice<" not in manager.get(reverse("team_create")).content.decode()
        manager.post(reverse("team", args=[glass.pk]), {"name": "Glass", "members": [people["alice"].pk]})
        assert glass.members.count() == 1

    def test_the_list_says_what_is_reserved_and_costs_the_same_for_many(self, manager, tasks, glass, people):
        Task.objects.filter(pk__in=[task.pk for task in tasks[:3]]).update(team=glass)
        html = manager.get(reverse("teams")).content.decode()
        assert "Glass" in html and '<td class="right">3</td>' in html

        def queries():
            with CaptureQueriesContext(connection) as seen:
                manager.get(reverse("teams"))
            return len(seen)

        few = queries()
        for number in range(20):
            Team.objects.create(name=f"team {number}").members.add(people["bob"])
        assert queries() == few

    def test_counts_end_at_a_most(self, manager, tasks, glass, project, monkeypatch):
        monkeypatch.setattr(teams, "COUNT_AT_MOST", 2)
        Task.objects.update(team=glass)
        assert "2+ open tasks" in manager.get(reverse("team", args=[glass.pk])).content.decode()
        assert teams.reserved([glass])[glass.pk][0].count == 3


class TestDelete:
    def test_without_a_task_it_goes(self, manager, glass):
        assert "is deleted" in said(manager.post(reverse("team_delete", args=[glass.pk]), follow=True))[0]
        assert not Team.objects.exists()

    def test_with_open_tasks_it_stays_and_says_why(self, manager, tasks, glass):
        Task.objects.filter(pk=tasks[0].pk).update(team=glass)
        response = manager.post(reverse("team_delete", args=[glass.pk]), follow=True)
        assert said(response) == ["Open tasks are reserved for it: set them free first, or reserve them for others."]
        assert Team.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_set_free_wholly_it_may_go(self, manager, tasks, glass, project, people):
        """Finished tasks and gold were reserved for it as well."""
        Task.objects.update(team=glass)
        Task.objects.filter(pk=tasks[0].pk).update(is_open=False)
        make_gold(project, {tasks[1].candidate_id: Known(0)}, None)
        Task.objects.filter(is_open=True).update(team=None)
        with pytest.raises(TeamInUse, match="Finished tasks"):
            teams.delete(glass)
        response = manager.post(reverse("team_set_free", args=[glass.pk]))
        run = Run.objects.get()
        assert response.url == reverse("run", args=[run.pk])
        assert do(run).result == {"changed": 2}
        teams.delete(glass)
        assert not Team.objects.exists() and Task.objects.count() == 4


class TestReserveFromTheLabelBrowser:
    @pytest.fixture
    def snapshot(self, people, tasks):
        return label_browser.make_snapshot(people["max"], {"order": "oldest"})

    def act(self, client, snapshot, project, **data):
        url = reverse("snapshot_act", args=[snapshot.pk, "reserve"])
        return client.post(url, {"project": project.pk, **data}, follow=True)

    def test_for_named_people(self, manager, snapshot, project, people, tasks):
        ids = [people["alice"].pk, people["rita"].pk]
        asked = self.act(manager, snapshot, project, people=ids).content.decode()
        assert "for alice and rita?" in asked and asked.count('name="people"') == 2
        assert not Team.objects.exists()  # asked only
        response = self.act(manager, snapshot, project, people=ids, sure="yes")
        assert said(response) == ["Reserve. Done for 4."]
        assert leased(people["bob"], project) == set()
        assert leased(people["alice"], project) == leased(people["rita"], project) == {task.pk for task in tasks}

    def test_for_a_team_and_free_again(self, manager, snapshot, project, people, glass):
        self.act(manager, snapshot, project, team=glass.pk, sure="yes")
        assert not leased(people["bob"], project)
        self.act(manager, snapshot, project, sure="yes")
        assert len(leased(people["bob"], project)) == 4

    @pytest.mark.parametrize("people_too", [True, False])
    def test_both_or_nonsense_is_refused(self, manager, snapshot, project, people, glass, people_too):
        data = {"team": glass.pk, "people": [people["bob"].pk]} if people_too else {"people": ["0x1"]}
        response = self.act(manager, snapshot, project, sure="yes", **data)
        assert response.status_code == 422
        assert ("not both" if people_too else "There is no such person") in response.content.decode()
        assert not Task.objects.exclude(team=None).exists()

    def test_as_a_run_when_they_are_many(self, manager, snapshot, project, people, monkeypatch):
        monkeypatch.setattr(bulk, "AT_ONCE", 2)
        self.act(manager, snapshot, project, people=[people["alice"].pk], sure="yes")
        assert Run.objects.get().params["team"] == Team.objects.get().pk


class TestTheQueuePage:
    def post(self, client, project, action, **data):
        return client.post(reverse("queue_change", args=[project.pk, action]), data, follow=True)

    def test_it_shows_what_waits_and_for_whom(self, manager, project, tasks, glass):
        Task.objects.filter(pk=tasks[0].pk).update(team=glass)
        html = manager.get(reverse("queue", args=[project.pk])).content.decode()
        assert "<dd>3<small>open tasks" in html and "<dd>1<small>open task<" in html and "Glass" in html

    def test_another_order_is_asked_and_then_a_run(self, manager, project, tasks):
        asked = self.post(manager, project, "order", rule="constant", priority="2").content.decode()
        assert "Give 4 open tasks in “first” the priority 2?" in asked and not Run.objects.exists()
        response = self.post(manager, project, "order", rule="constant", priority="2", sure="yes")
        run = Run.objects.get()
        assert response.redirect_chain[-1][0] == reverse("run", args=[run.pk])
        assert run.params["how"] == {"rule": "constant", "priority": 2.0, "team": None, "seed": run.params["how"]["seed"], "newest": 0}

    def test_a_filter_narrows_it(self, manager, project, tasks, glass):
        data = {"rule": "shuffle", "category": "lamps", "reserved": "free"}
        asked = self.post(manager, project, "order", **data).content.decode()
        assert "Give 4 open tasks of category “lamps”, reserved for nobody in “first”" in asked
        response = self.post(manager, project, "order", rule="shuffle", reserved=str(glass.pk))
        assert said(response) == ["No open task is like that: choose others."]

    @pytest.mark.parametrize(
        ("action", "data", "sentence"),
        [
            ("order", {}, "Choose an order."),
            ("order", {"rule": "alphabet"}, "Select a valid choice"),
            ("order", {"rule": "constant"}, "Say which priority."),
            ("order", {"rule": "constant", "priority": "nan"}, "Enter a number."),
            ("order", {"rule": "constant", "priority": "1e300"}, "less than or equal to"),
            ("order", {"rule": "newest", "category": "never heard"}, "Select a valid choice"),
            ("reserve", {"team": "9" * 30}, "There is no such team."),
            ("reserve", {"reserved": "everybody"}, "Select a valid choice"),
        ],
    )
    def test_a_bad_form_says_why_and_starts_nothing(self, manager, project, tasks, action, data, sentence):
        response = self.post(manager, project, action, sure="yes", **data)
        assert response.status_code == 422 and sentence in response.content.decode()
        assert not Run.objects.exists()

    def test_two_changes_at_once_are_refused_with_the_way_to_the_first(self, manager, project, tasks):
        self.post(manager, project, "order", rule="shuffle", sure="yes")
        response = self.post(manager, project, "order", rule="newest", sure="yes")
        assert said(response) == ["The queue is being changed already: wait until that is done, or stop it."]
        assert Run.objects.count() == 1
        assert "is being changed" in manager.get(reverse("queue", args=[project.pk])).content.decode()

    @pytest.mark.django_db(transaction=True)
    def test_reserving_a_whole_queue_for_named_people(self, manager, project, tasks, people):
        self.post(manager, project, "reserve", people=[people["alice"].pk], sure="yes")
        assert do(Run.objects.get()).result == {"changed": 4}
        assert not leased(people["bob"], project) and len(leased(people["alice"], project)) == 4

    def test_an_unknown_action_or_project_is_not_found(self, manager, project):
        assert self.post(manager, project, "burn").status_code == 404
        assert manager.get(reverse("queue", args=[2**62])).status_code == 404

    def test_the_reservation_stands_when_the_same_is_asked_again(self, project, tasks, glass):
        first = queue_changes.reserve(project, glass)
        assert queue_changes.reserve(project, glass) == first
