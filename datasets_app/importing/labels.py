"""Labels from elsewhere, stored by COPY: a task, an annotation of an imported annotator, and the consensus of each.

Why they are annotations at all, and what keeps people's answers safe from them: docs/decisions (imported labels).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection

from adproof.labels import N_LABELS
from annotation.consensus import IMPORTED
from annotation.models import Project

PROJECT_PREFIX = "Imported: "


class Answer(NamedTuple):
    """One label of one candidate, by one imported annotator. Each pair of the two once in a call."""

    candidate: int
    annotator: int
    label: int
    seconds: float
    at: datetime


class Says(NamedTuple):
    """What a candidate's imported labels add up to."""

    candidate: int
    label: int
    posterior: Sequence[float]
    count: int
    agreement: float


class Stored(NamedTuple):
    """How many rows are new, and the candidates that were labelled otherwise before: their consensus stays."""

    annotations: int
    consensus: int
    kept: frozenset[int]


def project_of(source: str) -> Project:
    """Where the imported tasks of this source lie: paused, so that nobody is handed one."""
    return Project.objects.get_or_create(
        name=f"{PROJECT_PREFIX}{source}"[:120], defaults={"is_paused": True, "overlap": 1}
    )[0]


_SURE = [tuple(float(number == label) for number in range(N_LABELS)) for label in range(N_LABELS)]


def one_vote(candidate: int, label: int) -> Says:
    return Says(candidate, label, _SURE[label], 1, 1.0)


def store(project: Project, answers: Sequence[Answer], says: Sequence[Says]) -> Stored:
    """Store what is not there yet. Must run in a transaction; storing the same again changes nothing.

    One import of a source at a time: the others wait. An annotation that is there is never changed, nor is a consensus,
    whoever made it, also while people answer.
    """
    wanted = sorted({row.candidate for row in says} | {row.candidate for row in answers})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, project.pk])
        _hold(cursor, "generation_candidate", wanted)
        _hold(cursor, "annotation_project", [project.pk])
        _hold(cursor, "accounts_user", sorted({row.annotator for row in answers}))
        tasks = _pairs(cursor, project, wanted)
        known: set[tuple[int, int]] = set()
        if tasks:
            cursor.execute(_KNOWN, [list(tasks), list(tasks.values())])
            known = set(cursor.fetchall())
        answers = [row for row in answers if (row.candidate, row.annotator) not in known]
        with _references_checked(cursor):
            _add_tasks(cursor, project, answers, tasks)
            _copy(
                cursor,
                "annotation_annotation",
                _ANNOTATION,
                (_annotation(row, tasks[row.candidate]) for row in answers),
            )
            added = _add_consensus(cursor, says)
    return Stored(len(answers), len(added), frozenset({row.candidate for row in says} - added))


_LOCK = 0x1A9027
# Each row by a walk of its candidate's index: OFFSET 0 keeps the subquery one, and "+ 0" keeps the planner from walking all
# tasks of a project of which its statistics say that it has none.
_TASKS_OF = (
    "SELECT c, t.id FROM unnest(%s::bigint[]) c CROSS JOIN LATERAL"
    " (SELECT id FROM annotation_task WHERE candidate_id = c AND project_id + 0 = %s OFFSET 0) t"
)
_KNOWN = (
    "SELECT c, a.annotator_id FROM unnest(%s::bigint[], %s::bigint[]) AS k (c, task) CROSS JOIN LATERAL"
    " (SELECT annotator_id FROM annotation_annotation WHERE candidate_id = c AND task_id = task OFFSET 0) a"
)
_TASK = "id, project_id, candidate_id, overlap, priority, tie, reason, round_number, is_gold, is_open, created_at"
_ANNOTATION = (
    "id, task_id, candidate_id, annotator_id, label, seconds, state, guidelines_version, shown, details, created_at"
)


