"""Train the whole mini model set again with the project's own commands, in order, resumable.

Each step is a command of its own in a process of one thread; what it says goes to a log, what it has done is kept, and
a step that was cut short goes on where its own checkpoint was written. Every part ends with a card (data, commands, seed,
minutes, measured quality) and SHA256SUMS.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adproof.whole_files import write_whole

MOST_BYTES = 60_000_000
SHIPPED = Path(__file__).resolve().parent / "models" / "mini"
_HERE = Path(__file__).resolve().parents[1]  # so that `-m adproof...` is this very package
SUMS_FILE, CARD_FILE = "SHA256SUMS", "MODEL_CARD.md"
# Shares of the labels in the scenes that RFNet's start learns from last: more of what generated pictures show softly.
MORE_DEFECTS = (".40", ".17", ".14", ".05", ".24")
# What a card must tell.
CARD_SAYS = ("data", "command", "seed", "minutes", "measured", "licence")


class StepFailed(RuntimeError):
    """A step ended with an error; the message says where its log lies and how to go on."""


@dataclass(frozen=True)
class Step:
    """One command. product: the part of the set that it helps to make, "" if all. resumes: word that makes it go on, where
    there is something to go on from (`state`)."""

    name: str
    command: tuple[str, ...]
    product: str = ""
    resumes: str = ""
    state: Path | None = None


@dataclass(frozen=True)
class Size:
    """How much of everything; QUICK only shows that all of it runs."""

    scenes: int = 14_000
    judge_scenes: int = 8_500
    measured_scenes: int = 500
    depth_scenes: int = 8_000
    depth_steps: int = 1_500
    judge_steps: int = 2_600
    trunk_steps: int = 600
    rfnet_steps: int = 1_500
    vae_minutes: float = 6.5
    decoder_minutes: float = 6.0
    unet_minutes: float = 53.0
    simple_scenes: int = 24_000
    further_minutes: float = 100.0
    further_processes: int = 2
    measured_pictures: int = 120
    redrawn_scenes: int = 4_000
    rfnet_further_steps: int = 600


QUICK = Size(250, 250, 250, 16, 2, 2, 2, 2, 0.02, 0.02, 0.04, 250, 0.1, 2, 2, 250, 2)


@dataclass
class Done:
    """What a finished step left behind."""

    command: str
    minutes: float
    cpu_minutes: float
    last_line: str
    extra: dict[str, Any] = field(default_factory=dict)


def steps_of(work: Path, out: Path, size: Size, seed: int) -> list[Step]:
    """All commands in their order; scenes and checkpoints in `work`, the parts in `out`."""
    python, world = (sys.executable, "-m"), "adproof.adworld.drawn"
    feedback, judged, measured = work / "scenes-feedback", work / "scenes-judge", work / "scenes-measured"
    simple, theirs, draft, n = work / "scenes-simple", work / "scenes-judge-measured", work / "generator", str(seed)

    def scenes(folder: Path, kind: str, first: int, count: int, *more: str) -> tuple[str, ...]:
        words = ("--kind", kind, "--seed", str(first + seed), "--scenes", str(count))
        return (*python, world, str(folder), *words, *more)

    def mini(stage: str, *words: str) -> tuple[str, ...]:
        return (*python, "adproof.diffusion.train_mini", stage, "--out", str(draft), *words)

    def trained(stage: str, minutes: float) -> Step:
        words = ("--scenes", str(feedback), "--minutes", str(minutes), "--seed", n)
        return Step(f"generator: {stage}", mini(stage, *words), "generator", "--resume", draft / f"{stage}.pt")

    def further(*words: str) -> tuple[str, ...]:
        begun = ("--generator", str(draft / "begun"), "--out", str(work / "generator-further"))
        return (*python, "adproof.diffusion.train_further", *begun, *words)

    onnx, weights = out / "saliency" / "u2netp.onnx", out / "saliency" / "u2netp.safetensors"
    depth = ("--scenes", str(feedback), "--n-scenes", str(size.depth_scenes), "--steps", str(size.depth_steps))
    tests = ("--test-scenes", str(min(400, size.depth_scenes)), "--seed", n)
    judge = ("--work", str(work / "judge"), "--out", str(out / "judge"), "--steps", str(size.judge_steps), "--seed", n)
    rfnet = ("--work", str(work / "rfnet"), "--out", str(work / "rfnet-first"), "--steps", str(size.rfnet_steps))
    trunk = ("--trunk-steps", str(size.trunk_steps), "--seed", n)
    longer = ("--minutes", str(size.further_minutes), "--processes", str(size.further_processes), "--seed", n)
    own, redrawn = work / "scenes-rfnet", work / "scenes-redrawn"
    again = ("--start", str(work / "rfnet-first"), "--work", str(work / "rfnet-more"), "--out", str(out / "rfnet_init"))
    sample = ("--folder", str(out / "generator"), "--count", str(size.measured_pictures))
    return [
        Step("catalogue", (*python, "adproof.adworld", "check")),
        Step("scenes", scenes(feedback, "feedback", 100, size.scenes)),
        Step("scenes of the generator", scenes(simple, "feedback", 400, size.simple_scenes, "--simple")),
        Step("scenes of the judge", scenes(judged, "judge", 7000, size.judge_scenes)),
        Step("scenes to measure on", scenes(measured, "feedback", 9000, size.measured_scenes, "--natural-mix")),
        Step("the judge's to measure on", scenes(theirs, "judge", 9500, size.measured_scenes, "--natural-mix")),
        Step("saliency", (*python, "adproof.perception.convert_u2netp", str(onnx), str(weights)), "saliency"),
        Step(
            "depth",
            (*python, "adproof.perception.train_depth", *depth, *tests)
            + ("--out", str(out / "depth"), "--work", str(work / "depth")),
            "depth",
            "--resume",
            work / "depth" / "state.pt",
        ),
        Step(
            "judge",
            (*python, "adproof.adworld.train_judge", str(judged), "--held-out", str(theirs), str(measured), *judge),
            "judge",
        ),
        Step(
            "rfnet_init",
            (*python, "adproof.rfnet.pretrain", str(feedback), "--held-out", str(measured), *rfnet, *trunk),
            "rfnet_init",
        ),
        trained("vae", size.vae_minutes),
        Step("generator: encode", mini("encode", "--scenes", str(feedback)), "generator"),
        trained("decoder", size.decoder_minutes),
        trained("unet", size.unet_minutes),
        Step("generator: export", mini("export", "--folder", str(draft / "begun")), "generator"),
        Step("generator: further", further("--scenes", str(simple), *longer), "generator"),
        Step("generator: export again", further("--export", str(out / "generator")), "generator"),
        Step("generator: measure", (*python, "adproof.diffusion.measure_mini", *sample), "generator"),
        Step(
            "scenes to redraw",
            scenes(own, "feedback", 500, size.redrawn_scenes, "--simple", "--mix", *MORE_DEFECTS),
            "rfnet_init",
        ),
        Step(
            "scenes redrawn",
            (*python, "adproof.diffusion.redrawn", str(own), str(redrawn), "--mini", str(out))
            + ("--seed", n, "--processes", str(size.further_processes)),
            "rfnet_init",
        ),
        Step(
            "rfnet_init further",
            (*python, "adproof.rfnet.pretrain", str(feedback), str(redrawn), "--of-each", str(size.redrawn_scenes))
            + ("--held-out", str(measured), *again, "--steps", str(size.rfnet_further_steps), "--seed", n),
            "rfnet_init",
        ),
    ]


def train(
    work: Path,
    out: Path,
    size: Size,
    seed: int,
    say: Callable[[str], None],
    names: Sequence[str] = (),
) -> dict[str, Done]:
    """Run what is not done yet; with `names`, only steps whose name or part is among them.

    Raises: StepFailed. ValueError: a folder of another seed or size, or a name that no step has.
    """
    work.mkdir(parents=True, exist_ok=True)
    _same_settings(work, {"seed": seed, "size": size.__dict__, "out": str(out)})
    _bring_published(out / "saliency")
    steps = steps_of(work, out, size, seed)
    unknown = set(names) - {step.name for step in steps} - {step.product for step in steps}
    if unknown:
        raise ValueError(
            f"no step is called {', '.join(sorted(unknown))}; there are: {', '.join(s.name for s in steps)}"
        )
    done: dict[str, Done] = {}
    for number, step in enumerate(steps, start=1):
        if names and step.name not in names and step.product not in names:
            continue
        kept = work / "done" / f"{number:02d}.json"
        if kept.is_file():
            say(f"{number}/{len(steps)} {step.name}: done before")
            done[step.name] = Done(**json.loads(kept.read_text("utf-8")))
            continue
        say(f"{number}/{len(steps)} {step.name} ...")
        done[step.name] = _run(step, work / "logs" / f"{number:02d}.log", work)
        _write(kept, json.dumps(done[step.name].__dict__))
        say(f"    {done[step.name].cpu_minutes:.1f} CPU minutes; {done[step.name].last_line[:160]}")
    for part in {step.product for step in steps if step.product and step.name in done}:
        finish(out / part, {s.name: done[s.name] for s in steps if s.product in (part, "") and s.name in done}, seed)
    return done


def _same_settings(work: Path, settings: Mapping[str, Any]) -> None:
    kept = work / "settings.json"
    if kept.is_file() and json.loads(kept.read_text("utf-8")) != settings:
        raise ValueError(f"{work} holds a training with another seed, size or place: name another folder, or empty it")
    _write(kept, json.dumps(settings))


def _bring_published(folder: Path) -> None:
    """U2-Net-p is not trained by us: its published file and licence come from the shipped set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("u2netp.onnx", "LICENSE"):
        if not (folder / name).is_file():
            shutil.copyfile(SHIPPED / "saliency" / name, folder / f"{name}.new")
            (folder / f"{name}.new").replace(folder / name)


