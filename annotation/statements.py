"""The few SQL statements on the path of every label, written out so that a call costs a fixed, small number of them.

Order of locks, everywhere: the person (advisory), then candidates by id, then slots by id. So nothing deadlocks, and
two calls of one person, or two answers on one candidate, come one after the other.
"""

from functools import cache

# First key of the advisory locks, so that ours differ from anybody else's in this database.
PERSON_LOCK = 0x0AD9
PUSH_LOCK = 0x0ADA  # of a project to Label Studio

# The types of all values by their names, for preparing (prepared.py).
TYPES = {
    "person": "bigint", "project": "bigint", "lock": "bigint", "token": "text", "count": "bigint", "rank": "float8",
    "tie": "float8", "now": "timestamptz", "until": "timestamptz", "fresh": "timestamptz", "since": "timestamptz",
    "tasks": "bigint[]", "ids": "uuid[]", "slots": "bigint[]", "closing": "bigint[]", "raising": "bigint[]",
    "candidates": "bigint[]", "labels": "smallint[]", "seconds": "float8[]", "states": "text[]", "guidelines": "int[]",
    "shown": "text[]", "details": "text[]", "c_candidates": "bigint[]", "c_labels": "smallint[]",
    "c_posteriors": "text[]", "c_methods": "text[]", "c_votes": "smallint[]", "c_agreements": "float8[]",
    "c_complete": "boolean[]", "c_activelab": "float8[]", "c_crowdlab": "float8[]",
}  # fmt: skip

WHO = """
    SELECT u.id, u.role, u.is_active, u.is_superuser FROM authtoken_token k JOIN accounts_user u ON u.id = k.user_id
    WHERE k.key = %(token)s"""

# The candidate is theirs to look at, unless somebody else's look has not lapsed.
LOOK = """
    INSERT INTO annotation_look (candidate_id, reviewer_id, at) VALUES (%(candidate)s, %(reviewer)s, %(now)s)
    ON CONFLICT (candidate_id) DO UPDATE SET reviewer_id = EXCLUDED.reviewer_id, at = EXCLUDED.at
    WHERE annotation_look.reviewer_id = EXCLUDED.reviewer_id OR annotation_look.at < %(lapsed)s"""

LOCK_PERSON = "SELECT pg_advisory_xact_lock(%(lock)s::int, %(person)s::int)"

# A slot this person may take: not filled, free or lapsed, and no other slot of the task is theirs.
_TAKEABLE = """
    s.task_id = t.id AND NOT s.is_filled AND (s.lease_until IS NULL OR s.lease_until < %(now)s)
    AND NOT EXISTS (
        SELECT 1 FROM annotation_slot mine
        WHERE mine.task_id = t.id AND mine.annotator_id = %(person)s AND mine.id <> s.id
    )"""

# The order of the queue, as its indexes have it: (rank, tie), both rising.
_RANK = "(t.priority * -1)"

# LATERAL with LIMIT 1 and not EXISTS: that one may become a hash over all slots, however few tasks are wanted.
_WANTED = f"""
    FROM annotation_task t
    JOIN generation_candidate c ON c.id = t.candidate_id
    JOIN generation_product p ON p.id = c.product_id
    CROSS JOIN LATERAL (SELECT 1 FROM annotation_slot s WHERE {_TAKEABLE} LIMIT 1) takeable
    WHERE t.project_id = %(project)s AND t.is_open AND NOT p.unsuitable
      AND NOT EXISTS (SELECT 1 FROM annotation_skip k WHERE k.task_id = t.id AND k.annotator_id = %(person)s)"""


def _heads(window: int, after: str = "") -> str:
    """The heads of the queues that this person may take from: everybody's, and that of each of their teams. Each is
    read in the order of its own index, so a million tasks reserved for others cost nothing."""
    return f"""
    (SELECT t.id, {_RANK} AS rank, t.tie, t.team_id {_WANTED} AND t.team_id IS NULL {after}
     ORDER BY {_RANK}, t.tie LIMIT {window})
    UNION ALL
    (SELECT head.* FROM annotation_team_members member CROSS JOIN LATERAL (
        SELECT t.id, {_RANK} AS rank, t.tie, t.team_id {_WANTED} AND t.team_id = member.team_id
        ORDER BY {_RANK}, t.tie LIMIT {window}
     ) head WHERE member.user_id = %(person)s)"""


_AFTER = f"AND ({_RANK}, t.tie) >= (%(rank)s::float8, %(tie)s::float8)"
PASSED_AT_MOST = 200


