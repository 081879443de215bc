"""The ad world keeps its word: a scene's label is true by its own rule, and by nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adproof.adworld import rules, words
from adproof.adworld.catalogue import load_catalogue
from adproof.adworld.scenes import Scene, World
from adproof.labels import LABELS, Label, parse_label

PER_LABEL = 130


@pytest.fixture(scope="module")
def world() -> World:
    return World(load_catalogue())


@pytest.fixture(scope="module")
def scenes(world: World) -> dict[Label, list[Scene]]:
    rng = np.random.default_rng(17)
    return {label: [world.draw(rng, label) for _ in range(PER_LABEL)] for label in Label}


def every(scenes: dict[Label, list[Scene]]) -> list[Scene]:
    return [scene for row in scenes.values() for scene in row]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Space Mismatch", 1),
        ("Available", 0),
        ("shape-hallucination", 4),
        ("3", 3),
        (2, 2),
        ("INDISTINCTIVENESS", 3),
    ],
)
def test_a_label_is_read_in_any_usual_spelling(text: str | int, label: int) -> None:
    assert parse_label(text) is Label(label)


@pytest.mark.parametrize("text", ["Unsuitable", "", "5", 5, -1, True])
def test_what_is_no_label_is_refused_with_the_allowed_names(text: str | int) -> None:
    with pytest.raises(ValueError, match=", ".join(LABELS)):
        parse_label(text)


def test_the_same_seed_draws_the_same_scenes(world: World) -> None:
    one, two = ([world.draw(np.random.default_rng(5)) for _ in range(3)] for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.depth, b.depth)
        assert (a.label, a.prompt, a.caption, a.attributes) == (b.label, b.prompt, b.caption, b.attributes)


def test_a_world_that_has_drawn_before_draws_the_same(world: World) -> None:
    fresh = World(load_catalogue())
    assert np.array_equal(
        fresh.draw(np.random.default_rng(8)).image, world.draw(np.random.default_rng(8)).image
    )


def test_labels_come_in_the_shares_asked_for(world: World) -> None:
    only = World(load_catalogue(), size=64, label_mix=(0.0, 0.5, 0.5, 0.0, 0.0))
    rng = np.random.default_rng(1)
    drawn = [only.draw(rng).label for _ in range(60)]
    assert set(drawn) == {Label.SPACE_MISMATCH, Label.SIZE_MISMATCH}
    assert 18 <= drawn.count(Label.SIZE_MISMATCH) <= 42
    with pytest.raises(ValueError, match="shares"):
        World(load_catalogue(), label_mix=(1.0, 1.0, 0.0, 0.0, 0.0))


def test_only_the_asked_products_are_drawn() -> None:
    sku = World(load_catalogue()).draw(np.random.default_rng(0)).sku
    alone = World(load_catalogue(), size=64, skus=[sku])
    assert alone.draw(np.random.default_rng(3), Label.AVAILABLE).sku == sku
    with pytest.raises(ValueError, match="no product"):
        World(load_catalogue(), skus=["no such thing"])


@pytest.mark.parametrize("kind", ["feedback", "judge"])
def test_the_products_own_pixels_are_never_altered(kind: str) -> None:
    """Where the cut-out is opaque the picture IS the cut-out; for a truncation that is the product without the part."""
    world = World(load_catalogue(), size=64, kind=kind)
    rng = np.random.default_rng(2)
    for label in Label:
        for _ in range(6):
            scene = world.draw(rng, label)
            opaque = scene.product_rgba[..., 3] == 255
            assert opaque.any()
            assert np.array_equal(scene.image[opaque], scene.product_rgba[..., :3][opaque])


def test_pictures_have_the_promised_shapes_and_ranges(scenes: dict[Label, list[Scene]]) -> None:
    for label, drawn in scenes.items():
        for scene in drawn:
            assert scene.label is label
            assert (scene.image.shape, scene.image.dtype) == ((128, 128, 3), np.uint8)
            assert (scene.product_rgba.shape, scene.product_rgba.dtype) == ((128, 128, 4), np.uint8)
            for plane in (scene.depth, scene.saliency):
                assert (plane.shape, plane.dtype) == ((128, 128), np.float32)
                assert 0 <= plane.min() < plane.max() <= 1


def test_the_product_stays_near_the_middle(scenes: dict[Label, list[Scene]]) -> None:
    for scene in every(scenes):
        ys, xs = np.nonzero(scene.product_rgba[..., 3] > 127)
        assert abs((ys.min() + ys.max() + 1) / 2 - 64) <= 0.13 * 128
        assert abs((xs.min() + xs.max() + 1) / 2 - 64) <= 0.13 * 128


def test_prompts_and_captions_use_only_the_known_words(
    world: World, scenes: dict[Label, list[Scene]]
) -> None:
    rng = np.random.default_rng(0)
    assert len(words.VOCABULARY) == len(set(words.VOCABULARY)) < 100
    for scene in every(scenes):
        assert set(words.words_of(scene.prompt)) <= set(words.VOCABULARY)
        assert set(words.words_of(scene.caption)) <= set(words.caption_words())
        assert set(words.words_of(world.prompt(rng, scene.sku))) <= set(words.VOCABULARY)


def test_available_products_stand_wholly_on_their_surface(scenes: dict[Label, list[Scene]]) -> None:
    for scene in scenes[Label.AVAILABLE]:
        assert scene.attributes["defect"] == ""
        if scene.attributes["kind"] == "podium":
            continue
        assert scene.attributes["horizon_y"] < scene.attributes["base_y"]
        depth = scene.depth[scene.product_rgba[..., 3] > 127]
        assert depth.max() < 0.97, "at the depth of the ground it stands on, not of the wall"


def test_a_floating_product_is_above_its_surface(scenes: dict[Label, list[Scene]]) -> None:
    floating = [s for s in scenes[Label.SPACE_MISMATCH] if s.attributes["defect"] == "float"]
    assert floating
    for scene in floating:
        assert scene.attributes["horizon_y"] - scene.attributes["base_y"] >= 3.5 * 2 - 1


def test_every_cause_of_a_space_mismatch_comes_about(scenes: dict[Label, list[Scene]]) -> None:
    causes = {s.attributes["defect"] for s in scenes[Label.SPACE_MISMATCH]}
    assert causes == {"float", "hover", "front_edge", "side_edge", "podium_edge"}


def told_to_drawn(scene: Scene) -> list[float]:
    """By what factor each reference contradicts the size that the caption tells."""
    ratio = words.EDITIONS[scene.attributes["edition"]] / words.EDITIONS[scene.attributes["drawn_edition"]]
    return [factor * ratio for _, factor, _ in scene.attributes["references"]]


def test_references_contradict_the_caption_only_in_a_size_mismatch(scenes: dict[Label, list[Scene]]) -> None:
    for scene in every(scenes):
        factors = [max(f, 1 / f) for f in told_to_drawn(scene)]
        if scene.label is Label.SIZE_MISMATCH:
            assert factors
            assert min(factors) >= rules.SIZE_BOUND
        else:
            assert max(factors, default=1) <= rules.TRUE_BOUND


def test_references_are_large_enough_to_see(scenes: dict[Label, list[Scene]]) -> None:
    for scene in every(scenes):
        for _, _, (x0, y0, x1, y1) in scene.attributes["references"]:
            assert max(y1 - y0, (x1 - x0) / 2) >= 0.12 * 128
            shown = min(x1, 128) - max(x0, 0)
            assert shown >= 0.6 * (x1 - x0)


def test_only_the_caption_decides_a_size_mismatch(scenes: dict[Label, list[Scene]]) -> None:
    """Captions' editions and drawn sizes are spread alike over both labels: it takes the two together."""
    for key in ("edition", "drawn_edition"):
        fair = [s.attributes[key] for s in scenes[Label.AVAILABLE] if s.attributes["references"]]
        wrong = [s.attributes[key] for s in scenes[Label.SIZE_MISMATCH]]
        for edition in words.EDITIONS:
            assert abs(fair.count(edition) / len(fair) - wrong.count(edition) / len(wrong)) < 0.2


