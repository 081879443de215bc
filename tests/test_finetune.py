import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from adproof.diffusion.conditions import edge_control, prepare, product_control  # noqa: E402
from adproof.diffusion.generator import Generator  # noqa: E402
from adproof.finetune import objectives, rfft  # noqa: E402
from adproof.finetune.feedback import rfnet_feedback  # noqa: E402
from adproof.finetune.rfft import PAPER, RFFTConfig, RFFTSample, Tuner  # noqa: E402
from adproof.labels import Label  # noqa: E402
from tests import tiny_generators  # noqa: E402
from tests.product_pictures import mug  # noqa: E402

TINY = RFFTConfig(
    steps=4, last=2, guidance=2.0, updates=4, batch=2, accumulation=1, lr=1e-3, checkpoint_every=2, seed=5
)  # fmt: skip
DATA = [
    RFFTSample(mug(), prompt, "Red mug", image_scale=0.5)
    for prompt in ("on a table in front of blue wall", "on a table in front of red wall", "a cup beside it")
]


def likes_bright(product, image, captions):
    """Says "available" of bright pictures."""
    assert product.shape[1] == 4
    assert len(captions) == len(image)
    logits = torch.zeros(len(image), 5)
    logits[:, Label.AVAILABLE] = 20 * (image.mean((1, 2, 3)) - 0.5)
    return logits


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        "mini": tiny_generators.save_mini(tmp_path_factory.mktemp("mini")),
        "sd-controlnet": tiny_generators.save_stable_diffusion(tmp_path_factory.mktemp("sd")),
    }


def load(folders, kind="mini"):
    small = {"canvas": 64, "size": 64, "dtype": "float32", "device": "cpu", "steps": 4}
    return Generator.load({"kind": kind, "base": str(folders[kind]), "controlnet": None, **small})


# --- the formulas, by hand ---------------------------------------------------------------------------------------


def test_feedback_is_the_cross_entropy_of_available():
    logits = torch.tensor([[2.0, 0, 0, 0, 0], [0, 3.0, 0, 0, 0]])
    expected = [-np.log(np.exp(2) / (np.exp(2) + 4)), -np.log(1 / (np.exp(3) + 4))]
    assert objectives.f_ac(logits).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_condition_direction_points_against_the_noise_difference():
    d = objectives.condition_direction(torch.tensor([[3.0]]), torch.tensor([[1.0]]), 0.75)
    assert d.item() == pytest.approx(-(3 - 1) / 0.5)
    unscaled = objectives.condition_direction(torch.tensor([[3.0]]), torch.tensor([[1.0]]), 0.75, scaled=False)
    assert unscaled.item() == -2


@pytest.mark.parametrize(("reduction", "expected"), [("norm", (5 + 0) / 2), ("mean", 5 / 2**0.5 / 2)])
def test_consistent_condition_is_the_norm_of_the_difference(reduction, expected):
    tuned, reference = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert objectives.consistent_condition_loss(tuned, reference, reduction).item() == pytest.approx(expected)


def test_consistent_condition_is_zero_on_equal_inputs_and_sends_no_gradient_to_the_reference():
    tuned = torch.ones(2, 3, requires_grad=True)
    reference = torch.ones(2, 3, requires_grad=True)
    loss = objectives.consistent_condition_loss(tuned, reference)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(tuned.grad, torch.zeros(2, 3))
    assert reference.grad is None


@pytest.mark.parametrize(("reduction", "expected"), [("norm", 25 / 2), ("mean", 25 / 4)])
def test_kl_is_the_squared_difference(reduction, expected):
    tuned, reference = (
        torch.tensor([[3.0, 4.0], [1.0, 1.0]]),
        torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True),
    )
    loss = objectives.kl_loss(tuned.requires_grad_(), reference, reduction)
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    assert reference.grad is None


def test_refl_rewards_only_up_to_its_ceiling():
    assert objectives.refl_loss(torch.tensor([-1.0, 1.0, 5.0])).item() == pytest.approx(1e-3 * (3 + 1 + 0) / 3)


@pytest.mark.parametrize("abar", [0.01, 0.5, 0.999])
def test_clean_latents_undo_the_noise_for_both_kinds_of_prediction(abar):
    z0, noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.full((2, 3), 0.3)
    z_t = abar**0.5 * z0 + (1 - abar) ** 0.5 * noise
    v = abar**0.5 * noise - (1 - abar) ** 0.5 * z0
    for output, kind in ((noise, "epsilon"), (v, "v_prediction")):
        eps = objectives.noise_of(output, z_t, abar, kind)
        assert torch.allclose(objectives.clean_latents(z_t, eps, abar), z0, atol=1e-4)
    with pytest.raises(ValueError, match="sample"):
        objectives.noise_of(noise, z_t, abar, "sample")


# --- the loop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mini", "sd-controlnet"])
def test_gradients_reach_the_tuned_controlnet_and_nothing_else(folders, kind):
    generator = load(folders, kind)
    tuner = Tuner(TINY, generator)
    loss, figures = tuner.losses(tuner.batch(DATA[:2]), likes_bright, 3, noise_for(tuner))
    loss.backward()
    assert figures["regulariser"] == 0  # the tuned net is still the reference
    assert sum(p.grad.abs().sum() for p in tuner.tuned.parameters() if p.grad is not None) > 0
    pipe = generator.pipeline
    for part in (pipe.unet, pipe.vae, pipe.text_encoder, tuner.reference):
        assert all(p.grad is None for p in part.parameters())


def noise_for(tuner):
    channels = tuner.vae.config.latent_channels
    return torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["mini", "sd-controlnet"])
