"""What a reviewer may decide, what it changes, and what stays of it."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from annotation import actions, answers, review
from annotation.actions import Refused, lease
from annotation.answers import Answer, save_annotations
from annotation.models import Annotation, Consensus, Decision, Gold, SentBack, Slot, Task
from tests import review_rows
from tests.review_rows import consensus, decide, fill, says

project, disputed = review_rows.project, review_rows.disputed


class TestDeciding:
    def test_confirmed_keeps_the_consensus_for_good(self, disputed, people):
        decision = decide(people["rita"], disputed, "confirmed")
        row = consensus(disputed)
        assert (decision.label, row.label, row.method, row.is_complete) == (3, 3, "review", True)
        assert row.posterior == [0, 0, 0, 1, 0] and row.agreement == 0.5 and row.annotation_count == 2

    def test_changed_gives_another_label(self, disputed, people):
        decide(people["rita"], disputed, "changed", 4)
        row = consensus(disputed)
        assert (row.label, row.method, row.agreement) == (4, "review", 0)
        assert Annotation.objects.standing().count() == 2

    def test_the_decision_keeps_what_it_was_made_on(self, disputed, people):
        before = decide(people["rita"], disputed, "changed", 1, comment="the lamp floats").before
        assert before["consensus"]["label"] == 3 and before["consensus"]["method"] == "majority"
        assert [(row["name"], row["label"]) for row in before["answers"]] == [("alice", 0), ("bob", 3)]

    def test_a_decided_candidate_is_asked_of_nobody_and_its_free_place_stays(self, project, people):
        candidate = fill(project)[0]
        says(people["alice"], candidate, 0)
        decide(people["rita"], candidate, "confirmed")
        assert lease(people["bob"], project, 5) == []
        assert not Task.objects.get().is_open and Slot.objects.filter(is_filled=False, annotator=None).count() == 1

    def test_a_later_answer_does_not_alter_it(self, project, people):
        candidate = fill(project)[0]
        says(people["alice"], candidate, 0)
        slots = lease(people["bob"], project, 1)
        decide(people["rita"], candidate, "changed", 2)
        assert save_annotations(people["bob"], [Answer(uuid.uuid4(), slots[0].task_id, 0, 1.0)])[0].status == "saved"
        row = consensus(candidate)
        assert (row.label, row.method) == (2, "review")

    def test_the_last_decision_counts_and_all_are_kept(self, disputed, people):
        for user, label in (("rita", 1), ("max", 2), ("rita", 4)):
            decide(people[user], disputed, "changed", label)
        assert consensus(disputed).label == 4
        assert list(Decision.objects.order_by("created_at").values_list("label", flat=True)) == [1, 2, 4]
        second = Decision.objects.order_by("created_at")[1]
        assert second.before["consensus"]["label"] == 1 and second.before["consensus"]["method"] == "review"

    def test_withdrawn_brings_the_annotators_back(self, project, people):
        candidate = fill(project)[0]
        says(people["alice"], candidate, 0)
        decide(people["rita"], candidate, "changed", 4)
        decide(people["max"], candidate, "withdrawn")
        row = consensus(candidate)
        assert (row.label, row.method, row.annotation_count, row.is_complete) == (0, "majority", 1, False)
        assert [slot.task_id for slot in lease(people["bob"], project, 5)] == [Task.objects.get().pk]

    def test_withdrawing_a_full_task_opens_nothing(self, disputed, people):
        decide(people["rita"], disputed, "confirmed")
        decide(people["rita"], disputed, "withdrawn")
        assert not Task.objects.get().is_open and consensus(disputed).is_complete

    @pytest.mark.parametrize(
        "action, values, sentence",
        [
            ("praised", {}, "Unknown action"),
            ("changed", {}, "Say which label"),
            ("changed", {"label": 5}, "no such label"),
            ("confirmed", {"label": 1}, "look again"),
            ("withdrawn", {}, "nothing to withdraw"),
            ("withdrawn", {"label": 1}, "give no label"),
            ("sent_back", {}, "Say what to look at"),
            ("sent_back", {"comment": "  "}, "Say what to look at"),
            ("sent_back", {"comment": "look", "annotators": [2**40]}, "whose answers stand"),
            ("confirmed", {"annotators": [1]}, "only when sending back"),
            ("confirmed", {"comment": "x" * 1001}, "at most"),
            ("confirmed", {"comment": "a\x00b"}, "at most"),
            ("confirmed", {"made_in": "dream"}, "made in"),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_leaves_no_trace(self, disputed, people, action, values, sentence):
        with pytest.raises(Refused, match=sentence):
            decide(people["rita"], disputed, action, **values)
        assert not Decision.objects.exists() and consensus(disputed).method == "majority"

    def test_what_nobody_has_judged_waits(self, project, people):
        candidate = fill(project)[0]
        with pytest.raises(Refused, match="Nobody's answer"):
            decide(people["rita"], candidate, "changed", 1)

    def test_a_candidate_that_is_not_there(self, people):
        with pytest.raises(Refused, match="no such candidate"):
            review.decide(people["rita"], uuid.uuid4(), 2**62, "confirmed")

    def test_news_since_one_looked_are_not_overwritten(self, disputed, people):
        looked = timezone.now()
        decide(people["max"], disputed, "changed", 1)
        with pytest.raises(Refused, match="since you looked"):
            decide(people["rita"], disputed, "changed", 2, seen_at=looked)
        decide(people["rita"], disputed, "changed", 2, seen_at=timezone.now())
        assert consensus(disputed).label == 2


class TestSendingTwice:
    def test_the_same_id_gives_the_same_decision_once(self, disputed, people):
        known = uuid.uuid4()
        first = decide(people["rita"], disputed, "changed", 1, id=known)
        decide(people["max"], disputed, "changed", 2)
        assert decide(people["rita"], disputed, "changed", 1, id=known).created_at == first.created_at
        assert Decision.objects.count() == 2 and consensus(disputed).label == 2

    def test_sending_back_twice_asks_once(self, disputed, people):
        known = uuid.uuid4()
        for _ in range(2):
            decide(people["rita"], disputed, "sent_back", comment="look", id=known)
        assert SentBack.objects.count() == 1

    def test_another_content_or_person_is_refused(self, disputed, people):
        known = uuid.uuid4()
        decide(people["rita"], disputed, "changed", 1, id=known)
        for user, values in (("rita", {"label": 2}), ("max", {"label": 1}), ("rita", {"label": 1, "comment": "x"})):
            with pytest.raises(Refused, match="another decision"):
                decide(people[user], disputed, "changed", id=known, **values)

    def test_on_another_candidate_is_refused(self, project, people):
        one, two = fill(project, 2)
        for row in (one, two):
            says(people["alice"], row, 0)
        known = uuid.uuid4()
        decide(people["rita"], one, "confirmed", id=known)
        with pytest.raises(Refused, match="another decision"):
            decide(people["rita"], two, "confirmed", id=known)


class TestOwnWork:
    @pytest.mark.parametrize("action", ["confirmed", "changed", "sent_back", "withdrawn"])
    def test_nobody_decides_about_it(self, project, people, action):
        candidate = fill(project)[0]
        says(people["rita"], candidate, 0)
        says(people["bob"], candidate, 3)
        decide(people["max"], candidate, "changed", 1)
        values = {"changed": {"label": 0}, "sent_back": {"comment": "look", "annotators": [people["bob"].pk]}}
        with pytest.raises(Refused, match="labelled this candidate yourself"):
            decide(people["rita"], candidate, action, **values.get(action, {}))
        assert consensus(candidate).label == 1 and Decision.objects.count() == 1

    def test_not_after_it_was_sent_back_to_them_either(self, project, people):
        candidate = fill(project)[0]
        says(people["rita"], candidate, 0)
        says(people["bob"], candidate, 3)
        decide(people["max"], candidate, "sent_back", comment="look", annotators=[people["rita"].pk])
        with pytest.raises(Refused, match="yourself"):
            decide(people["rita"], candidate, "confirmed")

    def test_an_answer_taken_back_is_no_work(self, project, people):
        candidate = fill(project)[0]
        answers.undo(people["rita"], says(people["rita"], candidate, 0))
        actions.release(people["rita"], [Task.objects.get().pk])
        says(people["bob"], candidate, 3)
        decide(people["rita"], candidate, "confirmed")


class TestSendingBack:
    def test_those_who_differ_are_asked_again_and_the_rest_is_counted(self, disputed, people, project):
        decision = decide(people["rita"], disputed, "sent_back", comment="mind the shadow")
        row = consensus(disputed)
        assert (row.label, row.annotation_count, row.agreement, row.is_complete) == (3, 1, 1, False)
        back = SentBack.objects.get()
        assert (back.annotator, back.comment, back.decision) == (people["alice"], "mind the shadow", decision)
        assert back.annotation.state == "sent_back" and decision.before["sent_to"] == [people["alice"].pk]
        slot = Slot.objects.get(annotator=people["alice"])
        assert not slot.is_filled and slot.lease_until > timezone.now() + timedelta(days=6)

    def test_the_desk_hands_it_to_them_with_the_comment_and_to_nobody_else(self, disputed, people, project):
        decide(people["rita"], disputed, "sent_back", comment="mind the shadow")
        assert lease(people["max"], project, 5) == []
        slots = lease(people["alice"], project, 5)
        assert [slot.comment for slot in slots] == ["mind the shadow"]
        again = save_annotations(people["alice"], [Answer(uuid.uuid4(), slots[0].task_id, 3, 1.0)])[0]
        assert again.status == "saved"
        row = consensus(disputed)
        assert (row.label, row.annotation_count, row.agreement, row.is_complete) == (3, 2, 1, True)
        assert not Task.objects.get().is_open and SentBack.objects.get().answered_at is not None

    def test_all_of_them_leave_no_consensus(self, disputed, people):
        chosen = [people["alice"].pk, people["bob"].pk]
        decide(people["rita"], disputed, "sent_back", comment="look", annotators=chosen)
        assert consensus(disputed) is None and Task.objects.get().is_open

    def test_it_ends_an_earlier_decision(self, disputed, people):
        decide(people["rita"], disputed, "changed", 4)
        decide(people["rita"], disputed, "sent_back", comment="look", annotators=[people["bob"].pk])
        row = consensus(disputed)
        assert (row.label, row.method) == (0, "majority")

    def test_nobody_differs(self, project, people):
        candidate = fill(project)[0]
        says(people["alice"], candidate, 0)
        with pytest.raises(Refused, match="Nobody differs"):
            decide(people["rita"], candidate, "sent_back", comment="look")

    def test_gold_is_never_sent_back(self, disputed, people):
        Task.objects.update(is_gold=True, is_open=False)
        Gold.objects.create(task=Task.objects.get(), label=0)
        with pytest.raises(Refused, match="gold"):
            decide(people["rita"], disputed, "sent_back", comment="look")
        assert Annotation.objects.standing().count() == 2


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def together(self, *jobs):
        errors, gate = [], threading.Barrier(len(jobs))

        def run(job):
            try:
                gate.wait()
                job()
            except Exception as error:  # noqa: BLE001 - judged by the test
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        return errors

    def test_two_reviewers_make_one_history(self, disputed, people):
        for _ in range(5):
            assert not self.together(
                lambda: decide(people["rita"], disputed, "changed", 1),
                lambda: decide(people["max"], disputed, "changed", 2),
            )
        history = list(Decision.objects.order_by("created_at"))
        assert len(history) == 10
        # Each saw what one before it had left.
        assert [row.before["consensus"]["label"] for row in history] == [3, *(row.label for row in history[:-1])]
        assert (consensus(disputed).label, consensus(disputed).method) == (history[-1].label, "review")

    def test_one_id_from_two_tabs_is_one_decision(self, disputed, people):
        known = uuid.uuid4()
        job = lambda: decide(people["rita"], disputed, "sent_back", comment="look", id=known)  # noqa: E731
        assert not self.together(job, job, job)
        assert Decision.objects.count() == SentBack.objects.count() == 1

    def test_one_id_on_two_candidates_is_refused_once(self, project, people):
        rows = fill(project, 2)
        for row in rows:
            says(people["alice"], row, 0)
        known = uuid.uuid4()
        errors = self.together(*(lambda row=row: decide(people["rita"], row, "confirmed", id=known) for row in rows))
        assert [type(error) for error in errors] == [Refused] and Decision.objects.count() == 1

    def test_a_reviewer_and_an_annotator(self, project, people):
        rows = fill(project, 6)
        for row in rows:
            says(people["alice"], row, 0)
        slots = lease(people["bob"], project, 6)
        jobs = [lambda: save_annotations(people["bob"], [Answer(uuid.uuid4(), slot.task_id, 3, 1.0) for slot in slots])]
        jobs.append(lambda: [decide(people["rita"], row, "changed", 2) for row in reversed(rows)])
        jobs.append(
            lambda: [
                decide(people["max"], row, "sent_back", comment="look", annotators=[people["alice"].pk]) for row in rows
            ]
        )
        assert not self.together(*jobs)
        assert Decision.objects.count() == 12
        assert Annotation.objects.standing().filter(annotator=people["bob"]).count() == 6
        for task in Task.objects.prefetch_related("slots"):
            assert [slot.is_filled for slot in task.slots.order_by("annotator")] == [False, True]
        for row in Consensus.objects.all():
            last = Decision.objects.filter(candidate=row.candidate_id).order_by("-created_at")
            assert row.method in ("review", "majority") and last.exists()


def post(user, body):
    token = Token.objects.get_or_create(user=user)[0]
    return Client().post(
        "/api/v1/review/decisions", body, content_type="application/json", headers={"Authorization": f"Token {token}"}
    )


def wish(candidate, action="confirmed", **values):
    return {"id": str(uuid.uuid4()), "candidate": candidate.pk, "action": action, **values}


class TestApi:
    def test_one_decision(self, disputed, people):
        body = wish(disputed, "changed", label="available")
        assert post(people["rita"], body).json() == {
            "results": [{"id": body["id"], "candidate": disputed.pk, "status": "saved", "message": ""}]
        }
        assert Decision.objects.get().made_in == "api" and consensus(disputed).label == 0

    def test_many_and_each_by_itself(self, project, people):
        rows = fill(project, 3)
        for row in rows:
            says(people["alice"], row, 0)
        says(people["rita"], rows[1], 1)
        given = post(people["rita"], {"decisions": [wish(row) for row in rows]}).json()["results"]
        assert [row["status"] for row in given] == ["saved", "refused", "saved"]
        assert "yourself" in given[1]["message"]

    def test_a_session_does_as_well_and_wants_its_csrf_token(self, disputed, people):
        client = Client(enforce_csrf_checks=True)
        client.force_login(people["rita"])
        answer = client.post("/api/v1/review/decisions", wish(disputed), content_type="application/json")
        assert answer.status_code == 403 and not Decision.objects.exists()

    @pytest.mark.parametrize("who, status", [("bob", 403), ("mia", 403), ("rita", 200), ("max", 200), ("olga", 200)])
    def test_roles(self, disputed, people, who, status):
        answer = post(people[who], wish(disputed, "changed", label=1, comment=who))
        assert answer.status_code == status
        assert Decision.objects.count() == (status == 200)

    def test_strangers(self, disputed):
        answer = Client().post("/api/v1/review/decisions", wish(disputed), content_type="application/json")
        assert answer.status_code in (401, 403)

    @pytest.mark.parametrize(
        "values",
        [
            {"id": "no"}, {"candidate": "²"}, {"candidate": 2**63}, {"candidate": -1}, {"action": "praised"},
            {"label": 9}, {"label": "nice"}, {"comment": "a\x00b"}, {"comment": "x" * 1001}, {"annotators": []},
            {"annotators": ["²"]}, {"seen_at": "yesterday"}, {"unknown": 1}, {"made_in": "dream"},
        ],
    )  # fmt: skip
    def test_nonsense_is_a_400(self, disputed, people, values):
        answer = post(people["rita"], {**wish(disputed), **values})
        assert answer.status_code == 400 and not Decision.objects.exists()

    def test_too_many_or_none(self, disputed, people):
        assert post(people["rita"], {"decisions": []}).status_code == 400
        assert post(people["rita"], {"decisions": [wish(disputed)] * 101}).status_code == 400
        assert post(people["rita"], [1]).status_code == 400

    def test_its_examples_run(self, client, disputed, people):
        client.force_login(people["rita"])
        schema = client.get("/api/schema/?format=json").json()
        examples = schema["paths"]["/api/v1/review/decisions"]["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ]
        assert len(examples) == 2
        for example in examples.values():
            body = example["value"]
            body["decisions"][0] |= {"candidate": disputed.pk, "id": str(uuid.uuid4())}
            assert [row["status"] for row in post(people["rita"], body).json()["results"]] == ["saved"]
