import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from adproof.adworld.drawn import DrawnScenes, Recipe, held_out_skus, planes_of, truth_of, world_of  # noqa: E402
from adproof.perception import train_depth  # noqa: E402
from adproof.perception.depth import Depth  # noqa: E402

MINI_DEPTH = Path(__file__).parents[1] / "adproof" / "models" / "mini" / "depth"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes in a folder, as `adproof.adworld.drawn` leaves them."""
    folder = tmp_path_factory.mktemp("scenes")
    recipe = Recipe("feedback", 5, train_depth.NATURAL_MIX, held_out_skus()[0])
    drawn = [world_of(recipe).draw(np.random.default_rng(seed)) for seed in range(3)]
    np.save(folder / "chunk-00000.npy", np.stack([planes_of(each) for each in drawn]))
    truths = [asdict(truth_of(each, defaultdict(lambda: 10.0), defaultdict(str))) for each in drawn]
    (folder / "chunk-00000.json").write_text(json.dumps(truths))
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe)))
    return folder


def test_it_reads_pictures_and_depths_of_drawn_scenes(scenes: Path) -> None:
    pairs = train_depth.read_pairs(scenes, 2)
    planes = DrawnScenes(scenes).planes([0, 1])
    assert np.array_equal(pairs.pictures[1, :, :, 0], planes[1, 4])
    assert np.array_equal(pairs.depths, planes[:, 7])
    with pytest.raises(ValueError, match="holds 3 scenes, not 4"):
        train_depth.read_pairs(scenes, 4)


def test_the_same_seed_draws_the_same_scenes() -> None:
    _, unseen = held_out_skus()
    one, other = (train_depth.draw_pairs(2, "judge", 5, unseen, 64) for _ in range(2))
    assert np.array_equal(one.pictures, other.pictures) and np.array_equal(one.depths, other.depths)


def test_the_shipped_net_sees_depth_in_new_scenes() -> None:
    pairs = train_depth.draw_pairs(16, "feedback", 77, held_out_skus()[1], 128)
    found = np.stack(Depth(MINI_DEPTH)(list(pairs.pictures))) / 65535
    truth = pairs.depths / 255
    error, mean_map = np.abs(found - truth).mean(), np.abs(truth.mean(axis=0) - truth).mean()
    assert error < 0.07
    assert error < 0.75 * mean_map  # although this mean knows these very scenes


@pytest.mark.slow
def test_the_command_writes_a_model_with_its_measured_card(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = tmp_path / "model", tmp_path / "work"
    words = f"train_depth --scenes {scenes} --n-scenes 3 --out {out} --work {work} --steps 2 --test-scenes 2"
    monkeypatch.setattr("sys.argv", words.split())
    train_depth.main()
    (found,) = Depth(out)([np.zeros((40, 60, 3), np.uint8)])
    assert found.shape == (40, 60)
    assert sorted(path.name for path in out.iterdir()) == ["MODEL_CARD.md", "config.json", "model.safetensors"]
    assert "| new products | 2 | 0." in (out / "MODEL_CARD.md").read_text("utf-8")
    with pytest.raises(SystemExit):
        train_depth.main()
