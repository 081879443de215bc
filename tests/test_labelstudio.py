"""Answers from Label Studio: whose they are, what is refused, and that bringing them twice changes nothing."""

import json
import math
import uuid
from io import StringIO
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from adproof.labels import LABELS, TITLES, Label
from annotation import actions, answers
from annotation.actions import Pick, add_tasks
from annotation.labelstudio import reading, shape
from annotation.labelstudio.people import read_map, write_map
from annotation.labelstudio.reading import BadFile, Found, Problem, annotation_id, answers_of, rows_of
from annotation.models import Annotation, Handout, Project, Slot, Task
from tests import build

pytestmark = pytest.mark.django_db
THERE = "http://localhost:8080"


@pytest.fixture
def project(db):
    project = Project.objects.create(name="first", overlap=1)
    add_tasks(project, [Pick(row.pk) for row in build.candidates(3)])
    return project


@pytest.fixture
def tasks(project):
    return list(Task.objects.filter(project=project).order_by("id"))


def choice(*labels, **values):
    return {"from_name": "label", "to_name": "picture", "type": "choices", "value": {"choices": list(labels)}, **values}


def annotation(number, who, *labels, **values):
    """As Label Studio 1.23 writes one into its JSON export."""
    return {
        "id": number, "completed_by": who, "result": [choice(*(labels or ["Available"]))], "was_cancelled": False,
        "ground_truth": False, "created_at": "2026-11-24T10:48:40.999155Z", "lead_time": 3.25, "prediction": {},
        "result_count": 1, "unique_id": str(uuid.uuid4()), "task": 1, "project": 1, **values,
    }  # fmt: skip


def row(task, *annotations):
    key = task.candidate.key if isinstance(task, Task) else task
    return {"id": 9, "data": {"picture": "x"}, "meta": {"adproof_candidate": key}, "annotations": list(annotations)}


@pytest.fixture
def bring(tmp_path, project):
    """Imports these rows through the command; returns what it said."""

    def call(*rows, raw=None, **options):
        path = tmp_path / "export.json"
        path.write_text(json.dumps(list(rows)) if raw is None else raw, encoding="utf-8")
        out, err = StringIO(), StringIO()
        call_command("labelstudio", "import-json", str(path), stdout=out, stderr=err, **options)
        return out.getvalue() + err.getvalue()

    return call


def alices(people):
    people["alice"].email = "alice@example.com"
    people["alice"].save()
    return {"id": 4, "email": "Alice@Example.com"}


