import sys
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from django.views.defaults import page_not_found, server_error

from adproof.labels import TITLES
from config.database_away import is_away, sorry
from frontend_templates.numbers import numbers
from frontend_templates.stations import next_for, stations


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    found = stations(request.user)
    now = numbers()
    context = {
        "stations": found,
        "next_station": next_for(found),
        "availability": now.availability,
        "labels": label_strip(now.label_counts),
    }
    return render(request, "home.html#loop" if request.htmx else "home.html", context)


def label_strip(counts: list[int]) -> list[dict[str, Any]]:
    """The labels with their place on a strip 100 wide."""
    total, start, strip = sum(counts) or 1, 0.0, []
    for (label, title), count in zip(TITLES.items(), counts, strict=True):
        width = 100 * count / total
        strip.append({"label": int(label), "title": title, "count": count, "start": start, "width": width})
        start += width
    return strip


def for_program(request: HttpRequest) -> bool:
    """Programs read `detail`, not pages."""
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400 of the root urlconf. Too large a request comes here too; it may have no session and no user yet."""
    too_much = isinstance(exception, (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent))
    status = 413 if too_much else 400
    if for_program(request):
        why = "That is too much at once: send fewer, or smaller ones." if too_much else "This request can't be read."
        return JsonResponse({"detail": why}, status=status)
    return HttpResponse(render_to_string(f"{status}.html"), status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if for_program(request):
        return JsonResponse({"detail": "There is nothing at this address: /api/docs/ lists what there is."}, status=404)
    return page_not_found(request, exception)


def broken(request: HttpRequest) -> HttpResponse:
    exception = sys.exc_info()[1]
    if is_away(exception):  # while a page was being written: no middleware sees that
        return sorry(request, exception)
    if for_program(request):
        why = "Something broke on our side. Nothing was half-stored: send it again in a moment."
        return JsonResponse({"detail": why}, status=500)
    return server_error(request)
