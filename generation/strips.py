"""The newest pictures of each prompt or generator of a page, so that one sees what it makes."""

from collections.abc import Iterable
from typing import Any

from django.db import connection

from generation.models import Candidate

LENGTH = 4
_NEWEST = """
SELECT wanted.id, newest.id FROM unnest(%(ids)s::bigint[]) AS wanted (id) CROSS JOIN LATERAL (
  SELECT id FROM generation_candidate WHERE {column} = wanted.id ORDER BY id DESC LIMIT %(length)s
) AS newest
"""
_COLUMNS = {"prompt": "prompt_id", "generator": "generator_id"}


def add_newest(rows: Iterable[Any], of: str, length: int = LENGTH) -> None:
    """Each row gets its `newest` candidates, the newest first; a few steps in an index each, however many there are."""
    rows = list(rows)
    with connection.cursor() as cursor:
        values = {"ids": [row.pk for row in rows], "length": length}
        cursor.execute(_NEWEST.format(column=_COLUMNS[of]), values)
        pairs = cursor.fetchall()
    found = Candidate.objects.select_related("product").in_bulk([pk for _, pk in pairs])
    for row in rows:
        row.newest = sorted(
            (found[pk] for owner, pk in pairs if owner == row.pk and pk in found), key=lambda one: -one.pk
        )
