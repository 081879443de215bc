"""What an API takes: anything it does not know is refused with a sentence, never ignored."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound

from config.numbers import MAX_ID


class Strict(serializers.Serializer):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(
                    {name[:60]: [f"Unknown field. Known: {', '.join(self.fields)}."] for name in map(str, unknown)}
                )
        return super().to_internal_value(data)


class NothingIn(Strict):
    """An empty object."""


# What a list says of the page after this one.
NEXT = "Send it as `before` for the next page; null: this is the last."


class PageIn(Strict):
    """Which page of a list that shows the newest first (config.paging.older_than)."""

    before = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="`next` of the page before."
    )
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200, help_text="So many on a page.")


S = TypeVar("S", bound=Strict)
M = TypeVar("M", bound=Model)


def read(kind: type[S], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def named(rows: QuerySet[M], pk: int, what: str, by: str = "pk") -> M:
    """The row that an address names; 404 and a sentence where there is none. A number may be too large for an id."""
    found = rows.filter(**{by: pk}).first() if pk <= MAX_ID else None
    if found is None:
        raise NotFound(f"There is no such {what}.")
    return found
