"""The walls of the house: pages know no torch, the science knows no Django, migrations are complete."""

import subprocess
import sys

import pytest
from django.core.management import call_command

from tests.workers import ROOT, environment

LOAD_EVERY_PAGE = """
import importlib, pkgutil, sys
import django
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
import config.wsgi
for app in ("accounts", "runs", "generation", "annotation", "datasets_app", "rfnet_service", "training", "frontend_templates"):
    package = importlib.import_module(app)
    for module in pkgutil.iter_modules(package.__path__, f"{app}."):
        importlib.import_module(module.name)
heavy = {"torch", "diffusers", "transformers", "onnxruntime", "accelerate", "peft"} & set(sys.modules)
assert not heavy, f"the web process has loaded {heavy}"
print("clean")
"""

LOAD_THE_SCIENCE = """
import sys
import adproof.labels, adproof.blobs, adproof.simulate, adproof.adworld.scenes, adproof.perception.pictures
import adproof.aggregation.dawid_skene, adproof.acquisition.picking, adproof.shards.writer, adproof.shards.reading
assert not {"django", "torch", "annotation"} & set(sys.modules), sorted(sys.modules)
print("clean")
"""


def run(code: str, **env: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(**env), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.django_db
def test_no_web_module_loads_torch():
    assert "clean" in run(LOAD_EVERY_PAGE, EXTRA_TASKS="")


@pytest.mark.django_db
def test_the_numpy_half_of_the_science_loads_neither_django_nor_torch():
    assert "clean" in run(LOAD_THE_SCIENCE)


@pytest.mark.django_db
def test_every_model_change_has_its_migration():
    ours = ["accounts", "runs", "generation", "annotation", "datasets_app", "rfnet_service", "training"]
    call_command("makemigrations", *ours, check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_django_finds_nothing_wrong():
    call_command("check", fail_level="WARNING")


def test_imports_go_in_one_direction():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-3000:]
