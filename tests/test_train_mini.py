import json
import sys
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adproof.adworld.catalogue import products  # noqa: E402
from adproof.adworld.drawn import SIMPLE_MIX, DrawnScenes, Recipe, Truth, planes_of, truth_of, world_of  # noqa: E402
from adproof.adworld.words import VOCABULARY  # noqa: E402
from adproof.diffusion import mini_nets, stages, train_further, train_mini  # noqa: E402
from adproof.diffusion.generator import DrawRequest, Generator  # noqa: E402
from adproof.labels import Label  # noqa: E402
from tests.product_pictures import mug  # noqa: E402


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    rng, world = np.random.default_rng(0), world_of(Recipe("feedback", 0))
    heights, categories = {p.sku: p.size_cm[2] for p in products()}, {p.sku: p.category for p in products()}
    drawn = [world.draw(rng) for _ in range(8)]
    np.save(folder / "chunk-00000.npy", np.stack([planes_of(s) for s in drawn]))
    truths = [asdict(truth_of(s, heights, categories)) for s in drawn]
    (folder / "chunk-00000.json").write_text(json.dumps(truths))
    return DrawnScenes(folder)


def test_training_sees_the_labels_in_their_natural_mixture():
    labels = np.array([0] * 10 + [1] * 30 + [2] * 5 + [3] * 5 + [4] * 50)
    shares = train_mini.natural_shares(labels)
    assert [shares[labels == k].sum() for k in range(5)] == pytest.approx(train_mini.NATURAL_MIX)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    clock = stages.Clock(minutes=1000)
    assert clock.factor(0) == pytest.approx(0.01)
    assert clock.factor(5000) == 1
    assert stages.Clock(1, spent_s=51).factor(5000) == pytest.approx(0.5, abs=0.01)
    assert stages.Clock(1, spent_s=70).factor(5000) == 0


@pytest.mark.slow
def test_every_stage_runs_goes_on_and_ends_in_a_generator(scenes, tmp_path):
    out = tmp_path / "training"
    out.mkdir()
    train_mini.train_vae(out, scenes, minutes=0.02, seed=0, resume=False)
    steps = torch.load(out / "vae.pt", weights_only=True)["step"]
    train_mini.train_vae(out, scenes, minutes=0.04, seed=0, resume=True)
    assert torch.load(out / "vae.pt", weights_only=True)["step"] > steps > 0
    train_mini.encode(out, scenes)
    assert np.load(out / "latents.npy").astype(np.float32).std() == pytest.approx(1, abs=0.01)
    train_mini.train_decoder(out, scenes, minutes=0.02, seed=0, resume=False)
    train_mini.train_unet(out, scenes, minutes=0.04, seed=0, resume=False)
    train_mini.export(out, tmp_path / "generator")
    generator = Generator.load({"kind": "mini", "base": str(tmp_path / "generator"), "steps": 2})
    assert generator.generate([DrawRequest(mug(), "on a light wood table", 0)])[0].shape == (512, 512, 3)


def test_simple_scenes_hold_only_what_a_generator_can_do_to_a_whole_product_of_regular_size():
    world, rng = world_of(Recipe("feedback", 0, SIMPLE_MIX, simple=True)), np.random.default_rng(1)
    drawn = [world.draw(rng, Label(4)) for _ in range(10)] + [world.draw(rng) for _ in range(20)]
    assert not any(s.attributes["defect"] == "truncation" for s in drawn)
    assert all(s.attributes["edition"] == "regular" for s in drawn)
    assert all(s.attributes["drawn_edition"] == "regular" for s in drawn if s.label != Label.SIZE_MISMATCH)
    beside = [s for s in drawn if s.attributes["references"]]
    assert len(beside) > 10