class TestBringingAnswersHere:
    def test_an_answer_fills_a_slot_and_closes_its_task(self, bring, people, tasks):
        said = bring(row(tasks[0], annotation(7, alices(people), "Size mismatch")))
        assert "1 answers saved" in said
        answer = Annotation.objects.get()
        assert (answer.annotator, answer.label, answer.state) == (people["alice"], Label.SIZE_MISMATCH, "standing")
        assert answer.seconds == 3.25 and answer.shown["view"] == "label studio"
        assert answer.pk == annotation_id(THERE, 7)
        assert answer.created_at.isoformat() == "2026-11-24T10:48:40.999155+00:00"
        tasks[0].refresh_from_db()
        assert not tasks[0].is_open and tasks[0].slots.get().is_filled
        assert answer.candidate.consensus.label == Label.SIZE_MISMATCH

    def test_bringing_them_twice_changes_nothing(self, bring, people, tasks):
        rows = [row(task, annotation(n, alices(people))) for n, task in enumerate(tasks, 1)]
        bring(*rows)
        before = list(Annotation.objects.order_by("id").values()), list(Slot.objects.order_by("id").values())
        said = bring(*rows)
        assert "0 answers saved, 3 were here, 0 surplus, 0 skipped there, 0 left out" in said
        assert before == (list(Annotation.objects.order_by("id").values()), list(Slot.objects.order_by("id").values()))

    def test_no_task_gets_more_than_its_overlap_and_what_is_over_is_said(self, bring, people, tasks):
        crowd = [annotation(n, {"email": f"p{n}@example.com"}) for n in range(1, 5)]
        said = bring(row(tasks[0], *crowd), create_annotators=True)
        assert Annotation.objects.standing().count() == 1 and tasks[0].slots.filter(is_filled=True).count() == 1
        assert "3 came after their task was full" in said and str(tasks[0].pk) in said
        assert "0 answers saved, 4 were here" in bring(row(tasks[0], *crowd), create_annotators=True)

    def test_one_person_has_one_answer_a_task(self, bring, people, tasks, project):
        Task.objects.update(overlap=2)
        Slot.objects.create(task=tasks[0], number=1)
        who = alices(people)
        said = bring(row(tasks[0], annotation(1, who), annotation(2, who, "Size mismatch")))
        assert "alice has answered task" in said and "1 answers saved" in said and "1 left out" in said
        assert Annotation.objects.get().label == Label.AVAILABLE

    def test_a_task_that_somebody_holds_at_the_desk_is_theirs(self, bring, people, tasks, project):
        (lease,) = actions.lease(people["bob"], project, 1)
        slot = Slot.objects.get(pk=lease.slot_id)
        said = bring(row(slot.task, annotation(1, alices(people))))
        assert "1 surplus" in said
        slot.refresh_from_db()
        assert slot.annotator == people["bob"] and not slot.is_filled

    def test_ones_own_lease_is_used_up_by_the_answer(self, bring, people, tasks, project):
        (lease,) = actions.lease(people["alice"], project, 1)
        slot = Slot.objects.get(pk=lease.slot_id)
        bring(row(slot.task, annotation(1, alices(people))))
        slot.refresh_from_db()
        assert slot.is_filled and slot.lease_until is None

    def test_an_answer_undone_here_stays_undone(self, bring, people, tasks):
        rows = row(tasks[0], annotation(1, alices(people)))
        bring(rows)
        answers.undo(people["alice"], Annotation.objects.get().pk)
        assert "1 were here" in bring(rows)
        assert Annotation.objects.get().state == "undone"

    def test_what_was_changed_there_afterwards_is_said_and_left(self, bring, people, tasks):
        who = alices(people)
        bring(row(tasks[0], annotation(1, who)))
        said = bring(row(tasks[0], annotation(1, who, "Size mismatch")))
        assert "changed after it was brought here" in said
        assert Annotation.objects.get().label == Label.AVAILABLE

    def test_tasks_of_other_projects_are_refused(self, bring, people, tasks):
        other = Project.objects.create(name="other", overlap=1)
        add_tasks(other, [Pick(build.candidate(77).pk)])
        said = bring(row(other.tasks.get(), annotation(1, alices(people))), row("0" * 64, annotation(2, alices(people))))
        assert said.count("has no task") == 2 and "2 left out" in said
        assert not Annotation.objects.exists() and not Handout.objects.exists()

    def test_tasks_are_made_if_asked_for_candidates_that_are_here(self, bring, people, project):
        candidate = build.candidate(77)
        said = bring(row(candidate.key, annotation(1, alices(people))), row("0" * 64, annotation(2, 1)), add_tasks=True)
        assert "1 tasks made" in said and "1 answers saved" in said and "1 left out" in said
        assert project.tasks.get(candidate=candidate).annotations.get().annotator == people["alice"]

    def test_a_task_may_name_its_picture_instead(self, bring, people, tasks):
        given = {"data": {"sha256": tasks[1].candidate.image_sha256}, "annotations": [annotation(1, alices(people))]}
        assert "1 answers saved" in bring(given)
        assert Annotation.objects.get().task == tasks[1]

    def test_the_earliest_answers_get_the_places(self, bring, people, tasks):
        late, early = (annotation(n, {"email": f"p{n}@example.com"}, created_at=f"2026-11-0{9 - n}T10:00:00Z") for n in (1, 2))
        bring(row(tasks[0], late, early), create_annotators=True)
        states = dict(Annotation.objects.values_list("annotator__email", "state"))
        assert states == {"p1@example.com": "surplus", "p2@example.com": "standing"}

    def test_more_answers_than_a_batch_all_come(self, bring, people, project, monkeypatch):
        from annotation.labelstudio import recording

        monkeypatch.setattr(recording, "AT_ONCE", 4)
        Task.objects.update(overlap=3)
        for task in project.tasks.all():
            Slot.objects.bulk_create(Slot(task=task, number=number) for number in (1, 2))
        rows = [row(task, *(annotation(10 * n + m, {"email": f"p{m}@example.com"}) for m in range(1, 4))) for n, task in enumerate(project.tasks.all())]
        assert "9 answers saved" in bring(*rows, create_annotators=True)
        assert User.objects.filter(email__startswith="p").count() == 3
        assert "0 answers saved, 9 were here" in bring(*rows)

    def test_a_dry_run_says_the_same_and_changes_nothing(self, bring, people, tasks):
        candidate = build.candidate(77)
        rows = [
            row(tasks[0], annotation(1, alices(people)), annotation(2, {"email": "new@example.com"})),
            row(candidate.key, annotation(3, {"email": "new@example.com"}, "Size mismatch")),
            row(tasks[1], annotation(4, alices(people), "Nice")),
        ]
        options = {"create_annotators": True, "add_tasks": True}
        said = bring(*rows, dry_run=True, **options)
        assert "nothing was changed" in said and "Accounts made: new@example.com" in said
        assert not Annotation.objects.exists() and not Handout.objects.exists() and Task.objects.count() == 3
        assert not User.objects.filter(email="new@example.com").exists()
        assert not Slot.objects.filter(is_filled=True).exists() and all(task.is_open for task in Task.objects.all())
        assert bring(*rows, **options) == said.replace("This was a dry run: nothing was changed.\n", "")
        assert Annotation.objects.count() == 3

    def test_skips_there_are_no_answers_here(self, bring, people, tasks):
        said = bring(row(tasks[0], annotation(1, alices(people), was_cancelled=True)))
        assert "1 skipped there, 0 left out" in said and not Annotation.objects.exists()

    def test_another_server_s_annotation_of_the_same_number_is_another_one(self):
        assert annotation_id(THERE, 1) != annotation_id("http://elsewhere:8080", 1)
        assert annotation_id(THERE, 1) == annotation_id(THERE + "/", 1)


