"""Labelled candidates and dataset versions for the tests of data, trainings and rounds."""

import hashlib

from adproof.shards.manifest import FileEntry, Manifest
from annotation.models import Consensus
from datasets_app.actions import start_freeze
from datasets_app.models import DatasetVersion
from rfnet_service.models import Checkpoint, Verdict
from runs.child import work_on
from tests import build


def do(run):
    """What a worker would do with this run, here and now. Needs a transactional test: its heartbeat looks at the row."""
    assert run.claim("test")
    work_on(run.pk, run.fence)
    run.refresh_from_db()
    return run


def consensus(candidate, label=0, agreement=1.0, count=2, is_complete=True):
    posterior = [0.9 if k == label else 0.025 for k in range(5)]
    return Consensus.objects.create(
        candidate=candidate, label=label, posterior=posterior, method="majority", annotation_count=count,
        agreement=agreement, is_complete=is_complete,
    )  # fmt: skip


def labelled(n=12, labels=(0, 1, 2, 3, 4)):
    made = build.candidates(n)
    for number, candidate in enumerate(made):
        consensus(candidate, labels[number % len(labels)], agreement=1.0 if number % 3 else 0.5)
    return made


def version(n=12, name="ads") -> DatasetVersion:
    """A version with its files, written as a worker writes it."""
    labelled(n)
    run = do(start_freeze(name, {}))
    assert run.state == "succeeded", run.error
    return DatasetVersion.objects.get(pk=run.result["version"])


def version_row(folder, name="ads", **values) -> DatasetVersion:
    """A written version as far as its row and the presence of its files tell."""
    folder.mkdir(parents=True, exist_ok=True)
    readme = b"# ads\n"
    (folder / "README.md").write_bytes(readme)
    file = FileEntry(bytes=len(readme), sha256=hashlib.sha256(readme).hexdigest())
    made = Manifest(
        info={"name": name}, digest="d" * 64, rows={}, picture_bytes={}, counts={}, agreement={}, leak_check={},
        files={"README.md": file}, pyarrow="",
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(made.encode())
    values = {"number": 1, "salt": name, "digest": "d" * 64, "row_count": 20, "state": "written", **values}
    return DatasetVersion.objects.create(name=name, uri=str(folder), **values)


FIGURES = {
    "n": 20, "precision": 0.75, "recall": 0.6, "f1": 0.667, "average_precision": 0.8, "accuracy": 0.65, "ece": 0.05,
    "nll": 0.9, "mean_available": 0.45, "share_available": 0.5, "recall_per_label": [0.6, 0.5, 1.0, 0.5, None],
    "confusion": [[6, 1, 1, 1, 1], [1, 2, 1, 0, 0], [0, 0, 2, 0, 0], [1, 1, 0, 2, 0], [0, 0, 0, 0, 0]],
}  # fmt: skip


def checkpoint(name="RFNet one", promoted=False, version=None, **figures) -> Checkpoint:
    metrics = {"test": {**FIGURES, **figures}, "validation": None, "test_ece_before": 0.11, "in_use_before": None}
    return Checkpoint.objects.create(
        name=name,
        folder=f"/nowhere/{name}",
        sha256="a" * 64,
        metrics=metrics,
        is_promoted=promoted,
        dataset_version=version,
    )


def verdict(candidate, by, label=0, margin=0.4):
    probs = [(0.5 + margin / 2) if k == label else (0.5 - margin / 2) / 4 for k in range(5)]
    return Verdict.objects.create(
        candidate=candidate, checkpoint=by, probs=probs, label=label, p_available=probs[0], margin=margin
    )
