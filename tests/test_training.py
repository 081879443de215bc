"""Pages of trainings, checkpoints and rounds. What a training computes is tested with adproof.rfnet and adproof.finetune."""

import pytest
from django.urls import reverse

from annotation.actions import Pick, add_tasks
from annotation.models import Project, Task
from datasets_app.models import DatasetVersion
from rfnet_service.actions import promoted
from rfnet_service.figures import compared, confusion_rows
from rfnet_service.models import Checkpoint
from runs.models import Run, RunMetric
from tests import build
from tests.data_rows import FIGURES, checkpoint, consensus, do, labelled, verdict, version_row
from training.models import Round, Training

pytestmark = pytest.mark.django_db
PAGES = ["trainings", "training_start", "checkpoints", "rounds"]


@pytest.fixture
def mia(client, people):
    client.force_login(people["mia"])
    return client


@pytest.fixture
def written(db, tmp_path):
    return version_row(tmp_path / "ads")


@pytest.fixture
def trained(people):
    """A training that has run, with its checkpoint."""
    run = Run.objects.create(
        kind="train_rfnet", title="Train RFNet", state="succeeded", created_by=people["mia"], done=4, total=4
    )
    frozen = DatasetVersion.objects.create(
        name="ads", number=1, salt="ads", digest="d" * 64, row_count=20, state="written"
    )
    made = checkpoint(version=frozen)
    return Training.objects.create(
        kind="rfnet", dataset_version=frozen, run=run, checkpoint=made, created_by=people["mia"], config={"seed": 3}
    )


def text(response):
    return response.content.decode()


class TestWhoMaySee:
    @pytest.mark.parametrize("page", PAGES)
    def test_ml_staff_and_operators_only(self, client, people, page):
        for name, person in people.items():
            client.force_login(person)
            assert client.get(reverse(page)).status_code == (200 if name in {"mia", "olga"} else 403), name

    @pytest.mark.parametrize("page", ["checkpoint_promote", "checkpoint_score"])
    def test_nobody_else_uses_checkpoints(self, client, people, page):
        made = checkpoint()
        for name in ("alice", "rita", "max"):
            client.force_login(people[name])
            assert client.post(reverse(page, args=[made.pk])).status_code == 403
        assert promoted() is None and not Run.objects.exists()

    @pytest.mark.parametrize("page", PAGES)
    def test_empty_pages_say_what_to_do(self, mia, page):
        assert 'class="empty"' in text(mia.get(reverse(page)))


class TestStarting:
    def start(self, client, **data):
        return client.post(reverse("training_start"), {"kind": "rfnet", "preset": "mini", "seed": "1", **data})

    def test_it_starts_a_run_and_keeps_what_differs_from_the_defaults(self, mia, people, written):
        response = self.start(mia, dataset_version=written.pk, epochs="2")
        training = Training.objects.get()
        assert response.url == reverse("training", args=[training.pk])
        assert training.config == {"preset": "mini", "epochs": 2, "seed": 1}
        assert training.run.kind == "train_rfnet" and training.run.created_by == people["mia"]

    def test_a_version_that_is_not_written_is_refused(self, mia, written):
        DatasetVersion.objects.create(name="other", number=1, salt="x", digest="0" * 64, row_count=1)
        response = self.start(mia, dataset_version=DatasetVersion.objects.get(name="other").pk)
        assert response.status_code == 422 and "not written" in text(response)

    def test_a_version_whose_files_are_gone_is_refused(self, mia, written):
        DatasetVersion.objects.filter(pk=written.pk).update(uri="/nowhere/ads/v1")
        response = self.start(mia, dataset_version=written.pk)
        assert response.status_code == 422 and "write the version again" in text(response)
        assert not Training.objects.exists() and not Run.objects.filter(kind="train_rfnet").exists()

    def test_rfft_takes_generator_feedback_and_objective(self, mia):
        data = {
            "kind": "rfft", "generator": build.generator().pk, "feedback": checkpoint().pk, "objective": "kl",
            "beta": "0.5", "updates": "3", "seed": "0",
        }  # fmt: skip
        assert mia.post(reverse("training_start"), data).status_code == 302
        training = Training.objects.get()
        assert training.config == {"objective": "kl", "beta": 0.5, "updates": 3, "seed": 0}
        assert training.run.kind == "train_rfft"

    def test_rfft_without_an_rfnet_says_to_train_one(self, mia):
        assert "Train RFNet" in text(mia.get(reverse("training_start"), {"kind": "rfft"}))


