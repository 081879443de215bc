"""The bridge and a real Label Studio: tasks go there, two people label them there, their answers come back once."""

import re
from datetime import timedelta

import pytest
from django.db import connection

from adproof.labels import TITLES, Label
from annotation import actions, statements
from annotation.actions import Pick, add_tasks
from annotation.answers import Answer, save_annotations
from annotation.models import Annotation, Project, Slot, Task
from tests import build
from tests.labelstudio_server import LEAD, Bridge, Person, at_the_shell, begin, end

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(1200)]
AVAILABLE, SIZE, SHAPE = TITLES[Label.AVAILABLE], TITLES[Label.SIZE_MISMATCH], TITLES[Label.SHAPE_HALLUCINATION]


@pytest.fixture(scope="module")
def server():
    yield begin().server()
    end()


@pytest.fixture(scope="module")
def bridge(server, django_db_setup):
    running = Bridge()
    yield running
    running.end()


@pytest.fixture(scope="module")
def ann(server):
    return Person(server, "ann@example.com")


@pytest.fixture(scope="module")
def ben(server):
    return Person(server, "ben@example.com")


@pytest.fixture(scope="module")
def lead(server):
    return Person(server, LEAD, signs_up=False)


@pytest.fixture
def accounts(people):
    """Alice and Bob are Ann and Ben there: the e-mail address is the same."""
    for name, email in (("alice", "ann@example.com"), ("bob", "Ben@Example.com")):
        people[name].email = email
        people[name].save()
    return people


@pytest.fixture
def project(db):
    project = Project.objects.create(name="first", overlap=2, guidelines="Look <twice>.")
    add_tasks(project, [Pick(row.pk) for row in build.candidates(4)])
    return project


@pytest.fixture
def push(server, bridge):
    return lambda *more, **options: bridge("push", "--url", server.address, *more, **options)


@pytest.fixture
def pull(server, bridge):
    return lambda *more, **options: bridge("pull", "--url", server.address, *more, **options)


@pytest.fixture
def pushed(project, push):
    """Label Studio's number of the project, its tasks' numbers by our candidate's key there."""
    return int(re.search(r"Project (\d+) made: 4 tasks sent, 0 were there", push())[1])


