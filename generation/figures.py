"""What is counted over all products and candidates."""

from django.db.models import Count

from generation.models import Candidate, Product
from runs.counted import counted


@counted("product-categories")
def categories() -> list[str]:
    rows = Product.objects.exclude(category="").order_by("category").values_list("category", flat=True)
    return list(rows.distinct())


@counted("candidates-by-generator")
def candidates_by_generator() -> list[tuple[int, int]]:
    return list(Candidate.objects.values_list("generator").annotate(n=Count("pk")).order_by())
