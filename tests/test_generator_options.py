"""Schedulers, LoRA, layouts, short memory, and drawing again: on tiny nets of the real classes."""

import shutil

import diffusers
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from adproof.diffusion import memory, schedulers  # noqa: E402
from adproof.diffusion.conditions import prepare  # noqa: E402
from adproof.diffusion.config import SCHEDULERS, GeneratorConfig  # noqa: E402
from adproof.diffusion.early_stop import calibrate, outcome  # noqa: E402
from adproof.diffusion.generator import DrawRequest, EarlyStop, Generator  # noqa: E402
from adproof.diffusion.sampling import control_pictures  # noqa: E402
from tests import tiny_generators  # noqa: E402
from tests.product_pictures import mug  # noqa: E402
from tests.test_generator import largest_difference, request_of, tiny_sd_config  # noqa: E402

MULTISTEP = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_generators.save_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def load(folder):
    """Generators of this folder, each loaded once."""
    loaded = {}

    def loaded_with(**values):
        key = repr(sorted(values.items()))
        if key not in loaded:
            loaded[key] = Generator.load(tiny_sd_config(folder, steps=4, **values))
        return loaded[key]

    return loaded_with


@pytest.mark.parametrize("kind", ["sd", "mini"])
def test_the_loop_draws_to_the_bit_what_the_pipeline_of_diffusers_draws(kind, load, tmp_path):
    if kind == "sd":
        generator = load()
    else:
        generator = Generator.load({"kind": "mini", "base": str(tiny_generators.save_mini(tmp_path)), "steps": 3, "size": 128})
    cfg, pipe = generator.config, generator.pipeline
    requests = [request_of(1, "a red cup"), request_of(2, negative_prompt="blue wall")]
    conditions = [prepare(r.product_rgba, r.image_scale, cfg.canvas) for r in requests]
    text = torch.cat([pipe.encode_prompt(r.prompt, "cpu", 1, False)[0] for r in requests])
    null = torch.cat([pipe.encode_prompt(r.negative_prompt, "cpu", 1, False)[0] for r in requests])
    theirs = pipe(
        prompt_embeds=text, negative_prompt_embeds=null, image=[Image.fromarray(c.on(127)) for c in conditions],
        mask_image=[Image.fromarray(c.inpaint_mask) for c in conditions],
        control_image=[Image.fromarray(p) for p in control_pictures(cfg, conditions)], height=cfg.canvas, width=cfg.canvas,
        strength=1.0, num_inference_steps=cfg.steps, guidance_scale=cfg.guidance, output_type="np",
        controlnet_conditioning_scale=cfg.conditioning_scale,
        generator=[torch.Generator().manual_seed(r.seed) for r in requests],
    ).images  # fmt: skip
    ours = generator.generate(requests)
    for picture, background, placed in zip(ours, theirs, conditions, strict=True):
        outside = placed.alpha == 0
        assert np.array_equal(picture[outside], np.rint(background * 255).astype(np.uint8)[outside])


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_every_scheduler_says_what_clean_picture_it_is_heading_for(name, prediction):
    """With a net that knows the truth, the estimate is the truth at any step."""
    options = {"prediction_type": prediction, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    known = set(getattr(diffusers, name)._get_init_keys(getattr(diffusers, name)))
    scheduler = schedulers.make(GeneratorConfig.from_dict({"kind": "mini", "scheduler": name}), {k: v for k, v in options.items() if k in known})
    scheduler.set_timesteps(8)
    truth, noise = torch.randn(2, 4, 8, 8, generator=torch.manual_seed(0)), torch.randn(2, 4, 8, 8)
    t = scheduler.timesteps[3]
    sample = scheduler.add_noise(truth, noise, t.reshape(1))
    scheduler.scale_model_input(sample, t)
    if name in ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"):
        sigma = scheduler.sigmas[scheduler.step_index]
        alpha, sigma_of = 1 / (sigma**2 + 1).sqrt(), sigma / (sigma**2 + 1).sqrt()
    else:
        abar = scheduler.alphas_cumprod[t.long()]
        alpha, sigma_of = abar.sqrt(), (1 - abar).sqrt()
    output = noise if prediction == "epsilon" else alpha * noise - sigma_of * truth
    found = schedulers.clean_estimate(scheduler, output, t, sample, 3)
    assert torch.allclose(found, truth, atol=2e-3), (found - truth).abs().max()


def test_every_scheduler_draws_and_is_part_of_the_key(load):
    keys = set()
    for name in SCHEDULERS:
        generator = load(scheduler=name)
        (picture,) = generator.generate([request_of(1)])
        assert picture.shape == (64, 64, 3) and np.array_equal(picture, generator.generate([request_of(1)])[0])
        keys.add(generator.key)
    keys.add(load(scheduler="DPMSolverMultistepScheduler", scheduler_options={"use_karras_sigmas": True}).key)
    assert len(keys) == len(SCHEDULERS) + 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scheduler": "MagicScheduler"}, "there are: DDIMScheduler"),
        ({"scheduler_options": {"no_such": 1}}, "DDIMScheduler has no setting no_such"),
        ({"dtype": "float16"}, "on a GPU only"),
        ({"dtype": "int8"}, "float32, float16 and bfloat16"),
        ({"canvas": 100}, "multiple of 8"),
        ({"batch": 0}, "at least 1"),
        ({"steps": "40"}, "steps is a whole number, not '40'"),
        ({"steps": 5000}, "1 to 1,000"),
        ({"guidance": float("nan")}, "guidance is a number, not nan"),
        ({"vae_slicing": "yes"}, "true or false"),
        ({"control": "edge"}, "there are edges and product"),
        ({"base": 7}, "base is text"),
        ({"device": "cuda"}, 'set its "device" to "cpu"'),
    ],
)
def test_settings_that_cannot_be_drawn_with_are_refused_in_words(folder, values, words):
    if values.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=words):
        Generator.load(tiny_sd_config(folder, **values))


