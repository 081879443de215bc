"""Small checks that every worker process makes now and then. Each must be cheap and safe to make twice at once."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger("runs.clock")

Check = Callable[[], object]
_checks: dict[Check, float] = {}


def regularly(seconds: float) -> Callable[[Check], Check]:
    """Have the keeper of every worker process call this function, the first time `seconds` after its start."""

    def register(check: Check) -> Check:
        _checks[check] = seconds
        return check

    return register


class Clock:
    def __init__(self, now: float | None = None) -> None:
        self._started = time.monotonic() if now is None else now
        self._last: dict[Check, float] = {}

    def tick(self, now: float | None = None) -> None:
        """Make the checks that are due. One that fails is logged and does not keep the others from theirs."""
        now = time.monotonic() if now is None else now
        for check, seconds in list(_checks.items()):
            if now - self._last.get(check, self._started) < seconds:
                continue
            self._last[check] = now
            try:
                check()
            except Exception:  # noqa: BLE001 - a broken check must not stop the keeper, which all runs need
                log.exception("%s failed; tried again in %g s", check.__name__, seconds)
