"""Children of a training die with it: a killed parent leaves nothing that goes on computing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers import ROOT, wait_until

PARENT = """
import multiprocessing, sys, time
from adproof.processes import DiesWithParent

if __name__ == "__main__":
    made = [multiprocessing.get_context("spawn").Process(target=DiesWithParent(time.sleep), args=(600,)) for _ in range(2)]
    for one in made:
        one.start()
    print(*(one.pid for one in made), flush=True)
    time.sleep(600)
"""


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_killed_training_has_spawned_dies_with_it(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2 and all(map(is_there, children))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(map(is_there, children)), every=0.05)


def test_both_kinds_of_children_of_further_training_do(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from adproof.diffusion import train_further
    from adproof.processes import DiesWithParent

    begun = []

    class Context:
        exitcode = 0

        def Process(self, target, args):  # noqa: N802 - multiprocessing's name
            begun.append((type(target), target.target))
            return self

        def start(self):
            pass

        join = start

    monkeypatch.setattr(train_further.multiprocessing, "get_context", lambda _: Context())
    monkeypatch.setattr(train_further, "spawn", lambda target, args, n: begun.append((type(target), target.target)))
    monkeypatch.setattr(sys, "argv", ["train_further", "--generator", "x", "--scenes", "x", "--out", str(tmp_path)])
    train_further.main()
    assert begun == 2 * [(DiesWithParent, train_further.prepare_part)] + [(DiesWithParent, train_further.train_process)]
