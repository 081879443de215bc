"""While PostgreSQL is away (restarted, unplugged) people get a sentence and come back by themselves."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

SENTENCE = "The database is away for a moment: try again in some seconds. What you just sent may not be stored."
RETRY_AFTER_S = 2
# Classes of SQLSTATE: connection exception; operator intervention (shutdown, crash, starting up); too many connections.
_STATES = ("08", "57P", "53300")
logger = logging.getLogger(__name__)


class DatabaseAway:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: BaseException) -> HttpResponse | None:
        return sorry(request, exception) if is_away(exception) else None


def sorry(request: HttpRequest, exception: BaseException) -> HttpResponse:
    lines = str(exception).strip().splitlines()
    logger.warning("%s %s: the database is away (%s)", request.method, request.path, lines[0] if lines else "no answer")
    if request.path.startswith("/api/"):
        response: HttpResponse = JsonResponse({"detail": SENTENCE}, status=503)
    else:
        # Without the request: whose page it is stands in the database.
        context = {"message": SENTENCE, "again_s": RETRY_AFTER_S, "is_read": request.method == "GET"}
        response = HttpResponse(render_to_string("503.html", context), status=503)
    response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def is_away(error: BaseException | None) -> bool:
    """The connection broke or can't be made; a statement that failed by itself is no such thing."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(_STATES)
