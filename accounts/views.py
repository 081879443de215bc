from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh
from rest_framework.authtoken.models import Token

from accounts.models import User

# In the order of the loop; what each may try is said on the log-in page.
DEMO_TASKS = {
    "annotator": "labels pictures at the desk",
    "reviewer": "looks at what people disagree on",
    "manager": "brings products in and freezes datasets",
    "ml": "trains RFNet and tunes the generator",
    "operator": "may do everything, and the admin",
}


def demo_people() -> list[User]:
    if not settings.DEMO:
        return []
    people = User.objects.filter(is_demo=True, is_active=True, is_simulated=False)
    order = list(DEMO_TASKS)
    return sorted(people, key=lambda person: (order.index(person.role), person.username))


def front_door(user: User) -> str:
    """Annotators come to label: they go straight to the desk."""
    return "desk" if user.role == "annotator" else "home"


class LoginPage(LoginView):
    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.htmx:  # a poll after the session ended: load the whole page, not this one into a corner of it
            return HttpResponseClientRefresh()
        return super().get(request, *args, **kwargs)

    def get_default_redirect_url(self) -> str:
        return reverse(front_door(self.request.user))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        people = [{"person": person, "task": DEMO_TASKS[person.role]} for person in demo_people()]
        return super().get_context_data(demo_people=people, **kwargs)


@require_POST
def demo_login(request: HttpRequest, username: str) -> HttpResponse:
    if not settings.DEMO:
        raise Http404("This platform does not run as a demo.")
    user = get_object_or_404(User, username=username, is_demo=True, is_active=True)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect(front_door(user))


@login_required
@require_safe
def profile(request: HttpRequest) -> HttpResponse:
    token = Token.objects.filter(user=request.user).first()
    return render(request, "accounts/profile.html", {"token": token})


@login_required
@require_POST
def rotate_token(request: HttpRequest) -> HttpResponse:
    """A new token; the old one stops working at once."""
    with transaction.atomic():
        had_one = bool(Token.objects.filter(user=request.user).delete()[0])
        Token.objects.create(user=request.user)
    messages.success(
        request, "Your old token no longer works. Here is the new one." if had_one else "Your token is ready."
    )
    return redirect("profile")
