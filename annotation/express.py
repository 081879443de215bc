"""The two calls of every label, take tasks and send answers, without the layers that they do not need.

Only what is plain is answered here: a person's token, known fields with good values, no details, no verdict. Everything
else (a session, a mistake, somebody who may not) goes on to annotation.api, unchanged, which has the sentences. What is
answered here is what it would have answered; tests/test_express.py holds them against each other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.roles import may
from adproof.labels import LABELS
from annotation import payload, prepared, statements
from annotation.answers import Answer, Proof, Unproven, save_annotations
from annotation.models import Project
from annotation.serializers import DAY_S, MAX_ANSWERS, MAX_LEASE, VIEWS
from config.numbers import MAX_ID

_LOG = logging.getLogger(__name__)
_SCHEME = "Token "
_LABELS = {**{name: number for number, name in enumerate(LABELS)}, **{number: number for number in range(len(LABELS))}}
_PLAIN = {"id", "task", "label", "seconds", "view", "guidelines"}
_NEEDED = {"id", "task", "label", "seconds"}


@dataclass(frozen=True)
class Person:
    """As much of an account as these calls ask for."""

    pk: int
    role: str
    is_active: bool
    is_superuser: bool
    is_authenticated: bool = True


# Whose token it is; whether it still is, and what they may do, is asked with every call.
_people: dict[str, int] = {}
_PEOPLE_KEPT = 10_000


class Express:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        call = _CALLS.get(request.path_info)
        if call is not None and request.method == "POST":
            try:
                found = _answer(call, request)
            except (Error, OSError, Unproven) as error:
                # Nothing was stored, and both calls may be made again: the long way says what is wrong.
                _LOG.info("%s the long way: %s", request.path_info, error)
                found = None
            if found is not None:
                return _response(json.dumps(found).encode())
        return self.get_response(request)


def _response(body: bytes) -> HttpResponse:
    headers = {"Content-Length": str(len(body)), "X-Content-Type-Options": "nosniff"}
    return HttpResponse(body, content_type="application/json", headers=headers)


def _answer(
    call: Callable[[str, HttpRequest, Any], dict[str, Any] | None], request: HttpRequest
) -> dict[str, Any] | None:
    scheme = request.META.get("HTTP_AUTHORIZATION", "")
    if not scheme.startswith(_SCHEME) or request.META.get("CONTENT_TYPE") != "application/json":
        return None
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    return call(scheme.removeprefix(_SCHEME), request, body) if isinstance(body, dict) else None


def _lease(token: str, request: HttpRequest, body: dict[str, Any]) -> dict[str, Any] | None:
    number, count = body.get("project"), body.get("count", 10)
    if not body.keys() <= {"project", "count"} or not _whole(number, 1, MAX_ID) or not _whole(count, 1, MAX_LEASE):
        return None
    person = _who(token)
    if not _may_label(person, request):
        return None
    project = Project.objects.filter(pk=number).first()
    if project is None or project.assists:
        return None
    return payload.lease(person, project, count, timezone.now(), None, token=True)


def _annotations(token: str, request: HttpRequest, body: dict[str, Any]) -> dict[str, Any] | None:
    given, project = body.get("annotations"), body.get("project")
    if not body.keys() <= {"annotations", "project"} or not isinstance(given, list):
        return None
    if not 1 <= len(given) <= MAX_ANSWERS or ("project" in body and not _whole(project, 1, MAX_ID)):
        return None
    answers = [_plain(one) for one in given]
    if None in answers:
        return None
    number = _people.get(token) or getattr(_who(token), "pk", None)
    if number is None:
        return None

    def holds(rows: prepared.Rows) -> bool:
        person = _person(rows)
        return person is not None and person.pk == number and _may_label(person, request)

    proof = Proof(statements.WHO, {"token": token}, holds)
    meant = Person(number, "", True, False)
    return payload.results(save_annotations(meant, answers, project_id=project, proof=proof))


def _who(token: str) -> Person | None:
    [rows] = prepared.run(statements.WHO, values={"token": token})
    person = _person(rows)
    if person:
        if len(_people) >= _PEOPLE_KEPT:
            _people.clear()
        _people[token] = person.pk
    return person


def _person(rows: prepared.Rows) -> Person | None:
    return Person(*rows[0]) if rows else None


def _may_label(person: Person | None, request: HttpRequest) -> bool:
    meant = request.META.get("HTTP_X_DESK_PERSON")
    return person is not None and may(person, "label") and (not meant or meant == str(person.pk))


def _plain(given: Any) -> Answer | None:
    if not isinstance(given, dict) or not _NEEDED <= given.keys() <= _PLAIN:
        return None
    label, seconds, guidelines = given["label"], given["seconds"], given.get("guidelines")
    plain = (
        type(given["id"]) is str and len(given["id"]) == 36
        and _whole(given["task"], 1, MAX_ID)
        and type(label) in (int, str) and label in _LABELS
        and type(seconds) in (int, float) and 0 <= seconds <= DAY_S
        and given.get("view", VIEWS[0]) in VIEWS
        and ("guidelines" not in given or _whole(guidelines, 1, 2**31 - 1))
    )  # fmt: skip
    if not plain:
        return None
    try:
        number = UUID(given["id"])
    except ValueError:
        return None
    view = given.get("view", VIEWS[0])
    return Answer(number, given["task"], _LABELS[label], float(seconds), view, guidelines=guidelines)


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


_CALLS = {"/api/v1/desk/lease": _lease, "/api/v1/desk/annotations": _annotations}
