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
    found, last = older_than(rows, before, size)
    more_url = ""
    if last is not None:
        query = request.GET.copy()
        query["before"] = str(last)
        more_url = f"{request.path}?{query.urlencode()}"
    return Page(found, more_url, is_first=before is None)


def older_than(rows: QuerySet[Any], before: int | None, count: int, by: str = "pk") -> tuple[list[Any], int | None]:
    """A page of an API's list, and what to send as `before` for the next one; None: this is the last.

    `by`: the column of ids that it is ordered by.
    """
    if before is not None:
        rows = rows.filter(**{f"{by}__lt": before})
    found = list(rows.order_by(f"-{by}")[: count + 1])
    return found[:count], getattr(found[count - 1], by) if len(found) > count else None
