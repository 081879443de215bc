"""Who may use an endpoint: the same abilities as the pages name (accounts.roles.requires)."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.roles import may


class May(BasePermission):
    """Whoever has `ability`; where `changing` is given, methods that change something ask for that one instead."""

    ability = ""
    changing = ""

    def has_permission(self, request: Request, view: Any) -> bool:
        # A method that this address does not know is 405 for everybody.
        changes = request.method not in SAFE_METHODS and str(request.method).lower() in view.http_method_names
        ability = self.changing if changes and self.changing else self.ability
        return request.user is not None and may(request.user, ability)
