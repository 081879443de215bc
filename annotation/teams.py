"""Teams: people of one skill, or a few named ones. Tasks reserved for a team go to its members only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from accounts.models import User
from annotation.models import Project, Task, Team

COUNT_AT_MOST = 10_000
NAMED_AT_MOST = 12


class TeamInUse(ValueError):
    """Tasks are reserved for it; the message says what to do."""


@dataclass(frozen=True)
class Reserved:
    project: int
    name: str
    count: int  # of open tasks, up to COUNT_AT_MOST + 1


# Each count walks its own index and ends early, so that a page with it costs the same however long the queues are.
_RESERVED = """
    SELECT team.id, project.id, project.name, counted.n
    FROM annotation_team team CROSS JOIN annotation_project project CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (
            SELECT 1 FROM annotation_task t
            WHERE t.project_id = project.id AND t.team_id = team.id AND t.is_open LIMIT %(most)s
        ) head
    ) counted
    WHERE team.id = ANY(%(teams)s) AND (%(project)s::bigint IS NULL OR project.id = %(project)s) AND counted.n > 0
    ORDER BY project.id"""


def reserved(teams: Iterable[Team], project: Project | None = None) -> dict[int, list[Reserved]]:
    """By team: how many open tasks are reserved for it in which project (or in this one)."""
    found: dict[int, list[Reserved]] = {team.pk: [] for team in teams}
    with connection.cursor() as cursor:
        cursor.execute(_RESERVED, {"teams": list(found), "most": COUNT_AT_MOST + 1, "project": project.pk if project else None})
        for team, project, name, count in cursor.fetchall():
            found[team].append(Reserved(project, name, count))
    return found


def team_of(people: Collection[User]) -> Team:
    """The team of exactly these people, made at the first time. Raises ValueError for none or too many."""
    ids = sorted({person.pk for person in people})
    if not 1 <= len(ids) <= NAMED_AT_MOST:
        raise ValueError(f"Name 1 to {NAMED_AT_MOST} people; for more, make a team.")
    key = ",".join(map(str, ids))
    with transaction.atomic():
        team, made = Team.objects.get_or_create(people_key=key, defaults={"name": _free_name(people, key)})
        if made:
            team.members.set(ids)
    return team


def _free_name(people: Iterable[User], key: str) -> str:
    name = ", ".join(sorted(str(person) for person in people))
    name = name if len(name) <= 90 else f"{name[:89]}…"
    return f"{name} ({key})"[:120] if Team.objects.filter(name=name).exists() else name


def set_members(team: Team, people: Collection[User]) -> None:
    """Raises ValueError for a team made for named people: others may count on who is in it."""
    if team.people_key is not None and {person.pk for person in people} != set(team.members.values_list("pk", flat=True)):
        raise ValueError("This team was made for just these people: make another one.")
    team.members.set(people)


def delete(team: Team) -> None:
    """Raises TeamInUse while any task, finished or not, is reserved for it."""
    with transaction.atomic():
        # Whoever reserves tasks for it meanwhile waits for this lock, and then finds no team.
        if not Team.objects.select_for_update().filter(pk=team.pk).exists():
            return
        tasks: Any = Task.objects.filter(team=team)
        if tasks.filter(is_open=True).exists():
            raise TeamInUse("Open tasks are reserved for it: set them free first, or reserve them for others.")
        if tasks.exists():
            raise TeamInUse("Finished tasks are reserved for it: set its tasks free first.")
        Team.objects.filter(pk=team.pk).delete()
