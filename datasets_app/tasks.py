from typing import Any

from runs.context import BadInput, RunContext
from runs.kinds import kind


@kind("freeze", "Freeze and write a dataset version", queue="light")
def freeze_and_write(ctx: RunContext) -> dict[str, Any]:
    """Freeze in one snapshot, then write the files. Started again it goes on with the version it has frozen."""
    from datasets_app.actions import CannotFreeze, freeze
    from datasets_app.models import DatasetVersion
    from datasets_app.writing import folder_of, write

    ctx.stage("freezing")
    try:
        version = freeze(ctx.params["name"], ctx.params["query"], ctx.run)
    except CannotFreeze as error:
        raise BadInput(str(error)) from error
    ctx.progress(0, version.row_count, f"writing {version}", force=True)
    manifest = write(version, ctx)
    with ctx.writing():
        DatasetVersion.objects.filter(pk=version.pk).update(
            state=DatasetVersion.State.WRITTEN, uri=str(folder_of(version)), manifest=manifest_json(manifest),
            size_bytes=sum(file.bytes for file in manifest.files.values()),
        )  # fmt: skip
    return {"version": version.pk, "rows": version.row_count, "name": str(version), "digest": version.digest}


def manifest_json(manifest: Any) -> dict[str, Any]:
    import json

    return json.loads(manifest.encode())


@kind("verify_version", "Verify a dataset version's files", queue="light")
def verify_version(ctx: RunContext) -> dict[str, Any]:
    """Every file's size and sha256, rows, columns, labels and splits against the manifest."""
    from adproof.shards.verify import verify
    from datasets_app.models import DatasetVersion

    version = DatasetVersion.objects.get(pk=ctx.params["version"])
    ctx.stage(f"reading {version.uri}")
    problems = verify(version.uri)
    for problem in problems[:100]:
        ctx.log(problem, "error")
    return {"version": version.pk, "problems": len(problems), "first": problems[:10]}