def tasks_there(lead, number):
    """Label Studio's number of each task by our candidate."""
    rows = lead.get(f"/api/tasks?project={number}&page_size=100&fields=all")["tasks"]
    found = {row["meta"]["adproof_candidate"]: row["id"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture
def there(pushed, lead):
    """Label Studio's number of each of our four tasks, in our order."""
    found = tasks_there(lead, pushed)
    return [found[task.candidate.key] for task in Task.objects.select_related("candidate").order_by("id")]


def everything():
    return [list(model.objects.order_by("pk").values()) for model in (Annotation, Slot, Task)]


def answers():
    return sorted(Annotation.objects.standing().order_by("task").values_list("annotator__username", "label"))


def test_the_five_commands_of_the_documentation(accounts, project, server, lead, ann, tmp_path):
    assert "4 tasks sent" in at_the_shell("push", "--url", server.address, "--embed")
    number = max(row["id"] for row in lead.get("/api/projects")["results"])
    for _ in range(4):
        ann.label(ann.next_task(number)["id"], AVAILABLE)
    assert "4 answers saved" in at_the_shell("pull", "--url", server.address)


class TestPushing:
    def test_label_studio_takes_the_project_and_says_what_was_meant(self, project, push, lead):
        number = int(re.search(r"Project (\d+) made", push())[1])
        found = lead.get(f"/api/projects/{number}")
        choices = found["parsed_label_config"]["label"]
        assert choices["type"] == "Choices" and choices["labels"] == [TITLES[label] for label in Label]
        assert (found["title"], found["maximum_annotations"], found["show_instruction"]) == ("Adproof: first", 2, True)
        assert "Look &lt;twice&gt;." in found["expert_instruction"]
        task = lead.get(f"/api/tasks?project={number}&page_size=1&fields=all")["tasks"][0]
        assert set(task["data"]) == {"title", "product", "picture", "prompt"}

    def test_twice_changes_nothing_and_later_only_what_is_new_goes(self, project, pushed, push, lead):
        before = tasks_there(lead, pushed)
        assert f"Project {pushed} used: 0 tasks sent, 4 were there." in push()
        assert tasks_there(lead, pushed) == before
        add_tasks(project, [Pick(build.candidate(50).pk)])
        assert "Would send 1 tasks" in push("--dry-run")
        assert len(tasks_there(lead, pushed)) == 4
        assert f"Project {pushed} used: 1 tasks sent, 4 were there." in push()
        assert len(tasks_there(lead, pushed)) == 5

    def test_another_project_of_ours_is_another_one_there(self, project, pushed, push):
        second = Project.objects.create(name="second")
        add_tasks(second, [Pick(build.candidate(60).pk)])
        number = int(re.search(r"Project (\d+) made: 1 tasks sent", push("--project", "second"))[1])
        assert number != pushed

    def test_the_pictures_themselves_go_if_asked(self, project, push, lead):
        number = int(re.search(r"Project (\d+) made", push("--embed"))[1])
        task = lead.get(f"/api/tasks?project={number}&page_size=1&fields=all")["tasks"][0]
        assert task["data"]["picture"].startswith("data:image/png;base64,")

    def test_another_installation_s_project_of_the_same_number_is_another_one(self, project, pushed, push):
        Project.objects.update(created_at=project.created_at + timedelta(days=1))
        assert int(re.search(r"Project (\d+) made: 4 tasks sent", push())[1]) != pushed

    def test_a_personal_access_token_works_as_well(self, project, push, lead):
        token = lead.call("POST", "/api/token/", {})["token"]
        assert "4 tasks sent" in push(token=token)


class TestPulling:
    def test_what_two_people_labelled_there_is_theirs_here(self, accounts, pushed, there, ann, ben, pull):
        seen = set()
        for _ in there:
            task = ann.next_task(pushed)
            seen.add(task["id"])
            ann.label(task["id"], AVAILABLE, seconds=3.25)
        assert seen == set(there)
        ben.label(there[0], SIZE)
        assert "5 answers saved, 0 were here, 0 surplus, 0 skipped there, 0 left out" in pull()
        assert answers() == [("alice", Label.AVAILABLE)] * 4 + [("bob", Label.SIZE_MISMATCH)]
        first = Annotation.objects.filter(annotator=accounts["alice"]).first()
        assert first.seconds == 3.25 and first.shown["view"] == "label studio"
        assert Slot.objects.filter(is_filled=True).count() == 5
        assert Task.objects.filter(is_open=False).count() == 1

    def test_pulling_twice_changes_nothing(self, accounts, there, ann, ben, pull):
        for task in there[:2]:
            ann.label(task, AVAILABLE)
            ben.label(task, SIZE)
        pull()
        before = everything()
        assert "0 answers saved, 4 were here, 0 surplus, 0 skipped there, 0 left out" in pull()
        assert everything() == before
        ben.label(there[2], SHAPE)
        assert "1 answers saved, 4 were here" in pull()

    def test_a_time_of_labelling_there_is_the_time_here(self, accounts, there, ann, pull):
        made = ann.label(there[0], AVAILABLE)
        pull()
        ours = Annotation.objects.get()
        assert ours.created_at.isoformat(timespec="milliseconds")[:23] == made["created_at"][:23]

    def test_what_was_changed_there_afterwards_is_said_and_left(self, accounts, there, ann, pull):
        made = ann.label(there[0], AVAILABLE)
        pull()
        made["result"][0]["value"]["choices"] = [SIZE]
        ann.call("PATCH", f"/api/annotations/{made['id']}/", {"result": made["result"]})
        said = pull()
        assert "changed after it was brought here" in said and "0 answers saved, 0 were here" in said and "1 left out" in said
        assert answers() == [("alice", Label.AVAILABLE)]

    def test_what_was_deleted_there_stays_here(self, accounts, there, ann, pull):
        made = ann.label(there[0], AVAILABLE)
        pull()
        ann.call("DELETE", f"/api/annotations/{made['id']}/")
        assert "0 answers saved, 0 were here" in pull()
        assert answers() == [("alice", Label.AVAILABLE)]

    def test_a_skip_there_is_no_answer(self, accounts, there, ann, ben, pull):
        ann.label(there[0], was_cancelled=True)
        ben.label(there[0], SIZE)
        assert "1 answers saved, 0 were here, 0 surplus, 1 skipped there, 0 left out" in pull()

    def test_what_its_server_takes_and_ours_would_not_is_listed(self, accounts, there, ann, ben, pull):
        ann.label(there[0], "Nice")
        ann.label(there[1])
        ann.label(there[2], AVAILABLE, SIZE)
        ann.label(there[3], AVAILABLE)
        ann.label(there[3], SIZE)
        said = pull()
        assert "'Nice' is not a label" in said and "2 labels" in said and "has answered task" in said
        assert "1 answers saved" in said and "4 left out" in said
        assert answers() == [("alice", Label.AVAILABLE)]

    def test_more_answers_than_places_are_surplus(self, accounts, there, ann, ben, lead, pull):
        accounts["mia"].email = LEAD
        accounts["mia"].save()
        for person in (ann, ben, lead):
            person.label(there[0], AVAILABLE)
        assert "2 answers saved, 0 were here, 1 surplus" in pull()
        assert Annotation.objects.get(annotator=accounts["mia"]).state == "surplus"

    def test_strangers_are_listed_until_somebody_says_who_they_are(self, people, there, ann, ben, pull, tmp_path):
        ann.label(there[0], AVAILABLE)
        ben.label(there[0], SIZE)
        said = pull()
        assert "Nobody here is ann@example.com" in said and "--map" in said and "0 answers saved" in said
        who = tmp_path / "who.csv"
        who.write_text(f"label_studio,username\nann@example.com,alice\n{ben.id},bob\n")
        assert "Would" not in pull("--map", who, "--dry-run") and not Annotation.objects.exists()
        assert "2 answers saved" in pull("--map", who)
        assert answers() == [("alice", Label.AVAILABLE), ("bob", Label.SIZE_MISMATCH)]

    def test_accounts_are_made_for_them_if_asked(self, people, there, ann, pull):
        ann.label(there[0], AVAILABLE)
        assert "Accounts made: ann@example.com" in pull("--create-annotators")
        assert answers() == [("ann@example.com", Label.AVAILABLE)]


class TestFiles:
    def export(self, person, number, path):
        path.write_bytes(person._send("GET", f"/api/projects/{number}/export?exportType=JSON"))
        return path

    def test_its_export_brings_the_same_as_a_pull(self, accounts, pushed, there, ann, ben, lead, server, pull, bridge, tmp_path):
        ann.label(there[0], AVAILABLE)
        ben.label(there[1], SIZE)
        file = self.export(lead, pushed, tmp_path / "export.json")
        # Its export names people by number; its server knows who they are.
        said = bridge("import-json", file, "--url", server.address)
        assert "Nobody here is" in said and "labelstudio people" in said and "0 answers saved" in said
        who = tmp_path / "who.csv"
        assert "2 with an account here" in bridge("people", who, "--url", server.address)
        assert "2 answers saved" in bridge("import-json", file, "--url", server.address, "--map", who)
        assert answers() == [("alice", Label.AVAILABLE), ("bob", Label.SIZE_MISMATCH)]
        assert "0 answers saved, 2 were here, 0 surplus, 0 skipped there, 0 left out" in pull()

    def test_json_min_is_refused_with_what_to_choose_instead(self, accounts, pushed, there, ann, lead, bridge, tmp_path):
        ann.label(there[0], AVAILABLE)
        file = tmp_path / "min.json"
        file.write_bytes(lead._send("GET", f"/api/projects/{pushed}/export?exportType=JSON_MIN"))
        assert "choose Export, JSON" in bridge("import-json", file)

    def ours(self, accounts, project, bridge, tmp_path):
        """Two answers given at our own desk, written as Label Studio's JSON."""
        for name, label in (("alice", Label.AVAILABLE), ("bob", Label.SHAPE_HALLUCINATION)):
            (slot,) = actions.lease(accounts[name], project, 1)
            save_annotations(accounts[name], [Answer(build.uuid.uuid4(), slot.task_id, label, 2.0, "picture")])
        path = tmp_path / "ours.json"
        assert "4 tasks with 2 answers" in bridge("export-json", path)
        return path

    def test_label_studio_reads_ours_with_everybody_s_answers(self, accounts, project, ann, ben, lead, pull, bridge, tmp_path):
        content = self.ours(accounts, project, bridge, tmp_path).read_bytes()
        number = lead.call("POST", "/api/projects", {"title": "by file", "label_config": CONFIG})["id"]
        done = lead.upload(number, "ours.json", content)
        assert (done["task_count"], done["annotation_count"]) == (4, 2)
        rows = lead.get(f"/api/tasks?project={number}&page_size=100&fields=all")["tasks"]
        told = {
            one["completed_by"]: one["result"][0]["value"]["choices"] for row in rows for one in row["annotations"]
        }
        assert told == {ann.id: [AVAILABLE], ben.id: [SHAPE]}
        before = everything()
        for _ in range(2):
            assert "0 answers saved, 2 were here, 0 surplus, 0 skipped there, 0 left out" in pull("--ls-project", number)
        changed = next(one for row in rows for one in row["annotations"] if one["completed_by"] == ben.id)
        changed["result"][0]["value"]["choices"] = [SIZE]
        ben.call("PATCH", f"/api/annotations/{changed['id']}/", {"result": changed["result"]})
        assert "was changed there" in pull("--ls-project", number)
        changed["result"][0]["value"]["choices"] = [SHAPE]
        ben.call("PATCH", f"/api/annotations/{changed['id']}/", {"result": changed["result"]})
        exported = self.export(lead, number, tmp_path / "back.json")
        assert "0 answers saved, 2 were here, 0 surplus, 0 skipped there, 0 left out" in bridge("import-json", exported)
        assert everything() == before


class TestWhatGoesWrong:
    def test_a_wrong_token_is_said(self, project, push, pull):
        for call in (push, pull):
            assert "does not know this token" in call(ok=False, token="0" * 40)

    def test_a_project_that_is_not_there_is_said(self, project, push, pull):
        assert "no project that was pushed from first" in pull(ok=False)
        for call in (push, pull):
            assert "It has no such project" in call("--ls-project", "99999", ok=False)

    def test_a_server_that_is_not_there_is_said(self, project, bridge):
        for verb in ("push", "pull"):
            assert "can't be reached" in bridge(verb, "--url", "http://127.0.0.1:9", ok=False)

    def test_two_pushes_beside_each_other_send_nothing_twice(self, project, push):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [statements.PUSH_LOCK, project.pk])
            assert "is being pushed just now" in push(ok=False)
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [statements.PUSH_LOCK, project.pk])
        assert "4 tasks sent" in push()


CONFIG = """<View><Image name="picture" value="$picture"/><Choices name="label" toName="picture">
<Choice value="Available"/><Choice value="Space mismatch"/><Choice value="Size mismatch"/>
<Choice value="Indistinctiveness"/><Choice value="Shape hallucination"/></Choices></View>"""