@cache
def lease(window: int) -> str:
    """`wanted` reads the head of the queue, from the person's place in it, without a lock; only then are slots locked,
    one of each task, in queue order, and no more than asked for. (Locking while sorting could lock the whole queue.)

    The window stands in the text: a plan for any LIMIT is no walk along the index. Returns one row: tasks seen, slots
    taken, where the first task of everybody's queue was (rank, tie), and how many open tasks were passed before it.
    """
    return f"""
    WITH heads AS MATERIALIZED ({_heads(window, _AFTER)}), wanted AS MATERIALIZED (
        SELECT id, rank, tie FROM heads ORDER BY rank, tie LIMIT {window}
    ), locked AS MATERIALIZED (
        SELECT s.id, s.task_id FROM wanted t CROSS JOIN LATERAL (
            SELECT s.id, s.task_id FROM annotation_slot s WHERE {_TAKEABLE}
            ORDER BY s.number LIMIT 1 FOR UPDATE SKIP LOCKED
        ) s LIMIT %(count)s
    ), taken AS (
        UPDATE annotation_slot s SET annotator_id = %(person)s, lease_until = %(until)s
        FROM locked WHERE s.id = locked.id RETURNING s.id
    ), handed AS (
        INSERT INTO annotation_handout (task_id, annotator_id, first_at)
        SELECT task_id, %(person)s, %(now)s FROM locked ON CONFLICT DO NOTHING
    ), first AS MATERIALIZED (
        SELECT rank, tie FROM heads WHERE team_id IS NULL ORDER BY rank, tie LIMIT 1
    )
    SELECT (SELECT count(*) FROM wanted), (SELECT coalesce(array_agg(id), '{{}}') FROM taken),
        (SELECT rank FROM first), (SELECT tie FROM first),
        (SELECT count(*) FROM (
            SELECT 1 FROM annotation_task t
            WHERE t.project_id = %(project)s AND t.is_open AND t.team_id IS NULL {_AFTER}
              AND ({_RANK}, t.tie) < ((SELECT rank FROM first), (SELECT tie FROM first))
            LIMIT {PASSED_AT_MOST}
         ) passed)"""


# Where this person's tasks begin, unless something more urgent has come since, or it is too long ago.
READ_PLACE = f"""
    SELECT place.rank, place.tie FROM annotation_queueplace place
    WHERE place.annotator_id = %(person)s AND place.project_id = %(project)s AND place.set_at > %(fresh)s
      AND place.head_rank <= (
        SELECT {_RANK} FROM annotation_task t WHERE t.project_id = %(project)s AND t.is_open AND t.team_id IS NULL
        ORDER BY {_RANK}, t.tie LIMIT 1
      )"""

KEEP_PLACE = f"""
    INSERT INTO annotation_queueplace (annotator_id, project_id, head_rank, rank, tie, set_at)
    SELECT %(person)s, %(project)s, {_RANK}, %(rank)s::float8, %(tie)s::float8, %(now)s
    FROM annotation_task t WHERE t.project_id = %(project)s AND t.is_open AND t.team_id IS NULL
    ORDER BY {_RANK}, t.tie LIMIT 1
    ON CONFLICT (annotator_id, project_id) DO UPDATE SET
        head_rank = excluded.head_rank, rank = excluded.rank, tie = excluded.tie, set_at = excluded.set_at"""

# What is told stays for a while, in every web process alike; of two that tell it anew at once the first one counts.
TELL_LEFT = """
    WITH fresh AS (
        SELECT told FROM annotation_lefttold
        WHERE annotator_id = %(person)s AND project_id = %(project)s AND told_at > %(since)s
    ), anew AS (
        INSERT INTO annotation_lefttold (annotator_id, project_id, told, told_at)
        SELECT %(person)s, %(project)s, %(count)s, %(now)s WHERE NOT EXISTS (SELECT FROM fresh)
        ON CONFLICT (annotator_id, project_id) DO UPDATE SET
            told = CASE WHEN annotation_lefttold.told_at > %(since)s THEN annotation_lefttold.told ELSE excluded.told END,
            told_at = greatest(annotation_lefttold.told_at, excluded.told_at)
        RETURNING told
    )
    SELECT told FROM fresh UNION ALL SELECT told FROM anew"""

COUNT_DONE = """
    SELECT count(*) FROM annotation_annotation
    WHERE annotator_id = %(person)s AND created_at >= %(since)s AND state <> 'undone'"""

