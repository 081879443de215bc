"""What a checkpoint has judged, and what it has not."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Avg, Count

from rfnet_service.actions import unscored
from rfnet_service.models import Checkpoint, Verdict
from runs.counted import counted

NEWEST = 10


def _looked_at() -> Iterable[int]:
    """The one in use, and the newest ones."""
    in_use = Checkpoint.objects.filter(is_promoted=True).values_list("pk", flat=True)
    return {*in_use, *Checkpoint.objects.order_by("-pk").values_list("pk", flat=True)[:NEWEST]}


@counted("verdicts", each=_looked_at)
def verdict_counts(checkpoint: int) -> dict[str, Any]:
    """{"counts": of each label, "judged": n, "unjudged": n, "mean_available": 0..1 or None}"""
    rows = Verdict.objects.filter(checkpoint=checkpoint).values_list("label").order_by()
    counts, total = [0] * 5, 0.0
    for label, count, mean in rows.annotate(n=Count("pk"), mean=Avg("p_available")):
        counts[label], total = count, total + count * mean
    judged = sum(counts)
    return {
        "counts": counts,
        "judged": judged,
        "mean_available": total / judged if judged else None,
        "unjudged": unscored(Checkpoint(pk=checkpoint)).count(),
    }
