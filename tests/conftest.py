"""People and rows that many tests need. Alice labels, Rita reviews, Max manages data, Mia trains, Olga operates."""

import sys

import pytest
from django.test import TransactionTestCase

from tests.empty_tables import empty_tables

TransactionTestCase._fixture_teardown = empty_tables


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    if any(item.path.name == "test_labelstudio_server.py" for item in session.items):
        from tests import labelstudio_server

        labelstudio_server.begin()


def pytest_sessionfinish():
    if beside := sys.modules.get("tests.labelstudio_server"):
        beside.end()


@pytest.fixture
def people(db):
    from accounts.models import User

    roles = {"alice": "annotator", "bob": "annotator", "rita": "reviewer", "max": "manager", "mia": "ml", "olga": "operator"}
    return {
        name: User.objects.create_user(name, password="a-long-password", role=role) for name, role in roles.items()
    }


@pytest.fixture(autouse=True)
def own_data_folders(settings, tmp_path):
    """What a test writes (pictures, versions, checkpoints, logs) goes to its own folder."""
    from annotation import consensus
    from generation.blobs import blobs

    consensus.forget()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # people are made in many tests
    settings.DATA_DIR = tmp_path
    settings.BLOBS_DIR = tmp_path / "blobs"
    settings.THUMBNAILS_DIR = tmp_path / "thumbnails"
    settings.CHECKPOINTS_DIR = tmp_path / "checkpoints"
    settings.VERSIONS_DIR = tmp_path / "versions"
    settings.RUN_LOGS_DIR = tmp_path / "logs"
    settings.IMPORT_DIR = tmp_path / "imports"
    blobs.cache_clear()
    yield
    blobs.cache_clear()


@pytest.fixture(autouse=True)
def no_counting_behind_the_back(monkeypatch):
    """A thread would count in the tests' database, beside the transaction of the test, and keep what it found."""
    from runs.counted import Figure

    monkeypatch.setattr(Figure, "recount_soon", lambda self, *args: None)
