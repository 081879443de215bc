"""Another order, or other people, for all tasks of a queue at once: a million of them, while people label.

The tasks are walked by id in chunks, each a short transaction. A chunk locks task rows only, takes none that somebody
else has (SKIP LOCKED) and comes back to those, so it never waits with locks in hand: it can't deadlock with answers,
which lock candidates first (statements.py). What a rule gives a task depends on the task alone, so doing it again, or
going on after a kill, ends in the same order.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from annotation import assist
from annotation.actions import forget_places
from annotation.models import Project, Task, Team
from generation.models import Candidate
from runs.actions import start_run
from runs.models import Run

KIND = "change_queue"
CHUNK = 2000
# After each chunk others have the database for as long as it took, times this.
REST = 0.5
_TRY_AGAIN_S = 0.05

RULES = {
    "constant": "One priority for all of them",
    "shuffle": "Mix those of one priority anew",
    "score": "By the score they were picked with",
    "unsure": "Where RFNet is least sure first",
    "newest": "Newest candidates first",
    "reserve": "Reserve",
}
# Tasks that a rule has no number for come after all others.
UNKNOWN = -1.0

# What each rule sets. A number of its own per task, from nothing but its id and the seed: 53 bits of a hash.
_SETS: dict[str, dict[str, str]] = {
    "constant": {"priority": "%(priority)s::float8"},
    "shuffle": {"tie": "(hashint8extended(t.id, %(seed)s) & 9007199254740991)::float8 / 9007199254740992"},
    "score": {"priority": "coalesce(t.acquisition_score, %(unknown)s)"},
    "unsure": {"priority": "coalesce((%(scores)s::jsonb ->> t.candidate_id::text)::float8, %(unknown)s)"},
    "newest": {"priority": "t.candidate_id::float8 / greatest(%(newest)s, 1)"},
    "reserve": {"team_id": "%(team)s::bigint"},
}


class Busy(ValueError):
    """Another change of this queue is under way; `run` is it."""

    def __init__(self, run: Run) -> None:
        super().__init__("The queue is being changed already: wait until that is done, or stop it.")
        self.run = run


@dataclass(frozen=True)
class Which:
    """Open tasks that are no gold, narrowed by whatever is given."""

    project: int | None = None
    category: str = ""
    generator: int | None = None
    prompt: int | None = None
    # Reserved for this team; free: reserved for nobody.
    team: int | None = None
    free: bool = False
    # Those with all their answers, and gold, as well.
    every_state: bool = False


@dataclass(frozen=True)
class How:
    rule: str
    priority: float = 0.0
    team: int | None = None  # None: for everybody
    seed: int = 0
    newest: int = 0  # the newest candidate when it was asked for


@dataclass(frozen=True)
class Place:
    """How far it is: the last task that was looked at, and how many have changed."""

    after: int = 0
    changed: int = 0


# --- as a run


def reprioritise(
    project: Project, rule: str, *, priority: float = 0.0, which: Which | None = None, user: Any = None
) -> Run:
    """Give the open tasks of a project another order by one of RULES, as a run; the same run while it is unfinished."""
    if rule not in RULES or rule == "reserve":
        raise ValueError(f"There is no rule {rule!r}: choose one of {', '.join(r for r in RULES if r != 'reserve')}.")
    newest = Candidate.objects.aggregate(top=Max("pk"))["top"] or 0 if rule == "newest" else 0
    how = How(rule, priority if rule == "constant" else 0.0, seed=random.getrandbits(31), newest=newest)
    return start(replace(which or Which(), project=project.pk), how, f"Order of “{project}”: {RULES[rule]}", user)


def reserve(project: Project, team: Team | None, *, which: Which | None = None, user: Any = None) -> Run:
    """Reserve the open tasks of a project for a team, or (None) set them free. Who holds a lease keeps it."""
    how = How("reserve", team=team.pk if team else None)
    said = f"reserved for {team}" if team else "free for everybody"
    return start(replace(which or Which(), project=project.pk), how, f"Queue of “{project}”: {said}", user)


def set_free(team: Team, user: Any = None) -> Run:
    """Whatever is reserved for a team, in every project, open or not."""
    return start(Which(team=team.pk, every_state=True), How("reserve"), f"All tasks of {team} set free", user)


def start(which: Which, how: How, title: str, user: Any = None) -> Run:
    """One change of a project's queue at a time: two at once would mix. Raises Busy."""
    params = {"which": asdict(which), "how": asdict(how)}
    run = start_run(KIND, params, title=title[:200], user=user, key=key_of(which))
    if _without_seed(run.params) != _without_seed(params):
        raise Busy(run)
    return run


def key_of(which: Which) -> str:
    """The key of the unfinished run, if there is one, that changes this queue."""
    return f"{KIND}:{f'project {which.project}' if which.project else f'team {which.team}'}"


def _without_seed(params: dict[str, Any]) -> str:
    how = {name: value for name, value in params["how"].items() if name not in ("seed", "newest")}
    return hashlib.sha256(json.dumps([params["which"], how], sort_keys=True).encode()).hexdigest()


