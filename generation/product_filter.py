"""The filter of the list of products: the page, the API and the command line find the same with it."""

from __future__ import annotations

from typing import Any, Protocol

from django.db.models import Q, QuerySet

from generation.models import Product


class Asked(Protocol):
    """A form's or an address's values, or a dict."""

    def get(self, name: str, default: Any = ..., /) -> Any: ...


def matching(asked: Asked) -> QuerySet[Product]:
    """`q`: in title, SKU or description; `category`; `source`; `state`."""
    rows = Product.objects.all()
    if query := asked.get("q", "").strip()[:200]:
        rows = rows.filter(Q(title__icontains=query) | Q(sku__icontains=query) | Q(description__icontains=query))
    for name in ("category", "source"):
        if value := asked.get(name, "")[:80]:
            rows = rows.filter(**{name: value})
    state = asked.get("state", "")
    return {"waiting": rows.waiting, "unsuitable": rows.flagged, "drawable": rows.drawable}.get(state, rows.all)()