def test_the_chain_without_gradient_is_the_pipelines_own(folders, kind):
    generator = load(folders, kind)
    tuner = Tuner(TINY, generator)
    batch, noise = tuner.batch(DATA[:1]), noise_for(tuner)[:1]
    known = rfft.known_of(tuner, batch)
    z = tuner.latents_before(3, batch, known, noise)
    placed = prepare(mug(), 0.5, 64)
    control = product_control(placed) if kind == "mini" else edge_control(placed)
    latents = []
    generator.pipeline(
        prompt=[DATA[0].prompt], negative_prompt=[""], image=Image.fromarray(placed.on(127)),
        mask_image=Image.fromarray(placed.inpaint_mask), control_image=Image.fromarray(control), height=64, width=64,
        strength=1.0, num_inference_steps=4, guidance_scale=TINY.guidance, latents=noise, controlnet_conditioning_scale=1.0,
        callback_on_step_end=lambda _pipe, _step, _t, tensors: latents.append(tensors["latents"]) or {},
    )  # fmt: skip
    assert (latents[2] - z).abs().max() < 1e-3 * z.abs().max()


@pytest.mark.parametrize("objective", ["rfft", "kl", "none"])
def test_a_few_updates_lower_the_feedback_loss(folders, tmp_path, objective):
    cfg = replace(TINY, objective=objective, beta=0.01, updates=8, lr=3e-3)
    result = rfft.rfft(cfg, load(folders), likes_bright, DATA, tmp_path)
    f_ac = [step["f_ac"] for step in result.history]
    assert np.mean(f_ac[-2:]) < np.mean(f_ac[:2]) - 0.05
    assert (result.history[-1]["regulariser"] > 0) == (objective != "none")


def test_a_run_that_was_stopped_and_goes_on_equals_an_unbroken_one(folders, tmp_path):
    whole = rfft.rfft(TINY, load(folders), likes_bright, DATA, tmp_path / "whole")
    done = []
    broken = rfft.rfft(
        TINY, load(folders), likes_bright, DATA, tmp_path / "broken",
        on_step=done.append, should_stop=lambda: len(done) == 3,
    )  # fmt: skip
    assert broken.controlnet is None
    assert [step["update"] for step in done] == [1, 2, 3]
    resumed = rfft.rfft(TINY, load(folders), likes_bright, DATA, tmp_path / "broken")
    assert [step["f_ac"] for step in resumed.history] == [step["f_ac"] for step in whole.history]
    assert (resumed.controlnet / WEIGHTS).read_bytes() == (whole.controlnet / WEIGHTS).read_bytes()


WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_the_result_is_a_controlnet_that_a_generator_takes(folders, tmp_path):
    base = load(folders)
    result = rfft.rfft(replace(TINY, updates=2, accumulation=2), base, likes_bright, DATA, tmp_path)
    small = {"canvas": 64, "size": 64, "steps": 4}
    tuned = Generator.load(
        {"kind": "mini", "base": str(folders["mini"]), "controlnet": str(result.controlnet), **small}
    )
    assert tuned.key != base.key
    record = json.loads((tmp_path / "rfft.json").read_text())
    assert record["config"]["updates"] == 2
    assert record["generator"] == base.key
    assert len(record["history"]) == 2


def test_a_folder_of_another_run_is_not_gone_on_with(folders, tmp_path):
    rfft.rfft(replace(TINY, updates=2), load(folders), likes_bright, DATA, tmp_path)
    with pytest.raises(ValueError, match="another fine-tuning"):
        rfft.rfft(replace(TINY, updates=2, beta=3.0), load(folders), likes_bright, DATA, tmp_path)


def test_the_reference_stays_as_it_was(folders, tmp_path):
    generator = load(folders)
    before = {name: p.clone() for name, p in generator.pipeline.controlnet.named_parameters()}
    rfft.rfft(replace(TINY, updates=2), generator, likes_bright, DATA, tmp_path)
    assert all(torch.equal(p, before[name]) for name, p in generator.pipeline.controlnet.named_parameters())


@pytest.mark.parametrize(("depth_on", "saliency_on"), [(True, True), (True, False), (False, True), (False, False)])
def test_feedback_flows_through_depth_and_saliency_only_where_asked(depth_on, saliency_on):
    def judge(_product, _image, depth, saliency, _captions):
        assert depth.shape == saliency.shape == (1, 1, 32, 32)
        return torch.cat([depth.mean((2, 3)), saliency.mean((2, 3)), torch.zeros(1, 3)], 1)

    sides = []

    def saliency(x):
        sides.append(x.shape[-1])
        return x[:, :1] * 0.5

    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    feedback = rfnet_feedback(judge, lambda x: x[:, 1:2] * 2, saliency, depth_on, saliency_on, saliency_size=16)
    logits = feedback(torch.rand(1, 4, 32, 32), image, ["mug"])
    assert sides == [16]
    if not depth_on and not saliency_on:
        assert not logits.requires_grad
        return
    logits.sum().backward()
    assert bool(image.grad[:, 1].any()) == depth_on
    assert bool(image.grad[:, 0].any()) == saliency_on


def test_the_papers_settings_are_the_default_and_wrong_ones_are_refused():
    assert (PAPER.steps, PAPER.last, PAPER.lr, PAPER.batch, PAPER.accumulation) == (40, 10, 1e-5, 4, 4)
    with pytest.raises(ValueError, match="unknown RFFT settings: betta"):
        RFFTConfig.from_dict({"betta": 1})
    with pytest.raises(ValueError, match="last 11"):
        RFFTConfig(steps=10, last=11)
    with pytest.raises(ValueError, match="nothing to tune on"):
        rfft.rfft(TINY, None, likes_bright, [], None)