# --- the work


def work(
    which: Which,
    how: How,
    place: Place = Place(),  # noqa: B008 - frozen
    *,
    writing: Callable[[], AbstractContextManager[Any]] = transaction.atomic,
    keep: Callable[[Place], None] = lambda place: None,
    tell: Callable[[Place], None] = lambda place: None,
) -> Place:
    """Walk the tasks there are now from `place` on. `keep` is called within each chunk's transaction, `tell` after it."""
    last = Task.objects.aggregate(top=Max("pk"))["top"] or 0
    while (end := _window_end(place.after, last)) is not None:
        ids = _matching(which, place.after, end)
        while True:
            started = time.monotonic()
            with writing():
                done, changed = _change(which, how, ids) if ids else ([], 0)
                left = sorted(set(ids) - set(done))
                # Rows of somebody else at this moment are looked at again, and so is the place.
                place = Place(place.after if left else end, place.changed + changed)
                keep(place)
            tell(place)
            time.sleep((time.monotonic() - started) * REST)
            if not left:
                break
            time.sleep(_TRY_AGAIN_S)
            ids = _matching(which, place.after, end, among=left)
    forget_places(which.project)
    return place


def count(which: Which, most: int | None = None) -> int:
    """How many tasks it means; counted up to `most`, for a page."""
    sql, values = _where(which)
    sql = f"SELECT 1 FROM annotation_task t {sql} LIMIT %(most)s"
    return int(_rows(f"SELECT count(*) FROM ({sql}) counted", {**values, "most": most})[0][0])


def _window_end(after: int, last: int) -> int | None:
    """CHUNK rows of the table further on, of whatever project: walking them all costs one pass, however few match."""
    return _rows(
        "SELECT max(id) FROM (SELECT id FROM annotation_task WHERE id > %(after)s AND id <= %(last)s"
        " ORDER BY id LIMIT %(chunk)s) following",
        {"after": after, "last": last, "chunk": CHUNK},
    )[0][0]


def _matching(which: Which, after: int, end: int, among: Collection[int] | None = None) -> list[int]:
    sql, values = _where(which)
    sql = f"SELECT t.id FROM annotation_task t {sql} AND t.id > %(after)s AND t.id <= %(end)s"
    if among is not None:
        sql += " AND t.id = ANY(%(among)s)"
    return [pk for (pk,) in _rows(sql, {**values, "after": after, "end": end, "among": list(among or ())})]


def _change(which: Which, how: How, ids: Sequence[int]) -> tuple[list[int], int]:
    """Those of the ids that we had the lock of, and how many of them were not so already."""
    sets = _SETS[how.rule]
    values = {
        "ids": list(ids), "priority": how.priority, "seed": how.seed, "newest": how.newest, "team": how.team,
        "unknown": UNKNOWN, "scores": json.dumps(_uncertainty(ids)) if how.rule == "unsure" else "",
    }  # fmt: skip
    [(done, changed)] = _rows(
        f"""
        WITH locked AS MATERIALIZED (
            SELECT t.id FROM annotation_task t
            WHERE t.id = ANY(%(ids)s) {"" if which.every_state else "AND t.is_open AND NOT t.is_gold"}
            ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED
        ), changed AS (
            UPDATE annotation_task t SET {", ".join(f"{name} = {value}" for name, value in sets.items())}
            FROM locked WHERE t.id = locked.id
              AND ({", ".join(f"t.{name}" for name in sets)}) IS DISTINCT FROM ({", ".join(sets.values())})
            RETURNING t.id
        )
        SELECT coalesce((SELECT array_agg(id) FROM locked), '{{}}'), (SELECT count(*) FROM changed)""",
        values,
    )
    return done, changed


def _uncertainty(tasks: Collection[int]) -> dict[int, float]:
    """By candidate: 1 where RFNet's two likeliest labels are as likely, 0 where one is certain."""
    candidates = Task.objects.filter(pk__in=tasks).values_list("candidate", flat=True)
    found = {}
    for candidate, verdict in assist.verdicts_to_show(set(candidates)).items():
        first, second = sorted(verdict["probs"], reverse=True)[:2]
        found[candidate] = 1 - (first - second)
    return found


def _where(which: Which) -> tuple[str, dict[str, Any]]:
    conditions, joins = [] if which.every_state else ["t.is_open", "NOT t.is_gold"], ""
    if which.category or which.generator or which.prompt:
        joins = "JOIN generation_candidate c ON c.id = t.candidate_id JOIN generation_product p ON p.id = c.product_id"
    wanted = {
        "t.project_id": which.project, "t.team_id": which.team, "p.category": which.category or None,
        "c.generator_id": which.generator, "c.prompt_id": which.prompt,
    }  # fmt: skip
    given = {name: value for name, value in wanted.items() if value is not None}
    conditions += [f"{name} = %({name[2:]})s" for name in given]
    if which.free:
        conditions.append("t.team_id IS NULL")
    return f"{joins} WHERE {' AND '.join(conditions or ['true'])}", {name[2:]: value for name, value in given.items()}


def _rows(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
