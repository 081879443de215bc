"""Dataset versions over HTTP: freeze, write, verify, compare, read by pages; what is wrong gets a sentence."""

import io
import zipfile

import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from datasets_app.models import DatasetVersion, VersionRow
from runs.models import Run
from tests import build
from tests.data_rows import labelled, version

pytestmark = pytest.mark.django_db
JSON = "application/json"
API = "/api/v1/datasets/"


@pytest.fixture
def api(people):
    """Max, by token."""
    return Client(headers={"Authorization": f"Token {Token.objects.create(user=people['max']).key}"})


def frozen(number=1, labels=(0, 1, 0, 2), name="ads", **values):
    made = DatasetVersion.objects.create(name=name, number=number, salt=name, digest="d" * 64, row_count=len(labels), **values)
    for n, label in enumerate(labels):
        candidate = build.candidate(n) if number == 1 else VersionRow.objects.order_by("pk")[n].candidate
        VersionRow.objects.create(
            version=made, candidate=candidate, label=label, split="train" if n < 3 else "test", agreement=1.0,
            posterior=[1, 0, 0, 0, 0], annotation_count=2, row_digest="0" * 64,
            annotations=[{"annotator": "annotator-1", "label": label, "seconds": 2.5, "at": "2026-01-05T10:00:00+00:00"}],
        )  # fmt: skip
    return made


class TestFreezing:
    def test_gives_the_run_and_once_only(self, api):
        labelled(4)
        first, second = (api.post(f"{API}freeze", {"name": "ads", "query": {}}, content_type=JSON).json() for _ in range(2))
        assert first["kind"] == "freeze" and first["state"] == "queued" and first["id"] == second["id"]
        assert Client().get(first["page"]).status_code == 302, "a page, for whoever logs in"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"name": "My Data!", "query": {}}, "a-z, 0-9 and hyphens"),
            ({"name": "ads", "query": {"min_agrement": 1}}, "Unknown filter min_agrement"),
            ({"name": "ads", "query": {"min_agreement": 7}}, "a number from 0 to 1"),
            ({"name": "ads", "query": {"source": "nowhere"}}, "loosen the filter"),
            ({"query": {}}, "This field is required"),
            ({"name": "ads", "salt": "x"}, "Unknown field"),
        ],
    )
    def test_what_is_wrong_is_said(self, api, body, said):
        labelled(2)
        response = api.post(f"{API}freeze", body, content_type=JSON)
        assert response.status_code == 400 and said in response.content.decode()
        assert not Run.objects.exists()


class TestReading:
    def test_versions_by_pages_and_by_name(self, api):
        frozen()
        for number in (2, 3):
            frozen(number)
        frozen(2, labels=(), name="posters")
        page = api.get(API, {"limit": 2, "name": "ads"}).json()
        assert [row["number"] for row in page["versions"]] == [3, 2]
        rest = api.get(API, {"limit": 2, "name": "ads", "before": page["next"]}).json()
        assert [row["number"] for row in rest["versions"]] == [1] and rest["next"] is None
        assert len(api.get(API).json()["versions"]) == 4

    def test_samples_by_pages_with_their_pictures(self, api):
        made = frozen()
        seen, after = [], 0
        while after is not None:
            page = api.get(f"{API}{made.pk}/samples", {"limit": 3, "after": after}).json()
            seen += page["samples"]
            after = page["next"]
        assert [row["label"] for row in seen] == ["available", "space_mismatch", "available", "size_mismatch"]
        assert seen[0]["annotations"][0]["label"] == "available" and seen[0]["product_id"] == "sku-0"
        picture = api.get(seen[0]["pictures"]["depth"])
        assert picture.status_code == 200 and picture["Content-Type"] == "image/png"

    @pytest.mark.parametrize(
        ("asked", "n"),
        [({"split": "train"}, 3), ({"label": "available"}, 2), ({"label": "1"}, 1), ({"category": "lamps"}, 4), ({"source": "x"}, 0)],
    )
    def test_samples_by_what_they_are(self, api, asked, n):
        assert len(api.get(f"{API}{frozen().pk}/samples", asked).json()["samples"]) == n

    @pytest.mark.parametrize("asked", [{"split": "dev"}, {"label": "fine"}, {"limit": "501"}, {"after": "-1"}, {"spilt": "train"}])
    def test_a_filter_that_is_not_understood_is_refused_never_ignored(self, api, asked):
        response = api.get(f"{API}{frozen().pk}/samples", asked)
        assert response.status_code == 400 and len(response.content) > 20

    def test_what_is_not_there(self, api):
        for path in ("999", f"{2**63}", "999/samples", "999/compare/1", "999/download"):
            assert api.get(API + path).status_code == 404


class TestComparing:
    def test_counts_and_pages(self, api):
        old, new = frozen(), frozen(2, labels=(1, 1, 2, 2))
        found = api.get(f"{API}{new.pk}/compare/{old.pk}", {"limit": 1}).json()
        assert found["totals"] == {"added": 0, "removed": 0, "relabelled": 2, "moved": 0, "unchanged": 2}
        assert found["changes"][0]["label_before"] == "available" and found["changes"][0]["label"] == "space_mismatch"
        rest = api.get(f"{API}{new.pk}/compare/{old.pk}", {"after": found["next"]}).json()
        assert len(rest["changes"]) == 1 and rest["next"] is None and rest["run"] is None

    def test_of_one_name_only(self, api):
        old, other = frozen(), frozen(2, labels=(), name="posters")
        assert "compare two of one name" in api.get(f"{API}{other.pk}/compare/{old.pk}").json()["detail"]


class TestFiles:
    def test_a_written_one_is_verified_and_downloaded(self, api, transactional_db):
        made = version()
        found = api.get(f"{API}{made.pk}/download").json()
        assert {"README.md", "croissant.json"} <= {file["name"] for file in found["files"]} and found["uri"] == made.uri
        assert found["form"] == "zip" and found["places"][0]["uri"] == made.uri
        made_link = api.post(f"{API}{made.pk}/link", {"form": "zip"}, content_type=JSON).json()
        assert made_link["link"].startswith("http://testserver/datasets/signed/") and made_link["until"]
        path = made_link["link"].removeprefix("http://testserver")
        content = b"".join(Client().get(path).streaming_content)  # whoever has the link may follow it
        assert "ads-v1/manifest.json" in zipfile.ZipFile(io.BytesIO(content)).namelist()
        run = api.post(f"{API}{made.pk}/verify", {"pictures": True}, content_type=JSON).json()
        assert Run.objects.get(pk=run["id"]).params == {"version": made.pk, "pictures": True}

    def test_writing_a_variant_starts_a_run(self, api):
        made = frozen()
        first, second = (api.post(f"{API}{made.pk}/write", {"variant": "labels"}, content_type=JSON).json() for _ in range(2))
        assert first["id"] == second["id"] and first["total"] == 4

    def test_not_just_anywhere(self, api):
        response = api.post(f"{API}{frozen().pk}/write", {"variant": "full", "to": "/etc/adproof"}, content_type=JSON)
        assert response.status_code == 400 and "choose a folder there" in response.json()["to"][0]

    def test_what_is_not_written_yet_says_so(self, api):
        made = frozen()
        assert "write it first" in api.post(f"{API}{made.pk}/verify", {"pictures": False}, content_type=JSON).json()["detail"]
        assert "write it first" in api.get(f"{API}{made.pk}/download").json()["detail"]
        assert "write it first" in api.post(f"{API}{made.pk}/link", {}, content_type=JSON).json()["detail"]
