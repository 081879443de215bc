import json
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adproof.adworld.catalogue import products  # noqa: E402
from adproof.adworld.drawn import DrawnScenes, Recipe, planes_of, truth_of, world_of  # noqa: E402
from adproof.diffusion import train_mini  # noqa: E402
from adproof.diffusion.generator import DrawRequest, Generator  # noqa: E402
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
    clock = train_mini.Clock(minutes=1000)
    assert clock.factor(0) == pytest.approx(0.01)
    assert clock.factor(5000) == 1
    assert train_mini.Clock(1, spent_s=51).factor(5000) == pytest.approx(0.5, abs=0.01)
    assert train_mini.Clock(1, spent_s=70).factor(5000) == 0


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
