"""Freeze dataset versions: an immutable list of (sample, label, split), taken in one snapshot while people go on labelling.

The rows are made by PostgreSQL in one transaction: none of them passes through this process, so a million cost no memory
here, and a killed freeze leaves nothing behind.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, get_args

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Max

from accounts.models import User
from adproof.acquisition.picking import Strategy
from adproof.labels import LABELS
from adproof.shards.duplicates import NEAR
from datasets_app.choosing import CannotFreeze, selected
from datasets_app.models import SPLITS, DatasetVersion
from datasets_app.product_splits import HOLDOUT, Looked, give_splits, shares_of
from generation.models import Candidate
from runs.models import Run

SETTLE_FROM = 20_000  # rows
NOTHING = "No labelled candidate fits this filter{}: label some first, or loosen the filter."
# Reasons of tasks that a model's doubt chose (Task.reason).
DOUBT = [strategy for strategy in get_args(Strategy) if strategy != "random"]
# In which order the columns of `selected` come out.
_COLUMNS = {
    "candidate_id": "candidate_id", "label": "label", "posterior": "posterior", "agreement": "agreement",
    "annotation_count": "annotation_count", "method": "method", "key": "candidate__key",
    "product_id": "candidate__product_id", "generated": "candidate__image_sha256",
    "product": "candidate__product__image_sha256", "depth": "candidate__depth_sha256",
    "saliency": "candidate__saliency_sha256",
}  # fmt: skip
# Of two rows that must not lie on two sides, the one of the greater side stays.
_WORTH = "array_position(ARRAY['train', 'validation', 'test'], {}.split::text)::smallint".format
# splits.row_digest of sample_id, label, split and the four pictures, to the byte: json.dumps sets ", " between values,
# and none of these needs escaping.
_DIGEST = """sha256(convert_to('["c-' || left(q.key, 20) || '", ' || q.label || ', "' || s.split || '", ["' || q.generated
    || '", "' || q.product || '", "' || q.depth || '", "' || q.saliency || '"]]', 'UTF8'))"""
# As text first: jsonb_build_object takes twice as long, and nothing in it needs escaping.
_ANSWER = """'{"at": ' || to_json(a.created_at)::text || ', "label": ' || a.label || ', "seconds": '
    || to_json(round(a.seconds::numeric, 2))::text || ', "annotator": "' || names.name || '"}'"""
_KEPT = ("candidate_id", "label", "posterior", "agreement", "annotation_count", "method", "product_id", "generated")


def freeze(name: str, query: dict[str, Any], run: Run) -> DatasetVersion:
    """The version of this run: made once, however often the run is started again, or by two workers at once."""
    done = DatasetVersion.objects.filter(write_run=run).first()
    if done is not None:
        return done
    shares = shares_of(name)
    looked = give_splits(name, shares)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # One snapshot for all that follows: labels that change meanwhile belong to the next version.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SET LOCAL jit = off")
            cursor.execute("SET LOCAL work_mem = '128MB'")
            version = _begin(name, query, run, shares)
            _choose(cursor, version)
            left_out = _leave_out(cursor, looked)
            _insert(cursor, version)
            _sum_up(cursor, version, looked, left_out)
    except IntegrityError:
        # Another worker of this run was first.
        done = DatasetVersion.objects.filter(write_run=run).first()
        if done is None:
            raise
        return done
    _settle(version)
    return version


def _settle(version: DatasetVersion) -> None:
    """What autovacuum would do some minutes later: until then comparing reads every row instead of an index."""
    if version.row_count >= SETTLE_FROM and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) datasets_app_versionrow")


def _begin(name: str, query: dict[str, Any], run: Run, shares: Sequence[float]) -> DatasetVersion:
    newest = DatasetVersion.objects.filter(name=name).order_by("-number").first()
    number = (DatasetVersion.objects.filter(name=name).aggregate(top=Max("number"))["top"] or 0) + 1
    return DatasetVersion.objects.create(
        name=name, number=number, parent=newest, query=query, salt=name, digest="", row_count=0, write_run=run,
        created_by=run.created_by, shares=list(shares),
    )  # fmt: skip


def _choose(cursor: Any, version: DatasetVersion) -> None:
    """The table `frozen`: what the filter means in this snapshot, each with its product's split."""
    sql, values = selected(version.query).order_by().values_list(*_COLUMNS.values()).query.sql_with_params()
    cursor.execute(
        f"CREATE TEMP TABLE frozen ON COMMIT DROP AS SELECT {', '.join('q.' + name for name in _KEPT)}, s.split,"
        f" {_WORTH('s')} AS worth, {_DIGEST} AS digest FROM ({sql}) q ({', '.join(_COLUMNS)})"
        " JOIN datasets_app_productsplit s ON s.product_id = q.product_id AND s.name = %s",
        [*values, version.name],
    )
    if cursor.rowcount == 0:
        raise CannotFreeze(NOTHING.format(" any more"))
    cursor.execute("ANALYZE frozen (candidate_id, product_id, split)")