def test_only_indistinct_products_are_hard_to_see(scenes: dict[Label, list[Scene]]) -> None:
    for scene in every(scenes):
        visible, busy = scene.attributes["visible_contour"], scene.attributes["busy"]
        if scene.label is not Label.INDISTINCTIVENESS:
            assert visible >= rules.DISTINCT
            assert busy <= rules.CALM
        elif scene.attributes["defect"] == "camouflage":
            assert visible <= rules.CAMOUFLAGED
        else:
            assert busy >= rules.BUSY


def test_only_a_hallucination_has_more_than_the_product(scenes: dict[Label, list[Scene]]) -> None:
    for scene in every(scenes):
        own = scene.product_rgba[..., 3] > 127
        added = (scene.saliency > 0.5) & ~own
        assert added.sum() == scene.attributes["extension_area"]
        if scene.label is Label.SHAPE_HALLUCINATION:
            assert added.sum() >= 0.04 * own.sum()
            assert (cv2.dilate(own.astype(np.uint8), np.ones((3, 3))).astype(bool) & added).any(), (
                "fused to the contour"
            )
        else:
            assert not added.any()


def test_a_cut_product_is_available_when_the_scene_shows_it_cut(scenes: dict[Label, list[Scene]]) -> None:
    """Both the whole and the cut cut-out come with both labels: only comparing it with the picture tells."""
    cut_and_fair = [s for label in list(Label)[:4] for s in scenes[label] if s.attributes["cut"]]
    whole_and_wrong = [s for s in scenes[Label.SHAPE_HALLUCINATION] if not s.attributes["cut"]]
    assert len(cut_and_fair) >= 15
    assert len(whole_and_wrong) >= 25


