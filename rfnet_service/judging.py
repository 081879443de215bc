"""Candidates in, verdicts stored. Runs in a worker's child."""

from collections.abc import Sequence

import numpy as np

from adproof.perception.pictures import open_picture, png_to_depth, png_to_saliency
from generation.blobs import blobs
from generation.models import Candidate
from rfnet_service.models import Checkpoint, Verdict
from runs.context import RunContext


def judge(ctx: RunContext, checkpoint: Checkpoint, candidates: Sequence[Candidate]) -> list[Verdict]:
    """Store this checkpoint's verdict on each candidate, once; in the order given. Candidates need all four pictures."""
    there = {
        verdict.candidate_id: verdict
        for verdict in Verdict.objects.filter(
            checkpoint=checkpoint, candidate__in=[candidate.pk for candidate in candidates]
        )
    }
    missing = [candidate for candidate in candidates if candidate.pk not in there]
    if missing:
        probs = probabilities(checkpoint, missing)
        rows = [verdict_of(candidate, checkpoint, row) for candidate, row in zip(missing, probs, strict=True)]
        with ctx.writing():
            Verdict.objects.bulk_create(rows, ignore_conflicts=True)
        there |= {row.candidate_id: row for row in rows}
    return [there[candidate.pk] for candidate in candidates]


def probabilities(checkpoint: Checkpoint, candidates: Sequence[Candidate]) -> np.ndarray:
    """(N, 5) float32, calibrated."""
    from adproof.rfnet.scoring import RFNetSample
    from rfnet_service import runtime

    samples = [
        RFNetSample(
            product=open_picture(blobs().get(candidate.product.image_sha256)),
            generated=open_picture(blobs().get(candidate.image_sha256))[..., :3],
            depth=png_to_depth(blobs().get(candidate.depth_sha256)),
            saliency=png_to_saliency(blobs().get(candidate.saliency_sha256)),
            caption=candidate.product.caption,
        )
        for candidate in candidates
    ]
    return runtime.scorer(checkpoint.folder, checkpoint.sha256)(samples)


def verdict_of(candidate: Candidate, checkpoint: Checkpoint, probs: np.ndarray) -> Verdict:
    first, second = np.sort(probs)[::-1][:2]
    return Verdict(
        candidate=candidate, checkpoint=checkpoint, probs=[round(float(p), 6) for p in probs], label=int(probs.argmax()),
        p_available=float(probs[0]), margin=float(first - second),
    )  # fmt: skip
