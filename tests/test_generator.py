import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adproof.diffusion import generator as generators  # noqa: E402
from adproof.diffusion.conditions import prepare  # noqa: E402
from adproof.diffusion.generator import PAPER, DrawRequest, Generator, GeneratorConfig, enlarge  # noqa: E402
from tests import tiny_generators  # noqa: E402
from tests.product_pictures import mug  # noqa: E402


@pytest.fixture(scope="module")
def mini_folder(tmp_path_factory):
    return tiny_generators.save_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def mini(mini_folder):
    return Generator.load({"kind": "mini", "base": str(mini_folder), "steps": 3, "batch": 3})


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    folder = tiny_generators.save_stable_diffusion(tmp_path_factory.mktemp("sd"))
    return Generator.load(tiny_sd_config(folder))


def tiny_sd_config(folder, **values):
    config = {"kind": "sd-controlnet", "base": str(folder), "controlnet": str(folder / "controlnet"), "steps": 3}
    return config | {"canvas": 64, "size": 64, "dtype": "float32", "device": "cpu", "batch": 3} | values


@pytest.fixture(params=["mini", "stable_diffusion"])
def generator(request):
    return request.getfixturevalue(request.param)


def request_of(seed, prompt="on a table in front of blue wall", **values):
    return DrawRequest(mug(), prompt, seed, image_scale=0.5, **values)