def _run(step: Step, log: Path, work: Path) -> Done:
    log.parent.mkdir(parents=True, exist_ok=True)
    goes_on = step.resumes and step.state is not None and step.state.is_file()
    command = [*step.command, *([step.resumes] if goes_on else [])]
    if step.state is not None:
        step.state.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1"}
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | quiet, cwd=_HERE)
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    if ended.returncode:
        raise StepFailed(
            f"{step.name} ended with {ended.returncode}: {lines[-1][:300]}\n"
            f"Its log is {log}. Mend that and give the same command again: what is done is kept in {work}."
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = "\n".join(lines[-6:]) if step.name.endswith("measure") else lines[-1]
    shown = shlex.join(["python", *step.command[1:]])
    return Done(shown, (time.monotonic() - started) / 60, cpu_s / 60, said)


def finish(folder: Path, steps: Mapping[str, Done], seed: int) -> None:
    """Write the part's card, where its own command wrote none, and the sums of its files."""
    if steps and not (folder / CARD_FILE).is_file():
        _write(folder / CARD_FILE, card(folder, steps, seed))
    # Not of the card, whose words may be mended.
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (SUMS_FILE, CARD_FILE))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    _write(folder / SUMS_FILE, "".join(lines))


def card(folder: Path, steps: Mapping[str, Done], seed: int) -> str:
    """A card with what this very training did and measured."""
    commands = "\n".join(
        f"- {name}: `{done.command}` ({done.cpu_minutes:.1f} CPU minutes)" for name, done in steps.items()
    )
    metrics = folder / "metrics.json"
    measured = metrics.read_text("utf-8") if metrics.is_file() else list(steps.values())[-1].last_line
    total = sum(done.cpu_minutes for done in steps.values())
    return f"""# {folder.name} of the mini set

Data: rendered scenes of the ad world (`adproof.adworld`, CC0 models), with their truth; no photographs.
Seed: {seed}.

Commands:
{commands}

Minutes: {total:.1f} of CPU in all, one thread.

Measured:

```
{measured}
```

Licence: as the project (Apache-2.0). The catalogue's models are CC0.
"""


def problems(folder: Path) -> list[str]:
    """What is wrong with a set: cards that do not tell all, sums that differ, more bytes than may be shipped."""
    found = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        card_file, sums = part / CARD_FILE, part / SUMS_FILE
        text = card_file.read_text("utf-8").lower() if card_file.is_file() else ""
        missing = [word for word in CARD_SAYS if word not in text]
        if missing:
            found.append(f"{part.name}: its {CARD_FILE} does not tell: {', '.join(missing)}")
        if not sums.is_file():
            found.append(f"{part.name}: no {SUMS_FILE}")
            continue
        for digest, name in (line.split("  ", 1) for line in sums.read_text("utf-8").splitlines()):
            path = part / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                found.append(f"{part.name}: {name} is missing or not the one in {SUMS_FILE}")
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > MOST_BYTES:
        found.append(f"the set has {total / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} may be shipped")
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
