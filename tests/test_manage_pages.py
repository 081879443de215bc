"""Projects, as data managers see them: settings, pausing, asking on where people differ."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from annotation import disputes
from annotation.actions import Pick, add_tasks, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Consensus, Project, Task
from generation.actions import flag_unsuitable
from tests import build
from tests.page_checks import assert_sane

pytestmark = pytest.mark.django_db
SETTINGS = {
    "name": "first", "overlap": 2, "agree_at_least": 0, "overlap_most": 5, "lease_minutes": 5, "gold_percent": 0,
    "shows_prompt": "on",
}  # fmt: skip
READERS, MANAGERS = {"rita", "max", "mia", "olga"}, {"max", "olga"}


@pytest.fixture
def project(db):
    return Project.objects.create(name="first", overlap=2)


@pytest.fixture
def manager(client, people):
    client.force_login(people["max"])
    return client


def says(project, label):
    """Somebody new takes the head of the queue and gives it this label."""
    user = User.objects.create(username=f"says-{User.objects.count()}")
    (slot,) = lease(user, project, 1)
    answer = Answer(id=uuid.uuid4(), task=slot.task_id, label=label, seconds=2.0)
    assert save_annotations(user, [answer])[0].status == "saved"
    return Task.objects.get(pk=slot.task_id)


@pytest.fixture
def disputed(project):
    """A finished task on which two people differ, made before the project asked on."""
    add_tasks(project, [Pick(build.candidate().pk)])
    says(project, 0)
    task = says(project, 1)
    assert not task.is_open
    project.agree_at_least, project.overlap_most = 2, 3
    project.save()
    return task


class TestWhoMay:
    @pytest.mark.parametrize(("name", "allowed"), [("projects", READERS), ("project", READERS), ("project_create", MANAGERS)])
    def test_open_the_pages(self, client, people, disputed, project, name, allowed):
        url = reverse(name, args=[project.pk] if name == "project" else [])
        assert client.get(url).status_code == 302
        for person, user in people.items():
            client.force_login(user)
            response = client.get(url)
            assert response.status_code == (200 if person in allowed else 403), person
            assert_sane(response)

    @pytest.mark.parametrize("name", ["project", "project_pause", "project_ask_on", "project_create"])
    def test_change_things(self, client, people, disputed, project, name):
        url = reverse(name, args=[] if name == "project_create" else [project.pk])
        data = {**SETTINGS, "name": "second", "pause": "1"}
        for person, user in people.items():
            client.force_login(user)
            assert (client.post(url, data).status_code == 403) == (person not in MANAGERS), person

    def test_readers_find_no_form(self, client, people, project):
        client.force_login(people["rita"])
        html = client.get(reverse("project", args=[project.pk])).content.decode()
        assert 'name="overlap"' not in html and "Pause" not in html and "Answers per task" in html

    @pytest.mark.parametrize("name", ["project", "project_pause", "project_ask_on"])
    def test_a_project_that_is_not_there_is_not_found(self, manager, name):
        assert manager.post(reverse(name, args=[2**62]), SETTINGS).status_code == 404


class TestList:
    def test_it_says_how_far_each_is_and_todays_answers(self, manager, disputed):
        html = manager.get(reverse("projects")).content.decode()
        assert "1 of 1 tasks done · 2 answers today" in html

    def test_it_costs_the_same_for_many_projects(self, manager, project):
        def queries():
            with CaptureQueriesContext(connection) as seen:
                manager.get(reverse("projects"))
            return len(seen)

        few = queries()
        Project.objects.bulk_create([Project(name=f"project {n}") for n in range(30)])
        assert queries() == few

    def test_without_any_it_says_what_to_do(self, manager):
        assert "No project yet" in manager.get(reverse("projects")).content.decode()


class TestSettings:
    def test_a_project_is_made(self, manager):
        response = manager.post(reverse("project_create"), {**SETTINGS, "overlap": 3})
        made = Project.objects.get()
        assert (made.overlap, made.shows_prompt) == (3, True)
        assert response.url == reverse("project", args=[made.pk])

    def test_a_change_is_saved_and_a_pause_pressed_meanwhile_stays(self, manager, project, monkeypatch):
        from annotation.manage_views import ProjectForm

        valid = ProjectForm.is_valid

        def paused_meanwhile(form):
            Project.objects.update(is_paused=True)
            return valid(form)

        monkeypatch.setattr(ProjectForm, "is_valid", paused_meanwhile)
        manager.post(reverse("project", args=[project.pk]), {**SETTINGS, "lease_minutes": 9, "shows_prompt": ""})
        project.refresh_from_db()
        assert (project.lease_minutes, project.shows_prompt, project.is_paused) == (9, False, True)

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"name": ""}, "Give the project a name."),
            ({"name": "taken"}, "There is a project of this name already"),
            ({"agree_at_least": 6}, "At most 5 people are asked"),
            ({"agree_at_least": 2, "overlap": 4, "overlap_most": 3}, "ask for no fewer"),
            ({"overlap": 10}, "less than or equal to 9"),
            ({"overlap": "many"}, "Enter a whole number"),
        ],
    )
    def test_what_makes_no_sense_gets_a_sentence_and_changes_nothing(self, manager, project, wrong, sentence):
        Project.objects.create(name="taken")
        response = manager.post(reverse("project", args=[project.pk]), {**SETTINGS, **wrong})
        assert response.status_code == 422 and sentence in response.content.decode()
        assert_sane(response)
        assert Project.objects.filter(pk=project.pk, name="first", overlap=2, agree_at_least=0).exists()


class TestPause:
    def test_nobody_is_handed_a_task_until_it_goes_on(self, manager, people, project):
        add_tasks(project, [Pick(build.candidate().pk)])
        url = reverse("project_pause", args=[project.pk])
        for wanted, count in (("1", 0), ("1", 0), ("0", 1)):
            manager.post(url, {"pause": wanted})
            project.refresh_from_db()
            assert len(lease(people["alice"], project, 1)) == count

    def test_a_made_up_wish_changes_nothing(self, manager, project):
        manager.post(reverse("project_pause", args=[project.pk]), {"pause": "maybe"})
        project.refresh_from_db()
        assert not project.is_paused


class TestAskingOn:
    def test_a_finished_task_gets_one_more_place_once(self, manager, project, disputed):
        assert "1 finished task on which fewer than 2" in manager.get(reverse("project", args=[project.pk])).content.decode()
        manager.post(reverse("project_ask_on", args=[project.pk]))
        assert disputes.ask_on(project) == 0
        disputed.refresh_from_db()
        assert (disputed.is_open, disputed.overlap, disputed.slots.count()) == (True, 3, 3)
        assert not Consensus.objects.get(candidate=disputed.candidate_id).is_complete

    def test_the_third_answer_ends_it(self, project, disputed):
        disputes.ask_on(project)
        task = says(project, 1)
        assert (task.pk, task.is_open, task.overlap) == (disputed.pk, False, 3)
        assert disputes.count(project) == 0

    def test_no_more_are_asked_than_the_project_allows(self, project, disputed):
        disputes.ask_on(project)
        says(project, 2)
        assert disputes.ask_on(project) == 0

    def test_where_people_agree_or_the_project_does_not_ask_nothing_is_reopened(self, project, disputed):
        project.agree_at_least = 0
        project.save()
        assert disputes.ask_on(project) == 0
        project.agree_at_least = 1
        project.save()
        assert disputes.ask_on(project) == 0

    def test_nobody_is_asked_about_a_product_whose_own_picture_is_at_fault(self, project, disputed):
        flag_unsuitable(disputed.candidate.product, "cut off")
        assert disputes.ask_on(project) == 0

    def test_tasks_of_other_projects_stay(self, project, disputed):
        other = Project.objects.create(name="other", agree_at_least=2)
        assert disputes.ask_on(other) == 0
        disputed.refresh_from_db()
        assert not disputed.is_open
