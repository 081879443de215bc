"""A full disk is no bug of ours: people get a sentence instead of "server error", and nothing half-written is kept."""

import errno
import os
from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

SENTENCE = "The disk of the server is full, so this could not be stored. Nothing was changed; tell the operator to free some space."


class FullDisk:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_full_disk(exception):
            return None
        if request.path.startswith("/api/"):
            return JsonResponse({"detail": SENTENCE}, status=507)
        return render(request, "507.html", {"message": SENTENCE}, status=507)


def is_full_disk(error: BaseException) -> bool:
    """Of files, of PostgreSQL's own, or of a library's own kind of error that only tells of it."""
    from psycopg.errors import DiskFull

    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    if isinstance(error, OperationalError) and isinstance(error.__cause__, DiskFull):
        return True
    return os.strerror(errno.ENOSPC) in str(error)
