"""Kinds of run that misbehave on purpose; workers load them by EXTRA_TASKS."""

import os
import signal
import time

from django.conf import settings

from runs.context import BadInput
from runs.kinds import kind, kind_in_parts

kind_in_parts("trial_parts", "Parts", gather=lambda results: {"sum": sum(result["n"] for result in results)})


def wait(ctx, holds):
    while not holds():
        ctx.stop_if_asked()
        time.sleep(0.02)


def folder_of(run):
    return settings.DATA_DIR / "work" / f"run-{run.pk}"


def let_go(run):
    (folder_of(run) / "go").touch()


@kind("trial_count", "Count", queue="light")
def count(ctx):
    """Counts in a file, one line a step, going on from what is there.

    meet: begins when so many processes are at runs of this folder. hold: does that step only when it is let go (let_go).
    """
    path = ctx.folder / "lines"
    n = ctx.params["n"]
    if meet := ctx.params.get("meet"):
        here = ctx.folder.parent / "here"
        here.mkdir(exist_ok=True)
        (here / str(os.getpid())).touch()
        wait(ctx, lambda: len(list(here.iterdir())) >= meet)
    for at in range(len(path.read_text().splitlines()) if path.exists() else 0, n):
        ctx.stop_if_asked()
        if at == ctx.params.get("hold") and not (ctx.folder / "go").exists():
            ctx.progress(at, n, force=True)
            wait(ctx, (ctx.folder / "go").exists)
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
