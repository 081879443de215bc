"""Keyset pagination: newest first, by id. No page is counted, so the millionth costs what the first does."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from config.numbers import id_of


@dataclass(frozen=True)
class Page:
    rows: list[Any]
    # Address of the next page (the same filters), empty on the last one.
    more_url: str
    is_first: bool


def newest_first(request: HttpRequest, rows: QuerySet[Any], size: int) -> Page:
    """The page after ?before=ID."""
    before = id_of(request.GET.get("before", ""))
    is_first = before is None
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows.order_by("-pk")[: size + 1])
    more_url = ""
    if len(found) > size:
        found = found[:size]
        query = request.GET.copy()
        query["before"] = str(found[-1].pk)
        more_url = f"{request.path}?{query.urlencode()}"
    return Page(found, more_url, is_first)
