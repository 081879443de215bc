"""CPU seconds of process trees, from /proc: on a shared machine they say more than the wall clock."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def of_trees(*roots: int) -> float:
    """CPU seconds so far of these processes, their living descendants, and the ended ones they waited for."""
    children, used = defaultdict(list), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        pid, parent = int(entry.name), int(fields[1])
        children[parent].append(pid)
        used[pid] = sum(map(int, fields[11:15])) / _TICK
    total, waiting, seen = 0.0, list(roots), set()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            total += used.get(pid, 0.0)
            waiting.extend(children[pid])
    return total


def of_machine() -> float:
    """Busy CPU seconds of all cores since the start of the machine."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / _TICK
