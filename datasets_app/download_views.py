from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_safe

from accounts.roles import requires
from adproof.shards.store import StoreError
from datasets_app.downloads import download_link, opened
from datasets_app.models import DatasetVersion


@requires("freeze_datasets")
@require_safe
def dataset_link(request: HttpRequest, pk: int) -> HttpResponse:
    """A link is made now, and followed. ?name= one file; ?uri= another place it is written to. All of it comes as a
    tar, or with ?form=zip as a zip."""
    version = get_object_or_404(DatasetVersion, pk=pk)
    asked = {name: request.GET[name] for name in ("name", "uri", "form") if request.GET.get(name)}
    try:
        link = download_link(version, **asked)
    except (ValueError, StoreError) as problem:
        messages.error(request, str(problem))
        return redirect("dataset", pk)
    return redirect(link)


@require_safe
def dataset_signed(request: HttpRequest, token: str) -> StreamingHttpResponse:
    """Whoever has the link may have what it names, for some minutes: no log-in, so that wget can follow it."""
    try:
        name, size, content = opened(token)
    except (ValueError, StoreError) as problem:
        raise Http404(str(problem)) from problem
    response = StreamingHttpResponse(content, content_type="application/octet-stream")
    if size is not None:
        response["Content-Length"] = str(size)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response
