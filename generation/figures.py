"""What is counted over all products and candidates."""

from django.db import connection
from django.db.models import Count

from generation.models import Candidate
from runs.counted import counted

# From one value to the next by the index, past all the rows that share it.
_VALUES = """
    WITH RECURSIVE found AS (
        (SELECT {0} AS value FROM generation_product WHERE {0} > '' ORDER BY {0} LIMIT 1)
        UNION ALL
        SELECT (SELECT {0} FROM generation_product WHERE {0} > found.value ORDER BY {0} LIMIT 1) FROM found
        WHERE found.value IS NOT NULL
    )
    SELECT value FROM found WHERE value IS NOT NULL"""


def _values(column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_VALUES.format(column))
        return [value for (value,) in cursor.fetchall()]


@counted("product-categories")
def categories() -> list[str]:
    return _values("category")


@counted("product-sources")
def sources() -> list[str]:
    return _values("source")


@counted("candidates-by-generator")
def candidates_by_generator() -> list[tuple[int, int]]:
    return list(Candidate.objects.values_list("generator").annotate(n=Count("pk")).order_by())
