"""Dataset versions over HTTP. Tokens or a session; roles that may freeze."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import May
from adproof.labels import LABELS
from adproof.shards.store import StoreError
from config.paging import older_than
from config.strict import S, named, read
from datasets_app import compare, kept, serializers, versions
from datasets_app.actions import CannotFreeze, sample_id, start_freeze, start_verify
from datasets_app.downloads import LINK_S, download_link, is_small
from datasets_app.exporting import start_write
from datasets_app.models import DatasetVersion, VersionRow
from datasets_app.places import BadPlace
from runs.models import Run


class MayFreeze(May):
    ability = "freeze_datasets"
    message = "Your role can't see or freeze datasets. Ask an operator for it."


def _asked(kind: type[S], request: Request) -> dict[str, Any]:
    """What stands in the address."""
    return read(kind, request.query_params.dict())


def _version(pk: int) -> DatasetVersion:
    return named(DatasetVersion.objects.all(), pk, "version")


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "id": run.pk, "kind": run.kind, "title": run.title, "state": run.state, "stage": run.stage, "done": run.done,
        "total": run.total, "error": run.error, "page": reverse("run", args=[run.pk]),
    }  # fmt: skip


def _told(version: DatasetVersion) -> dict[str, Any]:
    return {
        "id": version.pk, "name": version.name, "number": version.number, "parent": version.parent_id,
        "state": version.state, "created_at": version.created_at,
        "created_by": str(version.created_by) if version.created_by else None, "rows": version.row_count,
        "counts": version.counts, "digest": version.digest, "query": version.query, "shares": version.shares,
        "leak_check": version.leak_check, "uri": version.uri, "size_bytes": version.size_bytes,
    }  # fmt: skip


@extend_schema(
    tags=["datasets"], operation_id="datasets_list", summary="Versions, newest first",
    parameters=[serializers.VersionsIn], responses=serializers.VersionsOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayFreeze])
def listed(request: Request) -> Response:
    asked = _asked(serializers.VersionsIn, request)
    rows = DatasetVersion.objects.select_related("created_by").defer("manifest")
    if "name" in asked:
        rows = rows.filter(name=asked["name"])
    found, last = older_than(rows, asked.get("before"), asked["limit"])
    return Response({"versions": [_told(row) for row in found], "next": last})


@extend_schema(tags=["datasets"], operation_id="datasets_one", summary="One version", responses=serializers.VersionOut)
@api_view(["GET"])
@permission_classes([MayFreeze])
def one(request: Request, version: int) -> Response:
    return Response(_told(_version(version)))


@extend_schema(
    tags=["datasets"], operation_id="datasets_freeze", summary="Freeze a version",
    description="Starts the run that freezes what fits the query, in one snapshot, as the next version of the name, and"
    " writes its files. While such a run of this name is unfinished, that one is given back.",
    request=serializers.FreezeIn, responses=serializers.RunOut,
    examples=[
        OpenApiExample("All that is complete", value={"name": "ads", "query": {}}, request_only=True),
        OpenApiExample(
            "Where people agree", value={"name": "ads-sure", "query": {"min_annotations": 1, "min_agreement": 0.5}},
            request_only=True,
        ),
    ],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayFreeze])
def freeze(request: Request) -> Response:
    asked = read(serializers.FreezeIn, request.data)
    try:
        return Response(_run(start_freeze(asked["name"], asked["query"], user=request.user)))
    except CannotFreeze as problem:
        raise ValidationError({"detail": str(problem)}) from problem


@extend_schema(
    tags=["datasets"], operation_id="datasets_write", summary="Write a version's files",
    description="Starts the run that writes them, or goes on with one that was stopped. The manifest comes last.",
    request=serializers.WriteIn, responses=serializers.RunOut,
    examples=[OpenApiExample("Labels without pictures", value={"variant": "labels"}, request_only=True)],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayFreeze])
def write(request: Request, version: int) -> Response:
    asked = read(serializers.WriteIn, request.data)
    try:
        run = start_write(_version(version), asked["variant"], asked.get("to"), user=request.user)
    except BadPlace as problem:
        raise ValidationError({"to": [str(problem)]}) from problem
    return Response(_run(run))


@extend_schema(
    tags=["datasets"], operation_id="datasets_verify", summary="Compare a version's files with its manifest",
    request=serializers.VerifyIn, responses=serializers.RunOut,
    examples=[OpenApiExample("Files only", value={"pictures": False}, request_only=True)],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayFreeze])
def verify(request: Request, version: int) -> Response:
    asked, found = read(serializers.VerifyIn, request.data), _version(version)
    if found.state != DatasetVersion.State.WRITTEN:
        raise ValidationError({"detail": f"{found} has no files yet: write it first."})
    return Response(_run(start_verify(found, pictures=asked["pictures"], user=request.user)))


@extend_schema(
    tags=["datasets"], operation_id="datasets_compare", summary="What changed from one version to another",
    description="`other` is the older one. Counts, and a page of what was added, removed, relabelled (who, when, why)"
    " or moved to another split.",
    parameters=[serializers.CompareIn], responses=serializers.CompareOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayFreeze])
def compared(request: Request, version: int, other: int) -> Response:
    asked = _asked(serializers.CompareIn, request)
    new, old = _version(version), _version(other)
    if new.name != old.name:
        raise NotFound(f"{old} and {new} are versions of two datasets: compare two of one name.")
    found, run = kept.comparison(old, new)
    what, after, limit = asked.pop("what"), asked.pop("after"), asked.pop("limit")
    try:
        page = compare.changed(old, new, what, after=after, size=limit, **asked)
    except compare.BadComparison as problem:
        raise ValidationError({"detail": str(problem)}) from problem
    return Response(
        {
            "old": old.pk,
            "new": new.pk,
            "totals": found and found["totals"],
            "by": found and found["by"],
            "run": _run(run),
            "changes": [_change(row) for row in page.rows],
            "next": page.after,
        }  # fmt: skip
    )


def _name(label: int | None) -> str | None:
    return None if label is None else LABELS[label]


def _change(row: compare.Change) -> dict[str, Any]:
    return {
        "candidate": row.candidate, "label_before": _name(row.label_before), "label": _name(row.label),
        "split_before": row.split_before, "split": row.split, "product_id": row.sku, "source": row.source,
        "category": row.category, "why": row.why,
        "events": [
            {"who": event.who, "at": event.at, "did": event.did, "label": _name(event.label), "comment": event.comment}
            for event in row.events
        ],
    }  # fmt: skip


@extend_schema(
    tags=["datasets"], operation_id="datasets_samples", summary="The samples of a version, a page at a time",
    description="By rising candidate. The pictures' addresses take the same token and never change.",
    parameters=[serializers.SamplesIn], responses=serializers.SamplesOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayFreeze])
def samples(request: Request, version: int) -> Response:
    asked = _asked(serializers.SamplesIn, request)
    rows = _narrowed(_version(version).rows.filter(candidate__gt=asked["after"]), asked)
    found = list(rows.order_by("candidate_id")[: asked["limit"] + 1])
    more = len(found) > asked["limit"]
    found = found[: asked["limit"]]
    return Response({"samples": [_sample(row) for row in found], "next": found[-1].candidate_id if more else None})


def _narrowed(rows: QuerySet[VersionRow], asked: dict[str, Any]) -> QuerySet[VersionRow]:
    fields = {"split": "split", "label": "label", "source": "candidate__product__source",
              "category": "candidate__product__category"}  # fmt: skip
    rows = rows.filter(**{fields[name]: asked[name] for name in fields if name in asked})
    return rows.select_related("candidate__product", "candidate__generator")


def _sample(row: VersionRow) -> dict[str, Any]:
    candidate, product = row.candidate, row.candidate.product
    return {
        "sample_id": sample_id(candidate), "candidate": candidate.pk, "split": row.split, "label": LABELS[row.label],
        "label_probs": row.posterior, "agreement": row.agreement, "annotation_count": row.annotation_count,
        "method": row.method, "annotations": [{**answer, "label": LABELS[answer["label"]]} for answer in row.annotations],
        "product_id": product.sku, "title": product.title, "source": product.source, "category": product.category,
        "prompt": candidate.prompt_text, "generator": candidate.generator.name, "seed": candidate.seed,
        "attempt": candidate.attempt,
        "pictures": {
            "generated": _picture(candidate.image_sha256), "product": _picture(product.image_sha256),
            "depth": _picture(candidate.depth_sha256), "saliency": _picture(candidate.saliency_sha256),
        },
    }  # fmt: skip


def _picture(sha256: str) -> str | None:
    return reverse("desk-picture", args=[sha256]) if sha256 else None


@extend_schema(
    tags=["datasets"], operation_id="datasets_download", summary="Where to get a written version's files",
    responses=serializers.DownloadOut,
)  # fmt: skip
@api_view(["GET"])
@permission_classes([MayFreeze])
def download(request: Request, version: int) -> Response:
    found = _version(version)
    if found.state != DatasetVersion.State.WRITTEN:
        raise NotFound(f"{found} has no files yet: write it first.")
    files = [{name: file[name] for name in ("name", "bytes", "sha256")} for file in versions.files(found)]
    form = "zip" if is_small(found) else "tar"
    return Response({"uri": found.uri, "places": _places(found), "form": form, "files": files})


def _places(version: DatasetVersion) -> list[dict[str, Any]]:
    rows = version.written.exclude(written_at=None).order_by("pk")
    return [{"uri": row.uri, "variant": row.variant, "bytes": row.size_bytes} for row in rows]


@extend_schema(
    tags=["datasets"], operation_id="datasets_link", summary="Make a link to a file of a version, or to all of them",
    description="Whoever has the link may follow it for 15 minutes, without a token: `wget --content-disposition LINK`. It"
    " leads into the store for a file that lies in one, else to this server.",
    request=serializers.LinkIn, responses=serializers.LinkOut,
    examples=[
        OpenApiExample("Everything, as one tar", value={}, request_only=True),
        OpenApiExample("One file", value={"name": "README.md"}, request_only=True),
    ],
)  # fmt: skip
@api_view(["POST"])
@permission_classes([MayFreeze])
def link(request: Request, version: int) -> Response:
    asked, found = read(serializers.LinkIn, request.data), _version(version)
    until = timezone.now() + timedelta(seconds=LINK_S)
    try:
        made = download_link(found, asked["name"], uri=asked["uri"], form=asked["form"])
    except (ValueError, StoreError) as problem:
        raise NotFound(str(problem)) from problem
    return Response({"link": request.build_absolute_uri(made), "until": until})
