from django import template
from django.urls import reverse

register = template.Library()


@register.simple_tag
def picture_url(sha256: str) -> str:
    return reverse("picture", args=[sha256])


@register.simple_tag
def thumbnail_url(sha256: str, px: int = 384) -> str:
    return reverse("thumbnail", args=[px, sha256])
