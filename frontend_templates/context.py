from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.roles import ABILITIES, may
from frontend_templates.navigation import navigation


class Abilities:
    """For templates: {% if may.generate %}. An ability that does not exist raises, as everywhere."""

    def __init__(self, user: Any) -> None:
        self.user = user

    def __getitem__(self, ability: str) -> bool:
        if ability not in ABILITIES:
            raise ValueError(f"no ability {ability!r}")  # a KeyError would pass silently in a template
        return may(self.user, ability)


def site(request: HttpRequest) -> dict[str, Any]:
    return {
        "demo": settings.DEMO,
        "model_set": settings.MODEL_SET,
        "navigation": SimpleLazyObject(lambda: navigation(request)),
        "may": Abilities(request.user),
    }