def _leave_out(cursor: Any, looked: Looked) -> dict[str, int]:
    """Drop the rows that would be known on two sides: the test set is kept whole."""
    found = {"near_duplicates": 0, "identical_pictures": 0}
    if looked.alike:
        cursor.execute("CREATE TEMP TABLE alike (product_id bigint, group_id bigint, split text) ON COMMIT DROP")
        with cursor.copy("COPY alike FROM STDIN") as copy:
            for row in looked.alike:
                copy.write_row(row)
        # Only products of which something was chosen count: what is not in the version can't leak.
        cursor.execute(
            "DELETE FROM frozen f USING alike a WHERE a.product_id = f.product_id AND EXISTS (SELECT 1 FROM alike b"
            f" WHERE b.group_id = a.group_id AND {_WORTH('b')} > {_WORTH('a')}"
            " AND b.product_id IN (SELECT product_id FROM frozen))"
        )
        found["near_duplicates"] = cursor.rowcount
    # By a 64-bit hash, which takes a quarter of the memory of 64 digits.
    cursor.execute(
        "CREATE TEMP TABLE twice ON COMMIT DROP AS SELECT hashtextextended(generated, 0) AS picture, max(worth) AS worth"
        " FROM frozen GROUP BY 1 HAVING min(worth) <> max(worth)"
    )
    if cursor.rowcount:
        cursor.execute(
            "DELETE FROM frozen f USING twice t"
            " WHERE t.picture = hashtextextended(f.generated, 0) AND f.worth < t.worth"
        )
    found["identical_pictures"] = cursor.rowcount
    return found


def _insert(cursor: Any, version: DatasetVersion) -> None:
    cursor.execute("CREATE TEMP TABLE names (annotator_id bigint PRIMARY KEY, name text) ON COMMIT DROP")
    people = list(User.objects.values_list("pk", flat=True))  # read before: a copy leaves no room for a question
    with cursor.copy("COPY names FROM STDIN") as copy:
        for person in people:
            copy.write_row((person, pseudonym(version.salt, person)))
    cursor.execute("ANALYZE names")
    cursor.execute(
        f"""
        INSERT INTO datasets_app_versionrow
            (version_id, candidate_id, label, posterior, agreement, annotation_count, method, split, row_digest, annotations)
        SELECT %s, f.candidate_id, f.label, f.posterior, f.agreement, f.annotation_count, f.method, f.split,
               encode(f.digest, 'hex'), coalesce(said.answers, '[]')
        FROM frozen f
        LEFT JOIN (
            SELECT a.candidate_id, ('[' || string_agg({_ANSWER}, ', ' ORDER BY a.created_at, a.id) || ']')::jsonb AS answers
            FROM annotation_annotation a JOIN names USING (annotator_id)
            WHERE a.state = 'standing' GROUP BY a.candidate_id
        ) said USING (candidate_id)
        ORDER BY f.candidate_id
        """,
        [version.pk],
    )


