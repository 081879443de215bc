"""Have dataset versions frozen, written and compared."""

from __future__ import annotations

import re
from typing import Any

from datasets_app.choosing import QUERY_KEYS, CannotFreeze, check_query, from_saved, preview, selected
from datasets_app.compare import totals
from datasets_app.freezing import NOTHING, freeze, picture_hashes, pseudonym, sample_id
from datasets_app.models import DatasetVersion
from runs.actions import start_run
from runs.models import Run

__all__ = [
    "QUERY_KEYS", "CannotFreeze", "check_query", "compare", "freeze", "from_saved", "picture_hashes", "preview",
    "pseudonym", "sample_id", "selected", "start_freeze", "start_verify",
]  # fmt: skip
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def start_freeze(name: str, query: dict[str, Any], *, user: Any = None) -> Run:
    """A run that freezes the samples of the filter as the next version of `name`, and writes it."""
    name = name.strip().lower()
    if not NAME.fullmatch(name):
        raise CannotFreeze(f"{name!r} can't be a dataset's name: use a-z, 0-9 and hyphens, at most 61 characters.")
    query = check_query(query)
    if not selected(query).exists():
        raise CannotFreeze(NOTHING.format(""))
    return start_run(
        "freeze",
        {"name": name, "query": query},
        title=f"Freeze and write {name}",
        user=user,
        key=f"freeze/{name}",
    )


def start_verify(version: DatasetVersion, *, pictures: bool = False, user: Any = None) -> Run:
    """A run that compares the version's files with its manifest; pictures: each of them, too."""
    return start_run(
        "verify_version", {"version": version.pk, "pictures": pictures}, title=f"Verify the files of {version}", user=user,
        key=f"verify/{version.pk}" + ("/pictures" if pictures else ""),
    )  # fmt: skip


def compare(old: DatasetVersion, new: DatasetVersion) -> dict[str, int]:
    """How many rows were added, removed, relabelled, moved between splits; datasets_app.compare says which."""
    return totals(old, new)
