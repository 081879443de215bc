import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.crowd import simulated_people
from annotation.models import Project
from annotation.simulated import DeskError
from annotation.simulated_pairs import prefer_together


class Command(BaseCommand):
    help = "Let simulated people choose between the pairs of a project through the API of a running server."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--people", type=int, default=8)
        parser.add_argument("--project", default="", help="Its name; default: the first that has pairs.")
        parser.add_argument("--limit", type=int, help="Stop after so many preferences of each.")
        parser.add_argument("--left-bias", type=float, default=0.0, help="Log odds that whatever stands left gains.")
        parser.add_argument("--base-url", default="http://127.0.0.1:8000")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, **options: Any) -> None:
        if options["people"] < 1:
            raise CommandError("--people must be 1 or more.")
        projects = Project.objects.filter(pairs__isnull=False).distinct().order_by("id")
        name = options["project"]
        project = (projects.filter(name=name) if name else projects).first()
        if project is None:
            known = ", ".join(projects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"No project {name!r} has pairs. Projects with pairs: {known}.")
        people = simulated_people(options["people"], options["seed"])
        try:
            works = prefer_together(
                options["base_url"], people, project.pk, limit=options["limit"], left_bias=options["left_bias"]
            )
        except DeskError as error:
            raise CommandError(f"Nobody could choose: {error}") from error
        for (_, annotator), work in zip(people, works, strict=True):
            print(f"{annotator.name:<16} {work.saved:>6} saved {work.surplus:>4} surplus  {work.error}")