class TestATraining:
    def test_its_page_shows_figures_confusion_and_checkpoint(self, mia, trained):
        page = text(mia.get(reverse("training", args=[trained.pk])))
        for shown in ("0.667", "0.800", "0.110 before calibration", "Which label it takes for which", "d" * 64):
            assert shown in page

    def test_it_compares_with_the_one_in_use_on_the_same_samples(self, mia, trained):
        made = trained.checkpoint
        made.metrics["in_use_before"] = {**FIGURES, "name": "RFNet zero", "f1": 0.5}
        made.save()
        page = text(mia.get(reverse("training", args=[trained.pk])))
        assert "Against RFNet zero" in page and "better +0.167" in page

    def test_while_it_runs_its_page_asks_again_and_ends_with_a_fresh_page(self, mia, trained):
        Run.objects.filter(pk=trained.run_id).update(state="running")
        url = reverse("training", args=[trained.pk])
        assert 'hx-trigger="every 2s"' in text(mia.get(url))
        assert "HX-Refresh" not in mia.get(url, headers={"HX-Request": "true"})
        Run.objects.filter(pk=trained.run_id).update(state="succeeded")
        assert mia.get(url, headers={"HX-Request": "true"})["HX-Refresh"] == "true"

    def test_its_curves_are_those_of_its_run(self, mia, trained):
        RunMetric.objects.create(run=trained.run, step=1, values={"loss": 1.5})
        assert reverse("run_metrics", args=[trained.run_id]) in text(mia.get(reverse("training", args=[trained.pk])))

    def test_it_stops_and_resumes(self, mia, trained):
        Run.objects.filter(pk=trained.run_id).update(state="running")
        mia.post(reverse("training_stop", args=[trained.pk]))
        trained.run.refresh_from_db()
        assert trained.run.stop_requested
        Run.objects.filter(pk=trained.run_id).update(state="stopped")
        mia.post(reverse("training_resume", args=[trained.pk]))
        trained.run.refresh_from_db()
        assert trained.run.state == "queued" and not trained.run.stop_requested

    def test_somebody_elses_training_is_not_stopped(self, mia, trained, people):
        Run.objects.filter(pk=trained.run_id).update(state="running", created_by=people["olga"])
        assert mia.post(reverse("training_stop", args=[trained.pk])).status_code == 403

    def test_the_list_costs_no_query_per_training(self, mia, trained, django_assert_max_num_queries):
        for _ in range(5):
            run = Run.objects.create(kind="train_rfnet", title="x")
            Training.objects.create(kind="rfnet", dataset_version=trained.dataset_version, run=run)
        with django_assert_max_num_queries(4):
            mia.get(reverse("trainings"))


class TestCheckpoints:
    def test_promoting_keeps_exactly_one(self, mia):
        first, second = checkpoint("first", promoted=True), checkpoint("second")
        response = mia.post(reverse("checkpoint_promote", args=[second.pk]), follow=True)
        assert promoted() == second and Checkpoint.objects.filter(is_promoted=True).count() == 1
        assert "instead of first" in text(response)
        mia.post(reverse("checkpoint_promote", args=[first.pk]))
        assert promoted() == first and Checkpoint.objects.filter(is_promoted=True).count() == 1

    def test_promoting_needs_a_post(self, mia):
        assert mia.get(reverse("checkpoint_promote", args=[checkpoint().pk])).status_code == 405

    def test_its_page_says_what_promoting_replaces(self, mia):
        checkpoint("first", promoted=True)
        assert "takes first out of use" in text(mia.get(reverse("checkpoint", args=[checkpoint("second").pk])))

    def test_its_verdicts_are_counted(self, mia):
        made = checkpoint()
        for number, candidate in enumerate(build.candidates(4)):
            if number:
                verdict(candidate, made, label=0 if number == 1 else 3)
        url = reverse("checkpoint", args=[made.pk])
        page = text(mia.get(url, {"verdicts": 1}, headers={"HX-Request": "true"}))
        assert "Available 1, Space mismatch 0, Size mismatch 0, Indistinctiveness 2" in page and "Judge 1 more" in page

    def test_judging_starts_once_and_says_when_there_is_nothing_to_judge(self, mia):
        made = checkpoint()
        candidate = build.candidate()
        for _ in range(2):
            mia.post(reverse("checkpoint_score", args=[made.pk]))
        assert Run.objects.filter(kind="score").count() == 1
        Run.objects.update(state="succeeded")
        verdict(candidate, made)
        response = mia.post(reverse("checkpoint_score", args=[made.pk]), follow=True)
        assert "has this checkpoint" in text(response)

    def test_a_form_never_leads_to_another_site(self, mia):
        url = reverse("checkpoint_promote", args=[checkpoint().pk])
        assert mia.post(url, {"next": "https://example.org/"}).url.startswith("/checkpoints/")


