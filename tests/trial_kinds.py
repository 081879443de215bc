"""Kinds of run that misbehave on purpose; workers load them by EXTRA_TASKS."""

import os
import signal
import time

from runs.context import BadInput
from runs.kinds import kind, kind_in_parts

kind_in_parts("trial_parts", "Parts", gather=lambda results: {"sum": sum(result["n"] for result in results)})


@kind("trial_count", "Count", queue="light")
def count(ctx):
    """Counts in a file, one line a step, going on from what is there."""
    path = ctx.folder / "lines"
    n = ctx.params["n"]
    for at in range(len(path.read_text().splitlines()) if path.exists() else 0, n):
        ctx.stop_if_asked()
        with open(path, "a") as file:
            file.write(f"{at} {os.getpid()}\n")
        ctx.progress(at + 1, n)
        time.sleep(ctx.params.get("sleep", 0))
    return {"n": n, "pids": sorted({line.split()[1] for line in path.read_text().splitlines()}), "lines": len(path.read_text().splitlines())}


@kind("trial_crash", "Crash", queue="light", max_attempts=3)
def crash(ctx):
    print("about to crash", flush=True)  # noqa: T201 - for the log
    os.kill(os.getpid(), signal.SIGKILL)


@kind("trial_error", "Error", queue="light")
def error(ctx):
    raise BadInput("The file has no column sku: add it.")


@kind("trial_full_disk", "Full disk", queue="light")
def full_disk(ctx):
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)
