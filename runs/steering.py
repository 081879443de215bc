"""Who may steer a run: pause it, stop it, let it go on, give it another budget."""

from typing import Any

from django.core.exceptions import PermissionDenied

from runs.models import Run


def may_steer(user: Any, run: Run) -> bool:
    """Whoever started it, and operators."""
    return bool(user.may("operate") or (run.created_by_id is not None and run.created_by_id == user.pk))


def refuse_others(user: Any, run: Run) -> None:
    """Raises PermissionDenied (403, with its sentence, on pages and in the API) for who may not steer it."""
    if not may_steer(user, run):
        raise PermissionDenied("Only the person who started this run, or an operator, may steer it.")
