"""People and rows that many tests need. Alice labels, Rita reviews, Max manages data, Mia trains, Olga operates."""

import math
import os
import random
import sys
import threading

import numpy as np
import pytest
from django.db import connections
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings

from tests import labelstudio_server
from tests.empty_tables import empty_tables

TransactionTestCase._fixture_teardown = empty_tables

# The suite asks the same of the code each time, however busy the machine is. `--hypothesis-profile=default` searches anew.
settings.register_profile("the same each time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("the same each time")

# While Playwright is open, its loop runs in the tests' own thread, and Django's own storage would hand out other connections
# than before: a second one for the tests, and one more for each function that Playwright calls. A thread has one here.
connections._connections = threading.local()


# `make test` gives whole files to two processes (pytest-xdist). The longest come first: what is begun last is then short,
# and neither process waits long for the other at the end.
LONGEST = [
    "test_loop.py", "test_accessibility.py", "test_s3.py", "test_brokers.py", "test_desk_browser.py", "test_runs.py",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
    if os.environ.get("ADPROOF_CI"):
        for item in items:
            if needs_others(item):
                item.add_marker(pytest.mark.flaky(reruns=1))


def needs_others(item):
    """Chromium, a broker, a server of its own (the slow ones), or threads that see its rows: how it ends may hang on when each
    gets its turn. CI, on machines of any speed, runs such a test a second time when it fails; the summary shows why, and it is
    to be mended."""
    marks = {mark.name for mark in item.iter_markers()} & {"browser", "broker", "slow"}
    return bool(marks) or any(mark.kwargs.get("transaction") for mark in item.iter_markers("django_db"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What hangs on chance (gold's place in the queue, weights of a net that nothing has taught) falls out the same each time."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def wants_label_studio(names):
    return any("test_labelstudio_server.py" in name for name in names)


def pytest_configure(config):
    if getattr(config.option, "numprocesses", None):
        labelstudio_server.begins_for_others()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids):
    if wants_label_studio(ids):
        labelstudio_server.begin()


def pytest_collection_finish(session):
    alone = not hasattr(session.config, "workerinput")
    if alone and not session.config.option.collectonly and wants_label_studio(item.nodeid for item in session.items):
        labelstudio_server.begin()


def pytest_sessionfinish():
    labelstudio_server.end()


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Each process has made a database of its own (config.testing), and its broker has it too: no other name."""


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


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    """On a busy machine anything takes long: a page would show an older figure, or end its search in the middle. Those that
    test this say what is long."""
    from django.core.cache import cache

    from annotation import preference_figures
    from datasets_app import choosing
    from generation import costs, gallery
    from runs import counted

    cache.clear()
    monkeypatch.setattr(counted, "WORTH_KEEPING_S", math.inf)
    monkeypatch.setattr(preference_figures, "SLOW_S", math.inf)
    monkeypatch.setattr(choosing, "PREVIEW_S", 60)
    monkeypatch.setattr(gallery, "LOOK_S", 60)
    monkeypatch.setattr(costs, "LOOK_S", 60)