def _half(file, _):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _others(file, folder):
    file.write_bytes(next((folder / "vae").glob("*.safetensors")).read_bytes())


@pytest.mark.parametrize("spoil", [_half, _others])
@pytest.mark.parametrize("net", ["unet", "text_encoder", "controlnet"])
def test_weights_that_are_damaged_or_anothers_are_refused_in_words(folder, tmp_path, net, spoil):
    """Filled in at random they would draw, and something else at every load."""
    mine = shutil.copytree(folder, tmp_path / "mine")
    spoil(next((mine / net).glob("*.safetensors")), folder)
    with pytest.raises(ValueError, match="is damaged or belongs to another model .* get it again"):
        Generator.load(tiny_sd_config(mine))


def save_lora(generator, folder):
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = type(generator.pipeline.unet).from_config(generator.pipeline.unet.config)
    unet.load_state_dict(generator.pipeline.unet.state_dict())
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v", "to_out.0"]))
    layers = convert_state_dict_to_diffusers({k: v * 3 for k, v in get_peft_model_state_dict(unet).items()})
    generator.pipeline.save_lora_weights(folder, unet_lora_layers=layers, safe_serialization=True)


def test_a_lora_changes_the_picture_by_its_scale_and_is_part_of_the_key(load, tmp_path):
    torch.manual_seed(1)
    save_lora(load(), tmp_path / "lora")
    file = tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    assert file.is_file()
    full, half, none = (load(lora=str(tmp_path / "lora"), lora_scale=scale) for scale in (1.0, 0.5, 0.0))
    plain = load()
    pictures = [generator.generate([request_of(1)])[0] for generator in (plain, none, half, full)]
    assert np.array_equal(pictures[0], pictures[1])
    assert largest_difference(pictures[0], pictures[2]) > 0
    assert largest_difference(pictures[2], pictures[3]) > 0
    assert len({plain.key, full.key, half.key, none.key}) == 4
    assert load(lora=str(file), lora_scale=1.0).key == full.key
    (tmp_path / "lora" / "second.safetensors").write_bytes(file.read_bytes())
    (tmp_path / "lora" / "third.safetensors").write_bytes(file.read_bytes())
    file.unlink()
    with pytest.raises(ValueError, match="holds several LoRAs"):
        load(lora=str(tmp_path / "lora"), lora_scale=0.9)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_lora_weights.bin").write_bytes(b"pickle")
    with pytest.raises(OSError, match="reading them can run code"):
        load(lora=str(tmp_path / "pickled"))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="damaged.safetensors is damaged or belongs to another model"):
        load(lora=str(damaged))


def test_layouts_and_memory_savers_change_hardly_a_pixel_but_are_told_apart(load):
    plain = load()
    picture = plain.generate([request_of(1), request_of(2)])[0]
    for values in ({"channels_last": True}, {"attention_slicing": True}, {"vae_slicing": False}):
        other = load(**values)
        assert largest_difference(other.generate([request_of(1), request_of(2)])[0], picture) <= 2
        assert other.key != plain.key
    half = load(dtype="bfloat16")
    assert half.pipeline.unet.dtype == torch.bfloat16
    assert np.abs(half.generate([request_of(1)])[0].astype(int) - picture).mean() < 12


