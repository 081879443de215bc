from typing import Any

from datasets_app.importing import work as importing  # noqa: F401 - declares the kind "import"
from runs.context import BadInput, RunContext
from runs.kinds import kind
from runs.stopping import stoppable


@kind("freeze", "Freeze and write a dataset version", queue="light")
def freeze_and_write(ctx: RunContext) -> dict[str, Any]:
    """Freeze in one snapshot, then write the files. Started again it goes on with the version it has frozen."""
    from datasets_app.actions import CannotFreeze, freeze
    from datasets_app.kept import start_all
    from datasets_app.writing import write
    from generation.looks import hash_missing

    def looked_at(done: int, total: int) -> None:
        ctx.stop_if_asked()
        ctx.progress(done, total)

    ctx.stage("looking at products that are new")
    hash_missing(looked_at)
    ctx.progress(0, 0, "freezing", force=True)
    try:
        with stoppable(ctx):
            version = freeze(ctx.params["name"], ctx.params["query"], ctx.run)
    except CannotFreeze as error:
        raise BadInput(str(error)) from error
    ctx.progress(0, version.row_count, f"writing {version}", force=True)
    start_all(version, ctx.run.created_by)
    write(version, ctx)
    return {"version": version.pk, "rows": version.row_count, "name": str(version), "digest": version.digest}


@kind("write_version", "Write a dataset version", queue="light")
def write_version(ctx: RunContext) -> dict[str, Any]:
    """All shards, by whichever workers are free; then the manifest."""
    from datasets_app.exporting import rate_of, write_files
    from datasets_app.models import VersionFiles

    files = VersionFiles.objects.select_related("version__parent").get(pk=ctx.params["files"])
    manifest = write_files(files, ctx)
    return {"version": files.version_id, "files": files.pk, "uri": files.uri, **rate_of(ctx, manifest)}


@kind("write_shard", "Write a dataset version (part)", queue="light")
def write_shard(ctx: RunContext) -> dict[str, Any]:
    from datasets_app.exporting import write_one_shard
    from datasets_app.models import VersionFiles

    files = VersionFiles.objects.select_related("version__parent").get(pk=ctx.params["files"])
    return write_one_shard(files, ctx.params["shard"], ctx)


@kind("verify_version", "Verify a dataset version's files", queue="light")
def verify_version(ctx: RunContext) -> dict[str, Any]:
    """Every file's size and sha256, rows, columns, labels and splits against the manifest."""
    from adproof.shards.verify import verify
    from datasets_app.models import DatasetVersion

    version = DatasetVersion.objects.get(pk=ctx.params["version"])
    ctx.stage(f"reading {version.uri}")
    told = ""

    def on_step(what: str, done: int, total: int) -> None:
        nonlocal told
        ctx.stop_if_asked()
        ctx.progress(done, total, None if what == told else f"checking {what}")
        told = what

    problems = verify(version.uri, pictures=ctx.params.get("pictures", False), on_step=on_step)
    for problem in problems[:100]:
        ctx.log(problem, "error")
    return {"version": version.pk, "problems": len(problems), "first": problems[:10]}


@kind("compare_versions", "Compare two dataset versions", queue="light")
def compare_versions(ctx: RunContext) -> dict[str, Any]:
    from datasets_app.compare import summary
    from datasets_app.models import DatasetVersion

    by_id = DatasetVersion.objects.in_bulk([ctx.params["old"], ctx.params["new"]])
    ctx.stage("comparing")
    with stoppable(ctx):
        return summary(by_id[ctx.params["old"]], by_id[ctx.params["new"]])


@kind("describe_version", "Count what is in a dataset version", queue="light")
def describe_version(ctx: RunContext) -> dict[str, Any]:
    from datasets_app.models import DatasetVersion
    from datasets_app.statistics import describe

    ctx.stage("counting")
    with stoppable(ctx):
        return describe(DatasetVersion.objects.get(pk=ctx.params["version"]))
