"""`manage.py products import PATH`: a folder of pictures, or a CSV beside its pictures. `products cut-out`: cut anew."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adproof.perception.masks import THRESHOLD
from generation.actions import ImportReport, import_product_files, import_products_csv
from generation.cutting import NothingToCut, cut_anew_matching
from generation.importing import BadImport, FolderPictures
from generation.models import Product
from runs.following import tell_until_ended
from runs.models import Run


class Command(BaseCommand):
    help = "Bring products in from a folder or a CSV, have U2-Net cut them out anew, or say what is there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        importing = commands.add_parser("import", help="import a folder or a CSV")
        importing.add_argument("path", type=Path)
        importing.add_argument("--pictures", type=Path, help="folder of the CSV's pictures (default: the CSV's own)")
        importing.add_argument("--category", default="", help="category of pictures without a CSV")
        importing.add_argument("--source", default="import")
        cutting = commands.add_parser(
            "cut-out", help="have U2-Net cut out anew all that match and wait for a look, in a run of the workers"
        )
        cutting.add_argument("--skus", nargs="+", default=[], metavar="SKU")
        cutting.add_argument("--category", default="")
        cutting.add_argument("--source", default="")
        cutting.add_argument("--find", default="", metavar="WORD", help="a word of title, SKU or description")
        cutting.add_argument("--threshold", type=int, default=round(100 * THRESHOLD), metavar="PERCENT",
                             help="5 to 95; a lower one keeps more of the picture")  # fmt: skip
        cutting.add_argument("--follow", action="store_true", help="show the progress until it ends")
        commands.add_parser("list", help="what is there, by source")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what == "list":
            for source in Product.objects.order_by("source").values_list("source", flat=True).distinct():
                self.stdout.write(f"{source}: {Product.objects.filter(source=source).count()} products")
            return
        if what == "cut-out":
            self._cut_out(**options)
            return
        try:
            self._say(self._import(**options))
        except (BadImport, OSError) as error:
            raise CommandError(str(error)) from error

    def _cut_out(
        self, skus: list[str], category: str, source: str, find: str, threshold: int, follow: bool, **_: Any
    ) -> None:
        if not 5 <= threshold <= 95:
            raise CommandError("--threshold must lie between 5 and 95 percent.")
        asked = {"q": find, "category": category, "source": source}
        try:
            run = cut_anew_matching(asked, threshold / 100, skus=skus)
        except NothingToCut as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(f"Run {run.pk}: {run.title} anew. A worker must be running: `make run`, or `manage.py work`.")
        if follow:
            tell_until_ended(run, self.stdout)
            for problem in run.import_problems.order_by("pk"):
                self.stderr.write(f"{problem.where}: {problem.problem}")
            if run.state != Run.State.SUCCEEDED:
                raise CommandError(run.error or f"Run {run.pk} was {run.state}: Resume on its page goes on with it.")

    def _import(self, path: Path, pictures: Path | None, category: str, source: str, **_: Any) -> ImportReport:
        if path.is_dir():
            found = FolderPictures(path)
            if not found:
                raise BadImport(f"{path} holds no PNG, JPEG or WebP picture.")
            return import_product_files(
                ((name, found[name]) for name in found), values={"category": category, "source": source}
            )
        if path.suffix.lower() != ".csv":
            raise BadImport(f"{path} is neither a folder nor a .csv file.")
        return import_products_csv(path.read_bytes(), FolderPictures(pictures or path.parent))

    def _say(self, report: ImportReport) -> None:
        for problem in report.problems:
            self.stderr.write(f"left out  {problem}")
        self.stdout.write(
            f"{len(report.created)} new, {len(report.updated)} changed, {len(report.unchanged)} as they were, "
            f"{len(report.problems)} left out."
        )
        if report.cut_out_run:
            count = report.cut_out_run.total
            self.stdout.write(
                f"{count} picture{' has' if count == 1 else 's have'} no transparency: run {report.cut_out_run.pk} cuts "
                f"{'it' if count == 1 else 'them'} out "
                "(a worker must be running: `make run`, or `manage.py work`)."
            )
