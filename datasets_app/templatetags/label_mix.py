from collections.abc import Mapping, Sequence
from typing import Any

from django import template

from adproof.labels import LABELS, TITLES

register = template.Library()


@register.inclusion_tag("datasets_app/label_mix.html")
def label_mix(counts: Mapping[str, int] | Sequence[int], legend: bool = False) -> dict[str, Any]:
    """A bar in the labels' colours. `counts` by label name, or five in the labels' order."""
    five = [counts.get(name, 0) for name in LABELS] if isinstance(counts, Mapping) else list(counts)
    total, start, parts = sum(five), 0.0, []
    for (label, title), count in zip(TITLES.items(), five, strict=True):
        share = count / (total or 1)
        parts.append(
            {"label": int(label), "title": title, "count": count, "start": start, "width": 100 * share, "share": share}
        )
        start += 100 * share
    return {"parts": parts, "total": total, "legend": legend}


@register.filter
def percent(share: Any, digits: int = 0) -> str:
    """0.873 -> "87 %"; nothing known (None, or a key that is not there) -> "–"."""
    return "–" if share in (None, "") else f"{100 * share:.{digits}f} %"


@register.filter
def figure(value: Any) -> str:
    """A ratio between 0 and 1 with three digits, or "–"."""
    return "–" if value in (None, "") else f"{value:.3f}"
