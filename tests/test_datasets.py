"""Dataset pages and command: what will be frozen is shown first, what is frozen never changes, and files are checked."""

import io
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from adproof.shards.verify import verify
from annotation.models import Consensus
from datasets_app.actions import start_freeze
from datasets_app.models import DatasetVersion
from datasets_app.versions import changes
from runs.models import Run
from tests import build
from tests.data_rows import consensus, do, labelled, version

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_(client, people):
    def log_in(name):
        client.force_login(people[name])
        return client

    return log_in


@pytest.fixture
def written(transactional_db):
    return version()


def text(response):
    return response.content.decode()


class TestWhoMaySee:
    @pytest.mark.parametrize(
        ("name", "status"), [("alice", 403), ("rita", 403), ("max", 200), ("mia", 200), ("olga", 200)]
    )
    def test_data_managers_ml_staff_and_operators(self, as_, name, status):
        assert as_(name).get(reverse("datasets")).status_code == status
        assert as_(name).post(reverse("datasets"), {}).status_code == (422 if status == 200 else 403)

    def test_a_stranger_is_sent_to_the_log_in(self, client):
        assert "/login/" in client.get(reverse("datasets")).url


class TestFreezing:
    def test_an_empty_platform_says_what_to_do(self, as_):
        page = text(as_("max").get(reverse("datasets")))
        assert "No version yet" in page

    def test_the_preview_counts_labels_and_shows_pictures(self, as_):
        labelled(10)
        page = text(as_("max").post(reverse("datasets"), {"name": "ads"}, headers={"HX-Request": "true"}))
        assert ">10</strong>" in page and page.count("<img") == 10 and "<html" not in page

    def test_the_preview_follows_the_filter(self, as_):
        labelled(9)  # every third with half agreement
        data = {"name": "ads", "min_agreement": "80"}
        page = text(as_("max").post(reverse("datasets"), data, headers={"HX-Request": "true"}))
        assert ">6</strong>" in page

    def test_freezing_starts_a_run(self, as_, people):
        labelled(5)
        assert as_("max").post(reverse("datasets"), {"name": "ads", "min_annotations": "2"}).status_code == 302
        run = Run.objects.get(kind="freeze")
        assert run.params["query"] == {"min_annotations": 2} and run.created_by == people["max"]

    def test_a_bad_name_comes_back_as_a_sentence(self, as_):
        labelled(2)
        response = as_("max").post(reverse("datasets"), {"name": "My Data!"})
        assert response.status_code == 422 and "a-z, 0-9 and hyphens" in text(response)

    def test_nothing_to_freeze_comes_back_as_a_sentence(self, as_):
        response = as_("max").post(reverse("datasets"), {"name": "ads"})
        assert response.status_code == 422 and "label some first" in text(response)

    def test_a_number_that_is_none_comes_back_at_its_field(self, as_):
        response = as_("max").post(reverse("datasets"), {"name": "ads", "min_agreement": "140"})
        assert response.status_code == 422 and "less than or equal to 100" in text(response)

    def test_running_freezes_are_shown_and_polling_ends_with_a_fresh_page(self, as_):
        labelled(5)
        run = start_freeze("ads", {})
        client = as_("max")
        assert run.title in text(client.get(reverse("datasets")))
        Run.objects.filter(pk=run.pk).update(state="succeeded")
        response = client.get(reverse("datasets"), {"now": 1}, headers={"HX-Request": "true"})
        assert response["HX-Refresh"] == "true"


