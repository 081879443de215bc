"""How many tasks wait for somebody, over all projects: read from the heads of the queues, as the desk reads them."""

from __future__ import annotations

from typing import Any

from django.db import connection

# From where this person's tasks begin, as the desk keeps it; so much of a queue is looked at, whatever its length.
WINDOW = 2000
_RANK = "(t.priority * -1)"
_WAITING = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM annotation_project project
        LEFT JOIN annotation_queueplace place ON place.project_id = project.id AND place.annotator_id = %(person)s
        CROSS JOIN LATERAL (
            (SELECT t.id FROM annotation_task t
             WHERE t.project_id = project.id AND t.is_open AND t.team_id IS NULL
               AND ({_RANK}, t.tie) >= (coalesce(place.rank, '-infinity'::float8), coalesce(place.tie, '-infinity'::float8))
             ORDER BY {_RANK}, t.tie LIMIT {WINDOW})
            UNION ALL
            (SELECT head.id FROM annotation_team_members member CROSS JOIN LATERAL (
                SELECT t.id FROM annotation_task t
                WHERE t.project_id = project.id AND t.is_open AND t.team_id = member.team_id
                ORDER BY {_RANK}, t.tie LIMIT {WINDOW}
             ) head WHERE member.user_id = %(person)s)
        ) heads
        WHERE NOT project.is_paused
          AND NOT EXISTS (SELECT 1 FROM annotation_slot s WHERE s.task_id = heads.id AND s.annotator_id = %(person)s)
          AND NOT EXISTS (SELECT 1 FROM annotation_skip k WHERE k.task_id = heads.id AND k.annotator_id = %(person)s)
        LIMIT %(most)s
    ) counted"""


def waiting_for(user: Any, most: int) -> int:
    """Open tasks that this person has not had yet and may take; counted up to `most`."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"person": user.pk, "most": most})
        return int(cursor.fetchone()[0])
