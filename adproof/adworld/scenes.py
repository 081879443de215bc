"""Advertising scenes whose label is known by construction.

A scene is planned (label, product, edition, layout, references), drawn, and then measured: a scene that does not
keep its label's rule, or breaks another label's rule, is thrown away and drawn again under the same label, so that
the labels' shares stay as asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adproof.adworld import rules, staging, surfaces, words
from adproof.adworld.catalogue import CatalogueProduct
from adproof.adworld.clutter import CLUTTER, camouflage, clutter, harmless_wall
from adproof.adworld.layout import UNSUPPORTED, Layout, Stand, supported, unsupported
from adproof.adworld.sprites import Array, Mask, Sprite, catalogue_sprite, contour, cut, kept_after_cut, scaled
from adproof.adworld.staging import Canvas
from adproof.labels import N_LABELS, Label

Kind = Literal["feedback", "judge"]
_TRIES = 200
_TRIES_PER_PRODUCT = 6


@dataclass(frozen=True)
class Scene:
    """One advertising picture with everything that a generator, a judge or an annotator may see of it.

    image (S,S,3) uint8; product_rgba (S,S,4) uint8, the product's own cut-out where generation places it, within
    0.1 S of the centre (for a truncation: the cut product); depth (S,S) float32, 0 near .. 1 far; saliency (S,S)
    float32 in [0,1], the salient product with its extension. image equals product_rgba wherever its alpha is 255.
    attributes: kind, surface, wall, light (the prompt's words), references [(name, scale factor, (x0, y0, x1, y1))],
    horizon_y, base_y (rows), shadow, defect (its cause, "" if available), near_miss (close to some rule's bound),
    extension (which, "" if none), extension_area (px), edition (of the caption), drawn_edition, cut (the part that is
    missing from product_rgba), shift (dx, dy px off the centre), visible_contour and busy (see rules.Distinctness).
    """

    image: NDArray[np.uint8]
    product_rgba: NDArray[np.uint8]
    depth: Array
    saliency: Array
    label: Label
    prompt: str
    caption: str
    sku: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Style:
    """What sets one world's pictures apart from another's in kind."""

    texture_seed: int
    vanish: tuple[float, float]
    zoom: tuple[float, float]
    ellipse_shadows: bool
    background_noise: tuple[float, float]
    background_blur: tuple[float, float]
    jpeg: bool
    colour_spread: float
    walls: tuple[float, ...]


STYLES: dict[Kind, Style] = {
    "feedback": Style(11, (28, 60), (0.7, 1.3), False, (0.0, 0.012), (0.0, 0.0), False, 0.025,
                      (0.30, 0.16, 0.11, 0.09, 0.11, 0.13, 0.10)),
    "judge": Style(97, (14, 34), (1.0, 1.9), True, (0.0, 0.03), (0.0, 0.8), True, 0.05,
                   (0.16, 0.28, 0.18, 0.14, 0.06, 0.06, 0.12)),
}  # fmt: skip


@dataclass
class _Draft:
    """A scene on its way: what was decided about the product before anything is drawn."""

    product: CatalogueProduct
    label: Label
    whole: Sprite
    shown: Sprite
    own: Sprite
    at: tuple[int, int]
    stand: Stand
    cause: str = ""
    cut: str = ""
    near_miss: bool = False
    extension: str = ""
    reach: float = 0.0
    edition: str = "regular"
    drawn_edition: str = "regular"
    shift: tuple[float, float] = (0.0, 0.0)
    references: list[tuple[str, float, tuple[int, int, int, int]]] = field(default_factory=list)
    shadow: str = ""


class World:
    """Draws scenes of the given products.

    catalogue: products and references, of one yaw or of several. size: side of the pictures in px. label_mix: shares
    of the five labels. skus: only these products (None: all).
    image_scale: the product's longest side as a share of the canvas. Raises ValueError if the catalogue holds
    no such product or no reference.
    """

    def __init__(
        self,
        catalogue: Sequence[CatalogueProduct],
        size: int = 128,
        kind: Kind = "feedback",
        label_mix: Sequence[float] = (0.56, 0.12, 0.12, 0.10, 0.10),
        skus: Iterable[str] | None = None,
        image_scale: tuple[float, float] = (0.42, 0.58),
    ) -> None:
        wanted = None if skus is None else set(skus)
        self.products: dict[str, list[CatalogueProduct]] = {}
        for product in catalogue:
            if not product.is_reference and (wanted is None or product.sku in wanted):
                self.products.setdefault(product.sku, []).append(product)
        self.references = [p for p in catalogue if p.is_reference and p.name in words.REFERENCE_WORDS]
        if not self.products or not self.references:
            raise ValueError("the catalogue has no product to draw, or no reference")
        if len(label_mix) != N_LABELS or not np.isclose(sum(label_mix), 1):
            raise ValueError(f"label_mix must be {N_LABELS} shares that sum to 1")
        self.size = size
        self.kind = kind
        self.style = STYLES[kind]
        self.label_mix = tuple(label_mix)
        self.image_scale = image_scale
        self._skus = sorted(self.products)
        self._pictures: dict[Path, Sprite] = {}
        self._sprites: dict[tuple[Path, int], Sprite] = {}
        textures = np.random.default_rng(self.style.texture_seed)
        self._details = {m: surfaces.detail_maps(m, textures, variants=4) for m in words.MATERIALS}

    def draw(self, rng: np.random.Generator, label: Label | None = None) -> Scene:
        """One scene; the label is drawn once from label_mix unless given.

        Raises RuntimeError if no scene of the label comes about (a catalogue too poor for it).
        """
        wanted = Label(int(rng.choice(N_LABELS, p=self.label_mix))) if label is None else Label(label)
        # Label and cause are drawn once, and only the scene again: else the rare ones would come too seldom.
        cause = _choose_cause(rng, wanted)
        product = self._any_product(rng)
        for attempt in range(_TRIES):
            if attempt and attempt % _TRIES_PER_PRODUCT == 0:
                product = self._any_product(rng)
            scene = self._attempt(rng, product, wanted, cause)
            if scene is not None:
                return scene
        raise RuntimeError(f"no scene of {wanted.name.lower()} in {_TRIES} tries")

    def prompt(self, rng: np.random.Generator, sku: str) -> str:
        """What a designer might ask for this product: no scene is drawn. Raises KeyError for an unknown sku."""
        product = self.products[sku][0]
        kind = _choose_kind(rng, max(product.size_cm))
        material, background, light = _choose_look(rng, kind)
        fitting = [r.name for r in self.references if 0.2 < r.size_cm[2] / product.size_cm[2] < 2]
        count = min(len(fitting), int(rng.choice(3, p=[0.3, 0.5, 0.2])))
        names = [str(n) for n in rng.choice(fitting, count, replace=False)] if count else []
        return words.compose_prompt(kind, material, background, names, light)

    def _any_product(self, rng: np.random.Generator) -> CatalogueProduct:
        views = self.products[self._skus[int(rng.integers(len(self._skus)))]]
        return views[int(rng.integers(len(views)))]

    def _picture(self, product: CatalogueProduct) -> Sprite:
        """The product's picture at no more than twice the canvas, read once."""
        if product.path not in self._pictures:
            picture = product.image()
            factor = min(1.0, 2 * self.size / max(picture.shape[:2]))
            self._pictures[product.path] = catalogue_sprite(product, picture, factor)
        return self._pictures[product.path]

    def _sprite(self, product: CatalogueProduct, longest: int) -> Sprite:
        """The product's cut-out with its longest side of this many px; made once."""
        key = (product.path, longest)
        if key not in self._sprites:
            picture = self._picture(product)
            self._sprites[key] = scaled(picture, longest / max(picture.alpha.shape))
        return self._sprites[key]

    def _attempt(self, rng: np.random.Generator, product: CatalogueProduct, label: Label, cause: str) -> Scene | None:
        draft = self._place(rng, product, label, cause)
        if draft is None:
            return None
        draft.edition, draft.drawn_edition = self._editions(rng, draft)
        if not draft.edition:
            return None
        if label is Label.SIZE_MISMATCH:
            bigger = words.EDITIONS[draft.drawn_edition] > words.EDITIONS[draft.edition]
            draft.cause = "too_big" if bigger else "too_small"
        kind = _choose_kind(rng, max(product.size_cm) * words.EDITIONS[draft.drawn_edition])
        ground = replace(draft.stand, y1=draft.stand.y1 + (draft.reach if draft.extension in _GROUNDED else 0))
        if cause == "camouflage" and kind == "podium":
            kind = "floor"
        if label is Label.SPACE_MISMATCH:
            layout = unsupported(rng, ground, kind, cause, self.size)
        else:
            layout = supported(rng, ground, kind, self.size)
        if layout is None:
            return None
        draft.near_miss = draft.near_miss or layout.near_miss
        return self._render(rng, draft, layout, ground)

    # --- what is decided about the product -------------------------------------------------------------------

    def _place(self, rng: np.random.Generator, product: CatalogueProduct, label: Label, cause: str) -> _Draft | None:
        """Size, cut and place of the product.

        Every scene is centred on what would be left of the product after a cut (often an imaginary one), so that the
        place of the whole product in the picture says nothing about whether its cut-out is whole.
        """
        longest = float(rng.choice(np.linspace(*self.image_scale, 7)))
        # An extension makes the thing bigger: the product without it is a little smaller for that.
        whole = self._sprite(product, round(longest * (0.93 if cause in staging.EXTENSIONS else 1.0) * self.size))
        hallucinated = label is Label.SHAPE_HALLUCINATION
        really_cut = cause == "truncation" or (not hallucinated and rng.random() < 0.08)
        part = str(rng.choice(["bottom", "top", "left", "right"], p=[0.5, 0.26, 0.12, 0.12]))
        fraction = rng.uniform(0.14, 0.32)
        left_over = cut(whole, kept_after_cut(whole, part, fraction))
        if not left_over.solid.any():
            return None
        lost = 1 - left_over.solid.sum() / whole.solid.sum()
        if not 0.06 <= lost <= 0.45:
            return None
        centred_on = left_over if really_cut or rng.random() < 0.7 else whole
        x0, y0, x1, y1 = centred_on.box
        at = (round((self.size - x0 - x1) / 2), round((self.size - y0 - y1) / 2))
        reach = float(rng.uniform(4, 8)) * self.size / 64 if cause in staging.EXTENSIONS else 0.0
        if cause in _GROUNDED:
            at = (at[0], at[1] - round(reach * rng.random()))
        own = left_over if really_cut else whole
        shown = left_over if really_cut and cause != "truncation" else whole
        wx0, wy0, wx1, wy1 = whole.box
        shift = (at[0] - (self.size - wx0 - wx1) / 2, at[1] - (self.size - wy0 - wy1) / 2)
        drop = fraction * (wy1 - wy0) if shown is left_over and part == "bottom" else 0.0
        stand = _stand(shown, at, drop)
        if stand.y1 > 0.93 * self.size or stand.x0 < 0 or stand.x1 > self.size or stand.y0 < 0:
            return None
        return _Draft(product, label, whole, shown, own, at, stand, cause, cut=part if really_cut else "",
                      near_miss=really_cut and not hallucinated,
                      extension=cause if cause in staging.EXTENSIONS else "",
                      reach=reach, shift=shift)  # fmt: skip

    def _fitting(self, draft: _Draft, edition: str) -> list[CatalogueProduct]:
        """References that are seen large enough, and fit the picture, beside this edition of the product."""
        px_per_cm = draft.whole.px_per_cm / words.EDITIONS[edition]
        out = []
        for reference in self.references:
            if reference.name in words.words_of(draft.product.title):
                continue
            height = reference.size_cm[2] * px_per_cm
            width = max(reference.size_cm[:2]) * px_per_cm
            if 0.12 * self.size <= max(height, 0.5 * width) and height <= 0.75 * self.size and width <= 0.7 * self.size:
                out.append(reference)
        return out

    def _editions(self, rng: np.random.Generator, draft: _Draft) -> tuple[str, str]:
        """(edition of the caption, edition whose size is drawn); ("", "") if no pair of sizes can be told apart.

        A pair of editions is drawn first and then one of it for the caption, for every label alike: so neither the
        caption nor the picture alone tells a size mismatch.
        """
        pairs = [pair for pair in (("regular", "miniature"), ("regular", "giant"))
                 if all(self._fitting(draft, edition) for edition in pair)]  # fmt: skip
        if not pairs:
            return ("", "") if draft.label is Label.SIZE_MISMATCH else ("regular", "regular")
        pair = pairs[int(rng.integers(len(pairs)))]
        first = int(rng.integers(2))
        other = 1 - first if draft.label is Label.SIZE_MISMATCH else first
        return pair[first], pair[other]

    # --- drawing ---------------------------------------------------------------------------------------------

    def _render(self, rng: np.random.Generator, draft: _Draft, layout: Layout, ground: Stand) -> Scene | None:
        size, unit, style = self.size, self.size / 64, self.style
        material, background, light = _choose_look(rng, layout.kind)
        light_x = {"light from the left": 0.1, "light from the right": 0.9}.get(light, float(rng.uniform(0.25, 0.75)))
        indistinct = draft.label is Label.INDISTINCTIVENESS
        edge = contour(draft.shown, unit)
        behind = self._background(rng, background, light_x)
        surface_colour = _jitter(rng, words.MATERIALS[material], style.colour_spread)
        if not indistinct and background in words.WALLS and rng.random() < 0.18:
            behind = harmless_wall(rng, behind, draft.shown, draft.at)
            draft.near_miss = True
        ground_colour = surface_colour
        tonal = not indistinct and rng.random() < 0.14
        if tonal:
            # All in one colour, but in another product's: as plain as a camouflage, and harmless.
            ground_colour = surface_colour = self._foreign_colour(rng)
            behind = surface_colour * (behind.mean(2, keepdims=True) / max(float(behind.mean()), 0.05))
            material, background = words.nearest_look(surface_colour, material)
        elif draft.cause == "camouflage":
            behind = ground_colour = camouflage(rng, behind, draft.shown, draft.at)
            if rules.lost_in(behind, draft.shown, draft.at, edge) > rules.CAMOUFLAGED + 0.06:
                return None
            surface_colour = np.asarray(ground_colour.mean((0, 1)))
            material, background = words.nearest_look(surface_colour, material)
        elif not indistinct and float(np.abs(surface_colour - behind.mean((0, 1))).mean()) < 0.07:
            return None
        detail = self._details[material][int(rng.integers(4))]
        if self.kind == "judge" and rng.random() < 0.5:
            detail = detail[:, ::-1]
        ground_picture = surfaces.plane(
            detail, ground_colour, size, layout.horizon, rng.uniform(*style.vanish) * unit,
            rng.uniform(*style.zoom) * 128 / size, tuple(rng.uniform(0, 256, 2)))  # fmt: skip
        canvas = Canvas(behind, np.ones((size, size), np.float32), np.zeros((size, size), bool), layout.horizon)
        staging.lay_surface(canvas, layout, ground_picture, surface_colour)
        if draft.cause in CLUTTER:
            clutter(rng, canvas, draft.cause, draft.shown, draft.at, self._junk(rng, draft))
        plain = canvas.picture.copy()
        if not self._set_references(rng, canvas, draft, layout, ground, light_x):
            return None
        if layout.podium is not None:
            podium_colour = _podium_colour(rng, draft.shown, surface_colour)
            if podium_colour is None:
                return None
            p = layout.podium
            staging.soft_shadow(canvas, (p.centre, p.bottom - p.half_depth), (p.radius * 1.15, p.half_depth * 1.3), 0.4)
            staging.set_podium(canvas, p, podium_colour, light_x)
        self._shade_product(rng, canvas, draft, layout, ground, light_x, material)
        self._finish_background(rng, canvas, light)
        extra = self._add_part(rng, canvas, draft, ground)
        if extra is None:
            return None
        return self._measured(draft, layout, canvas, plain, extra, edge,
                              words.compose_prompt(layout.kind, material, background, [r[0] for r in draft.references], light),
                              self._caption(rng, draft), dict(kind=layout.kind, surface=material, wall=background, light=light))  # fmt: skip

    def _background(self, rng: np.random.Generator, background: str, light_x: float) -> Array:
        if background in words.WALLS:
            colour = _jitter(rng, words.WALLS[background], self.style.colour_spread)
            return surfaces.wall(rng, self.size, colour, light_x, self.style.walls)
        return surfaces.backdrop(rng, self.size, background, float(rng.uniform(0.018, 0.035)))

    def _foreign_colour(self, rng: np.random.Generator) -> Array:
        sprite = self._picture(self._any_product(rng))
        return np.clip(sprite.colour[sprite.solid].mean(0) * rng.uniform(0.85, 1.1), 0.03, 0.97).astype(np.float32)

    def _junk(self, rng: np.random.Generator, draft: _Draft) -> list[Sprite]:
        """Other things, small, to fill a messy background with."""
        others = [views[0] for sku, views in self.products.items() if sku != draft.product.sku] + self.references
        chosen = rng.integers(len(others), size=14)
        return [self._sprite(others[k], int(rng.choice([9, 11, 13, 15])) * self.size // 64) for k in chosen]

    def _set_references(self, rng: np.random.Generator, canvas: Canvas, draft: _Draft, layout: Layout, ground: Stand,
                        light_x: float) -> bool:  # fmt: skip
        """Stand up to two references on the surface, in the scale of the drawn edition; False: the scene is no use."""
        wrong = draft.label is Label.SIZE_MISMATCH
        count = int(rng.choice([1, 2], p=[0.68, 0.32])) if wrong else int(rng.choice(3, p=[0.1, 0.61, 0.29]))
        fitting = self._fitting(draft, draft.drawn_edition)
        order = rng.permutation(len(fitting))
        sides = [int(s) for s in rng.permutation([-1, 1])]
        for k in order:
            if len(draft.references) >= count:
                break
            side = sides[len(draft.references)]
            near_miss = rng.random() < 0.2
            factor = self._jitter_scale(rng, draft, near_miss)
            found = self._stand_reference(rng, canvas, draft, layout, ground, fitting[k], factor, side, light_x)
            if found is not None:
                draft.near_miss = draft.near_miss or near_miss
                draft.references.append((str(fitting[k].name), factor, found))
        return bool(draft.references) or not wrong

    def _jitter_scale(self, rng: np.random.Generator, draft: _Draft, near_miss: bool) -> float:
        """A reference's scale beside the drawn edition's true one: within 1.18, or towards the rule's bound (1.25-1.5)."""
        if not near_miss:
            return float(np.exp(rng.uniform(-1, 1) * np.log(1.18)))
        factor = float(rng.uniform(1.25, 1.5))
        drawn, told = words.EDITIONS[draft.drawn_edition], words.EDITIONS[draft.edition]
        if drawn == told:
            return factor if rng.random() < 0.5 else 1 / factor
        return factor if drawn > told else 1 / factor

    def _stand_reference(self, rng: np.random.Generator, canvas: Canvas, draft: _Draft, layout: Layout, ground: Stand,
                         reference: CatalogueProduct, factor: float, side: int, light_x: float,
                         ) -> tuple[int, int, int, int] | None:  # fmt: skip
        size, unit = self.size, self.size / 64
        px_per_cm = draft.whole.px_per_cm / words.EDITIONS[draft.drawn_edition] * factor
        picture = self._picture(reference)
        sprite = self._sprite(reference, 2 * round(max(picture.alpha.shape) * px_per_cm / picture.px_per_cm / 2))
        if rng.random() < 0.5:
            sprite = sprite.mirrored()
        x0, _, x1, _ = sprite.box
        width, foot = x1 - x0, 2 * sprite.contact[3]
        lowest = size - 1.5 * unit if layout.front is None else min(size - 1.5 * unit, layout.front - unit)
        first, last = layout.horizon + foot + unit, min(lowest, ground.y1 + 5 * unit)
        if last <= first:
            first, last = last - 0.5 * unit, lowest
        if last <= layout.horizon + foot:
            return None
        row = float(rng.uniform(min(first, last), last))
        in_front = row > layout.ground - 0.3 * ground.foot
        overlap = 0.0 if in_front else rng.uniform(0, 0.22) * width
        gap = rng.uniform(0, 5) * unit if overlap == 0 else -overlap
        left = draft.stand.x0 - width - gap if side < 0 else draft.stand.x1 + gap
        if layout.podium is not None and in_front:
            p = layout.podium
            left = min(left, p.centre - p.radius - width) if side < 0 else max(left, p.centre + p.radius)
        hidden = max(0.0, -left, left + width - size)
        if hidden > 0.35 * width:
            left += (hidden - 0.35 * width) * (1 if left < 0 else -1)
            covered = min(left + width, draft.stand.x1) - max(left, draft.stand.x0)
            if covered > (0.0 if in_front else 0.28 * width):
                return None
        contact_x = left - x0 + sprite.contact[0]
        if layout.left is not None and contact_x - sprite.contact[2] < layout.left:
            return None
        if layout.right is not None and contact_x + sprite.contact[2] > layout.right:
            return None
        at = (round(left - x0), round(row - sprite.base))
        self._shade_reference(rng, canvas, sprite, at, light_x)
        staging.paste(canvas, sprite, at, canvas.depth_at(row - foot / 2))
        bx0, by0, bx1, by1 = sprite.box
        return at[0] + bx0, at[1] + by0, at[0] + bx1, at[1] + by1

    def _shade_reference(self, rng: np.random.Generator, canvas: Canvas, sprite: Sprite, at: tuple[int, int], light_x: float) -> None:
        cx, cy, rx, ry = sprite.contact
        unit = self.size / 64
        if not self.style.ellipse_shadows:
            staging.cast_shadow(canvas, sprite, at, at[1] + sprite.base - 0.6 * ry, (0.5 - light_x) * 1.1, 0.22, 0.25, 1.2 * unit)
        staging.soft_shadow(canvas, (at[0] + cx, at[1] + cy + 0.2 * ry), (rx * 1.1 + unit, max(1.4 * unit, ry * 1.1)), float(rng.uniform(0.2, 0.5)))

    def _shade_product(self, rng: np.random.Generator, canvas: Canvas, draft: _Draft, layout: Layout, ground: Stand,
                       light_x: float, material: str) -> None:  # fmt: skip
        """The product's shadow. Whether there is one, and how dark, is drawn without looking at the label; only a
        product off the ground throws it lower down (or has none, or a meaningless dark smear under its base)."""
        unit = self.size / 64
        darkness = float(rng.uniform(0.25, 0.65))
        style = str(rng.choice(["none", "contact", "cast", "both"], p=[0.25, 0.3, 0.2, 0.25]))
        floats = layout.cause in ("float", "hover")
        smear = layout.cause == "float" and style in ("contact", "both") and rng.random() < 0.9
        row = ground.y1 if smear or not floats else layout.ground
        if layout.cause == "hover" and style == "none":
            style = "contact"  # without a shadow further down nothing in the picture would say that it hovers
        draft.shadow = f"{style}{'-smear' if smear else ''}"
        glossy = material == "black glass" and layout.podium is None and layout.cause in ("", "hover")
        if glossy and not draft.reach and rng.random() < 0.6:
            mirror = 2 * layout.ground - ground.y1 - 0.5 * ground.foot
            staging.reflect(canvas, draft.shown, draft.at, mirror, 0.35)
        if style in ("cast", "both"):
            lean = (0.5 - light_x) * 1.3 + rng.uniform(-0.15, 0.15)
            if self.style.ellipse_shadows:
                aside = lean * 0.35 * (draft.stand.x1 - draft.stand.x0)
                staging.soft_shadow(canvas, (ground.centre + aside, layout.ground - 0.5 * ground.foot),
                                    (0.55 * (draft.stand.x1 - draft.stand.x0) + abs(aside) * 0.5, max(2 * unit, 0.7 * ground.foot)), darkness * 0.7)  # fmt: skip
            else:
                cast_row = (layout.ground if floats else ground.y1) - 0.3 * ground.foot
                staging.cast_shadow(canvas, draft.shown, draft.at, cast_row, lean, float(rng.uniform(0.16, 0.34)),
                                    darkness * 0.8, float(rng.uniform(0.8, 2.2)) * unit)  # fmt: skip
        if style in ("contact", "both"):
            radius = (ground.base_x1 - ground.base_x0) / 2
            staging.soft_shadow(canvas, (ground.centre + rng.uniform(-1, 1) * unit, row - 0.42 * ground.foot),
                                (radius * rng.uniform(1.0, 1.2) + 1.2 * unit, max(1.8 * unit, ground.foot * rng.uniform(0.5, 0.75))), darkness)  # fmt: skip

    def _finish_background(self, rng: np.random.Generator, canvas: Canvas, light: str) -> None:
        """The light's tint, exposure, grain, blur and (judge) JPEG: on all but the product, which is laid over it."""
        tint = np.array([1.04, 1.0, 0.91], np.float32) if light == "warm light" else np.ones(3, np.float32)
        canvas.picture *= tint * float(rng.uniform(0.93, 1.07))
        canvas.picture[:] = rules.degraded(rng, canvas.picture, self.style.background_noise, self.style.background_blur,
                                           self.style.jpeg)  # fmt: skip

    def _add_part(self, rng: np.random.Generator, canvas: Canvas, draft: _Draft, ground: Stand) -> Mask | None:
        """Draw what the product does not have: a cut part painted back, or an extension. Its visible mask (S,S)."""
        size = self.size
        own = staging.framed(draft.own.alpha, draft.at, size)
        depth = canvas.depth_at(ground.y1 - 0.5 * ground.foot)
        if draft.cause == "truncation":
            colour = staging.framed(draft.whole.colour, draft.at, size)
            alpha = staging.framed(draft.whole.alpha, draft.at, size)
            if rng.random() < 0.5:
                colour = colour * rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
        elif draft.extension:
            colour, alpha = staging.extension(rng, draft.extension, draft.shown, draft.at, draft.stand, draft.reach, size)
        else:
            return np.zeros((size, size), bool)
        canvas.picture += (colour - canvas.picture) * alpha[..., None]
        extra = np.asarray((alpha > 0.5) & (own < 0.5))
        canvas.depth[extra] = depth
        return extra if rules.extension_shows(extra, own) else None

    def _measured(self, draft: _Draft, layout: Layout, canvas: Canvas, plain: Array, extra: Mask, edge: Any, prompt: str,
                  caption: str, look: dict[str, str]) -> Scene | None:  # fmt: skip
        """Lay the product over the background, measure the rules, and make the scene if they hold."""
        size = self.size
        colour = staging.framed(draft.own.colour, draft.at, size)
        alpha = staging.framed(draft.own.alpha, draft.at, size)
        seen = rules.distinctness(canvas.picture, plain, draft.shown, draft.at, edge, extra)
        if not rules.keeps(draft.label, draft.cause, seen):
            return None
        picture = canvas.picture + (colour - canvas.picture) * alpha[..., None]
        stand_row = layout.ground - 0.5 * draft.stand.foot if layout.podium is None else canvas.horizon
        depth_row = layout.podium.bottom - layout.podium.half_depth if layout.podium is not None else stand_row
        canvas.depth[alpha > 0.5] = canvas.depth_at(depth_row) if layout.cause != "float" else canvas.depth_at(layout.horizon)
        canvas.depth[extra] = canvas.depth[alpha > 0.5][0]
        own = np.rint(np.dstack([colour, alpha]) * 255).astype(np.uint8)
        attributes = look | dict(
            references=list(draft.references), horizon_y=layout.horizon, shadow=draft.shadow, defect=draft.cause,
            extension=draft.extension,
            near_miss=draft.near_miss or rules.is_near_miss(draft.label, seen), edition=draft.edition,
            drawn_edition=draft.drawn_edition, cut=draft.cut, shift=draft.shift, base_y=draft.stand.y1,
            visible_contour=seen.visible, busy=seen.busy, extension_area=int(extra.sum()))  # fmt: skip
        return Scene(
            image=np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), product_rgba=own, depth=canvas.depth,
            saliency=np.maximum(alpha, extra.astype(np.float32)), label=draft.label, prompt=prompt, caption=caption,
            sku=draft.product.sku, attributes=attributes)  # fmt: skip

    def _caption(self, rng: np.random.Generator, draft: _Draft) -> str:
        return words.compose_caption(draft.product.title, draft.product.size_cm[2], draft.edition, bool(rng.random() < 0.6))


_WALL_SHARES = (0.09, 0.1, 0.1, 0.11, 0.11, 0.1, 0.09, 0.14, 0.16)
_GROUNDED = ("base", "legs", "longer")


_CAUSES: dict[Label, dict[str, float]] = {
    Label.AVAILABLE: {"": 1.0},
    Label.SPACE_MISMATCH: dict(zip(UNSUPPORTED, (0.32, 0.22, 0.18, 0.16, 0.12), strict=True)),
    Label.SIZE_MISMATCH: {"": 1.0},
    Label.INDISTINCTIVENESS: {"camouflage": 0.46} | dict.fromkeys(CLUTTER, 0.18),
    Label.SHAPE_HALLUCINATION: {"truncation": 0.55} | dict(zip(staging.EXTENSIONS, (0.12, 0.09, 0.08, 0.08, 0.08), strict=True)),
}


def _choose_cause(rng: np.random.Generator, label: Label) -> str:
    causes = _CAUSES[label]
    return str(rng.choice(list(causes), p=list(causes.values())))


def _stand(sprite: Sprite, at: tuple[int, int], drop: float) -> Stand:
    """Where the shown product stands; drop: by how much a cut raised its base."""
    x0, y0, x1, y1 = sprite.box
    cx, _, rx, ry = sprite.contact
    return Stand(at[0] + x0, at[1] + y0, at[0] + x1, at[1] + min(y1, round(sprite.base - drop)), at[0] + max(x0, cx - rx),
                 at[0] + min(x1, cx + rx), 2 * ry)  # fmt: skip


def _choose_kind(rng: np.random.Generator, longest_cm: float) -> str:
    shares = (0.12, 0.64, 0.04, 0.2) if longest_cm > 60 else (0.46, 0.14, 0.2, 0.2)
    return str(rng.choice(words.KINDS, p=shares))


def _choose_look(rng: np.random.Generator, kind: str) -> tuple[str, str, str]:
    """(material, background, light) that go with the kind of support."""
    outdoor = ("green grass", "sand")
    materials = [m for m in words.MATERIALS if kind == "floor" or m not in outdoor]
    material = materials[int(rng.integers(len(materials)))]
    if material in outdoor:
        background = str(rng.choice(["sky", "garden", "city"], p=[0.5, 0.4, 0.1]))
    elif rng.random() < 0.28 and kind != "shelf":
        background = str(rng.choice(words.BACKDROPS, p=[0.15, 0.25, 0.4, 0.2]))
    else:
        background = str(rng.choice(list(words.WALLS), p=_WALL_SHARES))
    return material, background, str(rng.choice(words.LIGHTS))


def _jitter(rng: np.random.Generator, colour: tuple[float, float, float], spread: float) -> Array:
    return np.clip(np.array(colour) + rng.normal(0, spread, 3), 0.03, 0.97).astype(np.float32)


def _podium_colour(rng: np.random.Generator, sprite: Sprite, surface: Array) -> Array | None:
    """A colour unlike the product's lower part, so that the podium is no extension of it."""
    _, y0, _, y1 = sprite.box
    low = slice(y1 - max(2, (y1 - y0) // 4), y1)
    own = sprite.colour[low][sprite.solid[low]]
    for _ in range(6):
        palette = list(words.WALLS.values()) + list(words.MATERIALS.values())
        colour = _jitter(rng, palette[int(rng.integers(len(palette)))], 0.03)
        if len(own) and np.abs(colour - own.mean(0)).mean() > 0.16 and np.abs(colour - surface).mean() > 0.06:
            return colour
    return None


def as_arrays(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Stacked: image (n,S,S,3) and product_rgba (n,S,S,4) uint8, depth and saliency (n,S,S) float32, label (n,) int64;
    prompt, caption, sku and attributes as lists."""
    return {
        "image": np.stack([s.image for s in scenes]),
        "product_rgba": np.stack([s.product_rgba for s in scenes]),
        "depth": np.stack([s.depth for s in scenes]),
        "saliency": np.stack([s.saliency for s in scenes]),
        "label": np.array([int(s.label) for s in scenes], np.int64),
        "prompt": [s.prompt for s in scenes],
        "caption": [s.caption for s in scenes],
        "sku": [s.sku for s in scenes],
        "attributes": [s.attributes for s in scenes],
    }
