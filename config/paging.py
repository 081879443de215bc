"""Keyset pagination: newest first, by id. No page is counted, so the millionth costs what the first does."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest


@dataclass(frozen=True)
class Page:
    rows: list[Any]
    # Address of the next page (the same filters), empty on the last one.
    more_url: str
    is_first: bool


def newest_first(request: HttpRequest, rows: QuerySet[Any], size: int) -> Page:
    """The page after ?before=ID."""
    before = request.GET.get("before", "")
    is_first = not (before.isdecimal() and len(before) < 19)
    if not is_first:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: size + 1])
    more_url = ""
    if len(found) > size:
        found = found[:size]
        query = request.GET.copy()
        query["before"] = str(found[-1].pk)
        more_url = f"{request.path}?{query.urlencode()}"
    return Page(found, more_url, is_first)
