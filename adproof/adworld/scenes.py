"""Advertising scenes whose label is known by construction.

A scene is planned (label, cause, product, edition, layout, references), drawn, and then measured. One that
does not keep its label's rule, or breaks another label's rule, is thrown away and drawn again under the same
label, so that the labels' shares stay as asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adproof.adworld import looks, rules, staging, surfaces, words
from adproof.adworld.catalogue import CatalogueProduct
from adproof.adworld.clutter import CLUTTER, camouflage, clutter, harmless_wall
from adproof.adworld.drafts import Draft, choose_editions, place
from adproof.adworld.layout import Layout, supported, unsupported
from adproof.adworld.looks import STYLES
from adproof.adworld.looks import Kind as Kind
from adproof.adworld.references import set_references
from adproof.adworld.sprites import Array, Contour, Mask, Sprite, SpriteStore, contour
from adproof.adworld.staging import Canvas
from adproof.labels import N_LABELS, Label

_TRIES = 200
_TRIES_PER_PRODUCT = 6


@dataclass(frozen=True)
class Scene:
    """One advertising picture with everything that a generator, a judge or an annotator may see of it.

    image: (S,S,3) uint8. It equals product_rgba wherever that one's alpha is 255.
    product_rgba: (S,S,4) uint8, the product's own cut-out where generation places it, its box within 0.13 S
        of the centre; for a truncation the cut product.
    depth: (S,S) float32, 0 near .. 1 far.
    saliency: (S,S) float32 in [0,1], the salient product with its extension.
    attributes: kind, surface, wall, light (the prompt's words); references [(name, scale factor, (x0, y0,
        x1, y1))]; horizon_y, base_y (rows); shadow; defect (its cause, "" if available); near_miss (close to
        some rule's bound); extension (which, "" if none), extension_area (px); edition (of the caption),
        drawn_edition; cut (the part that product_rgba lacks, "" if none); shift (dx, dy px of the whole
        product off the centre); visible_contour and busy (see rules.Distinctness).
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


@dataclass
class _Setting:
    """The look of one scene: the prompt's words and what follows from them."""

    material: str
    background: str
    light: str
    light_x: float
    surface_colour: Array


class World:
    """Draws scenes of the given products.

    catalogue: products and references, of one yaw or of several. size: side of the pictures in px.
    label_mix: shares of the five labels. skus: only these products (None: all). image_scale: the product's
    longest side as a share of the canvas. simple: what a small generator learns fastest: captions of regular
    editions, the whole product in the centre, references seen from one side, in few sizes, on a coarse grid, and only
    such defects as a generator can make. Raises ValueError if the catalogue holds no such product or no reference, or
    the shares are none.
    """

    def __init__(
        self,
        catalogue: Sequence[CatalogueProduct],
        size: int = 128,
        kind: Kind = "feedback",
        label_mix: Sequence[float] = (0.56, 0.12, 0.12, 0.10, 0.10),
        skus: Iterable[str] | None = None,
        image_scale: tuple[float, float] = (0.42, 0.58),
        simple: bool = False,
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
        self.kind: Kind = kind
        self.style = STYLES[kind]
        self.label_mix = tuple(label_mix)
        self.image_scale = image_scale
        self.simple = simple
        self.sprites = SpriteStore(size)
        self._skus = sorted(self.products)
        textures = np.random.default_rng(self.style.texture_seed)
        self._details = {m: surfaces.detail_maps(m, textures, variants=4) for m in words.MATERIALS}

    def draw(self, rng: np.random.Generator, label: Label | None = None) -> Scene:
        """One scene; the label is drawn once from label_mix unless given.

        Raises RuntimeError if no scene of the label comes about (a catalogue too poor for it).
        """
        wanted = Label(int(rng.choice(N_LABELS, p=self.label_mix))) if label is None else Label(label)
        # Label and cause are drawn once, and only the scene again: else the rare ones would come too seldom.
        cause = looks.choose_cause(rng, wanted, self.simple)
        product = self._any_product(rng)
        for attempt in range(_TRIES):
            if attempt and attempt % _TRIES_PER_PRODUCT == 0:
                product = self._any_product(rng)
            scene = self._attempt(rng, product, wanted, cause)
            if scene is not None:
                return scene
        raise RuntimeError(f"no scene of {wanted.name.lower()} in {_TRIES} tries")

    def prompt(self, rng: np.random.Generator, sku: str) -> str:
        """What a designer might ask for this product: no scene is drawn. Raises KeyError for an unknown
        sku."""
        product = self.products[sku][0]
        kind = looks.choose_kind(rng, max(product.size_cm))
        material, background, light = looks.choose_look(rng, kind)
        sizes = {str(r.name): r.size_cm[2] for r in self.references}
        fitting = [name for name, height in sizes.items() if 0.2 < height / product.size_cm[2] < 2]
        count = min(len(fitting), int(rng.choice(3, p=[0.1, 0.61, 0.29])))
        names = [fitting[k] for k in rng.permutation(len(fitting))[:count]]
        return words.compose_prompt(kind, material, background, names, light)

    def _any_product(self, rng: np.random.Generator) -> CatalogueProduct:
        views = self.products[self._skus[int(rng.integers(len(self._skus)))]]
        return views[int(rng.integers(len(views)))]

    def _attempt(self, rng: np.random.Generator, product: CatalogueProduct, label: Label, cause: str) -> Scene | None:
        draft = place(rng, self.sprites, self.image_scale, product, label, cause, self.simple)
        if draft is None:
            return None
        editions = choose_editions(rng, draft, self.references, self.size, self.simple)
        if editions is None:
            return None
        draft.edition, draft.drawn_edition = editions
        if label is Label.SIZE_MISMATCH:
            bigger = words.EDITIONS[draft.drawn_edition] > words.EDITIONS[draft.edition]
            draft.cause = "too_big" if bigger else "too_small"
        kind = looks.choose_kind(rng, max(product.size_cm) * words.EDITIONS[draft.drawn_edition])
        if cause == "camouflage" and kind == "podium":
            kind = "floor"
        if label is Label.SPACE_MISMATCH:
            layout = unsupported(rng, draft.footing, kind, cause, self.size)
        else:
            layout = supported(rng, draft.footing, kind, self.size)
        if layout is None:
            return None
        draft.near_miss = draft.near_miss or layout.near_miss
        return self._render(rng, draft, layout)

    def _render(self, rng: np.random.Generator, draft: Draft, layout: Layout) -> Scene | None:
        edge = contour(draft.shown, self.size / 64)
        prepared = self._empty_scene(rng, draft, layout, edge)
        if prepared is None:
            return None
        canvas, setting = prepared
        plain = canvas.picture.copy()
        if not set_references(
            rng,
            canvas,
            draft,
            layout,
            self.references,
            self.sprites,
            setting.light_x,
            self.style.ellipse_shadows,
            self.simple,
        ):
            return None
        if layout.podium is not None:
            colour = looks.podium_colour(rng, draft.shown, setting.surface_colour)
            if colour is None:
                return None
            staging.set_podium(canvas, layout.podium, colour, setting.light_x)
        self._shade_product(rng, canvas, draft, layout, setting)
        canvas.picture = looks.finished(rng, self.style, canvas.picture, setting.light)
        extra = _add_part(rng, canvas, draft)
        seen = rules.distinctness(canvas.picture, plain, draft.shown, draft.at, edge, extra)
        own = staging.framed(draft.own.alpha, draft.at, self.size)
        if not rules.keeps(draft.label, draft.cause, seen) or not rules.has_right_shape(draft.label, extra, own):
            return None
        return self._finished_scene(rng, draft, layout, canvas, setting, extra, seen)

    def _empty_scene(
        self, rng: np.random.Generator, draft: Draft, layout: Layout, edge: Contour
    ) -> tuple[Canvas, _Setting] | None:
        """Wall and surface, with the clutter if that is the defect; None if they cannot be told apart, or
        hide the product too little."""
        size, style = self.size, self.style
        material, background, light = looks.choose_look(rng, layout.kind)
        light_x = looks.light_from(rng, light)
        behind = looks.background(rng, style, size, background, light_x)
        colour = looks.varied(rng, words.MATERIALS[material], style.colour_spread)
        field = colour
        if draft.cause == "camouflage":
            behind = field = camouflage(rng, behind, draft.shown, draft.at)
            if rules.seen_against(behind, draft.shown, draft.at, edge) > rules.CAMOUFLAGED + 0.06:
                return None
            colour = field.mean((0, 1)).astype(np.float32)
            material, background = words.nearest_look(colour, material)
        elif draft.label is not Label.INDISTINCTIVENESS:
            if rng.random() < 0.14:
                # All in one colour, but in another product's: as plain as a camouflage, and harmless.
                wall_colour = self._foreign_colour(rng)
                field = colour = np.clip(wall_colour * float(rng.choice([0.75, 1.25])), 0.02, 0.98)
                behind = wall_colour * (behind.mean(2, keepdims=True) / max(float(behind.mean()), 0.05))
                material, background = words.nearest_look(colour, material)
            elif float(np.abs(colour - behind.mean((0, 1))).mean()) < 0.07:
                return None
            if background in words.WALLS and rng.random() < 0.16:
                behind = harmless_wall(rng, behind, draft.shown, draft.at)
                draft.near_miss = True
        detail = self._details[material][int(rng.integers(4))]
        vanish, zoom = rng.uniform(*style.vanish) * size / 64, rng.uniform(*style.zoom) * 128 / size
        offset = (float(rng.uniform(0, 256)), float(rng.uniform(0, 256)))
        ground = surfaces.plane(detail, field, size, layout.horizon, float(vanish), float(zoom), offset)
        canvas = Canvas(behind, np.ones((size, size), np.float32), np.zeros((size, size), bool), layout.horizon)
        staging.lay_surface(canvas, layout, ground, colour)
        if draft.cause in CLUTTER:
            clutter(rng, canvas, draft.cause, draft.shown, draft.at, self._junk(rng, draft))
        return canvas, _Setting(material, background, light, light_x, colour)

    def _foreign_colour(self, rng: np.random.Generator) -> Array:
        sprite = self.sprites.picture(self._any_product(rng))
        mean = sprite.colour[sprite.solid].mean(0) * rng.uniform(0.85, 1.1)
        return np.asarray(np.clip(mean, 0.03, 0.97), np.float32)

    def _junk(self, rng: np.random.Generator, draft: Draft) -> list[Sprite]:
        """Other things, small, to fill a messy background with."""
        others = [self.products[sku][0] for sku in self._skus if sku != draft.product.sku] + self.references
        chosen = [others[k] for k in rng.integers(len(others), size=14)]
        return [self.sprites.sprite(thing, int(rng.choice([9, 11, 13, 15])) * self.size // 64) for thing in chosen]

    def _shade_product(
        self, rng: np.random.Generator, canvas: Canvas, draft: Draft, layout: Layout, setting: _Setting
    ) -> None:
        """The product's shadow. Whether there is one, and how dark, is drawn without looking at the label;
        only a product off the ground throws it lower down, or has a meaningless dark smear under its base."""
        unit, footing = canvas.unit, draft.footing
        darkness = float(rng.uniform(0.25, 0.65))
        style = str(rng.choice(["none", "contact", "cast", "both"], p=[0.25, 0.3, 0.2, 0.25]))
        if layout.cause == "hover" and style == "none":
            style = "contact"  # without a shadow further down nothing in the picture would say that it hovers
        floats = layout.cause in ("float", "hover")
        smear = layout.cause == "float" and style in ("contact", "both") and bool(rng.random() < 0.9)
        draft.shadow = f"{style}{'-smear' if smear else ''}"
        ground = layout.ground if floats else footing.y1
        mirrors = setting.material == "black glass" and layout.podium is None and not draft.reach
        if mirrors and layout.cause in ("", "hover") and rng.random() < 0.6:
            row = 2 * layout.ground - footing.y1 - 0.5 * footing.foot
            staging.reflect(canvas, draft.shown, draft.at, row, 0.35)
        if style in ("cast", "both"):
            lean = (0.5 - setting.light_x) * 1.3 + float(rng.uniform(-0.15, 0.15))
            if self.style.ellipse_shadows:
                width = draft.stand.x1 - draft.stand.x0
                aside = lean * 0.35 * width
                radii = (0.55 * width + abs(aside) * 0.5, max(2 * unit, 0.7 * footing.foot))
                centre = (footing.centre + aside, layout.ground - 0.5 * footing.foot)
                staging.soft_shadow(canvas, centre, radii, darkness * 0.7)
            else:
                row, squash, blur = (
                    ground - 0.3 * footing.foot,
                    rng.uniform(0.16, 0.34),
                    rng.uniform(0.8, 2.2),
                )
                staging.cast_shadow(
                    canvas,
                    draft.shown,
                    draft.at,
                    row,
                    lean,
                    float(squash),
                    darkness * 0.8,
                    float(blur) * unit,
                )
        if style in ("contact", "both"):
            row = (footing.y1 if smear else ground) - 0.42 * footing.foot
            radius = (footing.base_x1 - footing.base_x0) / 2 * rng.uniform(1.0, 1.2) + 1.2 * unit
            radii = (float(radius), max(1.8 * unit, footing.foot * float(rng.uniform(0.5, 0.75))))
            staging.soft_shadow(canvas, (footing.centre + float(rng.uniform(-1, 1)) * unit, row), radii, darkness)

    def _finished_scene(
        self,
        rng: np.random.Generator,
        draft: Draft,
        layout: Layout,
        canvas: Canvas,
        setting: _Setting,
        extra: Mask,
        seen: rules.Distinctness,
    ) -> Scene:
        """Lay the product's own pixels over the background, as generation does, and put down the truth."""
        colour = staging.framed(draft.own.colour, draft.at, self.size)
        alpha = staging.framed(draft.own.alpha, draft.at, self.size)
        picture = canvas.picture + (colour - canvas.picture) * alpha[..., None]
        canvas.depth[(alpha > 0.5) | extra] = _product_depth(canvas, draft, layout)
        names = [name for name, _, _ in draft.references]
        attributes: dict[str, Any] = {
            "kind": layout.kind,
            "surface": setting.material,
            "wall": setting.background,
            "light": setting.light,
            "references": list(draft.references),
            "horizon_y": layout.horizon,
            "base_y": draft.stand.y1,
            "shadow": draft.shadow,
            "defect": draft.cause,
            "near_miss": draft.near_miss or rules.is_near_miss(draft.label, seen),
            "extension": draft.extension,
            "extension_area": int(extra.sum()),
            "edition": draft.edition,
            "drawn_edition": draft.drawn_edition,
            "cut": draft.cut,
            "shift": draft.shift,
            "visible_contour": seen.visible,
            "busy": seen.busy,
        }
        product = draft.product
        with_size = bool(rng.random() < 0.6)
        return Scene(
            image=np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8),
            product_rgba=np.rint(np.dstack([colour, alpha]) * 255).astype(np.uint8),
            depth=canvas.depth,
            saliency=np.maximum(alpha, extra.astype(np.float32)),
            label=draft.label,
            prompt=words.compose_prompt(layout.kind, setting.material, setting.background, names, setting.light),
            caption=words.compose_caption(product.title, product.size_cm[2], draft.edition, with_size),
            sku=product.sku,
            attributes=attributes,
        )


def _add_part(rng: np.random.Generator, canvas: Canvas, draft: Draft) -> Mask:
    """Draw what the product does not have: a cut part painted back, or an extension. Where it shows,
    (S,S)."""
    size = canvas.size
    if draft.cause == "truncation":
        colour = staging.framed(draft.whole.colour, draft.at, size)
        alpha = staging.framed(draft.whole.alpha, draft.at, size)
        if rng.random() < 0.5:
            colour = colour * (rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3)).astype(np.float32)
    elif draft.extension:
        kind, stand = draft.extension, draft.stand
        colour, alpha = staging.extension(rng, kind, draft.shown, draft.at, stand, draft.reach, size)
    else:
        return np.zeros((size, size), bool)
    canvas.picture += (colour - canvas.picture) * alpha[..., None]
    own = staging.framed(draft.own.alpha, draft.at, size)
    return np.asarray((alpha > 0.5) & (own <= 0.5))


def _product_depth(canvas: Canvas, draft: Draft, layout: Layout) -> float:
    """Depth of the product: of the ground where it touches it, or would; at the wall for one floating before
    it."""
    if layout.cause == "float":
        return canvas.depth_at(layout.horizon)
    if layout.podium is not None:
        return canvas.depth_at(layout.podium.bottom - layout.podium.half_depth)
    return canvas.depth_at(layout.ground - 0.5 * draft.stand.foot)
