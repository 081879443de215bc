from django import template

from runs.models import Run

register = template.Library()

CHIPS = {
    Run.State.QUEUED: "chip",
    Run.State.RUNNING: "chip chip-accent chip-live",
    Run.State.WAITING: "chip chip-accent chip-live",
    Run.State.PAUSED: "chip chip-warn",
    Run.State.STOPPED: "chip chip-warn",
    Run.State.SPENT: "chip chip-warn",
    Run.State.SUCCEEDED: "chip chip-good",
    Run.State.FAILED: "chip chip-bad",
}


@register.filter
def state_chip(state: str) -> str:
    """The CSS classes of a state's chip."""
    return CHIPS[Run.State(state)]


@register.filter
def run_chip(run: Run) -> str:
    """The same of a run, which may have come to its end with nothing made, or with less than was asked for."""
    if run.has_all_failed:
        return CHIPS[Run.State.FAILED]
    return "chip chip-warn" if run.failed_pieces else state_chip(run.state)


@register.filter
def duration(seconds: float | None) -> str:
    """ "2.4 s", "3 min 12 s", "2 h 5 min"."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def words(name: str) -> str:
    """A key of some JSON as words: "validation_f1" -> "validation f1"."""
    return str(name).replace("_", " ")
