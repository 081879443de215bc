"""Scenes with known labels, their pictures made again as the mini generator makes them."""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch")

from adproof.adworld.catalogue import load_catalogue  # noqa: E402
from adproof.adworld.drawn import DrawnScenes, Recipe, draw_into, held_out_skus  # noqa: E402
from adproof.diffusion import redrawn  # noqa: E402
from adproof.model_sets import SHIPPED  # noqa: E402

SCENES = 5  # a chunk here: a crisp one, a decoded one, three that the generator draws to the end


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Scenes drawn and redrawn, in two chunks."""
    drawn, again = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("redrawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adproof.adworld.drawn.CHUNK", SCENES)
        patch.setattr(redrawn, "CHUNK", SCENES)
        patch.setattr(redrawn, "MANNERS", (redrawn.CRISP, redrawn.DECODED, 1, 1, 1))
        patch.setattr(redrawn, "Redrawing", cache(redrawn.Redrawing))
        list(draw_into(drawn, Recipe("feedback", 7, skus=held_out_skus()[0], simple=True), 2 * SCENES))
        redrawn.redraw_into(again, drawn, SHIPPED / "mini", 7, 2 * SCENES)
        (again / "chunk-00000.json").unlink()
        whole = (again / "chunk-00001.npy").stat().st_mtime_ns
        first = np.load(again / "chunk-00000.npy")
        redrawn.redraw_into(again, drawn, SHIPPED / "mini", 7, 2 * SCENES)  # as after a kill
        assert (again / "chunk-00001.npy").stat().st_mtime_ns == whole
        assert (np.load(again / "chunk-00000.npy") == first).all()
        yield drawn, again


def test_what_is_known_of_a_scene_stays_and_its_picture_looks_drawn_by_the_generator(folders):
    drawn, again = (DrawnScenes(folder) for folder in folders)
    assert again.truths == drawn.truths and len(again) == 2 * SCENES
    before, after = (scenes.planes(range(2 * SCENES)).astype(np.int16) for scenes in (drawn, again))
    outside = (before[:, 3] == 0) & (after[:, 3] == 0)
    moved = np.array([np.abs(a[4:7] - b[4:7]).mean(0)[free].mean() for a, b, free in zip(before, after, outside, strict=True)])
    # One in five is crisp still; of the others the walls, the surface and what stands there are as they were, more or less.
    assert 0 < (moved < 2).sum() < SCENES and moved.max() < 30, moved


def test_the_product_lies_over_it_where_rfnet_is_shown_it(folders):
    for planes in DrawnScenes(folders[1]).planes(range(2 * SCENES)).astype(np.int16):
        opaque = planes[3] == 255
        assert np.abs(planes[:3] - planes[4:7])[:, opaque].mean() < 12


def test_a_product_is_known_from_either_side_and_its_size_is_found():
    for yaw in (35, -30):
        view = next(entry for entry in load_catalogue(yaw) if entry.sku == "wheelbarrow")
        canvas, _ = redrawn.placed(view.image(), 0.5, 128)
        picture, scale = redrawn.shown_product(canvas.transpose(2, 0, 1), view.sku)
        assert (picture == view.image()).all() and scale == pytest.approx(0.5, abs=0.01)


def test_scenes_of_several_folders_are_one_set_and_an_empty_folder_is_named(folders, tmp_path):
    some = DrawnScenes(*folders, of_each=SCENES)
    assert len(some) == 2 * SCENES and some.truths[:SCENES] == some.truths[SCENES:]
    assert (some.planes([SCENES])[0] == DrawnScenes(folders[1]).planes([0])[0]).all()
    with pytest.raises(FileNotFoundError, match=f"^{tmp_path} holds no drawn scene"):
        DrawnScenes(folders[0], tmp_path)
