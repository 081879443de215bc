"""The grid: choose what to go through, then confirm page after page and mark the odd ones out."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods, require_safe

from accounts.roles import requires
from adproof.labels import TITLES, Label
from annotation import grid as grids
from annotation.models import Snapshot
from annotation.review_views import label_choices, settings_of

RECENT = 8


@requires("review")
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The filter comes filled in from the address, so that other pages can link to a grid of what they show."""
    form = grids.GridForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    if form.is_bound and form.is_valid():
        snapshot = grids.make_snapshot(request.user, form.cleaned_data)
        if snapshot.count:
            return redirect("grid", snapshot.pk)
        snapshot.delete()
        messages.info(request, "Nothing matches that you have not labelled yourself: take fewer filters.")
    recent = Snapshot.objects.filter(owner=request.user).order_by("-pk")[:RECENT]
    for snapshot in recent:
        label = snapshot.query.get("label")
        snapshot.words = TITLES[Label(label)] if label in set(Label) else "Any label"
    return render(
        request, "annotation/grid_new.html", {"form": form, "recent": recent},
        status=422 if form.is_bound and form.errors else 200,
    )  # fmt: skip


@requires("review")
@require_safe
@ensure_csrf_cookie
def grid(request: HttpRequest, pk: int) -> HttpResponse:
    snapshot = get_object_or_404(Snapshot, pk=pk, owner=request.user)
    asked = request.GET.get("page", "1")
    seen_at = timezone.now()  # before it is read: whatever comes later is news
    try:
        page = grids.page(snapshot, int(asked) if asked.isdecimal() and len(asked) < 7 else 0)
    except ValueError:
        raise Http404("There is no such page of this grid.") from None
    context = {
        "snapshot": snapshot, "page": page, "labels": label_choices(), "settings": settings_of(request, "grid"),
        "seen_at": seen_at.isoformat(), "done_before": page.number - 1,
        "next_url": f"{reverse('grid', args=[pk])}?page={page.number + 1}" if page.number < page.count else "",
        "previous_url": f"{reverse('grid', args=[pk])}?page={page.number - 1}" if page.number > 1 else "",
    }  # fmt: skip
    return render(request, "annotation/grid.html", context)