def _sum_up(cursor: Any, version: DatasetVersion, looked: Looked, left_out: dict[str, int]) -> None:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    cursor.execute("SELECT split, label, count(*) FROM frozen GROUP BY 1, 2 ORDER BY 1, 2")
    for split, label, n in cursor.fetchall():
        counts[split][LABELS[label]] = n
    version.counts = {split: counts[split] for split in SPLITS}
    version.row_count = sum(n for by_label in counts.values() for n in by_label.values())
    # splits.combine: over the sorted digests. 32 bytes a row.
    cursor.execute("SELECT encode(sha256(string_agg(digest, ''::bytea ORDER BY digest)), 'hex') FROM frozen")
    [(version.digest,)] = cursor.fetchall()
    version.leak_check = _leak_check(cursor, looked, left_out)
    version.save(update_fields=["digest", "row_count", "counts", "leak_check"])


def _leak_check(cursor: Any, looked: Looked, left_out: dict[str, int]) -> dict[str, Any]:
    """What was looked for, and how much of it there is in the rows as they are."""
    cursor.execute(
        "SELECT count(*), count(*) FILTER (WHERE low <> high), count(*) FILTER (WHERE held > 0), sum(held)"
        " FROM (SELECT min(worth) AS low, max(worth) AS high, count(*) FILTER (WHERE split = ANY(%s)) AS held"
        " FROM frozen GROUP BY product_id) products",
        [list(HOLDOUT)],
    )
    [(products, shared, held_products, held)] = cursor.fetchall()
    pictures = 0
    if left_out["identical_pictures"]:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM frozen GROUP BY generated HAVING min(worth) <> max(worth)) apart"
        )
        [(pictures,)] = cursor.fetchall()
    cursor.execute(
        "SELECT count(*) FROM frozen f WHERE split = ANY(%s) AND EXISTS"
        " (SELECT 1 FROM annotation_task t WHERE t.candidate_id = f.candidate_id AND t.reason = ANY(%s))",
        [list(HOLDOUT), DOUBT],
    )
    [(chosen,)] = cursor.fetchall()
    return {
        "shared_products": shared,
        "near_duplicate_pairs": _pairs_apart(cursor, looked),
        "identical_pictures": pictures,
        "left_out_near_duplicates": left_out["near_duplicates"],
        "left_out_identical_pictures": left_out["identical_pictures"],
        "near_within_bits": NEAR,
        "products": products,
        "products_without_look": looked.without_look,
        "alike_groups": looked.groups,
        "largest_group": looked.largest,
        "holdout_products": held_products,
        "holdout_rows": int(held or 0),
        "holdout_rows_chosen_by_doubt": chosen,
    }


def _pairs_apart(cursor: Any, looked: Looked) -> int:
    if not looked.alike:
        return 0
    cursor.execute(
        "SELECT count(*) FROM alike a JOIN alike b ON a.group_id = b.group_id AND a.product_id < b.product_id"
        " AND a.split <> b.split WHERE a.product_id IN (SELECT product_id FROM frozen)"
        " AND b.product_id IN (SELECT product_id FROM frozen)"
    )
    [(pairs,)] = cursor.fetchall()
    return int(pairs)


def sample_id(candidate: Candidate) -> str:
    """Stable across versions and machines: named by what was drawn."""
    return f"c-{candidate.key[:20]}"


def picture_hashes(candidate: Candidate) -> tuple[str, str, str, str]:
    """In the order of the dataset's picture columns."""
    return (
        candidate.image_sha256,
        candidate.product.image_sha256,
        candidate.depth_sha256,
        candidate.saliency_sha256,
    )


def pseudonym(salt: str, annotator_id: int) -> str:
    """The same person has the same name within a dataset, and nobody outside can tell who it is."""
    return "annotator-" + hashlib.sha256(f"{settings.SECRET_KEY}/{salt}/{annotator_id}".encode()).hexdigest()[:8]
