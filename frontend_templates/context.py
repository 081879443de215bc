from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from frontend_templates.navigation import navigation


def site(request: HttpRequest) -> dict[str, Any]:
    return {
        "demo": settings.DEMO,
        "model_set": settings.MODEL_SET,
        "navigation": SimpleLazyObject(lambda: navigation(request)),
    }
