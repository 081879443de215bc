"""What a person at the desk is told about their own work: today's count, pace, agreement with others, known pictures.

Every figure comes from a bounded number of rows, however much somebody has labelled. None tells more than it says:
agreement and known pictures are of whole hours that are over, so that taking an answer back and giving another one
shows nobody what others said; of known pictures there is only a share, after twenty of them and in steps of ten.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

PACE_OF = 50  # the newest answers
AGREEMENT_OF = 500
AGREEMENT_FROM = 30
GOLD_OF = 2000  # known pictures looked at, the newest
GOLD_FROM = 20
GOLD_STEP = 10

_TODAY = """
    SELECT (SELECT count(*) FROM annotation_annotation
            WHERE annotator_id = %(person)s AND created_at >= %(since)s AND state <> 'undone'),
        (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FROM (
            SELECT seconds FROM annotation_annotation WHERE annotator_id = %(person)s AND state <> 'undone'
            ORDER BY created_at DESC LIMIT %(pace_of)s) newest)"""

# Of candidates with answers of others as well and all that they need. Known ones are left out: they are told apart.
_AGREEMENT = """
    SELECT count(*), count(*) FILTER (WHERE newest.label = c.label) FROM (
        SELECT candidate_id, task_id, label FROM annotation_annotation
        WHERE annotator_id = %(person)s AND state = 'standing' AND created_at < %(hour)s
        ORDER BY created_at DESC LIMIT %(agreement_of)s
    ) newest
    JOIN annotation_consensus c ON c.candidate_id = newest.candidate_id
    JOIN annotation_task t ON t.id = newest.task_id
    WHERE c.annotation_count > 1 AND c.is_complete AND NOT t.is_gold"""

# As they stood when the hour began: what was taken back since then counts, what was given since then does not.
# LATERAL: each known picture costs one look into the index of standing answers, however many answers there are.
_GOLD = """
    WITH known AS (SELECT id, task_id, label FROM annotation_gold ORDER BY id DESC LIMIT %(gold_of)s)
    SELECT is_right FROM (
        SELECT a.created_at, g.id, a.label = g.label AS is_right FROM known g CROSS JOIN LATERAL (
            SELECT label, created_at FROM annotation_annotation
            WHERE task_id = g.task_id AND annotator_id = %(person)s AND state = 'standing' LIMIT 1
        ) a WHERE a.created_at < %(hour)s
        UNION ALL
        SELECT newest.created_at, g.id, newest.label = g.label FROM (
            SELECT task_id, label, created_at, undone_at, state FROM annotation_annotation
            WHERE annotator_id = %(person)s AND created_at < %(hour)s ORDER BY created_at DESC LIMIT %(gold_of)s
        ) newest JOIN known g ON g.task_id = newest.task_id
        WHERE newest.state = 'undone' AND newest.undone_at >= %(hour)s
    ) answered ORDER BY created_at, id"""


def own_figures(person: int, since: datetime, now: datetime | None = None) -> dict[str, Any]:
    """since: when their day began."""
    hour = (now or timezone.now()).replace(minute=0, second=0, microsecond=0)
    values = {
        "person": person, "since": since, "hour": hour, "pace_of": PACE_OF, "agreement_of": AGREEMENT_OF,
        "gold_of": GOLD_OF,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_TODAY, values)
        today, pace = cursor.fetchone()
        cursor.execute(_AGREEMENT, values)
        judged, agreeing = cursor.fetchone()
        cursor.execute(_GOLD, values)
        known = [right for (right,) in cursor.fetchall()]
    return {
        "done_today": today,
        "median_seconds": None if pace is None else round(pace, 1),
        "agreement": _share(agreeing, judged) if judged >= AGREEMENT_FROM else None,
        "known": _in_steps(known),
    }


def _in_steps(known: list[bool]) -> dict[str, Any] | None:
    whole = known[: len(known) // GOLD_STEP * GOLD_STEP]
    return _share(sum(whole), len(whole)) if len(whole) >= GOLD_FROM else None


def _share(part: int, whole: int) -> dict[str, Any]:
    return {"share": round(part / whole, 2), "of": whole}
