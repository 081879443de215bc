"""What the APIs of tasks and of pairs have in common: who may, how a body is read, how a refusal is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.request import Request

from accounts.permissions import May
from annotation import actions, serializers
from annotation.models import Project
from config.strict import S, read

REFUSED = OpenApiResponse(serializers.RefusedOut, description="Not yours, or can't be done; `detail` says why.")
AN_ID = "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a11"


class MayLabel(May):
    ability = "label"
    message = "Your role can't label. Ask an operator for it."

    def has_permission(self, request: Request, view: Any) -> bool:
        # A desk that was open when somebody else logged in must not send its person's answers as theirs.
        meant = request.headers.get("X-Desk-Person")
        if meant and request.user is not None and meant != str(request.user.pk):
            raise SomebodyElse
        return super().has_permission(request, view)


class SomebodyElse(APIException):
    status_code = 409
    default_code = "somebody_else"
    default_detail = "Somebody else is logged in here now. Log in again as yourself."


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except actions.Refused as error:
        raise PermissionDenied(str(error)) from error


def body(kind: type[S], request: Request) -> dict[str, Any]:
    return read(kind, request.data)


def project_of(asked: dict[str, Any]) -> Project:
    project = Project.objects.filter(pk=asked["project"]).first()
    if project is None:
        raise NotFound("There is no such project.")
    return project
