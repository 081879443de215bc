from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.roles import requires
from datasets_app.models import DatasetVersion
from training import lineage


@requires("freeze_datasets")
@require_safe
def dataset_lineage(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("parent").defer("manifest"), pk=pk)
    steps = lineage.steps(version)
    total = DatasetVersion.objects.filter(name=version.name).count()
    context = {"version": version, "steps": steps, "hidden": total - len(steps), "most": lineage.COUNT_AT_MOST}
    return render(request, "training/lineage.html", context)
