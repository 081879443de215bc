"""`manage.py products import PATH`: a folder of pictures, or a CSV beside its pictures."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generation.actions import ImportReport, import_product_files, import_products_csv
from generation.importing import BadImport, FolderPictures
from generation.models import Product


class Command(BaseCommand):
    help = "Import products from a folder of pictures, or from a CSV whose `image` column names pictures."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        importing = commands.add_parser("import", help="import a folder or a CSV")
        importing.add_argument("path", type=Path)
        importing.add_argument("--pictures", type=Path, help="folder of the CSV's pictures (default: the CSV's own)")
        importing.add_argument("--category", default="", help="category of pictures without a CSV")
        importing.add_argument("--source", default="import")
        commands.add_parser("list", help="what is there, by source")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what == "list":
            for source in Product.objects.order_by("source").values_list("source", flat=True).distinct():
                self.stdout.write(f"{source}: {Product.objects.filter(source=source).count()} products")
            return
        try:
            self._say(self._import(**options))
        except (BadImport, OSError) as error:
            raise CommandError(str(error)) from error

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
            self.stdout.write(
                f"{report.cut_out_run.total} pictures have no transparency: run {report.cut_out_run.pk} cuts the products out "
                "(a worker must be running: `make run`, or `manage.py work`)."
            )