class ShortMemory:
    """A U-Net's forward that runs out of memory with more than `most` images (two rows each, for the guidance)."""

    def __init__(self, unet, most):
        self.unet, self.most, self.real, self.seen = unet, most, unet.forward, []

    def __enter__(self):
        def forward(sample, *args, **values):
            self.seen.append(len(sample) // 2)
            if len(sample) > 2 * self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return self.real(sample, *args, **values)

        self.unet.forward = forward
        return self

    def __exit__(self, *_):
        self.unet.forward = self.real


def test_out_of_memory_halves_the_batch_remembers_it_and_loses_nothing(folder, caplog):
    generator = Generator.load(tiny_sd_config(folder, steps=2, batch=8))
    requests = [request_of(seed) for seed in range(9)]
    whole = generator.draw(requests)
    assert [one.shapes for one in whole] == [((0, 8, i),) for i in range(8)] + [((0, 1, 0),)]
    with ShortMemory(generator.pipeline.unet, 3) as short:
        drawn = generator.draw(requests)
    assert [one.shapes[0][1] for one in drawn] == [2] * 8 + [1]
    assert short.seen[:2] == [8, 4] and set(short.seen[2:]) == {2, 1}
    assert "out of memory with 8 images at once: 4 from now on" in caplog.text
    assert max(largest_difference(a.image, b.image) for a, b in zip(whole, drawn, strict=True)) <= 1
    assert np.array_equal(generator.redraw(requests[3], drawn[3].shapes), drawn[3].image)
    assert generator.draw(requests[:4])[0].shapes == ((0, 2, 0),)
    with ShortMemory(generator.pipeline.unet, 0), pytest.raises(torch.OutOfMemoryError):
        generator.draw(requests[:1])


def test_a_batch_is_as_large_as_the_free_memory_holds(monkeypatch):
    size = memory.BatchSize(8, per_image=100)
    for free, expected in ((None, 8), (10_000, 8), (500, 4), (10, 1)):
        monkeypatch.setattr(memory, "free_bytes", lambda _device, free=free: free)
        assert size.now(torch.device("cpu")) == expected
    monkeypatch.undo()
    assert memory.free_bytes(torch.device("cpu")) > 2**20
    assert memory.is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not memory.is_out_of_memory(RuntimeError("shapes differ"))


@pytest.mark.parametrize("name", ["DDIMScheduler", *MULTISTEP])
def test_a_batch_goes_on_without_those_given_up_and_each_is_drawn_again_to_the_bit(load, name):
    generator = load(scheduler=name, batch=5)
    requests = [request_of(seed) for seed in range(5)]
    seen = []

    def keep(step, places, pictures):
        seen.append((step, tuple(places), len(pictures)))
        return [place in ((0, 2, 3) if step == 2 else (2, 3)) for place in places]

    drawn = generator.draw(requests, early_stop=EarlyStop((2, 3), keep))
    assert seen == [(2, (0, 1, 2, 3, 4), 5), (3, (0, 2, 3), 3)]
    assert [one.abandoned_at for one in drawn] == [3, 2, None, None, 2]
    assert drawn[3].shapes == ((0, 5, 3), (2, 3, 2), (3, 2, 1))
    for request, one in zip(requests, drawn, strict=True):
        assert np.array_equal(generator.redraw(request, one.shapes, one.abandoned_at), one.image)
    finished = generator.draw(requests)
    for i in (2, 3):
        assert largest_difference(drawn[i].image, finished[i].image) <= 2
    assert largest_difference(drawn[1].image, finished[1].image) > 2


def test_nothing_is_drawn_on_when_all_are_given_up(load):
    generator = load()
    with ShortMemory(generator.pipeline.unet, 9) as counted:
        drawn = generator.draw([request_of(1), request_of(2)], early_stop=EarlyStop((1,), lambda _s, places, _p: [False] * len(places)))
    assert [one.abandoned_at for one in drawn] == [1, 1] and counted.seen == [2]


@pytest.mark.parametrize("shapes", [[], [(1, 2, 0)], [(0, 2, 2)], [(0, 3, 1), (2, 3, 2)], [(0, 3, 0), (0, 2, 0)]])
def test_shapes_that_no_batch_can_have_had_are_refused(load, shapes):
    with pytest.raises(ValueError, match="batch"):
        load().redraw(request_of(1), shapes)


def test_the_threshold_loses_no_more_good_ones_than_asked():
    rng = np.random.default_rng(0)
    available = rng.random(1000) < 0.5
    middle = np.clip(rng.normal(np.where(available, 0.7, 0.3), 0.2), 0, 1)
    for most_lost in (0.0, 0.02, 0.1):
        found = outcome(middle, available, 6, 16, calibrate(middle, available, most_lost))
        assert found.good_lost <= most_lost and found.steps_saved == pytest.approx(found.given_up * 10 / 16)
    assert found.given_up > 0.3
    assert found.time_saved(1.0, 0.1, 0.5) == pytest.approx((found.steps_saved + 0.5 * found.given_up - 0.1) / 1.5)
    assert calibrate(middle, np.zeros(1000, bool)) == 0.0
    with pytest.raises(ValueError, match="one p and one outcome"):
        calibrate(middle, available[:5])


def test_a_request_for_another_product_in_the_batch_leaves_ours_as_it_is_to_the_bit(load):
    generator = load(batch=5)
    other = DrawRequest(mug()[:, ::-1].copy(), "a blue wall", 77, image_scale=0.8)
    first = generator.draw([request_of(1), *[request_of(5)] * 4])[0].image
    assert np.array_equal(generator.draw([request_of(1), *[other] * 4])[0].image, first)
