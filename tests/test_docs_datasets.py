"""docs/datasets.md is true: every block of it runs, in order, on a platform with a few labels."""

import io
import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from annotation.models import Consensus
from tests.data_rows import labelled

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$|<!-- (people go on labelling) -->", re.M | re.S)


def blocks():
    """(kind, text, line in the file), in order."""
    text = (ROOT / "docs" / "datasets.md").read_text()
    for found in BLOCK.finditer(text):
        yield found[1] or found[3], found[2] or "", text[: found.start()].count("\n") + 2


@pytest.fixture
def catalogue(transactional_db):
    return labelled(40)


@pytest.mark.slow
def test_every_block_runs(catalogue, tmp_path, monkeypatch, capfd):
    for needed in ("torch", "datasets", "polars", "duckdb", "mlcroissant", "pandas"):
        pytest.importorskip(needed)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    names: dict[str, object] = {}
    kinds = []
    for kind, text, line in blocks():
        text = text.replace("data/versions", str(settings.VERSIONS_DIR))
        kinds.append(kind)
        if kind == "python":
            exec(compile("\n" * line + text, "docs/datasets.md", "exec"), names)
        elif kind == "console":
            for command in text.splitlines():
                words = shlex.split(command.removeprefix("$ python manage.py "))
                call_command(*words, stdout=io.StringIO())
        else:
            first = Consensus.objects.order_by("pk").first()
            Consensus.objects.filter(pk=first.pk).update(label=(first.label + 1) % 5)
    assert kinds.count("python") >= 9 and kinds.count("console") == 2
    assert names["change"].counts()["relabelled"] == 1
    assert "available" in capfd.readouterr().out


def test_every_column_is_described():
    from adproof.labels import LABELS
    from adproof.shards.schema import COLUMNS

    text = (ROOT / "docs" / "datasets.md").read_text()
    described = {name.strip() for row in re.findall(r"^\| ([a-z_, ]+) \|", text, re.M) for name in row.split(",")}
    assert {name for name, _, _ in COLUMNS} <= described
    assert all(f"{number} `{name}`" in text for number, name in enumerate(LABELS))
