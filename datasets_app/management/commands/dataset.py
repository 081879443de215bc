"""Freeze, write, verify, compare, import, query and list dataset versions from the shell."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adproof.shards.schema import FULL, VARIANTS
from datasets_app import diff_command, querying
from datasets_app.actions import CannotFreeze, start_freeze, start_verify
from datasets_app.exporting import start_write
from datasets_app.importing import command as importing
from datasets_app.models import DatasetVersion
from datasets_app.places import BadPlace
from runs.following import add_waiting, follow
from runs.models import Run

ENDS = """
Long work is a run, the same as from a page: it is followed with a bar, goes on after Ctrl-C (by the workers), and the same
command resumes one that failed or was stopped.

Exit codes: 0 done; 1 refused or failed, or verify found problems (a sentence says what to do); 2 words it does not know;
130 left with Ctrl-C.
"""


class Command(BaseCommand):
    help = "Dataset versions: freeze, write, verify, diff, import, query, list. `dataset VERB --help` tells each one's options."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name, subcommand, epilog=ENDS, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        freeze = verbs.add_parser("freeze", help="freeze what is labelled as the next version, and write it")
        freeze.add_argument("name", help="of the dataset, such as ads")
        freeze.add_argument("--min-annotations", type=int, metavar="N", help="only what so many people judged")
        freeze.add_argument("--min-agreement", type=float, metavar="SHARE", help="0 to 1")
        freeze.add_argument("--generator", type=int, metavar="ID")
        freeze.add_argument("--category")
        freeze.add_argument(
            "--where", action="append", default=[], metavar="NAME=VALUE",
            help="any other condition (docs/freezing.md), such as source=shop; may be given several times",
        )  # fmt: skip
        add_waiting(freeze)
        write = verbs.add_parser("write", help="write a frozen version's files, or go on writing them")
        write.add_argument("version", help="such as ads/v3")
        write.add_argument("--to", metavar="PLACE", help="a folder, or s3://bucket/folder (default: the version's own)")
        write.add_argument("--variant", choices=VARIANTS, default=FULL, help="default: %(default)s")
        add_waiting(write)
        check = verbs.add_parser("verify", help="compare a version's files with its manifest")
        check.add_argument("version", help="such as ads/v3")
        check.add_argument("--pictures", action="store_true", help="hash every picture too, and check the digest")
        add_waiting(check)
        diff_command.add_arguments(verbs)
        importing.add_arguments(verbs)
        querying.add_arguments(verbs)
        verbs.add_parser("list", help="all versions, newest first")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "import":
            importing.import_it(options, self.stdout)
            return
        if verb == "query":
            querying.answer(named(options["version"]), options, self.stdout, self.stderr.write)
            return
        verbs = {
            "freeze": self.freeze,
            "write": self.write,
            "verify": self.verify,
            "diff": self.diff,
            "list": self.list,
        }
        verbs[verb](options)

    def freeze(self, options: dict[str, Any]) -> None:
        names = ("min_annotations", "min_agreement", "generator", "category")
        query = conditions(options["where"]) | {name: options[name] for name in names if options[name] is not None}
        try:
            run = start_freeze(options["name"], query)
        except CannotFreeze as problem:
            raise CommandError(str(problem)) from problem
        follow(run, self.stdout, wait=options["wait"])
        if run.state == Run.State.SUCCEEDED:
            self.stdout.write(f"{run.result['name']}: {run.result['rows']:,} samples, digest {run.result['digest']}")

    def write(self, options: dict[str, Any]) -> None:
        version = named(options["version"])
        freezing = version.write_run
        if freezing is not None and not freezing.is_finished and options["to"] is None and options["variant"] == FULL:
            run = freezing  # the run that froze it is writing it: follow that one
        else:
            try:
                run = start_write(version, options["variant"], options["to"], anywhere=True)
            except BadPlace as problem:
                raise CommandError(str(problem)) from problem
        follow(run, self.stdout, wait=options["wait"])
        if "bytes" in run.result:
            told = run.result
            self.stdout.write(f"{version}: {told['rows']:,} samples, {told['bytes']:,} bytes, in {told['uri']}")

    def verify(self, options: dict[str, Any]) -> None:
        version = named(options["version"])
        if version.state != DatasetVersion.State.WRITTEN:
            raise CommandError(f"{version} has no files yet: manage.py dataset write {options['version']}")
        run = start_verify(version, pictures=options["pictures"])
        follow(run, self.stdout, wait=options["wait"], unit="read")
        if run.state != Run.State.SUCCEEDED:
            return
        for event in run.events.filter(level="error").order_by("pk"):
            self.stdout.write(f"  {event.message}")
        if count := run.result["problems"]:
            raise CommandError(f"{count} problem{'s' * (count > 1)} in {version.uri}: write it again to another place.")
        self.stdout.write(f"{version} is as its manifest says: {version.uri}")

    def diff(self, options: dict[str, Any]) -> None:
        try:
            diff_command.diff(named(options["old"]), named(options["new"]), options, self.stdout.write)
        except ValueError as problem:
            raise CommandError(str(problem)) from problem

    def list(self, options: dict[str, Any]) -> None:
        versions = DatasetVersion.objects.order_by("-pk").defer("manifest")
        for version in versions.iterator():
            self.stdout.write(
                f"{version.name}/v{version.number}  {version.state:8} {version.row_count:>9,} samples "
                f"{version.size_bytes:>14,} bytes  {version.created_at:%Y-%m-%d %H:%M}  {json.dumps(version.query)}"
            )
        if not versions.exists():
            self.stdout.write("No version yet: manage.py dataset freeze ads")


def conditions(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE as a query has them: numbers, true and false, lists in JSON; the rest is text."""
    query: dict[str, Any] = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark:
            raise CommandError(f"{word!r} is no condition: write NAME=VALUE, such as source=shop.")
        try:
            query[name] = json.loads(value)
        except ValueError:
            query[name] = value
    return query


def named(text: str) -> DatasetVersion:
    """The version called NAME/vN."""
    name, _, number = text.partition("/v")
    found = (
        DatasetVersion.objects.select_related("write_run").filter(name=name, number=int(number)).first()
        if number.isascii() and number.isdigit() and len(number) < 6
        else None
    )
    if found is None:
        raise CommandError(f"There is no version {text!r}; manage.py dataset list shows them, named as ads/v3.")
    return found
