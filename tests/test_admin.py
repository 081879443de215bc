"""The admin: what staff may do follows from their role; trainings are started and steered there; torch stays out."""

import subprocess
import sys

import pytest
from django.contrib import admin
from django.db.models import ProtectedError
from django.urls import reverse

from datasets_app.models import DatasetVersion
from generation.models import Candidate, Generator
from rfnet_service.actions import promoted
from runs.models import Run
from tests import build
from tests.data_rows import checkpoint, labelled, verdict, version_row
from tests.workers import ROOT, environment
from training.models import Training

pytestmark = pytest.mark.django_db
ADD = "admin:training_training_add"


@pytest.fixture
def staff(people):
    """All of them are let into the admin; none is a superuser."""
    for person in people.values():
        person.is_staff = True
        person.save()
    return people


@pytest.fixture
def mia(client, staff):
    client.force_login(staff["mia"])
    return client


@pytest.fixture
def written(db, tmp_path):
    return version_row(tmp_path / "ads")


def text(response):
    return response.content.decode()


def form(**more):
    return {"kind": "rfnet", "preset": "mini", "objective": "rfft", "config": "{}", "seed": "0", "note": "", **more}


OURS = [
    model
    for model in admin.site._registry
    if model._meta.app_label in {"runs", "generation", "datasets_app", "rfnet_service", "training"}
]


class TestEveryPage:
    @pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
    def test_lists_open_with_rows_and_count_nothing(self, client, staff, model, django_assert_max_num_queries):
        made = labelled(3)
        verdict(made[0], checkpoint())
        client.force_login(staff["olga"])
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        client.get(url)
        with django_assert_max_num_queries(8) as queries:
            assert client.get(url).status_code == 200
        assert not [query for query in queries.captured_queries if "COUNT(" in query["sql"]]

    def test_the_menu_says_english_words(self):
        plurals = {str(model._meta.verbose_name_plural) for model in admin.site._registry}
        assert not [word for word in plurals if word.endswith(("ss", "xs", "ys", "chs")) and not word.endswith(("ays", "eys"))]

    def test_a_row_that_never_changes_is_only_shown(self, client, staff):
        candidate = build.candidate()
        client.force_login(staff["olga"])
        url = reverse("admin:generation_candidate_change", args=[candidate.pk])
        assert client.get(url).status_code == 200
        assert client.post(url, {"seed": 5}).status_code == 403
        assert client.post(reverse("admin:generation_candidate_delete", args=[candidate.pk])).status_code == 403

    def test_what_a_frozen_version_holds_is_not_deleted_by_any_way(self, client, staff):
        """Its row has no foreign key in the database: the model sees to it (docs/freezing.md)."""
        candidate = build.candidate()
        made = DatasetVersion.objects.create(name="ads", number=1, salt="ads", digest="d" * 64, row_count=1)
        made.rows.create(
            candidate=candidate, label=0, posterior=[1, 0, 0, 0, 0], agreement=1, annotation_count=2, split="train",
            row_digest="0" * 64,
        )  # fmt: skip
        client.force_login(staff["olga"])
        page = client.post(reverse("admin:generation_candidate_delete", args=[candidate.pk]), {"post": "yes"})
        assert page.status_code == 403 and "frozen versions tell of them" in page.content.decode()
        for delete in (candidate.delete, Candidate.objects.all().delete, candidate.product.delete):
            with pytest.raises(ProtectedError, match="protected foreign keys"):
                delete()
        assert made.rows.get().candidate == candidate

    def test_it_loads_no_torch(self):
        code = (
            "import django, sys; django.setup(); from django.contrib import admin; import config.urls; "
            "admin.autodiscover(); heavy = {'torch', 'diffusers', 'transformers'} & set(sys.modules); "
            "sys.exit(', '.join(heavy) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr


class TestWhoMay:
    @pytest.mark.parametrize(
        ("name", "may"),
        [("alice", False), ("rita", False), ("max", False), ("mia", True), ("olga", True)],
    )
    def test_only_those_who_may_train_see_trainings(self, client, staff, name, may):
        client.force_login(staff[name])
        assert client.get(reverse("admin:training_training_changelist")).status_code == (200 if may else 403)
        assert client.get(reverse(ADD)).status_code == (200 if may else 403)

    def test_without_being_staff_nobody_gets_in(self, client, people):
        client.force_login(people["mia"])
        assert client.get(reverse(ADD)).status_code == 302

    def test_ml_staff_do_not_edit_people(self, mia):
        assert mia.get(reverse("admin:accounts_user_changelist")).status_code == 403


class TestStartingATraining:
    def test_mia_starts_one_and_lands_on_its_progress(self, mia, staff, written):
        response = mia.post(reverse(ADD), form(dataset_version=written.pk, epochs="2"))
        training = Training.objects.get()
        assert response.url == reverse("admin:training_training_change", args=[training.pk])
        assert training.config == {"preset": "mini", "epochs": 2, "seed": 0} and training.created_by == staff["mia"]
        assert training.run.state == "queued" and training.run.created_by == staff["mia"]
        page = text(mia.get(response.url))
        assert reverse("admin:training_training_panel", args=[training.pk]) in page
        assert reverse("run_metrics", args=[training.run_id]) in page

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"dataset_version": ""}, "Choose the dataset version"),
            ({"config": '{"epoch": 3}'}, "unknown TrainConfig setting: epoch"),
            ({"config": "[1]"}, "must be a JSON object"),
            ({"kind": "rfft"}, "RFFT needs a generator to tune"),
            ({"seed": "-1"}, "greater than or equal to 0"),
        ],
    )
    def test_what_can_not_be_trained_is_a_sentence_and_starts_nothing(self, mia, written, change, sentence):
        response = mia.post(reverse(ADD), form(**{"dataset_version": written.pk, **change}))
        assert response.status_code == 200 and sentence in text(response)
        assert not Training.objects.exists() and not Run.objects.filter(kind__startswith="train").exists()

    def test_files_that_are_gone_are_a_sentence(self, mia, written):
        DatasetVersion.objects.filter(pk=written.pk).update(uri="/nowhere/ads/v1")
        assert "write the version again" in text(mia.post(reverse(ADD), form(dataset_version=written.pk)))

    def test_changing_the_note_starts_nothing(self, mia, written):
        mia.post(reverse(ADD), form(dataset_version=written.pk))
        training = Training.objects.get()
        url = reverse("admin:training_training_change", args=[training.pk])
        mia.post(url, {"note": "a second look", "dataset_version": "", "config": '{"epochs": 99}'})
        training.refresh_from_db()
        assert training.note == "a second look" and training.config == {"preset": "mini", "seed": 0}
        assert Run.objects.filter(kind="train_rfnet").count() == 1


