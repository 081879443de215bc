"""A start with a wrong setting ends with a sentence that says what to do, never with a trace."""

import os
import subprocess
import sys

import pytest

from config.database import DatabaseProblem, settings_from_url
from tests.workers import ROOT


def start(*command: str, **env: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "ADPROOF_TESTING"}}
    return subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env={**clean, **env}, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root@localhost/adproof", "only PostgreSQL is supported"),
        ("postgresql://localhost:5432", "names no database"),
        ("postgresql://localhost:port/adproof", "not a number"),
        ("postgresql://nobody:wrong@127.0.0.1:1/adproof", "can't be reached"),
        ("not a url", "only PostgreSQL is supported"),
    ],
)
def test_a_wrong_database_url_is_explained(url, says):
    done = start("check", DATABASE_URL=url)
    assert done.returncode != 0 and says in done.stderr and "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    done = start("check", ADPROOF_DATA=str(tmp_path / "file" / "data"))
    assert done.returncode != 0 and "ADPROOF_DATA" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_broker_is_explained():
    done = start("check", DATABASE_URL=os.environ["DATABASE_URL"], BROKER_URL="kafka://x")
    assert done.returncode != 0 and "BROKER_URL starts with 'kafka'" in done.stderr and "Traceback" not in done.stderr


def test_the_demo_is_not_offered_to_other_machines():
    done = start("up", "--bind", "0.0.0.0", DATABASE_URL=os.environ["DATABASE_URL"])
    assert done.returncode != 0 and "--no-demo" in done.stderr


def test_a_url_with_a_socket_folder_is_understood():
    found = settings_from_url("postgresql://postgres:@/adproof?host=/run/pg")
    assert (found["HOST"], found["NAME"], found["USER"]) == ("/run/pg", "adproof", "postgres")


def test_a_url_with_odd_characters_in_its_password_is_understood():
    assert settings_from_url("postgresql://u:p%40ss%2F@db:5433/x")["PASSWORD"] == "p@ss/"


def test_a_url_of_another_database_is_refused():
    with pytest.raises(DatabaseProblem):
        settings_from_url("sqlite:///x.db")


@pytest.mark.django_db
def test_a_full_disk_is_said_to_the_person_who_uploads(client, people, monkeypatch):
    import errno

    from adproof.blobs import BlobStore
    from tests.build import cut_out, png

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BlobStore, "put", full)
    client.force_login(people["max"])
    from django.core.files.uploadedfile import SimpleUploadedFile

    answer = client.post("/products/import/", {"pictures": [SimpleUploadedFile("lamp.png", png(cut_out()))]})
    assert answer.status_code == 507 and "disk" in answer.content.decode()
