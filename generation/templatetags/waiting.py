from typing import Any

from django import template

from config.counted import counted
from generation.models import Product

register = template.Library()


@register.inclusion_tag("generation/waiting_note.html", takes_context=True)
def waiting_note(context: dict[str, Any]) -> dict[str, Any]:
    """How many products are not drawn because their cut-out waits for a look; nothing where none does."""
    return {"waiting": counted("products-waiting", Product.objects.waiting().count), "may": context.get("may")}
