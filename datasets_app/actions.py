"""Freeze dataset versions: an immutable list of (sample, label, split), taken in one snapshot while people go on labelling."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Max, QuerySet

from adproof.labels import LABELS
from adproof.shards.splits import combine, row_digest, split_of
from annotation.models import Annotation, Consensus
from datasets_app.compare import totals
from datasets_app.models import SPLITS, DatasetVersion, VersionRow, default_shares
from generation.models import Candidate
from runs.actions import start_run
from runs.models import Run

CHUNK = 2000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
# What a freeze may be asked for; anything else is refused, so that a misspelt filter never freezes everything.
QUERY_KEYS = {"min_annotations", "min_agreement", "generator", "category", "source", "label", "complete_only"}


class CannotFreeze(ValueError):
    """The message says what to change."""


def check_query(query: dict[str, Any]) -> dict[str, Any]:
    unknown = set(query) - QUERY_KEYS
    if unknown:
        raise CannotFreeze(f"Unknown filter {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(QUERY_KEYS))}.")
    return {key: value for key, value in query.items() if value not in (None, "")}


def selected(query: dict[str, Any]) -> QuerySet[Consensus]:
    """The labelled candidates that this filter chooses. Flagged products and candidates without depth or saliency never are."""
    rows = Consensus.objects.filter(candidate__product__unsuitable=False).exclude(candidate__depth_sha256="")
    if query.get("complete_only", True):
        rows = rows.filter(is_complete=True)
    if query.get("min_annotations"):
        rows = rows.filter(annotation_count__gte=int(query["min_annotations"]))
    if query.get("min_agreement"):
        rows = rows.filter(agreement__gte=float(query["min_agreement"]))
    for key, field in {
        "generator": "candidate__generator_id", "category": "candidate__product__category",
        "source": "candidate__product__source", "label": "label",
    }.items():  # fmt: skip
        if key in query:
            rows = rows.filter(**{field: query[key]})
    return rows


def preview(query: dict[str, Any]) -> dict[str, Any]:
    """How many samples of each label the filter would freeze."""
    counts = dict(selected(check_query(query)).values_list("label").annotate(n=Count("pk")).order_by())
    return {
        "rows": sum(counts.values()),
        "labels": {name: counts.get(number, 0) for number, name in enumerate(LABELS)},
    }


def start_freeze(name: str, query: dict[str, Any], *, user: Any = None, then: list[list[Any]] | None = None) -> Run:
    """A run that freezes the samples of the filter as the next version of `name`, and writes it."""
    name = name.strip().lower()
    if not NAME.fullmatch(name):
        raise CannotFreeze(f"{name!r} can't be a dataset's name: use a-z, 0-9 and hyphens, at most 61 characters.")
    query = check_query(query)
    if not selected(query).exists():
        raise CannotFreeze("No labelled candidate fits this filter: label some first, or loosen the filter.")
    return start_run(
        "freeze",
        {"name": name, "query": query, "then": then or []},
        title=f"Freeze and write {name}",
        user=user,
        key=f"freeze/{name}",
    )


def freeze(name: str, query: dict[str, Any], run: Run) -> DatasetVersion:
    """The version of this run: made once, however often the run is started again."""
    done = DatasetVersion.objects.filter(write_run=run).first()
    if done is not None:
        return done
    with transaction.atomic():
        with connection.cursor() as cursor:
            # One snapshot for all that follows: labels that change meanwhile belong to the next version.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        newest = DatasetVersion.objects.filter(name=name).order_by("-number").first()
        number = (DatasetVersion.objects.filter(name=name).aggregate(top=Max("number"))["top"] or 0) + 1
        version = DatasetVersion.objects.create(
            name=name, number=number, parent=newest, query=query, salt=name, digest="", row_count=0, write_run=run,
            created_by=run.created_by, shares=newest.shares if newest else default_shares(),
        )  # fmt: skip
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        digests: list[bytes] = []
        for rows in _chunks(
            selected(query).select_related("candidate__product").order_by("candidate_id").iterator(CHUNK)
        ):
            made = _version_rows(version, rows)
            VersionRow.objects.bulk_create(made)
            for row in made:
                counts[row.split][LABELS[row.label]] += 1
                digests.append(bytes.fromhex(row.row_digest))
        if not digests:
            raise CannotFreeze(
                "No labelled candidate fits this filter any more: label some first, or loosen the filter."
            )
        version.digest, version.row_count = combine(digests), len(digests)
        version.counts = {split: dict(counts[split]) for split in SPLITS}
        version.save(update_fields=["digest", "row_count", "counts"])
    return version


def _chunks(rows: Iterable[Consensus]) -> Iterator[list[Consensus]]:
    chunk: list[Consensus] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _version_rows(version: DatasetVersion, rows: list[Consensus]) -> list[VersionRow]:
    answers: dict[int, list[dict[str, Any]]] = defaultdict(list)
    standing = Annotation.objects.standing().filter(candidate_id__in=[row.candidate_id for row in rows])
    for annotation in standing.order_by("created_at", "id"):
        answers[annotation.candidate_id].append(
            {
                "annotator": pseudonym(version.salt, annotation.annotator_id), "label": annotation.label,
                "seconds": round(annotation.seconds, 2), "at": annotation.created_at.isoformat(),
            }
        )  # fmt: skip
    made = []
    for row in rows:
        split = split_of(row.candidate.product.sku, version.salt, version.shares)
        digest = row_digest(sample_id(row.candidate), row.label, split, picture_hashes(row.candidate))
        made.append(
            VersionRow(
                version=version, candidate_id=row.candidate_id, label=row.label, posterior=row.posterior, agreement=row.agreement,
                annotation_count=row.annotation_count, split=split, row_digest=digest.hex(), annotations=answers[row.candidate_id],
            )
        )  # fmt: skip
    return made


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


def compare(old: DatasetVersion, new: DatasetVersion) -> dict[str, int]:
    """How many rows were added, removed, relabelled, moved between splits; datasets_app.compare says which."""
    return totals(old, new)
