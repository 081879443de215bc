from django.contrib.auth.decorators import login_required
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from frontend_templates.numbers import numbers
from frontend_templates.stations import next_for, stations


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    found = stations(request.user)
    context = {"stations": found, "next_station": next_for(found), "availability": numbers().availability}
    return render(request, "home.html#loop" if request.htmx else "home.html", context)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400 of the root urlconf. Too large a request comes here too; it may have no session and no user yet."""
    too_much = isinstance(exception, (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent))
    status = 413 if too_much else 400
    return HttpResponse(render_to_string(f"{status}.html"), status=status)
