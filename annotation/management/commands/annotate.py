import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.crowd import simulated_people
from annotation.models import Project
from annotation.simulated import DeskError, judged_truth, work_together


class Command(BaseCommand):
    help = "Let simulated annotators label a project through the API of a running server."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--people", type=int, default=8)
        parser.add_argument("--project", default="", help="Its name; default: the first.")
        many = parser.add_mutually_exclusive_group()
        many.add_argument("--until-empty", action="store_true", help="Until nothing is left (the default).")
        many.add_argument("--limit", type=int, help="Stop after so many labels.")
        parser.add_argument("--base-url", default="http://127.0.0.1:8000")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, **options: Any) -> None:
        if options["people"] < 1:
            raise CommandError("--people must be 1 or more.")
        projects = Project.objects.order_by("id")
        name = options["project"]
        project = (projects.filter(name=name) if name else projects).first()
        if project is None:
            known = ", ".join(projects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no project {name!r}. Projects: {known}.")
        people = simulated_people(options["people"], options["seed"])
        try:
            works = work_together(
                options["base_url"], people, project.pk, judged_truth(), limit=options["limit"],
                on_progress=lambda saved: print(f"\r{saved} labels", end="", flush=True),
            )  # fmt: skip
        except (DeskError, FileNotFoundError, ImportError) as error:
            raise CommandError(f"Nobody could label: {error}") from error
        print()
        for (_, annotator), work in zip(people, works, strict=True):
            print(f"{annotator.name:<16} {work.saved:>6} saved {work.surplus:>4} surplus  {work.error}")
