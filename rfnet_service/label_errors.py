"""Label-error candidates of a dataset version: confident learning on RFNet's verdicts on what it never learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db import connection, transaction

from adproof.aggregation.confident_learning import find_label_errors
from datasets_app.kept import run_of
from datasets_app.models import DatasetVersion
from rfnet_service.models import Checkpoint
from runs.actions import start_run
from runs.models import Run

KIND = "find_label_errors"
MOST_KEPT = 2_000
# Products of which RFNet has learnt are left out, not only the very candidates. Validation and test samples stay: they
# chose when to stop and the temperature, and no weight was learnt from them.
_SQL = """
    SELECT r.candidate_id, r.label, (v.probs ->> 0)::float8, (v.probs ->> 1)::float8, (v.probs ->> 2)::float8,
           (v.probs ->> 3)::float8, (v.probs ->> 4)::float8
    FROM datasets_app_versionrow r
    JOIN rfnet_service_verdict v ON v.candidate_id = r.candidate_id AND v.checkpoint_id = %(checkpoint)s
    JOIN generation_candidate c ON c.id = r.candidate_id
    LEFT JOIN (
        SELECT DISTINCT learnt.product_id FROM datasets_app_versionrow t JOIN generation_candidate learnt
        ON learnt.id = t.candidate_id WHERE t.version_id = %(trained_on)s AND t.split = 'train'
    ) seen ON seen.product_id = c.product_id
    WHERE r.version_id = %(version)s AND seen.product_id IS NULL
    ORDER BY r.candidate_id
"""
_ROW = [("candidate", "i8"), ("label", "i8"), ("probs", "f8", (5,))]


class CannotLook(ValueError):
    """The sentence says what is missing."""


def judges(version: DatasetVersion) -> list[Checkpoint]:
    """RFNets whose verdicts may be asked: with a known past, the one in use first."""
    return list(Checkpoint.objects.exclude(dataset_version=None).order_by("-is_promoted", "-pk")[:20])


def start(version: DatasetVersion, user: Any = None) -> Run:
    found = judges(version)
    if not found:
        raise CannotLook("There is no RFNet of which it is known what it learnt from: train one on a version first.")
    checkpoint = found[0]
    return start_run(
        KIND, {"version": version.pk, "checkpoint": checkpoint.pk}, title=f"Look for label errors in {version}",
        user=user, key=f"label-errors/{version.pk}",
    )  # fmt: skip


def newest(version: DatasetVersion) -> tuple[Run | None, Run | None]:
    """(the newest run that found what it looked for, the newest of all)."""
    runs = Run.objects.filter(kind=KIND, params__version=version.pk)
    return runs.filter(state=Run.State.SUCCEEDED).last(), run_of(KIND, version=version.pk)


def look(version: DatasetVersion, checkpoint: Checkpoint) -> dict[str, Any]:
    """JSON values: how many were judged and found, the thresholds, the joint, and the MOST_KEPT worst as
    [candidate, label, guess, self-confidence, probability of the guess]."""
    table = judged(version, checkpoint)
    if not table.size:
        raise CannotLook(
            f"{checkpoint} has judged no sample of {version} that it did not learn from: let it judge the candidates first."
        )
    probs = table["probs"] / table["probs"].sum(axis=1, keepdims=True)
    found = find_label_errors(table["label"], probs)
    worst = found.rows[:MOST_KEPT]
    return {
        "checkpoint": checkpoint.pk, "checkpoint_name": str(checkpoint), "judged": int(table.size), "samples": version.row_count,
        "found": int(found.rows.size), "estimated": round(found.estimated, 1),
        "thresholds": [None if np.isnan(value) else round(float(value), 4) for value in found.thresholds],
        "joint": [[round(float(value), 1) for value in row] for row in found.joint],
        "worst": [
            [int(table["candidate"][row]), int(table["label"][row]), int(guess), round(float(own), 4),
             round(float(probs[row, guess]), 4)]
            for row, guess, own in zip(worst, found.guesses, found.self_confidence, strict=False)
        ],
    }  # fmt: skip


def judged(version: DatasetVersion, checkpoint: Checkpoint) -> Any:
    """A numpy table of candidate, label, probs; a few dozen bytes a row whatever the version's size."""
    values = {"version": version.pk, "checkpoint": checkpoint.pk, "trained_on": checkpoint.dataset_version_id or 0}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        # A pass over all of it, to the end. PostgreSQL expects one row to be left of the products that were not learnt from,
        # and would look through a million verdicts for each of many.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
        cursor.execute(f"DECLARE judged NO SCROLL CURSOR FOR {_SQL}", values)
        parts = []
        while True:
            cursor.execute("FETCH 20000 FROM judged")
            rows = cursor.fetchall()
            if not rows:
                break
            parts.append(np.array([(row[0], row[1], row[2:]) for row in rows], dtype=_ROW))
    return np.concatenate(parts) if parts else np.empty(0, dtype=_ROW)
