"""A Label Studio server, through label-studio-sdk. The one module that needs the extra `labelstudio`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

from annotation import statements
from annotation.labelstudio import shape
from annotation.labelstudio.recording import Report, Way, record
from annotation.models import Project

AT_ONCE = 500  # tasks of a request
BYTES_AT_ONCE = 16 * 2**20  # Label Studio takes 200 MB; pictures in the tasks fill that quickly
_PAGE = 100


class RemoteError(Exception):
    """The server, or the way to it; the message says what to do."""


@dataclass(frozen=True)
class Pushed:
    project: int  # Label Studio's number
    made: bool
    tasks: int
    there: int  # were there already


def connect(address: str, token: str) -> Any:
    if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
        raise RemoteError(f"{address!r} is no address: it looks like http://localhost:8080.")
    try:
        from label_studio_sdk import LabelStudio
    except ImportError as error:
        raise RemoteError(
            "label-studio-sdk is not installed here. `make bridge` builds an environment that has it: then use "
            ".venv-bridge/bin/python manage.py labelstudio ..."
        ) from error
    return LabelStudio(base_url=address.rstrip("/"), api_key=token)


@contextmanager
def _sentences(address: str) -> Iterator[None]:
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        hints = {
            401: "It does not know this token. A legacy token must be allowed in its organisation's settings; "
            "a personal access token always works.",
            404: "It has no such project.",
        }
        said = error.body.get("detail", "") if isinstance(error.body, dict) else ""
        hint = hints.get(error.status_code or 0, str(said)[:300])
        raise RemoteError(f"Label Studio at {address} answered {error.status_code}. {hint}") from error
    except httpx.HTTPError as error:
        raise RemoteError(f"Label Studio at {address} can't be reached: {error}") from error


def _mark(project: Project) -> str:
    """How the description begins: by this a second push finds what the first made."""
    # Another installation has a project of this number, too, but none made in the same second.
    return f"Pushed from Adproof, project {project.pk} of {project.created_at:%Y-%m-%d %H:%M:%S}:"


def push(
    client: Any, address: str, project: Project, picture: shape.PictureAddress,
    remote: int | None = None, *, only_looks: bool = False, progress: Callable[[int], None] = lambda done: None,
) -> Pushed:  # fmt: skip
    """Put the open tasks that are not there yet into a Label Studio project, made if need be."""
    with _sentences(address), _one_at_a_time(project):
        if remote is None:
            remote = _made_before(client, project)
        made = remote is None
        there = set() if remote is None else _there(client, remote)
        if remote is None and not only_looks:
            remote = _create(client, project)
        sent, batch, size, known = 0, [], 0, 0
        for task in _open_tasks(project).iterator(chunk_size=AT_ONCE):
            if task.candidate.key in there:
                known += 1
                continue
            if only_looks:
                sent += 1
                continue
            batch.append(shape.task_data(task, project, picture))
            size += len(json.dumps(batch[-1]))
            if len(batch) >= AT_ONCE or size >= BYTES_AT_ONCE:
                client.projects.import_tasks(remote, request=batch)
                sent, batch, size = sent + len(batch), [], 0
                progress(sent)
        if batch:
            client.projects.import_tasks(remote, request=batch)
            sent += len(batch)
            progress(sent)
    return Pushed(remote or 0, made, sent, known)


@contextmanager
def _one_at_a_time(project: Project) -> Iterator[None]:
    """Two pushes beside each other would both find nothing there, and send everything twice."""
    key = [statements.PUSH_LOCK, project.pk]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
        if not cursor.fetchone()[0]:
            raise RemoteError(f"{project.name} is being pushed just now: wait until that has ended.")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _open_tasks(project: Project) -> Any:
    """Those that everybody may answer, in queue order."""
    tasks = project.tasks.open().filter(team=None, candidate__product__unsuitable=False)
    return tasks.select_related("candidate__product").order_by("-priority", "tie")


def _create(client: Any, project: Project) -> int:
    return client.projects.create(
        title=f"Adproof: {project.name}"[:50], description=f"{_mark(project)} {project.name}",
        label_config=shape.label_config(project), expert_instruction=shape.instructions(project), show_instruction=True,
        maximum_annotations=project.overlap, enable_empty_annotation=False,
    ).id  # fmt: skip


def _made_before(client: Any, project: Project) -> int | None:
    mark = _mark(project)
    return min((row.id for row in client.projects.list() if (row.description or "").startswith(mark)), default=None)


def _there(client: Any, remote: int) -> set[str]:
    client.projects.get(remote)
    rows = client.tasks.list(project=remote, page_size=_PAGE)
    keys = (row.meta.get(shape.CANDIDATE_KEY) for row in rows if isinstance(row.meta, dict))
    return {key for key in keys if isinstance(key, str)}


def pull(client: Any, project: Project, way: Way, remote: int | None = None) -> Report:
    """Bring the answers of a Label Studio project here. What was brought before changes nothing."""
    with _sentences(way.address):
        remote = remote if remote is not None else _made_before(client, project)
        if remote is None:
            raise RemoteError(
                f"{way.address} has no project that was pushed from {project.name}: name it by --ls-project."
            )
        client.projects.get(remote)
        way.people.known.update({row.id: row.email or "" for row in client.users.list()})
        return record(project, _rows(client, remote), way)


def people(client: Any, address: str) -> list[tuple[int, str]]:
    """Number and e-mail address of everybody there."""
    with _sentences(address):
        return sorted((row.id, row.email or "") for row in client.users.list())


def _rows(client: Any, remote: int) -> Iterator[Any]:
    rows = client.tasks.list(project=remote, page_size=_PAGE, fields="all", only_annotated=True)
    for row in rows:
        yield {"meta": row.meta, "data": row.data, "annotations": row.annotations or []}