@pytest.mark.django_db(transaction=True)
class TestAVersion:
    def test_its_page_shows_digest_files_samples_and_how_to_open_it(self, as_, written, django_assert_max_num_queries):
        client, url = as_("mia"), reverse("dataset", args=[written.pk])
        page = text(client.get(url))
        assert written.digest in page and "load_dataset(" in page and written.uri in page
        for name, entry in written.manifest["files"].items():
            assert name in page and entry["sha256"] in page
        row = written.rows.filter(split="train").first()
        shown = client.get(url, {"split": "train", "label": row.label}).context["page"].rows
        assert row.pk in [found.pk for found in shown]
        assert all(found.label == row.label and found.split == "train" for found in shown)
        with django_assert_max_num_queries(14):  # however many samples it shows
            client.get(url)

    def test_it_is_compared_with_its_parent(self, as_, written):
        first = Consensus.objects.order_by("pk").first()
        Consensus.objects.filter(pk=first.pk).update(label=(first.label + 1) % 5)
        consensus(build.candidate(50), 1)
        run = do(start_freeze("ads", {}))
        newer = DatasetVersion.objects.get(pk=run.result["version"])
        assert changes(newer) == {"added": 1, "removed": 0, "relabelled": 1, "moved": 0, "unchanged": 11}
        url = reverse("dataset", args=[newer.pk])
        assert "Relabelled" in text(as_("mia").get(url, {"changes": 1}, headers={"HX-Request": "true"}))

    def test_verifying_says_so_once_and_names_a_damaged_file(self, as_, written):
        client, url = as_("max"), reverse("dataset", args=[written.pk])
        for _ in range(2):  # an impatient click
            client.post(reverse("dataset_verify", args=[written.pk]))
        assert "Verifying" in text(client.get(url))
        assert do(Run.objects.get(kind="verify_version")).result["problems"] == 0
        assert "every file is as the manifest says" in text(client.get(url))
        readme = Path(written.uri) / "README.md"
        readme.write_bytes(readme.read_bytes()[:-1] + b"!")
        client.post(reverse("dataset_verify", args=[written.pk]))
        run = Run.objects.filter(kind="verify_version").latest("pk")
        Run.objects.filter(pk=run.pk).update(stop_requested=True)
        assert do(run).state == "stopped", "between two files"
        client.post(reverse("dataset_verify", args=[written.pk]))
        assert do(Run.objects.filter(kind="verify_version").latest("pk")).result["problems"] == 1
        assert "README.md has another sha256" in text(client.get(url))

    def test_it_is_downloaded_as_one_zip_that_verifies(self, as_, written, tmp_path):
        client, url = as_("max"), reverse("dataset_link", args=[written.pk]) + "?form=zip"
        assert url in client.get(reverse("dataset", args=[written.pk])).content.decode()
        content = b"".join(client.get(client.get(url)["Location"]).streaming_content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            archive.extractall(tmp_path / "copy")
        assert verify(tmp_path / "copy" / "ads-v1") == []
        DatasetVersion.objects.update(size_bytes=10**9)
        assert "ask for a tar" in client.get(url, follow=True).content.decode()


def test_an_unwritten_version_goes_on_from_its_page(as_):
    run = Run.objects.create(kind="freeze", title="Freeze", state="failed", error="The disk is full.")
    row = DatasetVersion.objects.create(name="ads", number=1, salt="a", digest="d" * 64, row_count=1, write_run=run)
    client = as_("max")
    assert "The disk is full." in text(client.get(reverse("dataset", args=[row.pk])))
    client.post(reverse("dataset_write", args=[row.pk]))
    run.refresh_from_db()
    assert run.state == "queued"


class TestTheCommand:
    def told(self, *words):
        out = io.StringIO()
        call_command("dataset", *words, stdout=out)
        return out.getvalue()

    @pytest.mark.django_db(transaction=True)
    def test_it_freezes_lists_verifies_and_writes_again_to_the_byte(self, tmp_path):
        labelled(6)
        assert "ads v1: 6 samples" in self.told("freeze", "ads")
        assert "ads/v1" in self.told("list")
        assert "is as its manifest says" in self.told("verify", "ads/v1", "--pictures")
        assert "samples" in self.told("write", "ads/v1", "--to", str(tmp_path / "ads" / "v1"))
        assert verify(tmp_path / "ads" / "v1") == []
        written = DatasetVersion.objects.get()
        files = {path.name: path.read_bytes() for path in Path(written.uri).rglob("*.parquet")}
        for path in Path(written.uri).rglob("*"):
            if path.is_file():
                path.unlink()
        self.told("write", "ads/v1")
        assert {path.name: path.read_bytes() for path in Path(written.uri).rglob("*.parquet")} == files

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("freeze", "ads"), "label some first"),
            (("freeze", "No Good"), "a-z, 0-9 and hyphens"),
            (("verify", "ads/v9"), "There is no version 'ads/v9'"),
            (("write", "ads"), "named as ads/v3"),
        ],
    )
    def test_it_refuses_with_a_sentence(self, words, sentence):
        with pytest.raises(CommandError, match=sentence):
            self.told(*words)