def test_near_misses_lie_on_both_sides_of_every_rule(scenes: dict[Label, list[Scene]]) -> None:
    for row in scenes.values():
        assert 0.15 < np.mean([s.attributes["near_miss"] for s in row]) < 0.8


# --- shortcuts: simple statistics that must not tell a label ----------------------------------------------------


def statistics(scene: Scene) -> dict[str, float]:
    picture = scene.image.astype(np.float32) / 255
    grey = picture.mean(2)
    own = scene.product_rgba[..., 3] > 127
    rows, columns = np.nonzero(scene.saliency > 0.5)
    base = min(int(scene.attributes["base_y"]), 127)
    band = slice(max(0, base - 4), base + 5)
    x0, x1 = columns.min(), columns.max() + 1
    under = grey[band, x0:x1][~own[band, x0:x1]]
    beside = np.concatenate([grey[band, :x0].ravel(), grey[band, x1:].ravel()])
    profile = np.abs(np.diff(np.hstack([grey[:, :10], grey[:, -10:]]).mean(1)))
    return {
        "brightness": float(grey[~own].mean()),
        "darkness under the base": float(under.mean() - beside.mean()) if under.size else 0.0,
        "horizon row": float(profile.argmax()),
        "sharpness": float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[~own].mean()),
        "saturation": float((picture.max(2) - picture.min(2))[~own].mean()),
        "height of the thing's middle": float(rows.min() + rows.max()),
        "size of the thing": float((scene.saliency > 0.5).sum()),
        "number of references": float(len(scene.attributes["references"])),
    }


# A label's own cause may show in these: where the surface's edge lies (space), whether there is a reference to be
# wrong (size), and the colours and textures around the product (indistinctiveness).
OWN_CAUSE = {
    Label.SPACE_MISMATCH: {"horizon row"},
    Label.SIZE_MISMATCH: {"number of references"},
    Label.INDISTINCTIVENESS: {"brightness", "sharpness"},
    Label.SHAPE_HALLUCINATION: set(),
}


def auc(negative: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a random positive exceeds a random negative, ties counted half."""
    greater = (positive[:, None] > negative[None]).mean()
    return float(greater + 0.5 * (positive[:, None] == negative[None]).mean())


# 0.62 is the bound on the world; with 130 scenes a side the standard error of an AUC is 0.036, so 0.69 is what a
# sample of a world at 0.62 can show.
BOUND = 0.69


@pytest.mark.parametrize("label", list(Label)[1:], ids=LABELS[1:])
def test_no_simple_statistic_tells_a_label(scenes: dict[Label, list[Scene]], label: Label) -> None:
    fair = [statistics(s) for s in scenes[Label.AVAILABLE]]
    wrong = [statistics(s) for s in scenes[label]]
    for name in fair[0]:
        if name not in OWN_CAUSE[label]:
            value = auc(np.array([s[name] for s in fair]), np.array([s[name] for s in wrong]))
            assert 1 - BOUND <= value <= BOUND, f"{name} tells {label.name.lower()}: AUC {value:.2f}"


def test_the_statistics_together_tell_availability_hardly_better(scenes: dict[Label, list[Scene]]) -> None:
    """A logistic regression on all of them, fitted on even scenes and asked about odd ones."""
    rows = [
        (list(statistics(s).values()), float(s.label is Label.AVAILABLE))
        for s in [s for k in range(PER_LABEL) for s in [scenes[label][k] for label in Label]]
    ]
    values, truth = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    values = (values - values.mean(0)) / values.std(0)
    design = np.column_stack([values, np.ones(len(values))])
    fit = (np.arange(len(rows)) // len(Label)) % 2 == 0
    weights = np.zeros(design.shape[1])
    for _ in range(500):
        predicted = 1 / (1 + np.exp(-design[fit] @ weights))
        weights += 0.5 * (design[fit].T @ (truth[fit] - predicted) / fit.sum() - 0.01 * weights)
    score = design[~fit] @ weights
    assert auc(score[truth[~fit] == 0], score[truth[~fit] == 1]) < 0.70


@pytest.mark.parametrize("style", ["none", "contact", "cast", "both"])
def test_a_shadow_says_nothing_about_support(scenes: dict[Label, list[Scene]], style: str) -> None:
    def share(label: Label) -> float:
        return float(np.mean([s.attributes["shadow"].removesuffix("-smear") == style for s in scenes[label]]))

    assert 0.1 < share(Label.AVAILABLE) < 0.42
    assert abs(share(Label.AVAILABLE) - share(Label.SPACE_MISMATCH)) < 0.2
    assert any(s.attributes["shadow"].endswith("smear") for s in scenes[Label.SPACE_MISMATCH])
