"""`manage.py candidate remake ID`: draw it again as it was drawn, and say whether it is the same to the bit.

`manage.py candidate perceive`: depth and saliency, by a run, for all that came without.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generation.actions import start_perception
from generation.models import Candidate
from generation.remaking import CannotRemake, remake


class Command(BaseCommand):
    help = "Draw a candidate again as it was drawn; start depth and saliency for those that lack them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        again = commands.add_parser("remake", help="draw it again and compare")
        again.add_argument("id", type=int)
        again.add_argument("--out", type=Path, help="where to write the new picture (PNG)")

        commands.add_parser("perceive", help="start a run that makes depth and saliency where they are missing")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what == "perceive":
            self._perceive()
        else:
            self._remake(options["id"], options["out"])

    def _perceive(self) -> None:
        run = start_perception(Candidate.objects.all())
        self.stdout.write(f"{run.title}: run {run.pk}." if run else "Every candidate has its depth and saliency.")

    def _remake(self, id: int, out: Path | None) -> None:
        candidate = Candidate.objects.select_related("product", "generator", "environment").filter(pk=id).first()
        if candidate is None:
            raise CommandError(f"There is no candidate {id}.")
        try:
            made = remake(candidate)
        except CannotRemake as problem:
            raise CommandError(str(problem)) from problem
        if out is not None:
            out.write_bytes(made.png)
        self.stdout.write(made.sentence)
        if not made.equal:
            raise SystemExit(1)