class TestFigures:
    def test_a_confusion_row_is_shaded_by_its_shares(self):
        row = confusion_rows(FIGURES)[0]
        assert [cell["count"] for cell in row["cells"]] == [6, 1, 1, 1, 1]
        assert [cell["step"] for cell in row["cells"]] == [3, 1, 1, 1, 1] and row["cells"][0]["is_right"]

    def test_a_label_without_samples_has_no_shares(self):
        assert [cell["share"] for cell in confusion_rows(FIGURES)[4]["cells"]] == [None] * 5

    def test_a_higher_calibration_error_is_worse(self):
        rows = {row.title: row for row in compared({"f1": 0.5, "ece": 0.1}, {"f1": 0.6, "ece": 0.2})}
        assert rows["F1"].is_better is True and rows["Calibration error"].is_better is False

    def test_equal_to_three_digits_is_neither(self):
        assert compared({"f1": 0.50001}, {"f1": 0.50002})[0].is_better is None


class TestRounds:
    @pytest.fixture
    def project(self):
        return Project.objects.create(name="First labels")

    def form(self, project, **more):
        return {
            "project": project.pk, "count": "4", "strategy": "margin", "random_share": "25", "holdout_share": "0", **more
        }  # fmt: skip

    @pytest.mark.django_db(transaction=True)
    def test_it_picks_by_a_run(self, mia, project):
        build.candidates(8)
        assert mia.post(reverse("rounds"), self.form(project)).status_code == 302
        run = do(Run.objects.get(kind="open_round"))
        assert run.state == "succeeded", run.error
        made = Round.objects.get()
        assert made.picked_count == Task.objects.filter(round_number=made.number).count() > 0
        assert "to cover the products" in text(mia.get(reverse("round", args=[made.number])))

    def test_nothing_left_to_pick_is_a_sentence(self, mia, project):
        response = mia.post(reverse("rounds"), self.form(project))
        assert response.status_code == 422 and "draw more first" in text(response)
        assert not Run.objects.exists()

    def test_a_round_shows_doubt_verdicts_mixes_and_effect(self, mia, project):
        by = checkpoint("judge", promoted=True)
        made = labelled(6, labels=(0, 1))
        for candidate in made:
            verdict(candidate, by, label=2)
        add_tasks(project, [
            Pick(one.pk, 0.9, "margin" if number % 2 else "random", 0.9 - number / 100, 1.0) for number, one in enumerate(made)
        ], 1)  # fmt: skip
        Task.objects.update(is_open=False)
        row = Round.objects.create(
            number=1, project=project, strategy="margin", picked_by=by, picked_count=6,
            summary={"pool": 6, "picked": {"margin": 3, "random": 3}, "before": {"average_precision": 0.5, "n": 9},
                     "after": {"average_precision": 0.7, "n": 9}},
        )  # fmt: skip
        shown = mia.get(reverse("round", args=[row.number])).context["shown"]
        assert shown["progress"]["labelled"] == 6
        assert {mix["words"]: mix["counts"][:2] for mix in shown["mixes"]} == {
            "small margin": [0, 3],
            "at random": [3, 0],
        }
        assert [one["verdict"].label for one in shown["doubtful"]] == [2, 2, 2]
        assert [round(one["doubt"], 2) for one in shown["doubtful"]] == [0.89, 0.87, 0.85]
        page = text(mia.get(reverse("rounds")))
        assert "better +0.200" in page and "0.500 → " in page

    def test_what_rfnet_has_not_judged_is_said_and_judged(self, mia, project):
        mia_page = reverse("rounds")
        checkpoint("judge", promoted=True)
        candidate = build.candidate()
        consensus(candidate)
        assert "1 candidate lacks the verdict" in text(mia.get(mia_page))
        mia.post(reverse("judge_all"))
        assert Run.objects.filter(kind="score_all").count() == 1
