"""Getting a version out: one file from the page while it is small, links that lapse when it is large."""

import io
import tarfile
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
from django.urls import reverse

from adproof.shards.manifest import MANIFEST
from adproof.shards.verify import verify
from datasets_app.downloads import CannotDownload, download_link
from datasets_app.exporting import start_write
from datasets_app.models import DatasetVersion
from datasets_app.presign import presigned
from tests.data_rows import do, version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written():
    return version(8)


@pytest.fixture
def max_(client, people):
    client.force_login(people["max"])
    return client


def body(response):
    return b"".join(response.streaming_content)


class TestALink:
    def test_it_is_made_when_clicked_and_gives_one_tar_that_verifies_without_a_log_in(self, max_, written, client, tmp_path):
        link = max_.get(reverse("dataset_link", args=[written.pk]))["Location"]
        client.logout()
        response = client.get(link)
        content = body(response)
        assert response["Content-Length"] == str(len(content)) and "ads-v1.tar" in response["Content-Disposition"]
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert archive.getnames()[-1] == f"ads-v1/{MANIFEST}", "the manifest comes last"
            archive.extractall(tmp_path, filter="data")
        assert verify(tmp_path / "ads-v1", pictures=True) == []

    def test_it_gives_one_file_too(self, client, written):
        response = client.get(download_link(written, "README.md"))
        assert body(response).startswith(b"---") and 'filename="README.md"' in response["Content-Disposition"]

    def test_other_variants_have_links_as_well(self, client, written, tmp_path):
        run = do(start_write(written, "labels"))
        content = body(client.get(download_link(written, uri=run.params["to"])))
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(tmp_path, filter="data")
        assert verify(tmp_path / "ads-v1-labels") == []

    def test_it_lapses_and_an_altered_one_is_none(self, client, written):
        assert client.get(download_link(written, seconds=-1)).status_code == 404
        link = download_link(written)
        assert client.get(link[:-3] + "aa/").status_code == 404
        assert client.get(link).status_code == 200

    @pytest.mark.parametrize("name", ["../../secret_key", "data/../../../secret_key", "/etc/passwd", "nothing.parquet"])
    def test_only_files_of_the_manifest_have_one(self, written, name):
        with pytest.raises(CannotDownload, match="its manifest names them"):
            download_link(written, name)

    def test_only_places_it_is_written_to_have_one(self, max_, written):
        with pytest.raises(CannotDownload, match="write it first"):
            download_link(written, uri="/etc")
        DatasetVersion.objects.update(uri="")
        response = max_.get(reverse("dataset_link", args=[written.pk]), follow=True)
        assert "write it first" in response.content.decode()

    def test_annotators_get_none(self, client, people, written):
        client.force_login(people["alice"])
        assert client.get(reverse("dataset_link", args=[written.pk])).status_code == 403

    def test_a_shard_that_shrank_breaks_the_download_off(self, client, written):
        from pathlib import Path

        shard = next((Path(written.uri) / "data").iterdir())
        shard.write_bytes(shard.read_bytes()[:-5])
        with pytest.raises(OSError, match="verify the version"):
            body(client.get(download_link(written)))


def test_the_signature_is_amazons(monkeypatch):
    """The example of Amazon's own documentation."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://examplebucket.s3.amazonaws.com")
    monkeypatch.delenv("AWS_REGION", raising=False)
    link = presigned("s3://test.txt", 86400, now=datetime(2013, 5, 24, tzinfo=UTC))
    signature = parse_qs(urlsplit(link).query)["X-Amz-Signature"]
    assert signature == ["aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"]


@pytest.mark.slow
def test_a_file_in_a_store_is_linked_there_directly(tmp_path, settings, monkeypatch, client):
    from tests import s3_server

    with s3_server.server(tmp_path) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
        settings.DATASETS_URI = f"s3://{s3_server.BUCKET}/versions"
        there = version(6)
        assert there.uri == f"s3://{s3_server.BUCKET}/versions/ads/v1"
        link = download_link(there, "README.md")
        assert link.startswith(address)
        with urlopen(link) as answer:  # noqa: S310
            assert answer.read().startswith(b"---") and "README.md" in answer.headers["Content-Disposition"]
        content = body(client.get(download_link(there)))
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert f"ads-v1/{MANIFEST}" in archive.getnames()