class TestSteering:
    @pytest.fixture
    def training(self, staff):
        run = Run.objects.create(kind="train_rfnet", title="Train", state="running", created_by=staff["mia"])
        frozen = DatasetVersion.objects.create(name="ads", number=1, salt="a", digest="d" * 64, row_count=1)
        return Training.objects.create(kind="rfnet", dataset_version=frozen, run=run)

    def act(self, client, action, *rows):
        model = rows[0]._meta
        url = reverse(f"admin:{model.app_label}_{model.model_name}_changelist")
        data = {"action": action, "_selected_action": [row.pk for row in rows]}
        return text(client.post(url, data, follow=True))

    def test_stop_and_resume(self, mia, training):
        assert "1 told to stop" in self.act(mia, "stop", training)
        assert Run.objects.get().stop_requested
        Run.objects.update(state="stopped")
        assert "1 resumed" in self.act(mia, "resume", training)
        assert Run.objects.get().state == "queued"

    def test_somebody_elses_is_left_alone(self, mia, training, staff):
        Run.objects.update(created_by=staff["olga"])
        assert "0 told to stop" in self.act(mia, "stop", training)
        assert not Run.objects.get().stop_requested

    def test_its_checkpoint_is_put_in_use(self, mia, training):
        first = checkpoint("first", promoted=True)
        training.checkpoint = checkpoint("second")
        training.save()
        assert "second is in use" in self.act(mia, "put_in_use", training)
        assert promoted() == training.checkpoint
        self.act(mia, "put_in_use", first)
        assert promoted() == first

    def test_two_checkpoints_can_not_be_in_use(self, mia):
        assert "Choose one checkpoint" in self.act(mia, "put_in_use", checkpoint("one"), checkpoint("two"))
        assert promoted() is None

    def test_the_panel_ends_with_a_fresh_page(self, mia, training):
        url = reverse("admin:training_training_panel", args=[training.pk])
        assert "HX-Refresh" not in mia.get(url)
        Run.objects.update(state="succeeded")
        assert mia.get(url)["HX-Refresh"] == "true"

    def test_runs_are_stopped_by_those_who_started_them(self, mia, client, training, staff):
        assert "1 told to stop" in self.act(mia, "stop", training.run)

    def test_one_generator_is_put_in_use(self, mia):
        generator = build.generator()
        assert "draws from now on" in self.act(mia, "use", generator)
        assert Generator.objects.get(is_in_use=True) == generator
        elsewhere = Generator.objects.create(name="theirs", kind=Generator.IMPORTED, key="theirs", config={})
        assert "can’t draw here" in self.act(mia, "use", elsewhere).replace("&#x27;", "’")
        assert Generator.objects.get(is_in_use=True) == generator