# What the desk shows of slots, in the order of the queue.
READ_LEASED = f"""
    SELECT s.id, s.task_id, t.candidate_id, s.lease_until, c.image_sha256, c.depth_sha256, c.saliency_sha256,
        c.image_scale, c.prompt_text, p.id, p.title, p.description, p.image_sha256, b.comment
    FROM annotation_slot s
    JOIN annotation_task t ON t.id = s.task_id
    JOIN generation_candidate c ON c.id = t.candidate_id
    JOIN generation_product p ON p.id = c.product_id
    LEFT JOIN annotation_sentback b
        ON b.task_id = s.task_id AND b.annotator_id = %(person)s AND b.answered_at IS NULL
    WHERE s.id = ANY(%(slots)s::bigint[]) ORDER BY {_RANK}, t.tie"""

# Gold that this person has not been given yet, at random. Never more than one of a task, each in a slot of their own:
# an own or free one, else a new one. (Others' lapsed slots stay theirs, so that a late answer counts as well.)
LEASE_GOLD = """
    WITH wanted AS MATERIALIZED (
        SELECT t.id FROM annotation_task t
        JOIN annotation_gold g ON g.task_id = t.id
        JOIN generation_candidate c ON c.id = t.candidate_id
        JOIN generation_product p ON p.id = c.product_id
        WHERE t.project_id = %(project)s AND t.is_gold AND NOT g.is_retired AND NOT p.unsuitable
          AND NOT EXISTS (SELECT 1 FROM annotation_skip k WHERE k.task_id = t.id AND k.annotator_id = %(person)s)
          AND NOT EXISTS (
            SELECT 1 FROM annotation_slot mine WHERE mine.task_id = t.id AND mine.annotator_id = %(person)s
              AND (mine.is_filled OR mine.lease_until >= %(now)s)
          )
        ORDER BY random() LIMIT %(count)s
    ), locked AS MATERIALIZED (
        SELECT s.id, s.task_id FROM wanted t CROSS JOIN LATERAL (
            SELECT s.id, s.task_id FROM annotation_slot s
            WHERE s.task_id = t.id AND NOT s.is_filled AND (s.annotator_id = %(person)s OR s.annotator_id IS NULL)
            ORDER BY s.annotator_id NULLS LAST, s.number LIMIT 1 FOR UPDATE SKIP LOCKED
        ) s
    ), reused AS (
        UPDATE annotation_slot s SET annotator_id = %(person)s, lease_until = %(until)s
        FROM locked WHERE s.id = locked.id RETURNING s.id, s.task_id
    ), made AS (
        INSERT INTO annotation_slot (task_id, number, annotator_id, lease_until, is_filled)
        SELECT t.id, (SELECT coalesce(max(number), -1) + 1 FROM annotation_slot s WHERE s.task_id = t.id),
            %(person)s, %(until)s, false
        FROM wanted t WHERE t.id NOT IN (SELECT task_id FROM locked)
        ON CONFLICT DO NOTHING RETURNING id, task_id
    ), held AS (
        SELECT id, task_id FROM reused UNION ALL SELECT id, task_id FROM made
    ), handed AS (
        INSERT INTO annotation_handout (task_id, annotator_id, first_at)
        SELECT task_id, %(person)s, %(now)s FROM held ON CONFLICT DO NOTHING
    )
    SELECT coalesce(array_agg(id), '{}') FROM held"""

# What they hold already, but on no page that asks: a page of theirs was closed before it could give these back (in the
# moment in which it had asked for more, without a connection, by a crash). Not what was sent back: that has its own way.
LEASE_AGAIN = f"""
    WITH wanted AS MATERIALIZED (
        SELECT s.id FROM annotation_slot s
        JOIN annotation_task t ON t.id = s.task_id
        JOIN generation_candidate c ON c.id = t.candidate_id
        JOIN generation_product p ON p.id = c.product_id
        WHERE s.annotator_id = %(person)s AND NOT s.is_filled AND s.lease_until >= %(now)s
          AND t.project_id = %(project)s AND (t.is_open OR t.is_gold) AND NOT p.unsuitable
          AND s.task_id <> ALL(%(tasks)s)
          AND NOT EXISTS (SELECT 1 FROM annotation_skip k WHERE k.task_id = t.id AND k.annotator_id = %(person)s)
          AND NOT EXISTS (
            SELECT 1 FROM annotation_sentback b
            WHERE b.task_id = t.id AND b.annotator_id = %(person)s AND b.answered_at IS NULL
          )
        ORDER BY {_RANK}, t.tie LIMIT %(count)s
    ), held AS (
        UPDATE annotation_slot s SET lease_until = %(until)s FROM wanted WHERE s.id = wanted.id RETURNING s.id
    )
    SELECT coalesce(array_agg(id), '{{}}') FROM held"""

