"""Freeze, write, verify, query and list dataset versions from the shell."""

import json
import os
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from adproof.shards.verify import verify
from adproof.shards.writer import Progress, write_version
from datasets_app import diff_command, querying
from datasets_app.actions import CannotFreeze, start_freeze
from datasets_app.importing import command as importing
from datasets_app.models import DatasetVersion
from datasets_app.progress_bar import ProgressBar
from datasets_app.rows import sample_rows
from datasets_app.tasks import manifest_json
from datasets_app.writing import folder_of, info, sizes
from runs.models import Run


class Command(BaseCommand):
    help = (
        "dataset freeze NAME | write NAME/vN | verify NAME/vN | diff NAME/vN NAME/vM | import KIND PATH"
        " | query NAME/vN SQL | list"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        freeze = verbs.add_parser("freeze", help="freeze what is labelled as the next version, and write it")
        freeze.add_argument("name")
        freeze.add_argument("--min-annotations", type=int)
        freeze.add_argument("--min-agreement", type=float, help="0 to 1")
        freeze.add_argument("--generator", type=int, help="its id")
        freeze.add_argument("--category")
        freeze.add_argument(
            "--where", action="append", default=[], metavar="NAME=VALUE", help="any other condition, such as source=shop",
        )  # fmt: skip
        freeze.add_argument("--queue", action="store_true", help="leave the work to a worker")
        write = verbs.add_parser("write", help="write a frozen version's files, or go on writing them")
        write.add_argument("version", help="such as ads/v3")
        write.add_argument("--to", type=Path, help="a copy in this folder instead of the version's own")
        check = verbs.add_parser("verify", help="compare a version's files with its manifest")
        check.add_argument("version", help="such as ads/v3")
        check.add_argument("--pictures", action="store_true", help="hash every picture too, and check the digest")
        diff_command.add_arguments(verbs)
        importing.add_arguments(verbs)
        querying.add_arguments(verbs)
        verbs.add_parser("list", help="all versions, newest first")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "import":
            importing.import_it(options, self.stdout.write)
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
        self.stdout.write(f"{run.title}: run {run.pk}")
        if options["queue"]:
            return
        if run.claim(f"dataset command {os.getpid()}"):
            work_on_it = threading.Thread(target=work_here, args=(run.pk, run.fence))
            work_on_it.start()
        self._watch(run)  # also when a worker was first
        if run.state != Run.State.SUCCEEDED:
            raise CommandError(run.error or f"The run was {run.state}.")
        self.stdout.write(f"{run.result['name']}: {run.result['rows']:,} samples, digest {run.result['digest']}")

    def _watch(self, run: Run) -> None:
        """How far it is, by its row, until it has ended."""
        bar = ProgressBar(self.stdout)
        while not run.is_finished:
            time.sleep(0.2)
            run.refresh_from_db()
            if run.stage:
                bar.tell(run.stage, run.done, run.total)
        bar.end()

    def write(self, options: dict[str, Any]) -> None:
        version = named(options["version"])
        if version.write_run is not None and not version.write_run.is_finished:
            raise CommandError(f"Run {version.write_run_id} is writing {version} just now: wait for it, or stop it.")
        out = options["to"] or folder_of(version)
        self.stdout.write(f"writing {version}, {version.row_count:,} samples, to {out}")

        bar = ProgressBar(self.stdout)

        def tell(progress: Progress) -> None:
            bar.tell(progress.shard, progress.rows, progress.total_rows)

        try:
            manifest = write_version(sample_rows(version), out, info(version), sizes(version), tell)
        except (ValueError, OSError) as problem:
            raise CommandError(f"{version} is not written: {problem}") from problem
        bar.end()
        size = sum(file.bytes for file in manifest.files.values())
        if options["to"] is None:
            DatasetVersion.objects.filter(pk=version.pk).update(
                state=DatasetVersion.State.WRITTEN, uri=str(out), manifest=manifest_json(manifest), size_bytes=size
            )
        self.stdout.write(f"{len(manifest.files) + 1} files, {size:,} bytes")

    def verify(self, options: dict[str, Any]) -> None:
        version = named(options["version"])
        if version.state != DatasetVersion.State.WRITTEN:
            raise CommandError(f"{version} has no files yet: manage.py dataset write {options['version']}")
        problems = verify(version.uri, pictures=options["pictures"])
        for problem in problems:
            self.stdout.write(f"  {problem}")
        if problems:
            raise CommandError(f"{len(problems)} problem{'s' * (len(problems) > 1)} in {version.uri}.")
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


def work_here(run_id: int, fence: int) -> None:
    """The run's own handler, in this process: it ends and is kept as if a worker had done it."""
    from runs.child import work_on

    try:
        work_on(run_id, fence)
    finally:
        connection.close()


def named(text: str) -> DatasetVersion:
    """The version called NAME/vN."""
    name, _, number = text.partition("/v")
    found = (
        DatasetVersion.objects.select_related("write_run").filter(name=name, number=int(number)).first()
        if number.isdigit()
        else None
    )
    if found is None:
        raise CommandError(f"There is no version {text!r}; manage.py dataset list shows them, named as ads/v3.")
    return found
