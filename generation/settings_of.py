"""Everything that decided a candidate's picture, as JSON that can be copied."""

from __future__ import annotations

from typing import Any

from generation.models import Candidate


def settings_of(row: Candidate) -> dict[str, Any]:
    """Wants product, prompt and generator with it."""
    environment = getattr(row, "environment", None)
    return {
        "candidate": row.pk,
        "key": row.key,
        "product": {"sku": row.product.sku, "title": row.product.title, "image_sha256": row.product.image_sha256},
        "prompt": {
            "name": row.prompt.name, "text": row.prompt_text, "negative_text": row.negative_text,
            "image_scale": row.image_scale,
        },
        "generator": {
            "name": row.generator.name, "kind": row.generator.kind, "key": row.generator.key,
            "config": row.generator.config,
        },
        "seed": row.seed,
        "draw": str(row.draw),
        "attempt": row.attempt,
        "abandoned_at_step": getattr(row, "abandoned_at_step", None),
        "batch": getattr(row, "batch", None),
        "environment": environment.values if environment else None,
        "pictures": {
            "generated": row.image_sha256, "depth": row.depth_sha256, "saliency": row.saliency_sha256,
            "depth_model": row.depth_model, "saliency_model": row.saliency_model,
        },
        "seconds": round(row.seconds, 3),
        "run": row.run_id,
        "drawn_at": row.created_at.isoformat(),
    }  # fmt: skip
