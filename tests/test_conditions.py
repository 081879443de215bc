import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adproof.diffusion.conditions import (
    FAINT_ALPHA,
    alpha_box,
    composite,
    edge_control,
    from_canvas,
    prepare,
    prepare_all,
    product_control,
)
from tests.product_pictures import mug


def noisy_picture(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture[..., 3] = rng.choice(np.array([0, 90, 255], np.uint8), (height, width))
    picture[rng.integers(height), rng.integers(width), 3] = 255
    return picture


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    scale=st.floats(0.05, 1.0),
    size=st.sampled_from([16, 33, 64, 129]),
    seed=st.integers(0, 10_000),
)
def test_the_products_opaque_pixels_are_never_altered_and_nothing_is_painted_outside(height, width, scale, size, seed):
    conditions = prepare(noisy_picture(height, width, seed), scale, size)
    background = np.random.default_rng(seed + 1).integers(0, 256, (size, size, 3), dtype=np.uint8)
    result = composite(background, conditions)
    opaque, clear = conditions.alpha == 255, conditions.alpha == 0
    assert np.array_equal(result[opaque], conditions.canvas_rgba[opaque][:, :3])
    assert np.array_equal(result[clear], background[clear])
    between = result.astype(int)[~opaque & ~clear]
    ends = np.stack([background[~opaque & ~clear], conditions.canvas_rgba[~opaque & ~clear][:, :3]]).astype(int)
    assert ((between >= ends.min(0)) & (between <= ends.max(0))).all()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.just(1), st.just(1)),
        st.tuples(st.just(1), st.integers(2, 3000)),
        st.tuples(st.integers(2, 3000), st.just(1)),
        st.tuples(st.integers(1, 12), st.integers(300, 900)),
        st.tuples(st.integers(2, 60), st.integers(2, 60)),
    ),
    alpha=st.sampled_from([FAINT_ALPHA, 90, 254, 255]),
    margin=st.integers(0, 3),
    scale=st.sampled_from([1e-6, 0.05, 0.5, 0.999, 1.0]),
    size=st.sampled_from([16, 33, 128]),
)
def test_whatever_its_shape_a_product_lies_whole_on_its_canvas_as_its_own_scaled_pixels(shape, alpha, margin, scale, size):
    """One pixel, one row, a needle; touching the border or not; opaque or half transparent; tiny or as large as can be."""
    picture = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin, 4), np.uint8)
    picture[margin : margin + shape[0], margin : margin + shape[1]] = (*np.random.default_rng(shape).integers(0, 256, 3), alpha)
    conditions = prepare(picture, scale, size)
    x0, y0, x1, y1 = conditions.box
    assert 0 <= x0 < x1 <= size and 0 <= y0 < y1 <= size
    assert max(x1 - x0, y1 - y0) == max(1, round(scale * size))
    assert abs(x0 - (size - x1)) <= 1 and abs(y0 - (size - y1)) <= 1
    left, top, right, bottom = alpha_box(picture[..., 3])
    own = Image.fromarray(picture[top:bottom, left:right]).resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS)
    assert np.array_equal(conditions.canvas_rgba[y0:y1, x0:x1], np.asarray(own))
    outside = np.ones((size, size), bool)
    outside[y0:y1, x0:x1] = False
    assert not conditions.canvas_rgba[outside].any()
    assert set(np.unique(conditions.inpaint_mask)) <= {0, 255} and set(np.unique(conditions.edges)) <= {0, 255}
    assert (conditions.inpaint_mask[conditions.alpha < 128] == 255).all()
    assert not conditions.edges[: max(0, y0 - 1)].any() and not conditions.edges[y1 + 1 :].any()


def test_many_products_are_placed_as_each_by_itself_and_a_bad_one_is_named():
    pictures, scales = [mug(), noisy_picture(9, 30, 1), noisy_picture(1, 1, 2)], [0.3, 0.5, 1.0]
    for threads in (1, 3):
        for one, picture, scale in zip(prepare_all(pictures, scales, 64, threads), pictures, scales, strict=True):
            alone = prepare(picture, scale, 64)
            assert np.array_equal(one.canvas_rgba, alone.canvas_rgba)
            assert np.array_equal(one.inpaint_mask, alone.inpaint_mask)
            assert one.box == alone.box
    assert prepare_all([], []) == []
    pictures[1] = np.zeros((9, 9, 4), np.uint8)
    with pytest.raises(ValueError, match="product 2: .* transparent"):
        prepare_all(pictures, scales, 64)
    with pytest.raises(ValueError, match="one image_scale for each"):
        prepare_all(pictures, [0.5])


