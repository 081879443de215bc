"""Numbers of plots: as people read them, and as scripts do."""

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma

register = template.Library()


@register.filter
def plain(value: float | int | None) -> str:
    """With a point, whatever the language; empty where there is none."""
    return "" if value is None else repr(value)


@register.filter
def in_unit(value: float | int | None, unit: str) -> str:
    """unit: "" for counts, "%" for shares of 1, "s" for seconds, "0.00" for other numbers."""
    if value is None:
        return "–"
    match unit:
        case "%":
            return f"{value:.0%}" if value in (0, 1) or 0.1 <= value < 0.995 else f"{value:.1%}"
        case "s":
            return f"{value:.1f} s"
        case "0.00":
            return f"{value:.2f}"
    return str(intcomma(int(value)))


@register.filter
def percent(value: float) -> str:
    """A share of 1 as a place from 0 to 100, for styles and drawings."""
    return f"{100 * min(1.0, max(0.0, value)):.1f}"
