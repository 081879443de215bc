"""Figures about versions that take a large one seconds: a run finds them once, and its result is what is kept.

Versions never change, so neither do the figures. Of a small version (or two) they are counted when they are asked for.
"""

from __future__ import annotations

from typing import Any

from datasets_app.models import DatasetVersion
from runs.actions import start_run
from runs.models import Run

AT_ONCE = 20_000  # rows that a page may wait for
COMPARE, DESCRIBE = "compare_versions", "describe_version"


def run_of(kind: str, **params: Any) -> Run | None:
    """The newest run of this kind about these versions."""
    return Run.objects.filter(kind=kind, **{f"params__{name}": value for name, value in params.items()}).last()


def comparison(old: DatasetVersion, new: DatasetVersion) -> tuple[dict[str, Any] | None, Run | None]:
    """datasets_app.compare.summary of the two, or None and the newest run that looks (or failed), if there is one."""
    from datasets_app.compare import summary

    if old.row_count + new.row_count <= AT_ONCE:
        return summary(old, new), None
    run = run_of(COMPARE, old=old.pk, new=new.pk)
    return (run.result, run) if run is not None and run.state == Run.State.SUCCEEDED else (None, run)


def start_comparison(old: DatasetVersion, new: DatasetVersion, user: Any = None) -> Run:
    return start_run(
        COMPARE, {"old": old.pk, "new": new.pk}, title=f"Compare {new} with {old}", user=user,
        key=f"compare/{old.pk}/{new.pk}",
    )  # fmt: skip


def description(version: DatasetVersion) -> tuple[dict[str, Any] | None, Run | None]:
    """datasets_app.statistics.describe of the version, or None and the newest run that looks (or failed)."""
    from datasets_app.statistics import describe

    if version.row_count <= AT_ONCE:
        return describe(version), None
    run = run_of(DESCRIBE, version=version.pk)
    return (run.result, run) if run is not None and run.state == Run.State.SUCCEEDED else (None, run)


def start_description(version: DatasetVersion, user: Any = None) -> Run:
    return start_run(
        DESCRIBE, {"version": version.pk}, title=f"Count what is in {version}", user=user, key=f"describe/{version.pk}"
    )


def start_all(version: DatasetVersion, user: Any = None) -> None:
    """What the pages of a new version will ask for, if it is too large to be counted while somebody waits."""
    if version.row_count > AT_ONCE:
        start_description(version, user)
    if version.parent is not None and version.parent.row_count + version.row_count > AT_ONCE:
        start_comparison(version.parent, version, user)
