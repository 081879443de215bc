"""The SQL on the path of every preference: what statements.py is to labels, and in the same order of locks.

The person (advisory), then pairs by id, then slots by id.
"""

# A slot this person may take: not filled, free or lapsed, and no other slot of the pair is theirs.
_TAKEABLE = """
    s.pair_id = q.id AND NOT s.is_filled AND (s.lease_until IS NULL OR s.lease_until < %(now)s)
    AND NOT EXISTS (
        SELECT 1 FROM annotation_pairslot mine
        WHERE mine.pair_id = q.id AND mine.annotator_id = %(person)s AND mine.id <> s.id
    )"""

# What this person had on the screen and neither answered nor skipped: few. And what they never had, in the queue's order.
# Told apart first, so that somebody who has answered ten thousand pairs walks past them at one look each.
_AGAIN = """
    SELECT q.id, q.tie, q.first_id FROM annotation_pairhandout h JOIN annotation_pair q ON q.id = h.pair_id
    WHERE h.annotator_id = %(person)s AND h.is_open AND q.project_id = %(project)s AND q.is_open OFFSET 0"""
_FRESH = """
    SELECT q.id, q.tie, q.first_id FROM annotation_pair q
    WHERE q.project_id = %(project)s AND q.is_open AND NOT EXISTS (
        SELECT 1 FROM annotation_pairhandout h WHERE h.pair_id = q.id AND h.annotator_id = %(person)s
    ) ORDER BY q.tie OFFSET 0"""


def _takeable(pairs: str) -> str:
    return f"""
    (SELECT q.id, q.tie FROM ({pairs}) q
     CROSS JOIN LATERAL (
        SELECT 1 FROM generation_candidate c JOIN generation_product p ON p.id = c.product_id
        WHERE c.id = q.first_id AND NOT p.unsuitable LIMIT 1
     ) suitable
     CROSS JOIN LATERAL (SELECT 1 FROM annotation_pairslot s WHERE {_TAKEABLE} LIMIT 1) takeable
     ORDER BY q.tie LIMIT %(window)s)"""


_WANTED = f"""
    SELECT id, tie FROM ({_takeable(_AGAIN)} UNION ALL {_takeable(_FRESH)}) q ORDER BY tie LIMIT %(window)s"""

# The head of the queue is read without a lock; only then are slots locked, one of each pair, and no more than asked for.
# Which stands left is drawn once for a person and a pair, so that a late answer means what its person saw.
LEASE = f"""
    WITH wanted AS MATERIALIZED ({_WANTED}), locked AS MATERIALIZED (
        SELECT s.id, s.pair_id FROM (SELECT * FROM wanted ORDER BY tie) q CROSS JOIN LATERAL (
            SELECT s.id, s.pair_id FROM annotation_pairslot s WHERE {_TAKEABLE}
            ORDER BY s.number LIMIT 1 FOR UPDATE SKIP LOCKED
        ) s LIMIT %(count)s
    ), taken AS (
        UPDATE annotation_pairslot s SET annotator_id = %(person)s, lease_until = %(until)s
        FROM locked WHERE s.id = locked.id RETURNING s.id
    ), handed AS (
        INSERT INTO annotation_pairhandout (pair_id, annotator_id, first_is_left, first_at, is_open)
        SELECT pair_id, %(person)s, random() < 0.5, %(now)s, true FROM locked ON CONFLICT DO NOTHING
    )
    SELECT (SELECT count(*) FROM wanted), coalesce(array_agg(id), '{{}}') FROM taken"""

# What they hold already, but on no page that asks: see LEASE_AGAIN of tasks.
LEASE_AGAIN = """
    WITH wanted AS MATERIALIZED (
        SELECT s.id FROM annotation_pairhandout h
        JOIN annotation_pair q ON q.id = h.pair_id
        JOIN annotation_pairslot s ON s.pair_id = q.id AND s.annotator_id = h.annotator_id
        JOIN generation_candidate c ON c.id = q.first_id
        JOIN generation_product p ON p.id = c.product_id
        WHERE h.annotator_id = %(person)s AND h.is_open AND q.project_id = %(project)s AND q.is_open AND NOT p.unsuitable
          AND NOT s.is_filled AND s.lease_until >= %(now)s AND q.id <> ALL(%(pairs)s)
        ORDER BY q.tie LIMIT %(count)s
    ), held AS (
        UPDATE annotation_pairslot s SET lease_until = %(until)s FROM wanted WHERE s.id = wanted.id RETURNING s.id
    )
    SELECT coalesce(array_agg(id), '{}') FROM held"""

COUNT_LEFT = f"SELECT count(*) FROM ({_WANTED}) counted"

RENEW = """
    UPDATE annotation_pairslot s SET lease_until = %(now)s + make_interval(mins => project.lease_minutes)
    FROM annotation_pair q JOIN annotation_project project ON project.id = q.project_id
    WHERE q.id = s.pair_id AND s.pair_id = ANY(%(pairs)s) AND s.annotator_id = %(person)s AND NOT s.is_filled
    RETURNING s.pair_id"""

LOCK_PAIRS = """
    WITH person AS MATERIALIZED (SELECT pg_advisory_xact_lock(%(lock)s, %(person)s))
    SELECT q.id, q.project_id, q.overlap, h.first_is_left
    FROM person, annotation_pair q
    LEFT JOIN annotation_pairhandout h ON h.pair_id = q.id AND h.annotator_id = %(person)s
    WHERE q.id = ANY(%(pairs)s)
    ORDER BY q.id FOR NO KEY UPDATE OF q"""

READ_PREFERENCES = """
    SELECT id, pair_id, annotator_id, choice, first_was_left, seconds, is_undone, is_surplus
    FROM annotation_preference WHERE pair_id = ANY(%(pairs)s) OR id = ANY(%(ids)s)"""

# Own slots, and those that are free for whoever comes late.
LOCK_SLOTS = """
    SELECT id, pair_id, annotator_id FROM annotation_pairslot
    WHERE pair_id = ANY(%(pairs)s) AND NOT is_filled
      AND (annotator_id = %(person)s OR lease_until IS NULL OR lease_until < %(now)s)
    ORDER BY id FOR UPDATE"""

# Everything that a batch of preferences changes, in one statement.
WRITE = """
    WITH filled AS (
        UPDATE annotation_pairslot SET annotator_id = %(person)s, lease_until = NULL, is_filled = true
        WHERE id = ANY(%(slots)s)
    ), closed AS (
        UPDATE annotation_pair SET is_open = false WHERE id = ANY(%(closing)s)
    ), handed AS (
        UPDATE annotation_pairhandout SET is_open = false, skipped_at = NULL
        WHERE annotator_id = %(person)s AND pair_id = ANY(%(pairs)s)
    )
    INSERT INTO annotation_preference
        (id, pair_id, annotator_id, choice, first_was_left, seconds, slot_id, is_undone, is_surplus, created_at)
    SELECT id, pair, %(person)s, choice, first_was_left, seconds, slot, false, slot IS NULL, %(now)s
    FROM unnest(%(ids)s::uuid[], %(pairs)s::bigint[], %(choices)s::text[], %(lefts)s::boolean[], %(seconds)s::float8[],
                %(slots)s::bigint[])
         AS given (id, pair, choice, first_was_left, seconds, slot)"""
