"""Real candidates that show what a label means, where a project has chosen none."""

from __future__ import annotations

from adproof.labels import TITLES
from annotation.models import Consensus, Task
from runs.counted import counted

EXAMPLES_PER_LABEL = 3


@counted("usual-examples", each=lambda: map(int, TITLES))
def agreed_on(label: int) -> list[str]:
    gold = Task.objects.filter(is_gold=True, gold__is_retired=False).values("candidate")
    rows = (
        Consensus.objects.filter(label=label, agreement=1, annotation_count__gte=3, is_complete=True)
        .exclude(candidate__in=gold)
        .filter(candidate__product__unsuitable=False)
        .order_by("-candidate_id")
        .values_list("candidate__image_sha256", flat=True)[:EXAMPLES_PER_LABEL]
    )
    return list(rows)
