"""Who may do what. Every page and endpoint names one of these abilities; nothing asks for a role by itself."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

ROLES = {
    "annotator": "Annotator",
    "reviewer": "Reviewer",
    "manager": "Data manager",
    "ml": "ML staff",
    "operator": "Operator",
}

ABILITIES: dict[str, frozenset[str]] = {
    "label": frozenset({"annotator", "reviewer", "manager", "ml", "operator"}),
    "review": frozenset({"reviewer", "manager", "operator"}),
    "see_quality": frozenset({"reviewer", "manager", "ml", "operator"}),
    "see_candidates": frozenset({"reviewer", "manager", "ml", "operator"}),
    "edit_products": frozenset({"manager", "operator"}),
    "generate": frozenset({"manager", "ml", "operator"}),
    "manage_tasks": frozenset({"manager", "operator"}),
    "import_data": frozenset({"manager", "operator"}),
    "freeze_datasets": frozenset({"manager", "ml", "operator"}),
    "train": frozenset({"ml", "operator"}),
    "promote": frozenset({"ml", "operator"}),
    "see_runs": frozenset({"manager", "ml", "operator"}),
    "operate": frozenset({"operator"}),
}


def may(user: Any, ability: str) -> bool:
    if ability not in ABILITIES:
        raise KeyError(f"no ability {ability!r}: accounts.roles.ABILITIES lists them")
    if not user.is_authenticated or not user.is_active:
        return False
    return bool(user.is_superuser or user.role in ABILITIES[ability])


def requires(ability: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Log-in page for strangers, 403 for people without the ability."""

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not may(request.user, ability):
                raise PermissionDenied(
                    f"Your role can't do this ({ability.replace('_', ' ')}). Ask an operator for it."
                )
            return view(request, *args, **kwargs)

        guarded = login_required(inner)
        guarded.ability = ability  # type: ignore[attr-defined]  # read by the role x endpoint test
        return guarded

    return wrap
