"""Labels from elsewhere, stored by COPY: a task, an annotation of an imported annotator, and the consensus of each.

The labels are copied into temporary tables, and five statements make rows of them: nothing but counts comes back to this
process, so that a million labels cost it little. Why they are annotations at all, and what keeps people's answers safe
from them: docs/decisions (imported labels).
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
    """How many rows are new; kept: candidates that were labelled otherwise before, so that their consensus stays."""

    annotations: int
    consensus: int
    kept: int


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
    with connection.cursor() as cursor:
        lock(cursor, project)
        _hold(
            cursor, "generation_candidate", sorted({row.candidate for row in says} | {row.candidate for row in answers})
        )
        _hold(cursor, "accounts_user", sorted({row.annotator for row in answers}))
        copy_lines(
            cursor,
            "import_answers",
            (f"{a.candidate}\t{a.annotator}\t{a.label}\t{a.seconds}\t{a.at}\n" for a in answers),
        )
        copy_lines(cursor, "import_says", (
            f"{row.candidate}\t{row.label}\t{_as_json(tuple(row.posterior))}\t{row.count}\t{row.agreement}\n"
            for row in says
        ))  # fmt: skip
        return merge(cursor, project)


def store_given(project: Project, annotator: int, at: datetime) -> Stored:
    """As `store`, for one vote each of what lies in `import_given` (label_rows): candidates that are held already."""
    with connection.cursor() as cursor:
        lock(cursor, project)
        _hold(cursor, "accounts_user", [annotator])
        cursor.execute(
            "INSERT INTO import_answers SELECT candidate, %s, label, 0, %s FROM import_given", [annotator, at]
        )
        cursor.execute(
            "INSERT INTO import_says SELECT candidate, label, (%s::jsonb[])[label + 1], 1, 1 FROM import_given",
            [[_as_json(sure) for sure in _SURE]],
        )
        return merge(cursor, project)


_LOCK = 0x1A9027
_TABLES = """
    CREATE TEMP TABLE IF NOT EXISTS import_answers
        (candidate bigint, annotator bigint, label smallint, seconds float8, at timestamptz) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS import_says
        (candidate bigint, label smallint, posterior jsonb, votes smallint, agreement float8) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS import_tasks
        (candidate bigint, task bigint, is_new boolean, answers int) ON COMMIT DELETE ROWS;
    DELETE FROM import_answers; DELETE FROM import_says; DELETE FROM import_tasks
"""
# Each row by a walk of its candidate's index: OFFSET 0 keeps the subquery one, and "+ 0" keeps the planner from walking all
# tasks of a project, or all answers of an account, of which its statistics say that it has none.
_FIND_TASKS = """
    INSERT INTO import_tasks
    SELECT candidate, coalesce(task, nextval((SELECT pg_get_serial_sequence('annotation_task', 'id')::regclass))),
        task IS NULL, answers
    FROM (
        SELECT a.candidate, t.id AS task, a.answers
        FROM (SELECT candidate, count(*) AS answers FROM import_answers GROUP BY candidate) a
        LEFT JOIN LATERAL (
            SELECT id FROM annotation_task WHERE candidate_id = a.candidate AND project_id + 0 = %s OFFSET 0
        ) t ON true
        ORDER BY a.candidate
    ) found
"""
_ADD_TASKS = """
    INSERT INTO annotation_task
        (id, project_id, candidate_id, overlap, priority, tie, reason, round_number, is_gold, is_open, created_at)
    SELECT task, %s, candidate, least(9, answers), 0, 0, 'imported', 0, false, false, now() FROM import_tasks WHERE is_new
"""
# An id that says what it is of: made twice it is the same, and rising ids go into an index cheaply. A task made just now
# has no annotation: nothing is looked for.
_ADD_ANNOTATIONS = """
    INSERT INTO annotation_annotation (id, task_id, candidate_id, annotator_id, label, seconds, state, guidelines_version,
        shown, details, created_at)
    SELECT (lpad(to_hex(t.task), 16, '0') || lpad(to_hex(a.annotator), 16, '0'))::uuid, t.task, a.candidate, a.annotator,
        a.label, a.seconds, 'standing', 1, '{}', '{}', a.at
    FROM import_answers a JOIN import_tasks t USING (candidate)
    LEFT JOIN LATERAL (
        SELECT true AS is_there FROM annotation_annotation
        WHERE NOT t.is_new AND candidate_id = a.candidate AND task_id + 0 = t.task AND annotator_id + 0 = a.annotator
        OFFSET 0
    ) before ON true
    WHERE is_there IS NULL ORDER BY t.task
"""
# Somebody may answer one of them just now.
_ADD_CONSENSUS = """
    INSERT INTO annotation_consensus (candidate_id, label, posterior, method, annotation_count, agreement, is_complete,
        updated_at)
    SELECT candidate, label, posterior, %s, votes, agreement, true, now() FROM import_says ORDER BY candidate
    ON CONFLICT (candidate_id) DO NOTHING
"""


def lock(cursor: Any, project: Project) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, project.pk])
    _hold(cursor, "annotation_project", [project.pk])
    cursor.execute(_TABLES)


def merge(cursor: Any, project: Project) -> Stored:
    """Rows of what lies in the temporary tables, whose candidates are held."""
    cursor.execute("SELECT count(*) FROM import_says")
    (says,) = cursor.fetchone()
    with _references_checked(cursor):
        cursor.execute(_FIND_TASKS, [project.pk])
        cursor.execute(_ADD_TASKS, [project.pk])
        cursor.execute(_ADD_ANNOTATIONS)
        annotations = cursor.rowcount
        cursor.execute(_ADD_CONSENSUS, [IMPORTED])
        consensus = cursor.rowcount
    return Stored(annotations, consensus, says - consensus)


def _hold(cursor: Any, table: str, ids: list[int]) -> None:
    """Keep these rows from being deleted until the end of the transaction."""
    cursor.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [ids])
    if len(cursor.fetchall()) < len(ids):
        raise ValueError("a candidate, project or account was deleted meanwhile: import again")


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


@lru_cache(maxsize=1024)
def _as_json(posterior: tuple[float, ...]) -> str:
    return f"[{', '.join(map(repr, posterior))}]"


def copy_lines(cursor: Any, table: str, lines: Iterable[str]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == 2000:
                copy.write("".join(waiting))
                waiting = []
        copy.write("".join(waiting))
