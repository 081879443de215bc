import argparse
import os
import re
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adproof.labels import TITLES, Label
from annotation.labelstudio import reading, remote, shape
from annotation.labelstudio.names import read_names
from annotation.labelstudio.people import BadMap, People, read_map, write_map
from annotation.labelstudio.recording import Report, Way, record
from annotation.models import Project

DEFAULT_ADDRESS = "http://localhost:8080"


class Command(BaseCommand):
    help = "Send tasks to Label Studio and bring answers back, through its server or its JSON files."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        push = verbs.add_parser("push", help="Put open tasks into a Label Studio project.")
        pull = verbs.add_parser("pull", help="Bring the answers of a Label Studio project here.")
        write = verbs.add_parser("export-json", help="Write all tasks and answers as Label Studio's JSON.")
        read = verbs.add_parser("import-json", help="Bring the answers of Label Studio's JSON export here.")
        people = verbs.add_parser("people", help="Write down who is there: a CSV file to complete and give to --map.")
        for verb in (push, pull, write, read):
            verb.add_argument("--project", default="", help="Its name here; default: the first.")
        for verb in (push, pull, write, read, people):
            verb.add_argument("--dry-run", action="store_true", help="Only say what would happen.")
        for verb in (push, pull, people):
            verb.add_argument("--url", required=True, help=f"Of the server, like {DEFAULT_ADDRESS}.")
            verb.add_argument("--token-env", default="LS_TOKEN", help="The variable that holds the access token.")
        for verb in (push, pull):
            verb.add_argument("--ls-project", type=int, help="Label Studio's number; default: the one pushed before.")
        for verb in (push, write):
            verb.add_argument("--embed", action="store_true", help="Put the pictures themselves into the tasks.")
            verb.add_argument("--pictures-at", default=shape.default_address(), help="Where this platform is reached.")
        for verb in (pull, read):
            verb.add_argument("--map", type=Path, help="Who is who. CSV: label_studio,username and perhaps email.")
            verb.add_argument("--create-annotators", action="store_true", help="Make accounts for unknown people.")
            verb.add_argument("--add-tasks", action="store_true", help="Make tasks for candidates that have none.")
            verb.add_argument("--labels", type=Path, help="Labels of other names there. CSV: label_studio,label.")
            verb.add_argument("--control", default=shape.CONTROL, help="The name of its Choices; default: %(default)s.")
        for verb in (write, people):
            verb.add_argument("file", type=Path)
        read.add_argument("file", type=Path)
        read.add_argument("--url", default=DEFAULT_ADDRESS, help="The server it comes from: ids are told apart by it.")

    def handle(self, **options: Any) -> None:
        whose = [_project(options["project"])] if "project" in options else []
        try:
            getattr(self, options["verb"].replace("-", "_"))(*whose, options)
        except (BadMap, reading.BadFile, remote.RemoteError) as error:
            raise CommandError(str(error)) from error

    def push(self, project: Project, options: dict[str, Any]) -> None:
        client = remote.connect(options["url"], _token(options))
        found = remote.push(
            client, options["url"], project, _pictures(options), options["ls_project"],
            only_looks=options["dry_run"], progress=lambda done: self.stdout.write(f"{done} tasks sent"),
        )  # fmt: skip
        if options["dry_run"]:
            where = "a new project" if found.made else f"project {found.project}"
            self.stdout.write(f"Would send {found.tasks} tasks to {where}; {found.there} are there. Nothing was sent.")
            return
        made = "made" if found.made else "used"
        self.stdout.write(f"Project {found.project} {made}: {found.tasks} tasks sent, {found.there} were there.")

    def pull(self, project: Project, options: dict[str, Any]) -> None:
        way = _way(options)
        client = remote.connect(options["url"], _token(options))
        self._say(remote.pull(client, project, way, options["ls_project"]), way)

    def export_json(self, project: Project, options: dict[str, Any]) -> None:
        if options["dry_run"]:
            self.stdout.write(f"Would write {project.tasks.count()} tasks to {options['file']}.")
            return
        try:
            tasks, answers = shape.write_json(project, options["file"], _pictures(options))
        except OSError as error:
            raise CommandError(f"{options['file']} can't be written: {error}") from error
        self.stdout.write(f"{tasks} tasks with {answers} answers: {options['file']}")

    def import_json(self, project: Project, options: dict[str, Any]) -> None:
        way = _way(options)
        try:
            reading.check(options["file"])
            self._say(record(project, reading.rows_of(options["file"]), way), way)
        except OSError as error:
            raise CommandError(f"{options['file']} can't be read: {error}") from error

    def people(self, options: dict[str, Any]) -> None:
        client = remote.connect(options["url"], _token(options))
        everybody = remote.people(client, options["url"])
        if options["dry_run"]:
            self.stdout.write(f"Would write {len(everybody)} people to {options['file']}.")
            return
        try:
            there, here = write_map(options["file"], everybody)
        except OSError as error:
            raise CommandError(f"{options['file']} can't be written: {error}") from error
        self.stdout.write(f"{there} people, {here} with an account here: {options['file']}. Complete it for --map.")

    def _say(self, report: Report, way: Way) -> None:
        for problem in report.problems:
            self.stderr.write(f"{problem.where}: {problem.why}")
        if report.unlisted:
            self.stderr.write(f"... and {report.unlisted} more.")
        for why, count in report.strangers.most_common():
            self.stderr.write(f"{why} {count} answers left out.")
        if any(why.startswith("Nobody here") for why in report.strangers):
            self.stderr.write("Say who they are in a file (--map), or make accounts for them (--create-annotators).")
        if any(re.match(r"Nobody here is \d", why) for why in report.strangers):
            self.stderr.write(
                "Label Studio's export names people by number: `manage.py labelstudio people who.csv --url ...` asks "
                "its server who they are; then add --map who.csv."
            )
        if report.surplus:
            tasks = ", ".join(map(str, report.surplus_tasks[:20])) + (" ..." if report.surplus > 20 else "")
            self.stdout.write(f"{report.surplus} came after their task was full (kept, not counted): {tasks}")
        for title, names in (("Accounts made", way.people.created), ("Answers of", report.per_person)):
            if names:
                counted = [f"{name} {names[name]}" if names[name] else name for name in names]
                self.stdout.write(f"{title}: {', '.join(counted)}")
        if report.labels:
            counts = ", ".join(f"{TITLES[Label(label)]} {count}" for label, count in sorted(report.labels.items()))
            self.stdout.write(f"Labels: {counts}")
        if report.made:
            self.stdout.write(f"{report.made} tasks made.")
        self.stdout.write(
            f"{report.tasks} tasks read: {report.saved} answers saved, {report.known} were here, "
            f"{report.surplus} surplus, {report.skipped} skipped there, {report.left_out} left out."
        )
        if way.only_looks:
            self.stdout.write("This was a dry run: nothing was changed.")


def _project(name: str) -> Project:
    projects = Project.objects.order_by("id")
    project = (projects.filter(name=name) if name else projects).first()
    if project is None:
        known = ", ".join(projects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no project {name!r}. Projects: {known}.")
    return project


def _token(options: dict[str, Any]) -> str:
    token = os.environ.get(options["token_env"], "").strip()
    if not token:
        raise CommandError(f"The variable {options['token_env']} is empty: it holds Label Studio's access token.")
    return token


def _pictures(options: dict[str, Any]) -> shape.PictureAddress:
    return shape.embedded if options["embed"] else shape.by_address(options["pictures_at"])


def _way(options: dict[str, Any]) -> Way:
    mapped, known = read_map(options["map"]) if options["map"] else ({}, {})
    return Way(
        options["url"],
        People(mapped, creates=options["create_annotators"], known=known),
        reading.Names(options["control"], read_names(options["labels"]) if options["labels"] else {}),
        adds_tasks=options["add_tasks"],
        only_looks=options["dry_run"],
    )