def test_a_product_that_needs_no_scaling_keeps_every_pixel():
    picture = noisy_picture(64, 64, 3)
    picture[0, 0, 3] = picture[-1, -1, 3] = 255
    conditions = prepare(picture, 1.0, 64)
    seen = picture[..., 3] > 0
    assert np.array_equal(conditions.canvas_rgba[seen], picture[seen])
    assert conditions.box == (0, 0, 64, 64)


@pytest.mark.parametrize(("scale", "size"), [(0.72, 512), (0.5, 128), (0.66, 101)])
def test_the_longer_side_takes_its_share_of_the_canvas_centred(scale, size):
    picture = np.zeros((90, 300, 4), np.uint8)
    picture[10:50, 5:205] = (10, 200, 30, 255)
    x0, y0, x1, y1 = prepare(picture, scale, size).box
    assert x1 - x0 == pytest.approx(scale * size, abs=0.5)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(5, rel=0.06)
    assert abs(x0 - (size - x1)) <= 1
    assert abs(y0 - (size - y1)) <= 1


def test_faint_specks_far_from_the_product_do_not_shrink_it():
    picture = np.zeros((200, 200, 4), np.uint8)
    picture[80:120, 80:120] = 255
    clean = prepare(picture, 0.5, 64)
    picture[0, 0, 3] = FAINT_ALPHA - 1
    assert np.array_equal(prepare(picture, 0.5, 64).canvas_rgba, clean.canvas_rgba)


def test_a_product_that_touches_the_border_is_taken_whole():
    picture = np.full((40, 20, 4), 255, np.uint8)
    conditions = prepare(picture, 1.0, 80)
    assert (conditions.alpha[:, 25:55] == 255).all()
    assert conditions.inpaint_mask[40, 5] == 255


@pytest.mark.parametrize("size", [128, 512])
def test_the_mask_is_the_background_grown_by_the_same_share_of_every_canvas(size):
    picture = np.full((10, 10, 4), 255, np.uint8)
    conditions = prepare(picture, 0.5, size)
    grown = (conditions.alpha == 255).sum(1).max() - (conditions.inpaint_mask == 0).sum(1).max()
    assert set(np.unique(conditions.inpaint_mask)) == {0, 255}
    assert grown == pytest.approx(20 * size / 512, abs=1)


def test_edges_outline_the_product():
    conditions = prepare(mug(), 0.5, 128)
    rows, columns = np.nonzero(conditions.edges)
    x0, y0, x1, y1 = conditions.box
    assert abs(rows.min() - y0) <= 2
    assert abs(columns.max() - (x1 - 1)) <= 2
    assert (edge_control(conditions)[..., 1] == conditions.edges).all()


def test_the_mini_control_picture_tells_inside_from_outside_even_for_black_products():
    picture = np.zeros((30, 30, 4), np.uint8)
    picture[..., 3] = 255
    conditions = prepare(picture, 0.5, 64)
    control = product_control(conditions)
    assert (control[conditions.alpha == 255] >= 64).all()
    assert (control[conditions.alpha == 0] == 0).all()


def test_a_canvas_gives_the_same_conditions_as_the_product_it_came_from():
    conditions = prepare(mug(), 0.5, 128)
    again = from_canvas(conditions.canvas_rgba)
    assert np.array_equal(again.inpaint_mask, conditions.inpaint_mask)
    assert np.array_equal(again.edges, conditions.edges)


@pytest.mark.parametrize(
    ("picture", "scale", "size", "words"),
    [
        (np.zeros((9, 9, 4), np.uint8), 0.5, 64, "transparent"),
        (np.zeros((9, 9, 3), np.uint8), 0.5, 64, r"\(H, W, 4\)"),
        (np.zeros((9, 9, 4), np.float32), 0.5, 64, "uint8"),
        (np.full((9, 9, 4), 255, np.uint8), 0.0, 64, "image_scale"),
        (np.full((9, 9, 4), 255, np.uint8), 1.01, 64, "image_scale"),
        (np.full((9, 9, 4), 255, np.uint8), 0.5, 8, "16 pixels"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_words(picture, scale, size, words):
    with pytest.raises(ValueError, match=words):
        prepare(picture, scale, size)


def test_a_background_of_another_size_is_refused():
    with pytest.raises(ValueError, match="canvas"):
        composite(np.zeros((32, 32, 3), np.uint8), prepare(mug(), 0.5, 64))