def largest_difference(a, b):
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_the_product_is_in_the_picture_to_the_bit(generator):
    image = generator.generate([request_of(1)])[0]
    size = generator.config.size
    placed = prepare(mug(), 0.5, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    opaque = placed.alpha == 255
    assert opaque.any()
    assert np.array_equal(image[opaque], placed.canvas_rgba[opaque][:, :3])


def test_every_opaque_pixel_of_real_products_is_their_own_at_full_size(mini_folder):
    """The mini set's path: drawn at 128 px, enlarged, the product laid over it at 512; scaled here by Pillow alone."""
    from PIL import Image

    from adproof.adworld.catalogue import products

    mini = Generator.load({"kind": "mini", "base": str(mini_folder), "steps": 1})
    chosen = [entry.image() for entry in products()[::16]]
    drawn = mini.generate([DrawRequest(rgba, "on a table", 1, image_scale=0.72) for rgba in chosen])
    for rgba, picture in zip(chosen, drawn, strict=True):
        rows, columns = np.nonzero(rgba[..., 3] >= 8)
        cut = Image.fromarray(rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
        factor = 0.72 * 512 / max(cut.size)
        own = np.asarray(cut.resize([round(side * factor) for side in cut.size], Image.Resampling.LANCZOS))
        top, left = (512 - own.shape[0]) // 2, (512 - own.shape[1]) // 2
        there = picture[top : top + own.shape[0], left : left + own.shape[1]]
        opaque = own[..., 3] == 255
        assert opaque.sum() > 1000
        assert np.array_equal(there[opaque], own[opaque][:, :3])


def test_a_seed_draws_the_same_picture_again_and_another_seed_another(generator):
    first, again, other = (generator.generate([request_of(seed)])[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert largest_difference(first, other) > 3


def test_batch_neighbours_do_not_change_a_picture(generator):
    requests = [request_of(1), request_of(2, "a red cup"), request_of(3, negative_prompt="blue")]
    together = generator.generate(requests)
    alone = [generator.generate([r])[0] for r in requests]
    assert max(largest_difference(a, b) for a, b in zip(together, alone, strict=True)) <= 1


def test_more_requests_than_a_batch_come_back_in_order(generator):
    requests = [request_of(seed) for seed in range(4)]
    images = generator.generate(requests)
    assert len(images) == 4
    assert largest_difference(images[3], generator.generate([requests[3]])[0]) <= 1


def test_prompt_guidance_and_negative_prompt_count(stable_diffusion):
    plain, red, negative = stable_diffusion.generate(
        [request_of(1), request_of(1, "red cup"), request_of(1, negative_prompt="a cup beside it")]
    )
    assert largest_difference(plain, red) > 0
    assert largest_difference(plain, negative) > 0


def test_every_step_is_told_and_can_end_the_drawing(mini):
    told = []
    mini.generate([request_of(seed) for seed in range(4)], on_step=lambda done, total: told.append((done, total)))
    assert told == [(i, 6) for i in range(1, 7)]

    class Enough(Exception):
        pass

    def stop(done, _total):
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        mini.generate([request_of(1)], on_step=stop)
    assert len(mini.generate([request_of(1)])) == 1


def test_a_product_that_cannot_be_drawn_is_refused_before_any_step(mini):
    empty = DrawRequest(np.zeros((8, 8, 4), np.uint8), "on a table", 1)
    with pytest.raises(ValueError, match="transparent"):
        mini.generate([request_of(1), empty], on_step=lambda *_: pytest.fail("a step was drawn"))


def test_the_key_names_settings_and_weights_and_not_where_they_lie(mini, mini_folder, tmp_path):
    config = {"kind": "mini", "base": str(mini_folder), "steps": 3}
    moved = tmp_path / "moved"
    shutil.copytree(mini_folder, moved)
    assert Generator.load(config | {"base": str(moved), "batch": 1}).key == mini.key
    assert Generator.load(config | {"steps": 4}).key != mini.key
    weights = moved / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert Generator.load(config | {"base": str(moved)}).key != mini.key


def test_a_tuned_controlnet_takes_the_place_of_the_bases_own(mini, mini_folder, tmp_path):
    tuned = tmp_path / "tuned"
    shutil.copytree(mini_folder / "controlnet", tuned)
    config = {"kind": "mini", "base": str(mini_folder), "steps": 3, "batch": 3, "controlnet": str(tuned)}
    assert Generator.load(config).key == mini.key
    net = mini.pipeline.controlnet.from_pretrained(tuned)
    with torch.no_grad():
        net.controlnet_mid_block.weight.add_(0.3)
    net.save_pretrained(tuned)
    other = Generator.load(config)
    assert other.key != mini.key
    assert largest_difference(other.generate([request_of(1)])[0], mini.generate([request_of(1)])[0]) > 0


def test_pickled_weights_are_not_loaded(mini_folder, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(mini_folder, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        Generator.load({"kind": "mini", "base": str(folder)})


def test_missing_weights_are_named_with_the_way_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="hf download nobody/nothing-here"):
        Generator.load({"kind": "sd-controlnet", "base": "nobody/nothing-here"})
    with pytest.raises(FileNotFoundError, match="no model folder"):
        Generator.load({"kind": "mini", "base": str(tmp_path / "absent")})


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="kind 'maxi' is unknown"):
        GeneratorConfig.from_dict({"kind": "maxi"})
    with pytest.raises(ValueError, match="unknown generator settings: stepz"):
        GeneratorConfig.from_dict({"kind": "mini", "stepz": 3})


def test_the_papers_settings_are_the_default_of_their_kind():
    assert GeneratorConfig.from_dict({"kind": "sd-controlnet"}) == PAPER
    assert (PAPER.steps, PAPER.guidance, PAPER.conditioning_scale, PAPER.lora_scale) == (40, 7.5, 1.0, 0.8)
    assert PAPER.base == "digiplay/majicMIX_realistic_v7"
    assert PAPER.controlnet == "lllyasviel/control_v11p_sd15_canny"


def test_enlarging_leaves_no_rim_of_the_small_product():
    placed = prepare(mug(), 0.5, 128)
    background = np.full((128, 128, 3), 90, np.uint8)
    background[placed.alpha > 0] = (255, 0, 0)
    assert largest_difference(enlarge(background, placed.alpha, 512), np.full((512, 512, 3), 90, np.uint8)) <= 1


def test_the_tokenizer_keeps_each_word_of_the_vocabulary_whole(mini_folder):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(mini_folder / "tokenizer")
    assert tokenizer.tokenize("On a table, in front of BLUE wall") == [
        "on</w>", "a</w>", "table</w>", ",</w>", "in</w>", "front</w>", "of</w>", "blue</w>", "wall</w>"
    ]  # fmt: skip
    assert tokenizer.unk_token_id not in tokenizer("zebra", add_special_tokens=False).input_ids


def test_what_a_long_prompt_says_beyond_the_encoders_tokens_is_named_and_has_no_effect(mini):
    read = "on a table " * 10  # 30 tokens, and the start and the end of the text
    assert mini.unread(read) == mini.unread("") == ""
    assert mini.unread(read + "in front of BLUE wall") == "in front of BLUE wall"
    shorter, longer = (mini.generate([request_of(1, text)])[0] for text in (read, read + "in front of blue wall"))
    assert np.array_equal(shorter, longer)


@pytest.mark.skipif(not (generators.MINI_FOLDER / "model_index.json").exists(), reason="mini generator not trained yet")
def test_the_shipped_mini_generator_loads_and_draws_at_full_size():
    index = json.loads((generators.MINI_FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionControlNetInpaintPipeline"
    mini = Generator.load({"kind": "mini", "steps": 2})
    image = mini.generate(
        [request_of(1, "on a light wood table, in front of blue wall, nothing beside it, soft light")]
    )[0]
    assert image.shape == (512, 512, 3)
    assert image.std() > 10
