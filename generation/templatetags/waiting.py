from typing import Any

from django import template

from generation.models import Product

MANY = 10_000  # beyond, nobody needs to know how many
register = template.Library()


@register.inclusion_tag("generation/waiting_note.html", takes_context=True)
def waiting_note(context: dict[str, Any]) -> dict[str, Any]:
    """How many products are not drawn because their cut-out waits for a look; nothing where none does."""
    return {"waiting": Product.objects.waiting()[:MANY].count(), "may": context.get("may")}
