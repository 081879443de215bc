"""The verdicts that the consensus may be weighed with: on labelled candidates that the RFNet in use never learnt."""

from __future__ import annotations

import numpy as np

from annotation.classifier import Verdicts
from rfnet_service.actions import promoted
from rfnet_service.models import Verdict


def out_of_sample() -> Verdicts | None:
    """None when no RFNet is in use, or when nobody knows what it was trained on.

    All candidates of its dataset version are left out, test samples too: its temperature and its promotion may have
    been chosen by them.
    """
    checkpoint = promoted()
    if checkpoint is None or checkpoint.dataset_version_id is None:
        return None
    rows = (
        Verdict.objects.filter(checkpoint=checkpoint, candidate__consensus__isnull=False)
        .exclude(candidate__version_rows__version=checkpoint.dataset_version_id)
        .values_list("candidate_id", "probs")
    )
    table = np.fromiter(
        ((candidate, tuple(probs)) for candidate, probs in rows.iterator(chunk_size=20_000)),
        dtype=[("candidate", "i8"), ("probs", "f8", (5,))],
    )
    probs = table["probs"]
    return Verdicts(checkpoint.name, table["candidate"].copy(), probs / probs.sum(axis=1, keepdims=True))
