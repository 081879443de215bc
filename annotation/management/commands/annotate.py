import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from adproof.simulate import SimulatedAnnotator, crowd, read_crowd, with_habits
from annotation.crowd import accounts_of
from annotation.models import Project
from annotation.simulated import DeskError, Work, judged_truth, work_together


class Command(BaseCommand):
    help = "Let simulated annotators label a project through the API of a running server."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--people", type=int, default=8, help="How many, of all kinds; default: %(default)s.")
        who.add_argument("--crowd", type=Path, help="A JSON file that says who they are (docs/simulated-people.md).")
        parser.add_argument("--project", default="", help="Its name; default: the first.")
        many = parser.add_mutually_exclusive_group()
        many.add_argument("--until-empty", action="store_true", help="Until nothing is left (the default).")
        many.add_argument("--limit", type=int, help="Stop after so many labels.")
        parser.add_argument("--seconds", type=float, help="Stop after so long.")
        parser.add_argument(
            "--pace", type=float, default=0.0, help="0: nobody waits (the default). 1: they take as long as people do."
        )
        parser.add_argument("--skips", type=float, default=0.0, help="The share of tasks that they pass on (--people).")
        parser.add_argument("--flags", type=float, default=0.0, help="The share whose product they flag (--people).")
        parser.add_argument("--blind", action="store_true", help="Look at no picture: every label is as likely.")
        parser.add_argument("--base-url", default="http://127.0.0.1:8000")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, **options: Any) -> None:
        project = _project(options["project"])
        annotators = _annotators(options)
        if not 0 <= options["pace"] < math.inf:
            raise CommandError("--pace must be 0 or more.")
        try:
            people = accounts_of(annotators)
            works = work_together(
                options["base_url"], people, project.pk, None if options["blind"] else judged_truth(),
                limit=options["limit"], seconds=options["seconds"], pace=options["pace"],
                on_progress=lambda saved: print(f"\r{saved} labels", end="", flush=True),
            )  # fmt: skip
        except (DeskError, FileNotFoundError, ImportError, ValueError) as error:
            raise CommandError(f"Nobody could label: {error}") from error
        print()
        for (_, annotator), work in zip(people, works, strict=True):
            print(f"{annotator.name:<16} {_told(work)}")


def _project(name: str) -> Project:
    projects = Project.objects.order_by("id")
    project = (projects.filter(name=name) if name else projects).first()
    if project is None:
        known = ", ".join(projects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no project {name!r}. Projects: {known}.")
    return project


def _annotators(options: dict[str, Any]) -> list[SimulatedAnnotator]:
    rng = np.random.default_rng(options["seed"])
    try:
        if options["crowd"]:
            return read_crowd(options["crowd"], rng)
        if options["people"] < 1:
            raise CommandError("--people must be 1 or more.")
        return with_habits(crowd(options["people"], rng), options["skips"], options["flags"])
    except ValueError as error:
        raise CommandError(str(error)) from error


def _told(work: Work) -> str:
    waits = f"submit p95 {1000 * np.percentile(work.submit_s, 95):.0f} ms" if work.submit_s else ""
    return (
        f"{work.saved:>6} saved {work.surplus:>4} surplus {work.refused:>4} refused {work.skipped:>4} skipped "
        f"{work.flagged:>4} flagged  {waits}  {work.error}"
    ).rstrip()
