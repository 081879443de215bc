"""Two people, one row: whoever saves second sees what the first changed, and decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db import models

_SALT = "generation.edits"


@dataclass(frozen=True)
class Change:
    title: str
    was: str
    now: str


def version(row: models.Model, fields: Sequence[str]) -> str:
    """Another one once any of the fields has changed."""
    values = json.dumps({name: _value(row, name) for name in fields}, sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def seen(row: models.Model, fields: Sequence[str]) -> str:
    """What the form was filled with, signed; it goes with the form and comes back."""
    return signing.dumps({name: _value(row, name) for name in fields}, salt=_SALT, compress=True)


def changed_since(row: models.Model, fields: Sequence[str], token: str) -> list[Change]:
    """What another has changed since the form was opened. `row`: as it is now, locked."""
    if not token:
        return []
    try:
        before: dict[str, Any] = signing.loads(token, salt=_SALT)
    except signing.BadSignature:
        return []
    return [
        Change(_title(row, name), shown(before[name]), shown(_value(row, name)))
        for name in fields
        if name in before and before[name] != _value(row, name)
    ]


def seen_next(row: models.Model, fields: Sequence[str], came: str, changes: Sequence[Change]) -> str:
    """What goes with a form that is shown again. As it came, so that a form that was refused for anything else still tells
    what another has changed; anew where that has just been shown."""
    return came if came and not changes else seen(row, fields)


def _value(row: models.Model, name: str) -> Any:
    """Of rows that belong to it: what they are called."""
    if not row._meta.get_field(name).many_to_many:
        return getattr(row, name)
    return sorted(str(one) for one in getattr(row, name).all()) if row.pk else []


def _title(row: models.Model, name: str) -> str:
    return str(row._meta.get_field(name).verbose_name).capitalize()


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
