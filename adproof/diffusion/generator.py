"""Generators: fixed weights and settings that draw advertising images around a product.

Both kinds run StableDiffusionControlNetInpaintPipeline as methods.md describes; they differ in weights and size:

* "sd-controlnet": Stable Diffusion 1.5 class weights (hub ids or local folders) with ControlNet canny, 512 px.
* "mini": the small nets shipped with the project, 128 px; the background is enlarged to 512 px and the product laid
  over it in full resolution.

The same picture to the bit needs the same batch shape: matrix products are summed up in an order that depends on it. So
every picture carries its Shapes (which batch size it was in, and where, from which step on), and `redraw` follows them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from torch import Tensor

from adproof.diffusion import memory, schedulers, weights
from adproof.diffusion.conditions import Conditions, Uint8Array, composite, lay_over, placed, prepare, prepare_all
from adproof.diffusion.config import (
    MINI,
    MINI_FOLDER,
    PAPER,
    PRESETS,
    Folders,
    GeneratorConfig,
    generator_key,
    local_folder,
    lora_file,
)
from adproof.diffusion.enlarging import enlarge
from adproof.diffusion.sampling import Sampler

__all__ = [
    "MINI", "MINI_FOLDER", "PAPER", "PRESETS", "DrawRequest", "Drawn", "EarlyStop", "Generator", "GeneratorConfig", "Shape",
    "enlarge", "local_folder",
]  # fmt: skip

log = logging.getLogger(__name__)
OnStep = Callable[[int, int], None]
# From this step on (0: from the start) the picture was one of so many, at this place.
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class DrawRequest:
    """One image to draw; (generator, request) decides it."""

    product_rgba: Uint8Array  # (H, W, 4) uint8
    prompt: str
    seed: int  # 0 .. 2^63-1
    negative_prompt: str = ""
    image_scale: float = 0.72  # longer side of the product / canvas


@dataclass(frozen=True)
class Drawn:
    """One picture, and what it takes to draw it again to the bit."""

    image: Uint8Array  # (size, size, 3)
    shapes: tuple[Shape, ...]
    # Passes through the net: of some schedulers more than one a step.
    passes: int
    # Given up after this step: `image` is what it was heading for, not what it would have become.
    abandoned_at: int | None = None


@dataclass(frozen=True)
class EarlyStop:
    """After these steps (passes through the net), ask which images are worth going on with.

    keep(step, indices of the requests, the pictures they are heading for) -> one bool each.
    """

    steps: tuple[int, ...]
    keep: Callable[[int, Sequence[int], Sequence[Uint8Array]], Sequence[bool]]


@dataclass
class Generator:
    """Loaded weights, ready to draw. `key` names the generator: equal keys, equal pictures for equal requests."""

    config: GeneratorConfig
    pipeline: StableDiffusionControlNetInpaintPipeline
    key: str
    batch_size: memory.BatchSize = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        cfg, vae = self.config, self.pipeline.vae
        per_image = memory.bytes_per_image(
            cfg.canvas, vae.config.block_out_channels[0], vae.dtype.itemsize, sliced=cfg.vae_slicing
        )
        self.batch_size = memory.BatchSize(cfg.batch, per_image)
        self.sampler = Sampler(self.pipeline, cfg)

    @classmethod
    def load(cls, config: Mapping[str, Any] | GeneratorConfig) -> Generator:
        """Load a generator; never downloads.

        config: a GeneratorConfig, or a dict with "kind" and whatever differs from that kind's preset (MINI, PAPER).
        Raises ValueError for a wrong config or weights that do not fit it, FileNotFoundError (naming the command to get it)
        for missing weights, OSError for pickled ones.
        """
        cfg = config if isinstance(config, GeneratorConfig) else GeneratorConfig.from_dict(config)
        cfg.check()
        folders = Folders.of(cfg)
        if cfg.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError('this generator draws on a GPU, and this machine has none: set its "device" to "cpu" and '
                             '"dtype" to "float32", or draw on another machine')  # fmt: skip
        pipeline = weights.read(cfg, folders)
        pipeline.scheduler = schedulers.make(cfg, pipeline.scheduler.config)
        if folders.lora is not None:
            weights.fuse_lora(pipeline, lora_file(folders.lora), cfg.lora_scale)
        pipeline.to(cfg.device)
        _arrange(pipeline, cfg)
        return cls(cfg, pipeline, generator_key(cfg, folders))

    @property
    def passes(self) -> int:
        """Passes through the net that a finished picture takes: with second-order schedulers (Heun) nearly two a step."""
        self.pipeline.scheduler.set_timesteps(self.config.steps, device=self.config.device)
        return self.sampler.total_steps()

    def unread(self, text: str) -> str:
        """The end of a prompt that the text encoder never sees; "" where it reads all.

        It reads so many tokens (CLIP 77, the mini set 32, the start and the end among them); what comes after has no effect.
        """
        tokenizer = self.pipeline.tokenizer
        places = tokenizer(text, return_offsets_mapping=True, verbose=False).offset_mapping
        beyond = places[tokenizer.model_max_length - 1 : -1]
        return text[beyond[0][0] :].strip() if beyond else ""

    def generate(self, requests: Sequence[DrawRequest], on_step: OnStep | None = None) -> list[Uint8Array]:
        """Draw the requests, in their order: (size, size, 3) uint8 each. See `draw`."""
        return [drawn.image for drawn in self.draw(requests, on_step)]

    def draw(
        self, requests: Sequence[DrawRequest], on_step: OnStep | None = None, early_stop: EarlyStop | None = None
    ) -> list[Drawn]:
        """Draw the requests, in batches as large as the memory allows, in their order.

        on_step(done, total) is called after every denoising step of every batch; what it raises stops the drawing at
        once and is passed on. Each image has a random stream of its own, so its pixels do not depend on the order
        of the requests; its batch neighbours can move a channel by one grey level through float rounding (`redraw`
        rules that out). With early_stop, hopeless images leave their batch and the rest goes on faster.
        Raises ValueError for a product without pixels or a bad image_scale, before anything is drawn. An out-of-memory
        is raised only when not even one image fits.
        """
        conditions = prepare_all(
            [r.product_rgba for r in requests], [r.image_scale for r in requests], self.config.canvas
        )
        drawn: list[Drawn] = []
        batches_done = 0
        while len(drawn) < len(requests):
            left = len(requests) - len(drawn)
            batch = min(self.batch_size.now(self.sampler.device), left)
            part = slice(len(drawn), len(drawn) + batch)
            tell = _told(on_step, batches_done, -(-left // batch))
            try:
                drawn += self._draw(requests[part], conditions[part], tell, _moved(early_stop, len(drawn)))
                batches_done += 1
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error) or batch == 1:
                    raise
                error.__traceback__ = None  # its frames hold the tensors
                log.warning("out of memory with %d images at once: %d from now on", batch, self.batch_size.halve(batch))
                if self.sampler.device.type == "cuda":
                    torch.cuda.empty_cache()
        return drawn

    def redraw(self, request: DrawRequest, shapes: Sequence[Shape], abandoned_at: int | None = None) -> Uint8Array:
        """Draw a picture again as it was drawn: in batches of the same sizes, at the same places.

        Equal to the bit on the same hardware with the same versions and number of threads. Takes the time of the
        whole batch, whose other places are filled with the same request.
        shapes: of the batches that it went through. Returns (canvas, canvas, 3) uint8.
        Raises ValueError for shapes that no batch can have had.
        """
        _check(shapes)
        first = shapes[0]
        conditions = prepare(request.product_rgba, request.image_scale, self.config.canvas)
        rest = {shape[0]: _rows_that_stay(before, shape) for before, shape in zip(shapes, shapes[1:], strict=False)}
        rows = self.sampler.begin([conditions] * first[1], [request.prompt] * first[1], [request.negative_prompt] * first[1],
                                  [request.seed] * first[1])  # fmt: skip
        found: list[Uint8Array] = []

        def after_step(step: int, estimate: Callable[[], Tensor]) -> Sequence[int] | None:
            if step == abandoned_at:
                found.append(self.sampler.decode(estimate())[_at(shapes, step)[2]])
                return []
            return rest.get(step)

        self.sampler.denoise(rows, after_step)
        background = found[0] if found else self.sampler.decode(rows.latents)[shapes[-1][2]]
        return self._finish(background, conditions, request)

    def _draw(
        self, requests: Sequence[DrawRequest], conditions: Sequence[Conditions], on_step: OnStep | None,
        early_stop: EarlyStop | None,
    ) -> list[Drawn]:  # fmt: skip
        rows = self.sampler.begin(
            conditions, [r.prompt for r in requests], [r.negative_prompt for r in requests], [r.seed for r in requests]
        )
        total = self.sampler.total_steps()
        going = list(range(len(requests)))
        shapes: dict[int, tuple[Shape, ...]] = {i: ((0, len(requests), i),) for i in going}
        results: dict[int, Drawn] = {}

        def after_step(step: int, estimate: Callable[[], Tensor]) -> Sequence[int] | None:
            if on_step is not None:
                on_step(step, total)
            if early_stop is None or step not in early_stop.steps or step == total:
                return None
            pictures = [
                self._finish(background, conditions[i], requests[i])
                for i, background in zip(going, self.sampler.decode(estimate()), strict=True)
            ]
            wanted = early_stop.keep(step, tuple(going), pictures)
            kept = [place for place, is_wanted in enumerate(wanted) if is_wanted]
            for place, i in enumerate(going):
                if not wanted[place]:
                    results[i] = Drawn(pictures[place], shapes[i], step, step)
            if len(kept) < len(going):
                going[:] = [going[place] for place in kept]
                for place, i in enumerate(going):
                    shapes[i] += ((step, len(going), place),)
            return kept

        self.sampler.denoise(rows, after_step)
        for i, background in zip(going, self.sampler.decode(rows.latents) if going else [], strict=True):
            results[i] = Drawn(self._finish(background, conditions[i], requests[i]), shapes[i], total)
        return [results[i] for i in range(len(requests))]

    def _finish(self, background: Uint8Array, conditions: Conditions, request: DrawRequest) -> Uint8Array:
        if self.config.size == self.config.canvas:
            return composite(background, conditions)
        canvas, _box = placed(request.product_rgba, request.image_scale, self.config.size)
        return lay_over(enlarge(background, conditions.alpha, self.config.size), canvas)


def _arrange(pipeline: Any, cfg: GeneratorConfig) -> None:
    """Memory layout and memory savers."""
    if cfg.channels_last:
        for part in (pipeline.unet, pipeline.controlnet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if cfg.attention_slicing:
        pipeline.enable_attention_slicing()
    if cfg.vae_slicing:
        pipeline.vae.enable_slicing()


def _told(on_step: OnStep | None, done: int, left: int) -> OnStep | None:
    """on_step in steps of all batches, so many done and left."""
    if on_step is None:
        return None
    return lambda step, total: on_step(done * total + step, (done + left) * total)


def _moved(early_stop: EarlyStop | None, start: int) -> EarlyStop | None:
    """The same, asked about one batch of the requests."""
    if early_stop is None:
        return None
    keep = early_stop.keep
    return EarlyStop(early_stop.steps, lambda step, going, seen: keep(step, [start + i for i in going], seen))


def _check(shapes: Sequence[Shape]) -> None:
    if not shapes or shapes[0][0] != 0 or any(not 0 <= place < size for _, size, place in shapes):
        raise ValueError(f"shapes are (from step, batch size, place), the first from step 0, not {list(shapes)}")
    for before, after in zip(shapes, shapes[1:], strict=False):
        right_before, right_after = before[1] - before[2], after[1] - after[2]
        if after[0] <= before[0] or after[2] > before[2] or right_after > right_before:
            raise ValueError(f"a batch only gets smaller: {after} can't follow {before}")


def _rows_that_stay(before: Shape, after: Shape) -> list[int]:
    """Any rows of the earlier batch that bring ours to its place in the later one."""
    _, _, place = before
    left, right = after[2], after[1] - after[2] - 1
    return [*range(left), place, *range(place + 1, place + 1 + right)]


def _at(shapes: Sequence[Shape], step: int) -> Shape:
    """The shape during this step (shapes begin after the step they name)."""
    return [shape for shape in shapes if shape[0] < step][-1]
