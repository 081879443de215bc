"""Drawing a candidate again as it was drawn, and saying whether the picture is the same to the bit."""

from __future__ import annotations

from dataclasses import dataclass, field

from config.full_disk import is_full_disk
from generation.blobs import blobs
from generation.models import Candidate, candidate_key

# What candidates that tell nothing of their batch are drawn in.
ALONE = [[0, 1, 0]]


class CannotRemake(ValueError):
    """The message says why, and what would have to be there."""


@dataclass(frozen=True)
class Remade:
    png: bytes
    equal: bool
    # Greatest difference of a channel in grey levels, and the share of pixels that differ.
    greatest: int = 0
    share: float = 0.0
    # Why it may differ: what has changed since, each as words.
    reasons: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        if self.equal:
            return "Equal to the bit."
        difference = f"{self.share:.1%} of its pixels differ, by {self.greatest} grey levels at most"
        if not self.reasons:
            return f"Not equal: {difference}. Nothing recorded has changed; the hardware itself may not repeat sums."
        return f"Not equal: {difference}. Since it was drawn: {'; '.join(self.reasons)}."


def remake(candidate: Candidate) -> Remade:
    """Draw it again with its recorded settings, seed and batch shape. Loads the generator: call it in a worker or command.

    Raises CannotRemake where its generator draws nothing here (its weights have changed, or are gone), its product has
    another picture now, or a picture is not in the store any more.
    """
    from adproof.diffusion.generator import DrawRequest
    from adproof.environment import differences, environment
    from adproof.perception.pictures import open_picture, picture_to_png
    from generation import runtime

    generator, product = candidate.generator, candidate.product
    if generator.kind == generator.IMPORTED:
        raise CannotRemake(f"{generator} stands for a generator elsewhere: its pictures can't be drawn here.")
    _check_product(candidate)
    product_rgba = open_picture(_stored(product.image_sha256, f"the picture of {product}"))
    before = open_picture(_stored(candidate.image_sha256, "the candidate's own picture"))[..., :3]
    try:
        drawer = runtime.drawer_of(generator)
    except (ValueError, OSError) as problem:
        if is_full_disk(problem):
            raise
        raise CannotRemake(f"{generator} can't draw: {problem}") from problem
    request = DrawRequest(
        product_rgba=product_rgba, prompt=candidate.prompt_text, negative_prompt=candidate.negative_text,
        image_scale=candidate.image_scale, seed=candidate.seed,
    )  # fmt: skip
    shapes = [(start, size, place) for start, size, place in candidate.batch or ALONE]
    image = drawer.redraw(request, shapes, candidate.abandoned_at_step)
    png = picture_to_png(image)
    reasons = [] if candidate.batch else ["its batch was not recorded when it was drawn"]
    if candidate.environment is not None:
        reasons += differences(candidate.environment.values, environment(drawer.config.device))
    if before.shape != image.shape:
        return Remade(png, False, 255, 1.0, [*reasons, f"its size was {before.shape[1]} x {before.shape[0]}"])
    apart = abs(before.astype(int) - image.astype(int)).max(axis=2)
    return Remade(png, not apart.any(), int(apart.max()), float((apart > 0).mean()), reasons)


def _stored(sha256: str, what: str) -> bytes:
    try:
        return blobs().get(sha256)
    except FileNotFoundError as error:
        raise CannotRemake(
            f"{what[:1].upper()}{what[1:]} is not in the store any more: put the store's files back."
        ) from error


def _check_product(candidate: Candidate) -> None:
    """The key names the product's picture it was drawn from."""
    key = candidate_key(
        product_sha256=candidate.product.image_sha256, prompt=candidate.prompt_text, negative=candidate.negative_text,
        image_scale=candidate.image_scale, generator=candidate.generator.key, seed=candidate.seed,
        abandoned_at=candidate.abandoned_at_step,
    )  # fmt: skip
    if key != candidate.key:
        raise CannotRemake(
            f"The picture of {candidate.product} is another one than it was drawn from: put the earlier one back to draw it again."
        )