# What reviewers asked this person to look at again and no open page of theirs holds. Their slots are theirs already.
LEASE_SENT_BACK = """
    WITH wanted AS MATERIALIZED (
        SELECT b.id, b.task_id FROM annotation_sentback b
        JOIN annotation_task t ON t.id = b.task_id
        JOIN generation_candidate c ON c.id = t.candidate_id
        JOIN generation_product p ON p.id = c.product_id
        WHERE b.annotator_id = %(person)s AND b.answered_at IS NULL AND t.project_id = %(project)s
          AND NOT p.unsuitable AND (b.shown_until IS NULL OR b.shown_until < %(now)s)
        ORDER BY b.id LIMIT %(count)s
    ), shown AS (
        UPDATE annotation_sentback b SET shown_until = %(until)s FROM wanted WHERE b.id = wanted.id
    )
    SELECT coalesce(array_agg(s.id), '{}') FROM annotation_slot s JOIN wanted ON wanted.task_id = s.task_id
    WHERE s.annotator_id = %(person)s AND NOT s.is_filled"""

# Never shorter: a task that was sent back is held for days.
RENEW = """
    UPDATE annotation_slot s
    SET lease_until = greatest(s.lease_until, %(now)s + make_interval(mins => project.lease_minutes))
    FROM annotation_task t JOIN annotation_project project ON project.id = t.project_id
    WHERE t.id = s.task_id AND s.task_id = ANY(%(tasks)s) AND s.annotator_id = %(person)s AND NOT s.is_filled
    RETURNING s.task_id"""

RENEW_SENT_BACK = """
    UPDATE annotation_sentback b SET shown_until = %(now)s + make_interval(mins => project.lease_minutes)
    FROM annotation_task t JOIN annotation_project project ON project.id = t.project_id
    WHERE t.id = b.task_id AND b.task_id = ANY(%(tasks)s) AND b.annotator_id = %(person)s AND b.answered_at IS NULL"""

ADD_SLOTS = """
    INSERT INTO annotation_slot (task_id, number, is_filled)
    SELECT t.id, n, false FROM annotation_task t CROSS JOIN LATERAL generate_series(0, t.overlap - 1) n
    WHERE t.project_id = %s AND t.candidate_id = ANY(%s)
    ON CONFLICT DO NOTHING"""

LOCK_TASKS = """
    WITH person AS MATERIALIZED (SELECT pg_advisory_xact_lock(%(lock)s::int, %(person)s::int))
    SELECT t.id, t.project_id, t.candidate_id, t.overlap, project.guidelines_version, project.shows_prompt,
        project.agree_at_least, project.overlap_most, t.is_gold,
        (SELECT g.label FROM annotation_task known JOIN annotation_gold g ON g.task_id = known.id
         WHERE known.candidate_id = t.candidate_id AND known.is_gold ORDER BY g.id DESC LIMIT 1),
        project.asks_details
    FROM person, annotation_task t
    JOIN annotation_project project ON project.id = t.project_id
    JOIN generation_candidate c ON c.id = t.candidate_id
    WHERE t.id = ANY(%(tasks)s::bigint[])
    ORDER BY t.candidate_id FOR NO KEY UPDATE OF c"""

# Every answer on the candidates of these tasks, and those that have one of these ids already.
READ_ANNOTATIONS = """
    SELECT id, task_id, candidate_id, annotator_id, label, seconds, state FROM annotation_annotation
    WHERE candidate_id = ANY(ARRAY(SELECT candidate_id FROM annotation_task WHERE id = ANY(%(tasks)s::bigint[])))
    UNION
    SELECT id, task_id, candidate_id, annotator_id, label, seconds, state FROM annotation_annotation
    WHERE id = ANY(%(ids)s::uuid[])"""

READ_HANDED = """
    SELECT task_id FROM annotation_handout WHERE task_id = ANY(%(tasks)s::bigint[]) AND annotator_id = %(person)s"""

# Own slots, and those that are free for whoever comes late.
LOCK_SLOTS = """
    SELECT id, task_id, annotator_id FROM annotation_slot
    WHERE task_id = ANY(%(tasks)s::bigint[]) AND NOT is_filled
      AND (annotator_id = %(person)s OR lease_until IS NULL OR lease_until < %(now)s)
    ORDER BY id FOR UPDATE"""

# What a reviewer decided stays, whatever annotators answer afterwards.
_OPINION = ("label", "posterior", "method", "agreement", "is_complete")
_ALTERED = ", ".join(
    f"CASE annotation_consensus.method WHEN 'review' THEN annotation_consensus.{name} ELSE excluded.{name} END"
    for name in _OPINION
)

