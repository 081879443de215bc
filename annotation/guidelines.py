"""Versions of a project's guidelines: an edit is a new version, and each annotation knows which one its annotator saw.

Each version is a text and, by label, a few candidates as examples; a label without any shows pictures on which people
agree, or the built-in ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction

from annotation.models import Guidelines, Project, Task
from generation.models import Candidate

TEXT_AT_MOST = 20_000
EXAMPLES_AT_MOST = 6

# By label: the candidates that show it.
Examples = Mapping[int, Sequence[int]]


class Outdated(ValueError):
    """Somebody saved another version meanwhile; `newest` is it."""

    def __init__(self, newest: Guidelines) -> None:
        by = f" by {newest.author}" if newest.author else ""
        super().__init__(f"Version {newest.version} was saved{by} meanwhile.")
        self.newest = newest


def record_guidelines(project: Project, author: Any, examples: dict[str, Any] | None = None) -> Guidelines:
    """Keep the text that the project has now under its version; examples are taken over from the version before."""
    if examples is None:
        before = Guidelines.objects.filter(project=project).order_by("-version").first()
        examples = before.examples if before else {}
    return Guidelines.objects.get_or_create(
        project=project,
        version=project.guidelines_version,
        defaults={"text": project.guidelines, "examples": examples, "author": author},
    )[0]


def save(project: Project, text: str, examples: Examples, author: Any, *, based_on: int) -> Guidelines:
    """A new version, or the one in force if nothing is different. Raises Outdated unless `based_on` is the newest."""
    text = "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip()
    kept = {str(label): [int(pk) for pk in ids] for label, ids in sorted(examples.items()) if ids}
    with transaction.atomic():
        # Not FOR UPDATE: whoever adds tasks to the project meanwhile need not wait.
        row = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        newest = record_guidelines(row, None)
        if based_on != newest.version:
            raise Outdated(newest)
        if (text, kept) == (newest.text, newest.examples):
            return newest
        row.guidelines, row.guidelines_version = text, newest.version + 1
        row.save(update_fields=["guidelines", "guidelines_version"])
        return record_guidelines(row, author, kept)


def restore(project: Project, version: int, author: Any, *, based_on: int) -> Guidelines:
    """An older version's text and examples as a new version. Raises Outdated, Guidelines.DoesNotExist."""
    old = Guidelines.objects.get(project=project, version=version)
    shown = {label: [candidate.pk for candidate in rows] for label, rows in examples_of(old).items()}
    return save(project, old.text, shown, author, based_on=based_on)


def in_force(project: Project) -> Guidelines:
    """The newest version; a row that was not written yet is made up, unsaved."""
    row = Guidelines.objects.filter(project=project, version=project.guidelines_version).select_related("author").first()
    return row or Guidelines(project=project, version=project.guidelines_version, text=project.guidelines)


def examples_of(version: Guidelines) -> dict[int, list[Candidate]]:
    """The candidates chosen for each label, without those that are gone or have become gold: those must not be known."""
    wanted = {int(label): ids for label, ids in version.examples.items()}
    ids = {pk for some in wanted.values() for pk in some}
    if not ids:
        return {}
    shown = Candidate.objects.select_related("product").in_bulk(ids - gold_among(ids))
    return {label: [shown[pk] for pk in some if pk in shown] for label, some in wanted.items()}


def gold_among(candidates: set[int]) -> set[int]:
    rows = Task.objects.filter(candidate__in=candidates, is_gold=True, gold__is_retired=False)
    return set(rows.values_list("candidate", flat=True))


def difference(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Line by line: ("added" | "removed" | "same", line). Nothing if nothing is different."""
    if before == after:
        return
    kinds = {"+ ": "added", "- ": "removed", "  ": "same"}
    for line in difflib.ndiff(before.split("\n") if before else [], after.split("\n") if after else []):
        if line[:2] in kinds:
            yield kinds[line[:2]], line[2:]