class TestWhoseTheyAre:
    def test_by_e_mail_address_and_from_our_own_exports_by_user_name(self, bring, people, tasks):
        bring(row(tasks[0], annotation(1, alices(people))), row(tasks[1], annotation(2, {"email": "bob@adproof.invalid"})))
        assert set(Annotation.objects.values_list("annotator__username", flat=True)) == {"alice", "bob"}

    def test_the_unmapped_are_listed_and_left_out(self, bring, people, tasks):
        said = bring(
            row(tasks[0], annotation(1, {"email": "eve@example.com"}), annotation(2, 77), annotation(3, None)),
            row(tasks[1], annotation(4, alices(people))),
        )
        assert "Nobody here is eve@example.com" in said and "Nobody here is 77" in said
        assert "does not say whose" in said and "1 answers saved" in said and "3 left out" in said
        assert not User.objects.filter(username__contains="eve").exists()

    def test_a_map_goes_before_everything(self, bring, people, tasks, tmp_path):
        path = tmp_path / "map.csv"
        path.write_text("label_studio,username\nalice@example.com,bob\n12,mia\n")
        bring(row(tasks[0], annotation(1, alices(people))), row(tasks[1], annotation(2, 12)), map=path)
        assert list(Annotation.objects.order_by("task").values_list("annotator__username", flat=True)) == ["bob", "mia"]

    def test_a_map_may_say_which_address_a_number_has(self, bring, people, tasks, tmp_path):
        alices(people)
        path = tmp_path / "map.csv"
        path.write_text("label_studio,email,username\n4,alice@example.com,\n5,eve@example.com,\n6,x@example.com,bob\n")
        rows = [row(task, annotation(n, n)) for n, task in enumerate(tasks, 4)]
        said = bring(*rows, map=path)
        assert "2 answers saved" in said and "Nobody here is eve@example.com" in said
        assert sorted(Annotation.objects.values_list("annotator__username", flat=True)) == ["alice", "bob"]
        assert "Accounts made: eve@example.com" in bring(*rows, map=path, create_annotators=True)

    def test_numbers_alone_are_asked_for_at_the_server(self, bring, people, tasks):
        assert "labelstudio people who.csv" in bring(row(tasks[0], annotation(1, 77)))

    def test_a_map_of_everybody_there_names_those_who_are_here(self, people, tmp_path):
        alices(people)
        path = tmp_path / "who.csv"
        assert write_map(path, [(4, "Alice@example.com"), (5, "eve@example.com"), (6, "=1+1@example.com"), (7, "")]) == (4, 1)
        assert path.read_text().splitlines() == [
            "label_studio,email,username", "4,Alice@example.com,alice", "5,eve@example.com,", "6,'=1+1@example.com,", "7,,"
        ]  # fmt: skip
        path.write_text(path.read_text().replace("7,,\n", ""))
        mapped, known = read_map(path)
        assert mapped == {"4": people["alice"]} and known[5] == "eve@example.com"

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("a,b\n1,2\n", "label_studio and username"),
            ("label_studio,username\nx@y.z,nobody\n", "line 2: nobody here"),
            ("label_studio,username\nx@y.z,bob\nX@y.z,bob\n", "line 3: 'X@y.z' is there twice"),
            (b"label_studio,username\n\xff,bob\n", "can't be read"),
        ],
    )
    def test_a_map_that_cannot_be_used_is_refused_before_anything(self, bring, people, tasks, tmp_path, content, sentence):
        path = tmp_path / "map.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(CommandError, match=sentence):
            bring(row(tasks[0], annotation(1, alices(people))), map=path)
        assert not Annotation.objects.exists()

    def test_accounts_are_made_only_if_asked_and_can_only_label(self, bring, people, tasks):
        said = bring(row(tasks[0], annotation(1, {"email": "New O'Person@example.com"})), create_annotators=True)
        made = Annotation.objects.get().annotator
        assert made.role == "annotator" and not made.has_usable_password() and not made.is_staff
        assert "Accounts made" in said
        made.full_clean()

    def test_who_may_not_label_here_is_left_out(self, bring, people, tasks):
        who = alices(people)
        User.objects.filter(username="alice").update(is_active=False)
        assert "may not label here" in bring(row(tasks[0], annotation(1, who)), create_annotators=True)

    def test_an_address_of_two_accounts_is_nobodys(self, bring, people, tasks):
        User.objects.filter(username__in=["alice", "bob"]).update(email="both@example.com")
        assert "Nobody here is both@example.com" in bring(row(tasks[0], annotation(1, {"email": "both@example.com"})))


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"result": []}, "no label"),
            ({"result": [choice("Available"), choice("Size mismatch")]}, "more than one label"),
            ({"result": [choice("Available", "Size mismatch")]}, "2 labels"),
            ({"result": [choice()]}, "0 labels"),
            ({"result": [choice("Nice")]}, "is not a label; allowed"),
            ({"result": [choice(3)]}, "no list of names"),
            ({"result": [{"from_name": "label", "value": "Available"}]}, "no list of names"),
            ({"result": [choice("Available", from_name="other")]}, "no label"),
            ({"result": "Available"}, "result is no list"),
            ({"result": [None]}, "no JSON object"),
            ({"result": None}, "result is no list"),
            ({"result": [choice("Available", type="rectanglelabels")]}, "choices are wanted"),
            ({"was_cancelled": "yes"}, "was_cancelled"),
            ({"created_at": "yesterday"}, "created_at"),
            ({"created_at": 7}, "created_at"),
            ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at"),
            ({"id": "1"}, "id is '1'"),
            ({"id": True}, "id is True"),
            ({"id": 2**70}, "no number"),
            ({"lead_time": "long"}, "lead_time"),
            ({"lead_time": -1}, "lead_time"),
            ({"lead_time": math.nan}, "lead_time"),
            ({"lead_time": 10**400}, "lead_time"),
        ],
    )
    def test_each_bad_answer_is_listed_with_its_reason_and_the_next_is_taken(
        self, bring, people, tasks, changes, sentence
    ):
        bad = {**annotation(1, alices(people)), **changes}
        said = bring(row(tasks[0], bad), row(tasks[1], annotation(2, alices(people))))
        assert sentence in said and "task 1, annotation 1" in said
        assert Annotation.objects.get().task == tasks[1]

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (7, "no JSON object"),
            ({"annotations": [{}]}, "names no candidate of ours"),
            ({"meta": {"adproof_candidate": "1"}, "annotations": [{}]}, "64 digits"),
            ({"meta": {"adproof_candidate": "²" * 64}, "annotations": [{}]}, "64 digits"),
            ({"meta": {"adproof_candidate": ["0" * 64]}, "annotations": [{}]}, "64 digits"),
            ({"meta": {"adproof_candidate": "0" * 64}, "annotations": {"a": 1}}, "no list"),
            ({"meta": {"adproof_candidate": "0" * 64}, "annotations": [1]}, "no JSON object"),
            ({"meta": {"adproof_candidate": "0" * 64}, "annotations": [{}] * 1001}, "1001 annotations"),
            ({"id": 1, "annotation_id": 4, "label": "Available"}, "JSON-MIN"),
        ],
    )
    def test_each_bad_task_is_listed(self, given, sentence):
        (problem,) = answers_of(given, THERE, 3)
        assert isinstance(problem, Problem) and sentence in problem.why and problem.where.startswith("task 3")

    def test_five_labels_are_understood_in_every_spelling_of_ours(self):
        for label in Label:
            for name in (TITLES[label], LABELS[label]):
                (found,) = answers_of(row("0" * 64, annotation(1, "a", name)), THERE, 1)
                assert isinstance(found, Found) and found.label == label

    def test_no_lead_time_counts_as_none_and_a_night_as_a_day(self):
        for given, seconds in ((None, 0.0), (10**9, 86_400.0), (0, 0.0)):
            (found,) = answers_of(row("0" * 64, annotation(1, "a", lead_time=given)), THERE, 1)
            assert found.seconds == seconds

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("", "no JSON list"),
            ("{}", "no JSON list"),
            ("[", "Task 1 is broken"),
            ('[{"id": 1}', "cut off"),
            ('[{"id": 1} {"id": 2}]', "After task 1"),
            ('[{"id": 1},]', "Task 2 is broken"),
            ('[{"id": 1}] [', "follows the end"),
            ("[" + '{"a":' * 100_000, "nested too deeply"),
            ('[{"a": ' + "9" * 5000 + "}]", "Task 1 is broken"),
        ],
    )
    def test_a_broken_file_says_where(self, tmp_path, content, sentence):
        path = tmp_path / "x.json"
        path.write_text(content)
        with pytest.raises(BadFile, match=sentence):
            list(rows_of(path))

    def test_of_a_file_that_breaks_off_nothing_is_taken(self, bring, people, tasks):
        whole = json.dumps(row(tasks[0], annotation(1, alices(people))))
        with pytest.raises(CommandError, match="Task 2 is broken"):
            bring(raw=f"[{whole}, {{")
        assert not Annotation.objects.exists()

    @pytest.mark.parametrize("who", ["a\0@example.com", "\ud800@example.com", {"email": "x" * 999 + "@example.com"}, True, -1, 10**30, [], {}])
    def test_people_who_are_no_people_are_nobody(self, bring, people, tasks, who):
        said = bring(row(tasks[0], annotation(1, who)), create_annotators=True)
        assert "does not say whose" in said and "1 left out" in said and User.objects.count() == len(people)

    def test_not_utf_8_is_said(self, tmp_path):
        path = tmp_path / "x.json"
        path.write_bytes(b'["\xff"]')
        with pytest.raises(BadFile, match="UTF-8"):
            list(rows_of(path))

    def test_one_task_may_not_fill_the_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr(reading, "MOST_CHARACTERS", 3 * 2**20)
        path = tmp_path / "x.json"
        path.write_text('["' + "x" * (9 * 2**20) + '"]')
        with pytest.raises(BadFile, match="larger than 3 MiB"):
            list(rows_of(path))

    def test_items_across_pieces_come_whole(self, tmp_path, monkeypatch):
        monkeypatch.setattr(reading, "_PIECE", 3)
        rows = [{"n": n, "text": "ä" * n} for n in range(20)] + [12345, "x", None]
        path = tmp_path / "x.json"
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        assert list(rows_of(path)) == rows
        path.write_text("[ ]")
        assert list(rows_of(path)) == []