_TALLIES = """
    unnest(%(c_candidates)s::bigint[], %(c_labels)s::smallint[], %(c_posteriors)s::jsonb[], %(c_methods)s::text[],
           %(c_votes)s::smallint[], %(c_agreements)s::float8[], %(c_complete)s::boolean[], %(c_activelab)s::float8[],
           %(c_crowdlab)s::float8[])
    AS given (candidate, label, posterior, method, votes, agreement, complete, activelab, crowdlab)"""

# CROWDLAB's word is about the votes that there were: a new one needs a new fit.
_UPSERT_CONSENSUS = f"""
    INSERT INTO annotation_consensus
        (candidate_id, label, posterior, method, annotation_count, agreement, is_complete, activelab_score, updated_at)
    SELECT candidate, label, posterior, method, votes, agreement, complete, activelab, %(now)s FROM {_TALLIES}
    ON CONFLICT (candidate_id) DO UPDATE SET
        ({", ".join(_OPINION)}) = ({_ALTERED}),
        annotation_count = excluded.annotation_count, activelab_score = excluded.activelab_score,
        crowdlab_quality = NULL, updated_at = excluded.updated_at"""

UPSERT_CONSENSUS = _UPSERT_CONSENSUS

# Everything that a batch of answers changes, in one statement.
WRITE_ANSWERS = f"""
    WITH answers AS (
        INSERT INTO annotation_annotation
            (id, task_id, candidate_id, annotator_id, label, seconds, state, guidelines_version, shown, details,
             created_at)
        SELECT id, task, candidate, %(person)s, label, seconds, state, guidelines, shown, details, %(now)s
        FROM unnest(%(ids)s::uuid[], %(tasks)s::bigint[], %(candidates)s::bigint[], %(labels)s::smallint[],
                    %(seconds)s::float8[], %(states)s::text[], %(guidelines)s::int[], %(shown)s::jsonb[],
                    %(details)s::jsonb[])
             AS given (id, task, candidate, label, seconds, state, guidelines, shown, details)
    ), filled AS (
        UPDATE annotation_slot SET annotator_id = %(person)s, lease_until = NULL, is_filled = true
        WHERE id = ANY(%(slots)s::bigint[])
    ), closed AS (
        UPDATE annotation_task SET is_open = false WHERE id = ANY(%(closing)s::bigint[])
    ), looked_again AS (
        UPDATE annotation_sentback SET answered_at = %(now)s
        WHERE annotator_id = %(person)s AND task_id = ANY(%(tasks)s::bigint[]) AND answered_at IS NULL
    ), raised AS (
        UPDATE annotation_task SET overlap = overlap + 1 WHERE id = ANY(%(raising)s::bigint[]) RETURNING id, overlap
    ), one_more AS (
        INSERT INTO annotation_slot (task_id, number, is_filled) SELECT id, overlap - 1, false FROM raised
    )
    {_UPSERT_CONSENSUS}"""

# Updates, so that a candidate whose answers were all taken back during the fit does not get its consensus back.
FIT_CONSENSUS = f"""
    WITH locked AS MATERIALIZED (
        SELECT c.id FROM annotation_consensus c
        WHERE c.candidate_id = ANY(%(c_candidates)s) AND c.updated_at < %(read_at)s AND c.method <> 'review'
          AND c.method <> 'imported'
        ORDER BY c.candidate_id FOR NO KEY UPDATE
    )
    UPDATE annotation_consensus c SET
        label = given.label, posterior = given.posterior, method = given.method, annotation_count = given.votes,
        agreement = given.agreement, is_complete = given.complete, activelab_score = given.activelab,
        crowdlab_quality = given.crowdlab, updated_at = %(now)s
    FROM locked, {_TALLIES}
    WHERE c.id = locked.id AND c.candidate_id = given.candidate"""

# Annotations that came another way than over the desk may have no consensus yet.
ADD_MISSING_CONSENSUS = f"""
    INSERT INTO annotation_consensus
        (candidate_id, label, posterior, method, annotation_count, agreement, is_complete, activelab_score,
         crowdlab_quality, updated_at)
    SELECT candidate, label, posterior, method, votes, agreement, complete, activelab, crowdlab, %(now)s
    FROM {_TALLIES}
    WHERE NOT EXISTS (SELECT 1 FROM annotation_consensus c WHERE c.candidate_id = candidate)
      AND EXISTS (SELECT 1 FROM annotation_annotation a WHERE a.candidate_id = candidate AND a.state = 'standing')
    ON CONFLICT DO NOTHING"""
