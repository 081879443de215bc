"""Write a version to a place, as a run of shards over the workers: each shard a part, the manifest last."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from adproof.shards.manifest import Manifest, VersionInfo
from adproof.shards.plan import ShardPlan, SplitSize, plan_shards
from adproof.shards.records import Checks, checks_of, is_written
from adproof.shards.schema import FULL, WEBDATASET
from adproof.shards.store import Folder, StoreError
from adproof.shards.writer import Progress, finalise, finished, write_shard
from datasets_app.models import DatasetVersion, VersionFiles
from datasets_app.places import BadPlace, checked_uri, default_uri
from datasets_app.rows import split_columns, split_rows
from datasets_app.writing import info, sizes
from runs.actions import resume_run, start_run
from runs.context import BadInput, RunContext
from runs.models import Run
from runs.parts import work_in_parts

MB = 10**6


def start_write(
    version: DatasetVersion, variant: str = FULL, uri: str | None = None, *, user: Any = None, anywhere: bool = False
) -> Run:
    """A run that writes the version there. Asked for twice it is the same run; a stopped or failed one goes on.

    Args: variant: "full", "labels" or "webdataset". uri: a folder or s3://bucket/folder; None = the version's own. anywhere:
        somebody on the server's own command line asks, who may write wherever the system lets them.
    Raises: BadPlace: not a place for versions, or another version lies there.
    """
    files = files_at(version, variant, default_uri(version, variant) if uri is None else checked_uri(uri, anywhere))
    if files.run is not None and not files.run.is_finished:
        return files.run
    if files.run is not None and files.run.state in {Run.State.STOPPED, Run.State.FAILED} and resume_run(files.run):
        return files.run
    run = start_run(
        "write_version", {"files": files.pk, "version": version.pk, "variant": variant, "to": files.uri}, user=user,
        title=f"Write {version}" + ("" if variant == FULL else f", {files.get_variant_display().lower()}"),
        key=f"write/{files.pk}", total=version.row_count,
    )  # fmt: skip
    VersionFiles.objects.filter(pk=files.pk).update(run=run)
    return run


def files_at(version: DatasetVersion, variant: str, uri: str) -> VersionFiles:
    """The row of this place, made when it is new. Raises BadPlace: something else lies there."""
    try:
        with transaction.atomic():
            files, _ = VersionFiles.objects.select_related("run", "version").get_or_create(
                uri=uri, defaults={"version": version, "variant": variant}
            )
    except IntegrityError:
        files = VersionFiles.objects.select_related("run", "version").get(uri=uri)
    if files.version_id != version.pk or files.variant != variant:
        raise BadPlace(f"{uri} holds {files}; a version is never overwritten: choose another folder.")
    return files


def write_files(files: VersionFiles, ctx: RunContext) -> Manifest:
    """Have all shards written, check them, write the manifest. Started again it goes on from what is there."""
    base, folder = info(files.version, files.variant), Folder(files.uri)
    try:
        manifest = finished(folder, base)
        if manifest is None:
            plan = plan_of(files)
            with checks_of(plan, folder, base) as checks:
                _write_shards(files, plan, folder, base, ctx, checks)
                manifest = _finalise(plan, folder, base, ctx, checks)
    except FileExistsError as error:
        raise BadInput(f"{error}. Choose another folder.") from error
    except StoreError as error:
        raise BadInput(str(error)) from error
    _keep(files, manifest, ctx)
    return manifest


def _write_shards(
    files: VersionFiles, plan: ShardPlan, folder: Folder, base: VersionInfo, ctx: RunContext, checks: Checks
) -> None:
    done = sum(ctx.run.parts.values_list("done", flat=True))
    with ctx.writing():
        VersionFiles.objects.filter(pk=files.pk).update(run=ctx.run)
        # What the rate is reckoned from: rows since this attempt began.
        Run.objects.filter(pk=ctx.run.pk).update(result={"since": time.time(), "rows_before": done})
    ctx.progress(done, plan.n_rows, f"writing {len(plan.shards)} shards", force=True)
    parts = [({"files": files.pk, "shard": n}, shard.n_rows) for n, shard in enumerate(plan.shards)]
    work_in_parts(
        ctx,
        "write_shard",
        parts,
        still_done=lambda part: is_written(plan, part["shard"], folder, base),
        on_done=lambda part: checks.start(part["shard"]),
    )


def _finalise(plan: ShardPlan, folder: Folder, base: VersionInfo, ctx: RunContext, checks: Checks) -> Manifest:
    checked = 0

    def on_checked(name: str) -> None:
        nonlocal checked
        ctx.stop_if_asked()
        checked += 1
        ctx.progress(plan.n_rows, plan.n_rows, f"checking shard {checked} of {len(plan.shards)}")

    return finalise(plan, folder, base, on_checked, checks)


def _keep(files: VersionFiles, manifest: Manifest, ctx: RunContext) -> None:
    content = json.loads(manifest.encode())
    size = sum(file.bytes for file in manifest.files.values())
    with ctx.writing():
        VersionFiles.objects.filter(pk=files.pk).update(
            manifest=content, size_bytes=size, written_at=timezone.now(), run=ctx.run
        )
        version = DatasetVersion.objects.select_for_update().get(pk=files.version_id)
        if files.variant == FULL and version.state != DatasetVersion.State.WRITTEN:
            version.state, version.uri = DatasetVersion.State.WRITTEN, files.uri
            version.manifest, version.size_bytes = content, size
            version.save(update_fields=["state", "uri", "manifest", "size_bytes"])


def plan_of(files: VersionFiles) -> ShardPlan:
    """How it is cut: decided by the first who asks, and kept, so that every attempt cuts alike."""
    if not files.plan:
        found = sizes(files.version, files.variant)
        plan = {"shard_bytes": settings.SHARD_BYTES, "sizes": [[size.split, size.rows, size.bytes] for size in found]}
        VersionFiles.objects.filter(pk=files.pk, plan={}).update(plan=plan)
        files.refresh_from_db(fields=["plan"])
    kept = files.plan
    return plan_shards([SplitSize(*size) for size in kept["sizes"]], kept["shard_bytes"], files.variant)


def write_one_shard(files: VersionFiles, shard: int, ctx: RunContext) -> dict[str, Any]:
    """One part: streamed row group by row group, so that memory is bounded by one of them."""
    plan, base, folder = plan_of(files), info(files.version, files.variant), Folder(files.uri)
    spec = plan.shards[shard]
    row_bytes = sum(size[2] for size in files.plan["sizes"]) / plan.n_rows
    started, told = time.monotonic(), 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal told
        ctx.stop_if_asked()
        if time.monotonic() - told > 1.0 or progress.rows == spec.n_rows:
            told = time.monotonic()
            ctx.progress(progress.rows, spec.n_rows, _rate(progress.rows, told - started, row_bytes))
            _tell_parent(ctx.run, row_bytes)

    rows_of = split_rows if files.variant == WEBDATASET else split_columns
    rows = rows_of(files.version, spec.split, spec.start, spec.stop)
    try:
        record = write_shard(plan, shard, rows, folder, base, on_progress)
    except FileNotFoundError:
        if finished(folder, base) is None:  # else somebody else wrote this version there, and was first
            raise
        return {"shard": spec.name, "rows": spec.n_rows}
    finally:
        if isinstance(rows, Generator):
            rows.close()
    return {
        "shard": spec.name,
        "rows": spec.n_rows,
        "bytes": record.bytes,
        "seconds": round(time.monotonic() - started, 2),
    }


def _rate(rows: int, seconds: float, row_bytes: float) -> str:
    per_second = rows / max(seconds, 0.001)
    return f"{per_second:,.0f} rows/s, {per_second * row_bytes / MB:,.1f} MB/s"


def _tell_parent(part: Run, row_bytes: float) -> None:
    """All workers together, on the page of the whole run."""
    parent = Run.objects.filter(pk=part.parent_id, state=Run.State.RUNNING).only("done", "result").first()
    if parent is not None and "since" in parent.result:
        rate = _rate(
            max(0, parent.done - parent.result["rows_before"]), time.time() - parent.result["since"], row_bytes
        )
        Run.objects.filter(pk=parent.pk, state=Run.State.RUNNING).update(stage=f"writing: {rate}")


def rate_of(ctx: RunContext, manifest: Manifest) -> dict[str, Any]:
    """For the run's result: what was written, and how fast since the last attempt began."""
    size = sum(file.bytes for file in manifest.files.values())
    told: dict[str, Any] = {
        "rows": manifest.n_rows,
        "bytes": size,
        "shards": sum(f.rows is not None for f in manifest.files.values()),
    }
    began = Run.objects.filter(pk=ctx.run.pk).values_list("result", flat=True).get()
    if "since" in began:
        seconds = max(time.time() - began["since"], 0.001)
        told["rows_per_s"] = round((manifest.n_rows - began["rows_before"]) / seconds, 1)
        told["mb_per_s"] = round(told["rows_per_s"] * size / manifest.n_rows / MB, 2)
    return told