def test_in_simple_scenes_the_place_of_the_product_tells_nothing_and_what_it_grew_is_plain():
    world, rng = world_of(Recipe("feedback", 0, SIMPLE_MIX, simple=True)), np.random.default_rng(2)
    hallucinated = [world.draw(rng, Label(4)) for _ in range(10)]
    for scene in hallucinated + [world.draw(rng) for _ in range(20)]:
        # As generation places it: the whole product, its box in the centre.
        rows, columns = (np.flatnonzero((scene.product_rgba[..., 3] > 127).any(axis)) for axis in (1, 0))
        assert abs(rows[0] + rows[-1] - 127) <= 4 and abs(columns[0] + columns[-1] - 127) <= 4
        assert not scene.attributes["cut"]
    for scene in hallucinated:
        if scene.attributes["extension"] in ("base", "legs", "longer"):
            grown = np.flatnonzero((scene.saliency > 0.5).any(1))[-1] - np.flatnonzero((scene.product_rgba[..., 3] > 127).any(1))[-1]
            assert grown >= 8  # px of 128


def test_cells_of_things_beside_the_product_and_of_grown_parts_are_details():
    planes = np.zeros((1, 9, 128, 128), np.uint8)
    planes[0, 3, 40:80, 40:80] = planes[0, 8, 40:88, 40:80] = 255  # salient below the cut-out: legs
    truth = Truth(4, "", "", "", "", "legs", [["cup", 1.0, [-4, 96, 16, 112]]], "floor", 0.5, 10, 10)
    details = train_further.details_of(planes, [truth])[0, 0]
    assert (details[12:14, :2] == 1).all() and (details[10, 5:10] == 1).all()
    assert details.sum() == 4 + 5


def test_an_orthogonal_update_turns_no_direction_over_and_evens_them_out():
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))
    for m in (matrix, matrix.T):
        u, singular, v = torch.linalg.svd(train_further.orthogonal(m).float(), full_matrices=False)
        assert singular.min() > 0.5 and singular.max() < 1.3
        truth = torch.linalg.svd(m, full_matrices=False)
        assert torch.allclose(train_further.orthogonal(m), truth.U @ truth.Vh, atol=0.25)


def test_scenes_that_were_prepared_for_further_training_come_in_their_order_and_others_are_refused(tmp_path):
    for part in range(2):
        np.savez(tmp_path / f"prepared-{part}-of-2.npz", weight=np.arange(part, 5, 2), made_by=np.array("one"))
    assert list(train_further.load_prepared(tmp_path, 2, 5, "one")["weight"]) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="other scenes than these 7: remove its prepared"):
        train_further.load_prepared(tmp_path, 2, 7, "one")
    with pytest.raises(ValueError, match="another generator's encoders: remove its prepared"):
        train_further.load_prepared(tmp_path, 2, 5, "another")


def test_further_training_by_two_processes_ends_in_a_generator(scenes, tmp_path, monkeypatch):
    out, begun = tmp_path / "further", tmp_path / "begun"
    tokenizer = mini_nets.build_tokenizer(VOCABULARY)
    denoiser = train_mini.Denoiser(tokenizer)
    parts = (denoiser.unet, denoiser.controlnet, denoiser.text_encoder, tokenizer)
    mini_nets.save_half(mini_nets.assemble(mini_nets.build_vae(), *parts), begun)
    out.mkdir()
    for part in range(2):  # here and not in processes of its own: starting torch is what takes the time
        train_further.prepare_part(begun, scenes.folder, out, part, 2)
    words = ["train_further", "--generator", str(begun), "--scenes", str(scenes.folder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--minutes", "0.03"])
    train_further.main()
    first = torch.load(out / "further.pt", weights_only=True)
    assert first["step"] > 0
    monkeypatch.setattr(sys, "argv", [*words, "--export", str(tmp_path / "generator")])
    train_further.main()
    generator = Generator.load({"kind": "mini", "base": str(tmp_path / "generator"), "steps": 2})
    assert generator.generate([DrawRequest(mug(), "on a light wood table", 0)])[0].shape == (512, 512, 3)
