"""Runs of this station. Started by annotation.quality; the work itself is plain functions there."""

from __future__ import annotations

from typing import Any

from annotation import quality
from runs.clock import regularly
from runs.context import RunContext
from runs.kinds import kind


@kind("fit_consensus", title="Refit the consensus", queue="light")
def fit_consensus(ctx: RunContext) -> dict[str, Any]:
    return quality.fit(ctx.writing, ctx.progress)


@regularly(seconds=60)
def refit_when_due() -> None:
    quality.fit_if_due()
