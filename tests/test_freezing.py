"""A freeze is one moment: chosen by a checked filter, digests as the files will have them, one version however often it is tried."""

import importlib
import json
import threading
import time
import uuid
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from adproof.labels import LABELS
from adproof.shards.splits import combine, row_digest
from adproof.shards.verify import verify
from annotation.models import Annotation, Consensus, Project, SavedFilter, Task
from datasets_app import freezing
from datasets_app.actions import (
    CannotFreeze,
    check_query,
    freeze,
    from_saved,
    picture_hashes,
    preview,
    pseudonym,
    sample_id,
    selected,
    start_freeze,
)
from datasets_app.models import DatasetVersion, ProductSplit, VersionRow
from datasets_app.product_splits import HOLDOUT, give_splits, splits
from runs import stopping
from runs.actions import resume_run
from runs.context import RunContext, StopRequested
from runs.models import Run
from runs.stopping import stoppable
from tests import build
from tests.data_rows import consensus, do, labelled, version
from training.actions import open_round


def a_run():
    return Run.objects.create(kind="freeze", title="Freeze", state="running")


def answer(candidate, who, label, at=None):
    project, _ = Project.objects.get_or_create(name="First")
    task, _ = Task.objects.get_or_create(project=project, candidate=candidate, defaults={"overlap": 3})
    return Annotation.objects.create(
        id=uuid.uuid4(), task=task, candidate=candidate, annotator=who, label=label, seconds=2.345,
        created_at=at or timezone.now(),
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
class TestTheRows:
    def test_digests_are_those_that_the_files_have(self):
        labelled(8)
        made = freeze("ads", {}, a_run())
        rows = list(made.rows.select_related("candidate__product"))
        assert len(rows) == made.row_count == 8
        for row in rows:
            known = row_digest(sample_id(row.candidate), row.label, row.split, picture_hashes(row.candidate))
            assert row.row_digest == known.hex()
        assert made.digest == combine(bytes.fromhex(row.row_digest) for row in rows)

    def test_labels_posteriors_and_answers_are_as_they_stood(self, people):
        candidate = build.candidate(0)
        first = answer(candidate, people["bob"], 3, timezone.now() - timedelta(hours=1))
        answer(candidate, people["alice"], 1)
        gone = answer(build.candidate(1), people["alice"], 2)
        Annotation.objects.filter(pk=gone.pk).update(state="undone")
        kept = consensus(candidate, 3, agreement=0.5)
        Consensus.objects.update(method="dawid-skene")
        [row] = freeze("ads", {}, a_run()).rows.all()
        assert (row.label, row.posterior, row.agreement, row.method) == (3, kept.posterior, 0.5, "dawid-skene")
        said = row.annotations[0].pop("at")  # PostgreSQL leaves zeros at the end away
        assert datetime.fromisoformat(said) == first.created_at
        assert row.annotations == [
            {"annotator": pseudonym("ads", people["bob"].pk), "label": 3, "seconds": 2.35},
            {"annotator": pseudonym("ads", people["alice"].pk), "label": 1, "seconds": 2.35,
             "at": row.annotations[1]["at"]},
        ]  # fmt: skip
        assert "alice" not in json.dumps(row.annotations)

    def test_counts_are_by_split_and_label(self):
        labelled(20)
        made = freeze("ads", {}, a_run())
        for split, by_label in made.counts.items():
            for label, n in by_label.items():
                assert made.rows.filter(split=split, label=LABELS.index(label)).count() == n
        assert sum(n for by_label in made.counts.values() for n in by_label.values()) == 20

    def test_what_is_written_verifies(self):
        made = version(10)
        assert verify(made.uri, pictures=True) == []


@pytest.mark.django_db(transaction=True)
class TestOneMoment:
    def test_labels_that_change_while_it_freezes_are_not_in_it(self, people, monkeypatch):
        """Somebody labels, relabels and takes back between the statements of the freeze."""
        made = labelled(6, labels=(0,))
        answer(made[0], people["alice"], 0)

        def meanwhile():
            Consensus.objects.filter(candidate=made[0]).update(label=4)
            Annotation.objects.filter(candidate=made[0]).update(state="undone")
            answer(made[1], people["bob"], 2)
            consensus(build.candidate(50), 1)
            connection.close()

        insert = freezing._insert

        def slow_insert(cursor, version):
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join()
            insert(cursor, version)

        monkeypatch.setattr(freezing, "_insert", slow_insert)
        frozen = freeze("ads", {}, a_run())
        monkeypatch.setattr(freezing, "_insert", insert)
        assert Consensus.objects.get(candidate=made[0]).label == 4, "it did change"
        assert frozen.row_count == frozen.rows.count() == 6
        assert set(frozen.rows.values_list("label", flat=True)) == {0}
        assert len(frozen.rows.get(candidate=made[0]).annotations) == 1
        assert frozen.rows.get(candidate=made[1]).annotations == []
        assert freeze("ads", {}, a_run()).row_count == 7, "the next version has it all"

    def test_a_heartbeat_meanwhile_hurts_nobody(self, monkeypatch):
        labelled(4)
        run = a_run()
        insert = freezing._insert

        def beat():
            Run.objects.filter(pk=run.pk).update(lease_until=timezone.now())
            connection.close()

        def slow_insert(cursor, version):
            other = threading.Thread(target=beat)
            other.start()
            other.join(60)
            assert not other.is_alive(), "the heartbeat waited for the freeze"
            insert(cursor, version)

        monkeypatch.setattr(freezing, "_insert", slow_insert)
        assert freeze("ads", {}, run).row_count == 4

    def test_killed_in_the_middle_it_leaves_nothing_and_starts_again(self, monkeypatch):
        labelled(5)
        run = a_run()
        sum_up = freezing._sum_up
        monkeypatch.setattr(freezing, "_sum_up", lambda *args: connection.connection.close())
        with pytest.raises(Exception, match="closed"):
            freeze("ads", {}, run)
        connection.close()
        assert not DatasetVersion.objects.exists()
        monkeypatch.setattr(freezing, "_sum_up", sum_up)
        assert freeze("ads", {}, run).number == 1
        assert freeze("ads", {}, run).number == 1
        assert DatasetVersion.objects.count() == 1

    def test_stopped_in_the_middle_of_a_statement_it_leaves_nothing_and_can_be_resumed(self, monkeypatch):
        labelled(5)
        run = start_freeze("ads", {})
        insert = freezing._insert

        def stop():
            Run.objects.filter(pk=run.pk).update(stop_requested=True)
            connection.close()

        def endless_insert(cursor, version):
            insert(cursor, version)
            other = threading.Thread(target=stop)
            other.start()
            other.join()
            cursor.execute("SELECT pg_sleep(60)")

        monkeypatch.setattr(freezing, "_insert", endless_insert)
        started = time.monotonic()
        assert do(run).state == "stopped" and time.monotonic() - started < 30
        assert not DatasetVersion.objects.exists() and not VersionRow.objects.exists()
        monkeypatch.setattr(freezing, "_insert", insert)
        assert resume_run(run) and do(run).state == "succeeded"
        assert DatasetVersion.objects.get().row_count == 5

    def test_stopped_while_rows_are_copied_it_is_stopped_too(self, monkeypatch):
        monkeypatch.setattr(stopping, "LOOK_EVERY_S", 0.05)
        run = a_run()
        Run.objects.filter(pk=run.pk).update(state="running", stop_requested=True)
        run.refresh_from_db()
        endless = "COPY (SELECT pg_sleep(60)) TO STDOUT"
        with pytest.raises(StopRequested), stoppable(RunContext(run)), connection.cursor() as cursor, cursor.copy(endless) as copy:
            list(copy)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")  # nothing is left to cancel what comes after

    def test_two_workers_of_one_run_make_one_version(self):
        labelled(5)
        run, made, errors = a_run(), [], []

        def work():
            try:
                made.append(freeze("ads", {}, run).pk)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == [] and len(set(made)) == 1 and DatasetVersion.objects.count() == 1

    def test_nothing_left_to_freeze_is_a_sentence_in_the_run(self):
        labelled(1)
        run = start_freeze("ads", {})
        Consensus.objects.all().delete()
        assert "label some first" in do(run).error


@pytest.mark.django_db
class TestFilters:
    @pytest.fixture
    def rows(self):
        """0: a lamp of source test; 1: a chair of another source, by another generator, reviewed, unsure."""
        lamp = consensus(build.candidate(0), 0, count=3)
        chair = build.candidate(
            1, of=build.product(1, category="chairs", source="shop"), generator=build.generator("another")
        )
        other = consensus(chair, 2, agreement=0.5, count=1)
        Consensus.objects.filter(pk=other.pk).update(method="review", posterior=[0.1, 0.1, 0.6, 0.1, 0.1])
        return lamp, other

    def chosen(self, **query):
        return set(selected(check_query(query)).values_list("pk", flat=True))

    def test_each_condition_chooses(self, rows):
        lamp, chair = rows
        both = {lamp.pk, chair.pk}
        assert self.chosen() == self.chosen(category="", source=None, label_filter={}) == both
        assert self.chosen(category="lamps") == self.chosen(source="test") == self.chosen(label=0) == {lamp.pk}
        assert self.chosen(category=["lamps", "chairs"]) == self.chosen(label=[0, 2]) == both
        assert self.chosen(generator=chair.candidate.generator_id) == {chair.pk}
        assert self.chosen(prompt=[chair.candidate.prompt_id]) == both
        assert self.chosen(min_annotations=2) == self.chosen(min_agreement=0.8) == {lamp.pk}
        assert self.chosen(min_confidence=0.7) == {lamp.pk} and self.chosen(min_confidence=0.5) == both
        assert self.chosen(reviewed_only=True) == {chair.pk}

    def test_by_the_day_it_was_drawn_or_labelled(self, rows, people):
        lamp, chair = rows
        today = timezone.localdate()
        yesterday = today - timedelta(days=1)
        type(lamp.candidate).objects.filter(pk=lamp.candidate_id).update(created_at=timezone.now() - timedelta(days=9))
        assert self.chosen(created_from=str(yesterday)) == {chair.pk}
        assert self.chosen(created_to=str(yesterday)) == {lamp.pk}
        answer(lamp.candidate, people["alice"], 0)
        answer(chair.candidate, people["alice"], 2, timezone.now() - timedelta(days=5))
        assert self.chosen(labelled_from=str(today), labelled_to=str(today)) == {lamp.pk}
        assert self.chosen(labelled_to=str(yesterday)) == {chair.pk}

    def test_by_a_saved_filter_of_the_label_browser_as_it_is_now(self, rows, people):
        _, chair = rows
        saved = SavedFilter.objects.create(owner=people["rita"], name="Decided", query={"state": "reviewed", "order": "unsure"})
        with pytest.raises(CannotFreeze, match="no saved filter"):
            from_saved(saved.pk, people["max"])
        SavedFilter.objects.update(is_shared=True)
        query = from_saved(saved.pk, people["max"])
        assert query == {"label_filter": {"state": "reviewed"}, "label_filter_name": "Decided"}
        SavedFilter.objects.update(query={"state": "disputed"})
        assert self.chosen(**query) == {chair.pk}, "the query keeps the words, whatever becomes of the filter"
        assert self.chosen(**query, category="lamps") == set()

    def test_flagged_products_and_unfinished_candidates_never_are(self, rows):
        lamp, chair = rows
        Consensus.objects.filter(pk=chair.pk).update(is_complete=False)
        assert self.chosen() == {lamp.pk}
        assert self.chosen(complete_only=False) == {lamp.pk, chair.pk}
        lamp.candidate.product.unsuitable = True
        lamp.candidate.product.save()
        assert self.chosen() == set()

    @pytest.mark.parametrize(
        ("query", "sentence"),
        [
            ({"categry": "lamps"}, "Unknown filter categry; allowed: category"),
            ({"min_agreement": 80}, "min_agreement must be a number from 0 to 1, not '80'"),
            ({"label": 7}, "label must be a whole number from 0 to 4"),
            ({"label": [0, "one"]}, "label must be a whole number"),
            ({"generator": "mini"}, "generator must be a whole number"),
            ({"created_from": "31.1.2026"}, "a date such as 2026-01-31"),
            ({"created_from": "2026-02-01", "created_to": "2026-01-01"}, "created_from lies after created_to"),
            ({"reviewed_only": "yes"}, "true or false"),
            ({"category": {"a": 1}}, "a text of at most 200"),
            ({"label_filter": {"state": "odd"}}, "a filter of the label browser that holds"),
            ({"label_filter": {"colour": "red"}}, "it has no colour"),
            ({"label_filter": "state=reviewed"}, "the words of the label browser"),
        ],
    )
    def test_what_is_misspelt_never_freezes_everything(self, query, sentence):
        with pytest.raises(CannotFreeze, match=sentence):
            check_query(query)
        with pytest.raises(CannotFreeze):
            start_freeze("ads", query)


@pytest.mark.django_db(transaction=True)
class TestThePreview:
    def test_it_counts_what_the_freeze_then_has(self):
        labelled(20)
        seen = preview({}, "ads")
        assert (seen["rows"], seen["products"], seen["is_exact"]) == (20, 20, True)
        assert seen["sources"] == {"test": 20} and len(seen["examples"]) == 12
        made = freeze("ads", {}, a_run())
        assert seen["splits"] == {split: sum(by_label.values()) for split, by_label in made.counts.items()}
        assert seen["labels"] == {label: made.rows.filter(label=k).count() for k, label in enumerate(LABELS)}
        assert preview({}, "ads")["splits"] == seen["splits"], "the splits that are given now"

    def test_what_takes_too_long_is_estimated(self, monkeypatch):
        from datasets_app import choosing

        labelled(3)
        times = []

        def within(seconds, work):
            times.append(seconds)
            return None if len(times) == 1 else work()

        monkeypatch.setattr(choosing, "within", within)
        seen = preview({}, "ads")
        assert seen["is_exact"] is False and seen["rows"] % choosing.SAMPLED == 0

    def test_the_database_is_stopped_and_goes_on(self):
        from runs.counted import within

        def sleep():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(20)")
            return "slept"

        assert within(0.2, sleep) is None
        assert within(60, lambda: Run.objects.count()) == 0


@pytest.mark.django_db
class TestThePage:
    """Every condition can be chosen there, and is shown as it counts before anybody freezes."""

    def test_a_saved_filter_and_more_conditions_become_the_query(self, client, people):
        labelled(6)
        client.force_login(people["max"])
        saved = SavedFilter.objects.create(owner=people["rita"], name="Spaces", query={"label": "1"}, is_shared=True)
        hidden = SavedFilter.objects.create(owner=people["rita"], name="Hers", query={"label": "2"})
        page = client.get("/datasets/").content.decode()
        assert "Spaces" in page and "Hers" not in page
        data = {"name": "ads", "saved_filter": saved.pk, "min_confidence": "80", "labelled_from": "", "source": "test"}
        shown = client.post("/datasets/", data, headers={"HX-Request": "true"}).content.decode()
        assert ">1</strong>" in shown and " train" in shown and " validation" in shown
        assert client.post("/datasets/", data).status_code == 302
        assert Run.objects.get(kind="freeze").params["query"] == {
            "label_filter": {"label": "1"}, "label_filter_name": "Spaces", "min_confidence": 0.8, "source": "test",
        }  # fmt: skip
        refused = client.post("/datasets/", {"name": "ads", "saved_filter": hidden.pk})
        assert refused.status_code == 422

    def test_dates_that_end_before_they_begin_come_back_at_their_field(self, client, people):
        client.force_login(people["max"])
        data = {"name": "ads", "created_from": "2026-02-01", "created_to": "2026-01-01"}
        response = client.post("/datasets/", data)
        assert response.status_code == 422 and "It ends before it begins." in response.content.decode()


@pytest.mark.django_db(transaction=True)
class TestTheHoldout:
    def test_active_learning_and_versions_have_the_same_one(self):
        """What a round may not choose by doubt is validation and test of every version, before and after."""
        made = labelled(40)
        project = Project.objects.create(name="First")
        Consensus.objects.all().delete()
        opened = open_round(project, count=30, strategy="margin", holdout_share=0.3)
        split = splits("ads", [one.product_id for one in made])
        for task in Task.objects.filter(round_number=opened.number).select_related("candidate"):
            is_held = split[task.candidate.product_id] in HOLDOUT
            assert is_held == (task.reason == "random holdout")
            consensus(task.candidate, 1)
        frozen = freeze("ads", {}, a_run())
        for row in frozen.rows.select_related("candidate"):
            assert row.split == split[row.candidate.product_id]
        held = frozen.rows.filter(split__in=HOLDOUT).count()
        assert frozen.leak_check["holdout_rows"] == held > 0
        assert frozen.leak_check["holdout_rows_chosen_by_doubt"] == 0

    def test_a_version_says_when_doubt_had_chosen_among_it(self):
        made = labelled(30)
        project = Project.objects.create(name="First")
        for one in made:
            Task.objects.create(project=project, candidate=one, overlap=1, reason="margin")
        frozen = freeze("ads", {}, a_run())
        assert frozen.leak_check["holdout_rows_chosen_by_doubt"] == frozen.leak_check["holdout_rows"] > 0

    def test_it_is_in_the_manifest(self):
        made = version(12)
        assert made.manifest["leak_check"]["holdout_rows"] == made.leak_check["holdout_rows"]
        assert made.manifest["leak_check"]["near_duplicate_pairs"] == 0


@pytest.mark.django_db
def test_a_product_never_changes_split_whatever_becomes_of_the_shares():
    made = [build.product(number) for number in range(40)]
    give_splits("ads", [0.7, 0.1, 0.2])
    before = dict(ProductSplit.objects.values_list("product_id", "split"))
    for number in range(40, 60):
        build.product(number)
    give_splits("ads", [0.1, 0.1, 0.8])
    after = dict(ProductSplit.objects.values_list("product_id", "split"))
    assert len(after) == 60 and {one.pk: after[one.pk] for one in made} == before
    give_splits("ads")
    assert dict(ProductSplit.objects.values_list("product_id", "split")) == after
    give_splits("other")
    other = dict(ProductSplit.objects.filter(name="other").values_list("product_id", "split"))
    assert len(other) == 60 and other != after, "each dataset has its own salt"


@pytest.mark.django_db(transaction=True)
def test_two_who_give_splits_at_once_give_each_product_one():
    for number in range(30):
        build.product(number)
    errors = []

    def work():
        try:
            give_splits("ads")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and ProductSplit.objects.count() == 30


@pytest.mark.django_db
def test_products_of_versions_from_before_there_was_a_table_keep_their_split():
    keep = importlib.import_module("datasets_app.migrations.0002_product_splits").KEEP
    first, second = build.candidate(0), build.candidate(1)
    for number, rows in enumerate([[(first, "test")], [(first, "test"), (second, "train")]], start=1):
        old = DatasetVersion.objects.create(name="ads", number=number, salt="ads", digest="d" * 64, row_count=1)
        for candidate, split in rows:
            VersionRow.objects.create(
                version=old, candidate=candidate, label=0, split=split, posterior=[], agreement=1, annotation_count=1,
                row_digest="0" * 64,
            )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(keep)
    give_splits("ads", [0, 1, 0])
    assert splits("ads", [first.product_id, second.product_id]) == {first.product_id: "test", second.product_id: "train"}
