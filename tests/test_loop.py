"""The whole loop on this machine: products to better candidates, while things are killed under it."""

import json
import os
import subprocess
import sys
import threading

import psutil
import pytest

from tests.workers import ROOT

pytestmark = pytest.mark.slow

FIGURES = {
    "availability_before", "availability_after", "labels_spent", "rfnet_f1", "rfnet_ap", "dataset_rows", "minutes", "seed",
}  # fmt: skip


def processes(of: int, word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_the_loop_goes_on_by_itself_when_the_training_and_a_worker_are_killed(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "ADPROOF_TESTING", "DEBUG"}}
    environment["ADPROOF_DATA"] = str(tmp_path / "data")
    loop = subprocess.Popen(
        [sys.executable, "manage.py", "loop", "--quick", "--seed", "7", "--out", str(tmp_path / "report")],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    timer = threading.Timer(900, loop.terminate)
    timer.start()
    lines, killed = [], []
    try:
        for line in loop.stdout:
            lines.append(line.rstrip())
            if "Train RFNet" in line and "child" not in killed:
                killed.append("child")
                threading.Timer(4, lambda: [child.kill() for child in processes(loop.pid, "runs.child")]).start()
            if "Draw more candidates" in line:
                killed.append("worker")
                threading.Timer(2, lambda: [worker.kill() for worker in processes(loop.pid, "--queues heavy")]).start()
        status = loop.wait(60)
    finally:
        timer.cancel()
        if loop.poll() is None:
            loop.terminate()  # it takes its web server and workers with it
            try:
                loop.wait(30)
            except subprocess.TimeoutExpired:
                loop.kill()
    assert status == 0, "\n".join(lines[-40:])
    assert killed == ["child", "worker"]
    figures = json.loads(next(line for line in reversed(lines) if line.startswith("{")))  # servers may say something as they end
    assert set(figures) >= FIGURES
    assert figures["seed"] == 7 and figures["labels_spent"] >= 100 and figures["dataset_rows"] >= 50
    assert 0 <= figures["availability_before"] <= 1 and 0 <= figures["availability_after"] <= 1
    page = (tmp_path / "report" / "report.html").read_text()
    assert "before tuning" in page and page.count("data:image/webp") >= 4
    assert json.loads((tmp_path / "report" / "report.json").read_text())["figures"]["seed"] == 7