def _hold(cursor: Any, table: str, ids: list[int]) -> None:
    """Keep these rows from being deleted until the end of the transaction."""
    cursor.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [ids])
    if len(cursor.fetchall()) < len(ids):
        raise ValueError("a candidate, project or account was deleted meanwhile: import again")


def _pairs(cursor: Any, project: Project, candidates: list[int]) -> dict[int, int]:
    """candidate -> its task in this project."""
    cursor.execute(_TASKS_OF, [candidates, project.pk])
    return dict(cursor.fetchall())


@contextmanager
def _references_checked(cursor: Any) -> Iterator[None]:
    """Where the database lets us (the embedded one does), references are not checked once more row by row.

    They are sure: what is referred to is held (_hold) or made here. Where it does not, PostgreSQL's own six checks a
    label run, which takes about twice as long.
    """
    cursor.execute("SELECT has_parameter_privilege('session_replication_role', 'SET')")
    (may,) = cursor.fetchone()
    if may:
        cursor.execute("SET LOCAL session_replication_role = replica")
    yield
    if may:
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def _add_tasks(cursor: Any, project: Project, answers: Sequence[Answer], tasks: dict[int, int]) -> None:
    """Closed tasks for the candidates that have none in this project; `tasks` knows them afterwards."""
    counts: dict[int, int] = {}
    for row in answers:
        if row.candidate not in tasks:
            counts[row.candidate] = counts.get(row.candidate, 0) + 1
    if not counts:
        return
    cursor.execute(
        "SELECT nextval(pg_get_serial_sequence('annotation_task', 'id')) FROM generate_series(1, %s)", [len(counts)]
    )
    made = {candidate: pk for candidate, (pk,) in zip(sorted(counts), cursor.fetchall(), strict=True)}
    _copy(cursor, "annotation_task", _TASK, (
        f"{pk}\t{project.pk}\t{candidate}\t{min(9, counts[candidate])}\t0\t0\timported\t0\tf\tf\tnow\n"
        for candidate, pk in made.items()
    ))  # fmt: skip
    tasks.update(made)


def _annotation(row: Answer, task: int) -> str:
    # An id that says what it is of: made twice it is the same, and rising ids go into an index cheaply.
    pk = f"{task:016x}{row.annotator:016x}"
    return f"{pk}\t{task}\t{row.candidate}\t{row.annotator}\t{row.label}\t{row.seconds}\tstanding\t1\t{{}}\t{{}}\t{row.at}\n"


def _add_consensus(cursor: Any, says: Sequence[Says]) -> set[int]:
    """The consensus of candidates that have none; returns those. Somebody may answer one of them just now."""
    cursor.execute(
        "CREATE TEMP TABLE IF NOT EXISTS import_says (candidate_id bigint, label smallint, posterior jsonb, votes smallint,"
        " agreement float8) ON COMMIT DELETE ROWS"
    )
    cursor.execute("TRUNCATE import_says")
    _copy(cursor, "import_says", "candidate_id, label, posterior, votes, agreement", (
        f"{row.candidate}\t{row.label}\t{_as_json(tuple(row.posterior))}\t{row.count}\t{row.agreement}\n"
        for row in says
    ))  # fmt: skip
    cursor.execute(
        "INSERT INTO annotation_consensus (candidate_id, label, posterior, method, annotation_count, agreement,"
        " is_complete, updated_at) SELECT candidate_id, label, posterior, %s, votes, agreement, true, now()"
        " FROM import_says ORDER BY candidate_id ON CONFLICT (candidate_id) DO NOTHING RETURNING candidate_id",
        [IMPORTED],
    )
    return {candidate for (candidate,) in cursor.fetchall()}


@lru_cache(maxsize=1024)
def _as_json(posterior: tuple[float, ...]) -> str:
    return f"[{', '.join(map(repr, posterior))}]"


def _copy(cursor: Any, table: str, columns: str, lines: Iterable[str]) -> None:
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == 2000:
                copy.write("".join(waiting))
                waiting = []
        copy.write("".join(waiting))
