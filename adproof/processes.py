"""Child processes that never outlive the process that started them, however it ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK_EVERY_S = 1.0


def die_with_parent(parent: int) -> None:
    """Have the system end this process when its parent dies, also by kill -9.

    On Linux at once; elsewhere within LOOK_EVERY_S, as long as the parent's death gives this process another one.

    Args: parent: the id of the process that started this one. If it is dead already, this process ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(3)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(3)


class DiesWithParent:
    """A target for processes of `multiprocessing` (start method "spawn"): the function, in a process that dies with ours.

    Call it in the main thread: on Linux the death of the thread that started a process counts.
    """

    def __init__(self, target: Callable[..., Any]) -> None:
        self.target = target

    def __call__(self, *args: Any) -> Any:
        parent = multiprocessing.parent_process()
        assert parent is not None and parent.pid is not None
        die_with_parent(parent.pid)
        return self.target(*args)
