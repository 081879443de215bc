"""The disk is full while a run of drawing is at work: it says so, keeps what it showed, and goes on once there is space."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from django.urls import reverse

from adproof.diffusion.config import GeneratorConfig, key_of_config
from config.full_disk import is_full_disk
from generation.actions import start_perception
from generation.blobs import blobs
from generation.models import Candidate, Failure, Generator
from generation.planning import start_generation
from runs.actions import resume_run
from runs.models import Run
from tests import build
from tests.workers import ROOT, environment

pytest.importorskip("torch")
from tests import tiny_generators  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def disk(tmp_path, settings):
    """All of the platform's files on a disk of 3 MB: pictures, thumbnails, the runs' logs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("only root may mount a small disk for this test")
    settings.DATA_DIR = folder
    settings.BLOBS_DIR, settings.THUMBNAILS_DIR, settings.RUN_LOGS_DIR = (folder / name for name in ("blobs", "thumbnails", "logs"))
    blobs.cache_clear()
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Disk:
    def __init__(self, folder):
        self.folder, self.ballast = folder, folder / "ballast"

    def fill(self, leave=0):
        """To the last byte but `leave`; what is written a little later meets a full disk."""
        with open(self.ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - leave))

    def empty(self):
        self.ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=60m", str(self.folder)], check=True)

    def unfinished(self):
        return list(self.folder.rglob(".new-*"))


class Child:
    """What a worker keeps to run its runs in; its log is on that disk too."""

    def __init__(self):
        command = [sys.executable, "-m", "runs.child", str(os.getpid())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(OMP_NUM_THREADS="1"), cwd=ROOT, text=True, bufsize=1)  # fmt: skip
        assert self.process.stdout.readline()

    def do(self, run):
        assert run.claim("a child")
        self.process.stdin.write(json.dumps({"run": run.pk, "fence": run.fence}) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline(), f"the child ended with {self.process.wait()}"
        run.refresh_from_db()
        return run


@pytest.fixture
def child(disk):
    made = Child()
    yield made
    made.process.stdin.close()
    made.process.wait(20)
    made.process.stdout.close()


def whole(candidate):
    names = (candidate.image_sha256, candidate.depth_sha256, candidate.saliency_sha256)
    return all(hashlib.sha256(blobs().get(name)).hexdigest() == name for name in names)


def test_a_run_says_so_keeps_what_it_showed_and_goes_on_once_there_is_space(disk, child, tmp_path, client, people):
    weights = tiny_generators.save_mini(tmp_path / "mini")
    config = {"kind": "mini", "base": str(weights), "steps": 2, "size": 128, "batch": 4}
    key = key_of_config(GeneratorConfig.from_dict(config))
    Generator.objects.create(name="tiny", kind="mini", key=key, config=config, is_in_use=True)
    products = [build.product(n) for n in range(4)]
    run = start_generation(products=products, prompts=[build.prompt()], per_pair=3, part_size=3)
    first, second, *later = run.parts.order_by("pk")
    assert child.do(first).state == "succeeded"
    disk.fill(leave=100_000)

    shown = child.do(second)
    run.refresh_from_db()
    assert shown.state == run.state == "failed" and shown.attempt == 1, shown.error
    assert "The disk is full" in run.error and "resume" in run.error
    assert {row.state for row in run.parts.filter(pk__in=[row.pk for row in later])} == {"stopped"}, "they drew for nothing"
    assert not Failure.objects.exists(), "no picture is at fault"
    kept = dict(Candidate.objects.values_list("pk", "image_sha256"))
    assert len(kept) == 3 and all(map(whole, Candidate.objects.all())) and not disk.unfinished()
    disk.fill()
    client.force_login(people["alice"])
    small = client.get(reverse("thumbnail", args=[96, Candidate.objects.first().image_sha256]))
    assert small.status_code == 200 and small.content[8:12] == b"WEBP" and not disk.unfinished()

    disk.empty()
    assert resume_run(run)
    while (part := run.parts.filter(state="queued").order_by("pk").first()) is not None:
        assert child.do(part).state == "succeeded", part.error
    run.refresh_from_db()
    assert run.state == "succeeded" and Candidate.objects.count() == 12 and all(map(whole, Candidate.objects.all()))
    assert kept.items() <= dict(Candidate.objects.values_list("pk", "image_sha256")).items()

    Candidate.objects.update(depth_sha256="", saliency_sha256="")  # as after an import
    for path in blobs().root.glob("*/*/*"):
        if path.name not in {*kept.values(), *Candidate.objects.values_list("image_sha256", flat=True)}:
            path.unlink()
    disk.fill(leave=100_000)
    seen = start_perception(Candidate.objects.all())
    seen = child.do(Run.objects.get(kind="perceive"))
    assert seen.state == "failed" and "The disk is full" in seen.error and not disk.unfinished()
    disk.empty()
    assert resume_run(Run.objects.get(pk=seen.parent_id or seen.pk))
    seen.refresh_from_db()
    assert child.do(seen).state == "succeeded" and all(map(whole, Candidate.objects.all()))


def test_a_librarys_own_words_for_a_full_disk_are_understood():
    assert is_full_disk(RuntimeError('Error while serializing: I/O error: No space left on device (os error 28)'))
    assert not is_full_disk(RuntimeError("out of memory")) and not is_full_disk(OSError(13, "Permission denied"))
