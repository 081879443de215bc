"""What the gold manager shows and reads: how often each is missed, what could be gold, and tables of known labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from adproof.labels import parse_label
from annotation.gold import Known
from annotation.models import Annotation, Consensus, Gold, Project, Task
from generation.models import Candidate

LINES_AT_MOST = 20_000
ERRORS_AT_MOST = 50
REASON_AT_MOST = 500
AGREED_AT_LEAST = 3
_NAMES = {name: name for name in ("candidate", "image_sha256", "label", "reason")} | {"candidate_id": "candidate"}


def most_missed(project: Project, size: int, after: tuple[int, int] | None = None) -> list[Gold]:
    """Each with `.answered` and `.missed`; the most often missed first, for that may be the fault of the gold."""
    answers = Annotation.objects.standing().filter(task=OuterRef("task")).order_by().values("task")
    wrong = answers.exclude(label=OuterRef("label"))
    # By subqueries: a join would read the answers of all tasks to find those of the gold.
    rows = Gold.objects.filter(task__project=project).annotate(
        answered=Coalesce(Subquery(answers.annotate(n=Count("pk")).values("n")), 0),
        missed=Coalesce(Subquery(wrong.annotate(n=Count("pk")).values("n")), 0),
    )
    if after is not None:
        missed, pk = after
        rows = rows.filter(Q(missed__lt=missed) | Q(missed=missed, pk__lt=pk))
    found = list(rows.select_related("task__candidate__product", "author").order_by("-missed", "-pk")[:size])
    for row in found:
        row.right = (row.answered - row.missed) / row.answered if row.answered else None
    return found


def agreed(project: Project) -> QuerySet[Consensus]:
    """Candidates on which three people or more agree wholly, and that are no gold of the project."""
    gold = Task.objects.filter(project=project, is_gold=True).values("candidate")
    rows = Consensus.objects.filter(agreement=1, annotation_count__gte=AGREED_AT_LEAST)
    return rows.filter(candidate__product__unsuitable=False).exclude(candidate__in=gold)


def suggestions(project: Project, most: int) -> list[Consensus]:
    return list(agreed(project).select_related("candidate__product").order_by("-candidate")[:most])


@dataclass
class Table:
    known: dict[int, Known]
    problems: list[str]


def read_table(data: bytes) -> Table:
    """A CSV with the columns candidate (its id) or image_sha256, label, and if wanted reason. All or nothing."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Table({}, ["The file is not UTF-8 text: save it as CSV UTF-8."])
    if "\0" in text:
        return Table({}, ["The file holds NUL characters: it is no CSV."])
    try:
        rows = csv.reader(io.StringIO(text))
        head = [_NAMES.get(name.strip().lower(), "") for name in next(rows, [])]
        lines = [(rows.line_num, line) for line in rows if any(cell.strip() for cell in line)]
    except csv.Error as error:
        return Table({}, [f"The file can't be read as CSV: {error}."])
    if "label" not in head or not {"candidate", "image_sha256"} & set(head):
        return Table({}, ["The first line must name the columns: candidate or image_sha256, label, and reason."])
    if not lines:
        return Table({}, ["There is no line below the first."])
    if len(lines) > LINES_AT_MOST:
        return Table({}, [f"The file has {len(lines):,} lines; {LINES_AT_MOST:,} is the most. Split it."])
    return _check(head, lines)


def _check(head: list[str], lines: list[tuple[int, list[str]]]) -> Table:
    cells = [
        (number, {name: cell.strip() for name, cell in zip(head, line, strict=False) if name}) for number, line in lines
    ]
    ids = {int(row["candidate"]) for _, row in cells if _is_id(row.get("candidate", ""))}
    there = set(Candidate.objects.filter(pk__in=ids).values_list("pk", flat=True))
    pictures: dict[str, list[int]] = {}
    wanted = {row["image_sha256"].lower() for _, row in cells if not row.get("candidate") and row.get("image_sha256")}
    if wanted:
        for pk, sha256 in Candidate.objects.filter(image_sha256__in=wanted).values_list("pk", "image_sha256"):
            pictures.setdefault(sha256, []).append(pk)
    known: dict[int, Known] = {}
    problems, lines_of = [], {}
    for number, row in cells:
        try:
            candidate = _candidate(row, there, pictures)
            label = _label(row.get("label", ""))
            reason = row.get("reason", "")
            if len(reason) > REASON_AT_MOST:
                raise ValueError(f"the reason is longer than {REASON_AT_MOST} characters.")
            if candidate in known:
                raise ValueError(f"line {lines_of[candidate]} has candidate {candidate} already.")
        except ValueError as error:
            problems.append(f"Line {number}: {error}")
        else:
            known[candidate], lines_of[candidate] = Known(label, reason), number
    if len(problems) > ERRORS_AT_MOST:
        problems = [*problems[:ERRORS_AT_MOST], f"… and {len(problems) - ERRORS_AT_MOST:,} more."]
    return Table({} if problems else known, problems)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _candidate(row: dict[str, str], there: set[int], pictures: dict[str, list[int]]) -> int:
    asked, sha256 = row.get("candidate", ""), row.get("image_sha256", "")
    if asked:
        if not _is_id(asked) or int(asked) not in there:
            raise ValueError(f"there is no candidate {asked[:40]!r}.")
        return int(asked)
    if not sha256:
        raise ValueError("it names no candidate.")
    found = pictures.get(sha256.lower(), [])
    if not found:
        raise ValueError(f"no candidate has the picture {sha256[:64]!r}.")
    if len(found) > 1:
        raise ValueError(f"several candidates have this picture: give the id ({', '.join(map(str, found[:5]))}).")
    return found[0]


def _label(text: str) -> int:
    try:
        return int(parse_label(text[:60]))
    except ValueError as error:
        raise ValueError(f"{error}.") from None