class TestGoingThere:
    def test_the_config_has_five_labels_on_five_keys_and_two_pictures(self, project):
        root = ElementTree.fromstring(shape.label_config(project))
        choices = root.findall(".//Choice")
        assert [(one.get("value"), one.get("hotkey")) for one in choices] == [
            (TITLES[label], str(label + 1)) for label in Label
        ]
        assert {image.get("value") for image in root.findall(".//Image")} == {"$product", "$picture"}
        control = root.find(".//Choices")
        assert control.get("choice") == "single" and control.get("required") == "true"

    def test_the_rules_and_the_guidelines_go_as_text_that_is_no_markup(self, project):
        project.guidelines = "Look <b>twice</b>.\n\n<script>alert(1)</script>"
        said = shape.instructions(project)
        assert said.count("<li>") == 5 and "<p>Look &lt;b&gt;twice&lt;/b&gt;.</p>" in said and "<script" not in said

    def test_other_names_there_are_understood_by_a_file(self, bring, people, tasks, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text("label_studio,label\nGood one,available\nToo big,size_mismatch\n")
        given = annotation(1, alices(people))
        given["result"] = [choice("too big", from_name="quality")]
        assert "1 answers saved" in bring(row(tasks[0], given), labels=path, control="quality")
        assert Annotation.objects.get().label == Label.SIZE_MISMATCH
        path.write_text("label_studio,label\nGood one,nice\n")
        with pytest.raises(CommandError, match="line 2: 'nice' is not a label"):
            bring(row(tasks[0], given), labels=path)

    def test_the_prompt_goes_only_if_the_project_shows_it(self, project, tasks):
        address = shape.by_address("http://here:8000/")
        assert shape.task_data(tasks[0], project, address)["data"]["prompt"]
        project.shows_prompt = False
        assert "prompt" not in shape.task_data(tasks[0], project, address)["data"]
        assert "$prompt" not in shape.label_config(project)

    def test_pictures_go_as_addresses_or_whole(self, project, tasks):
        sha256 = tasks[0].candidate.image_sha256
        data = shape.task_data(tasks[0], project, shape.by_address("http://here:8000/"))["data"]
        assert data["picture"] == f"http://here:8000/pictures/{sha256}"
        assert shape.embedded(sha256).startswith("data:image/png;base64,iVBOR")

    def test_what_is_written_here_is_read_here_and_changes_nothing(self, bring, people, tasks, project, tmp_path):
        bring(row(tasks[0], annotation(1, alices(people))), row(tasks[1], annotation(2, {"email": "bob@adproof.invalid"})))
        path, out = tmp_path / "out.json", StringIO()
        call_command("labelstudio", "export-json", str(path), embed=True, stdout=out)
        assert "3 tasks with 2 answers" in out.getvalue()
        written = json.loads(path.read_text())
        assert [len(one["annotations"]) for one in written] == [1, 1, 0]
        said = bring(*written)
        assert "0 answers saved, 2 were here, 0 surplus, 0 skipped there, 0 left out" in said

    def test_moved_to_another_installation_they_are_the_same_answers_of_the_same_people_at_the_same_times(
        self, bring, people, tasks, project, tmp_path
    ):
        bring(
            row(tasks[0], annotation(1, alices(people), "Shape hallucination")),
            row(tasks[1], annotation(2, {"email": "bob@adproof.invalid"}, created_at="2026-11-01T08:00:00Z", lead_time=2.5)),
        )
        path = tmp_path / "out.json"
        call_command("labelstudio", "export-json", str(path), stdout=StringIO())

        def told():
            names = ("task__candidate__key", "annotator__username", "label", "seconds", "created_at", "state")
            return sorted(Annotation.objects.values_list(*names))

        before = told()
        assert len(before) == 2
        self.move(people, project)
        assert "2 answers saved, 0 were here, 0 surplus, 0 skipped there, 0 left out" in bring(raw=path.read_text(), url="http://before")
        assert told() == before
        assert "0 answers saved, 2 were here" in bring(raw=path.read_text(), url="http://before")
        assert "0 answers saved, 2 were here" in bring(raw=path.read_text(), url="http://by-another-name")

    def move(self, people, project):
        """The same candidates, tasks and people under other numbers."""
        candidates = list(project.tasks.values_list("candidate_id", flat=True))
        for model in (Annotation, Handout, Slot, Task):
            model.objects.all().delete()
        for name in ("alice", "bob"):
            user = people[name]
            user.delete()
            user.pk = None
            user.save()
        add_tasks(project, [Pick(pk) for pk in reversed(candidates)])

    def test_answers_written_elsewhere_may_not_take_the_place_of_others(self, bring, people, tasks):
        bring(row(tasks[0], annotation(1, alices(people))))
        mine = str(Annotation.objects.get().pk)
        said = bring(row(tasks[1], annotation(5, {"email": "bob@adproof.invalid"}, unique_id=mine)))
        assert "changed after" in said and Annotation.objects.count() == 1

    def test_what_went_there_in_a_file_is_known_when_it_comes_back_under_another_number(self, bring, people, tasks, project):
        bring(row(tasks[0], annotation(1, alices(people))))
        (there,) = shape.exported(project, shape.embedded).__next__()["annotations"]
        back = annotation(500, {"email": "importer@example.com"}, import_id=there["id"])
        assert "0 answers saved, 1 were here" in bring(row(tasks[0], back))
        assert "1 left out" in bring(row(tasks[1], back))  # its number on another task says nothing
        back["result"] = [choice("Size mismatch")]
        assert "was changed there" in bring(row(tasks[0], back))
        assert Annotation.objects.get().label == Label.AVAILABLE

    def test_addresses_are_written_as_label_studio_keeps_them(self, bring, people, tasks, project):
        bring(row(tasks[0], annotation(1, alices(people))))
        User.objects.filter(username="alice").update(email="Alice@Example.com")
        written = next(shape.exported(project, shape.embedded))["annotations"][0]
        assert written["completed_by"]["email"] == "alice@example.com"
        assert written["id"] < 2**63

    def test_a_folder_that_is_not_there_is_said(self, project, tmp_path):
        with pytest.raises(CommandError, match="can't be written"):
            call_command("labelstudio", "export-json", str(tmp_path / "no" / "x.json"))


class TestTheCommand:
    @pytest.mark.parametrize("verb", ["push", "pull"])
    def test_it_says_what_is_missing(self, project, monkeypatch, verb):
        monkeypatch.delenv("LS_TOKEN", raising=False)
        with pytest.raises(CommandError, match="LS_TOKEN is empty"):
            call_command("labelstudio", verb, url=THERE)
        monkeypatch.setenv("LS_TOKEN", "x")
        with pytest.raises(CommandError, match="is no address"):
            call_command("labelstudio", verb, url="file:///etc/passwd")
        with pytest.raises(CommandError, match="no project 'nope'"):
            call_command("labelstudio", verb, url=THERE, project="nope")

    def test_without_the_sdk_it_says_how_to_get_it(self, project, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "label_studio_sdk", None)
        monkeypatch.setenv("LS_TOKEN", "x")
        with pytest.raises(CommandError, match="make bridge"):
            call_command("labelstudio", "push", url=THERE)

    def test_a_file_that_is_not_there_is_said(self, project):
        with pytest.raises(CommandError, match="can't be read"):
            call_command("labelstudio", "import-json", "/nowhere/x.json")
