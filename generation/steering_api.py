"""What the APIs of drawing and of cutting out have in common: a run is paused, resumed and stopped over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework.request import Request

from config.strict import NothingIn, read
from runs.models import Run
from runs.steering import refuse_others

JUST_SO = [OpenApiExample("Just so", value={}, request_only=True)]


def steer(request: Request, run: Run, do: Callable[[Run], Any]) -> None:
    read(NothingIn, request.data)
    refuse_others(request.user, run)
    do(run)


def steering(tag: str, told: type) -> dict[str, Any]:
    """What extend_schema says of every such endpoint: no body, and the run as it is after."""
    return {"tags": [tag], "request": NothingIn, "responses": told, "examples": JUST_SO}
