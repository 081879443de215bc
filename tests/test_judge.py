"""The independent judge: what it accepts, and that it knows the world it was trained for."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adproof.adworld.catalogue import load_catalogue, products  # noqa: E402
from adproof.adworld.drawn import DrawnScenes, Recipe, draw_into, held_out_skus, planes_of, world_of  # noqa: E402
from adproof.adworld.judge import Judge, JudgeNet, hashed_words, save_judge  # noqa: E402
from adproof.adworld.learning import reference_mask, targets_of  # noqa: E402
from adproof.adworld.scenes import World  # noqa: E402
from adproof.labels import Label  # noqa: E402
from adproof.rfnet.metrics import evaluate  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def judge():
    return Judge()


@pytest.fixture(scope="module")
def scenes():
    world = World(load_catalogue(), 128, "judge")
    rng = np.random.default_rng(4242)
    return [world.draw(rng) for _ in range(120)]


def verdicts(judge, scenes):
    return judge([s.product_rgba for s in scenes], [s.image for s in scenes], [s.caption for s in scenes])


def test_its_probabilities_sum_to_one_and_do_not_depend_on_the_batch(judge, scenes):
    probabilities = verdicts(judge, scenes[:5])
    assert probabilities.shape == (5, 5)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(verdicts(judge, scenes[2:3]), probabilities[2:3], atol=1e-4)
    assert judge([], [], []).shape == (0, 5)


def test_a_big_picture_is_judged_like_the_small_one(judge, scenes):
    some = scenes[:20]

    def big(picture):
        return picture.repeat(4, 0).repeat(4, 1)

    larger = judge([big(s.product_rgba) for s in some], [big(s.image) for s in some], [s.caption for s in some])
    np.testing.assert_allclose(larger, verdicts(judge, some), atol=0.03)  # colours under faint alpha are rounded


def test_a_cut_out_is_put_where_the_picture_has_it(judge):
    from adproof.diffusion.conditions import composite, prepare

    product = products()[3].image()
    background = np.random.default_rng(0).integers(90, 130, (512, 512, 3)).astype(np.uint8)
    canvas = prepare(product, 0.61, 512)
    image = composite(background, canvas)
    by_canvas, by_cutout = judge([canvas.canvas_rgba, product], [image, image], ["a thing", "a thing"])
    np.testing.assert_allclose(by_cutout, by_canvas, atol=0.1)


def test_it_knows_available_from_the_rest_on_scenes_it_never_saw(judge, scenes):
    """Far from its full accuracy (see its model card): only that the shipped weights belong to this network."""
    figures = evaluate(verdicts(judge, scenes), np.array([int(s.label) for s in scenes]))
    assert figures.average_precision > figures.share_available + 0.1


def test_numbers_of_products_images_and_captions_must_agree(judge, scenes):
    with pytest.raises(ValueError, match="1 products, 2 images"):
        judge([scenes[0].product_rgba], [s.image for s in scenes[:2]], ["a", "b"])


def test_a_folder_of_another_network_is_refused(tmp_path):
    save_judge(tmp_path, JudgeNet(), 1.0, np.zeros(5, np.float32), {})
    Judge(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "kind": "rfnet"}))
    with pytest.raises(ValueError, match="sha256 differs"):
        Judge(tmp_path)


def test_words_and_numbers_of_a_caption_get_buckets_of_their_own():
    buckets = hashed_words(["Giant cup, about 1.2 m tall", "", "cup " * 500])
    assert buckets.shape == (3, 48)
    assert (buckets[0] > 0).sum() == 11  # 6 words and 5 pairs
    assert (buckets[1] == 0).all()


# --- drawn scenes --------------------------------------------------------------------------------------------


def test_products_kept_for_measuring_are_none_of_the_others():
    train, kept = held_out_skus()
    assert kept
    assert not set(train) & set(kept)
    assert held_out_skus() == (train, kept)


def test_a_folder_cut_short_is_completed_with_what_it_would_have_held(tmp_path, monkeypatch):
    monkeypatch.setattr("adproof.adworld.drawn.CHUNK", 4)
    recipe = Recipe("judge", 5)
    list(draw_into(tmp_path / "whole", recipe, 8))
    list(draw_into(tmp_path / "cut", recipe, 4))
    list(draw_into(tmp_path / "cut", recipe, 8))
    whole, cut = DrawnScenes(tmp_path / "whole"), DrawnScenes(tmp_path / "cut")
    assert len(whole) == 8
    assert whole.truths == cut.truths
    np.testing.assert_array_equal(whole.planes(range(8)), cut.planes(range(8)))


def test_the_truth_of_a_size_mismatch_is_that_the_things_beside_it_contradict_the_caption():
    world = world_of(Recipe("feedback", 0))
    from adproof.adworld.drawn import truth_of

    heights = {p.sku: p.size_cm[2] for p in products()}
    categories = {p.sku: p.category for p in products()}
    rng = np.random.default_rng(0)
    wrong = truth_of(world.draw(rng, Label.SIZE_MISMATCH), heights, categories)
    right = truth_of(world.draw(rng, Label.AVAILABLE), heights, categories)
    targets, _ = targets_of([wrong, right], 128)
    assert targets.relation[0] in (0, 2)
    assert targets.relation[1] in (1, -1)
    assert targets.told[0] != targets.drawn[0]


def test_the_things_beside_the_product_are_found_by_their_depth():
    world = world_of(Recipe("feedback", 0))
    rng = np.random.default_rng(1)
    scene = next(s for s in iter(lambda: world.draw(rng, Label.SIZE_MISMATCH), None) if s.attributes["references"])
    depth = planes_of(scene)[7]
    mask = reference_mask(depth, scene.attributes["references"])
    x0, y0, x1, y1 = scene.attributes["references"][0][2]
    box = np.zeros((128, 128), bool)
    for _, _, (a, b, c, d) in scene.attributes["references"]:
        box[max(0, b) : d, max(0, a) : c] = True
    assert mask[~box].sum() == 0
    assert mask[max(0, y0) : y1, max(0, x0) : x1].any()
