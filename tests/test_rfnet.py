"""RFNet: architecture, preprocessing, training that resumes to the bit, checkpoints and scoring."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from adproof.rfnet import checkpoint as files  # noqa: E402
from adproof.rfnet.checkpoint import load_checkpoint, shipped  # noqa: E402
from adproof.rfnet.config import RFNetConfig, TrainConfig, mini_network, mini_training, paper_training  # noqa: E402
from adproof.rfnet.data import RFNetData, caption_of  # noqa: E402
from adproof.rfnet.head import fit_head  # noqa: E402
from adproof.rfnet.network import FeatureFilter, RFNet  # noqa: E402
from adproof.rfnet.preprocess import RFNetSample, decode_rgb, found_scale, is_placed, pack, place_product  # noqa: E402
from adproof.rfnet.scoring import Scorer, differentiable  # noqa: E402
from adproof.rfnet.text import PAD_ID, train_tokenizer  # noqa: E402
from adproof.rfnet.train import TrainingStopped, learning_rate_at, train  # noqa: E402
from adproof.shards.schema import Picture  # noqa: E402
from tests import version_rows  # noqa: E402

TINY = RFNetConfig(
    resnet={
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 8, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
    pretrained_image="",
    image_size=64,
    grid=2,
    product_alpha=True,
    product_scale=0.5,
    text={
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 20,
        "type_vocab_size": 1,
    },
    pretrained_text="",
    max_caption_tokens=12,
    width=16,
    heads=2,
    n_fusion_layers=1,
    feedforward=16,
)
TRAINING = TrainConfig(
    network=TINY,
    epochs=3,
    learning_rate=3e-3,
    drop_epochs=(2,),
    batch_size=8,
    flip=True,
    head_first=0.3,
    seed=3,
    checkpoint_steps=2,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def sample(rng, label):
    """A red box whose background's brightness is its label: easy to learn."""
    product = np.zeros((64, 64, 4), np.uint8)
    product[16:48, 24:40] = (200, 40, 40, 255)
    picture = rng.integers(0, 20, (64, 64, 3)).astype(np.uint8) + np.uint8(45 * label)
    picture[16:48, 24:40] = (200, 40, 40)
    depth = np.tile(np.linspace(65535, 0, 64).astype(np.uint16)[:, None], (1, 64))
    return RFNetSample(product, picture, depth, product[..., 3], f"Box, about {label} cm tall", label)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return [sample(rng, i % 5) for i in range(40)]


@pytest.fixture(scope="module")
def data(samples):
    return RFNetData.of_samples(samples, ["train"] * 20 + ["validation"] * 10 + ["test"] * 10)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    return folder, train(TRAINING, data, folder)


def weights(folder):
    return files.read_weights(folder / files.WEIGHTS_FILE)


# --- the network ---------------------------------------------------------------------------------------------


def batch(config, n=2):
    size = config.image_size
    pictures = {
        "product": torch.rand(n, 4, size, size),
        "generated": torch.rand(n, 3, size, size),
        "depth": torch.rand(n, 1, size, size),
        "saliency": torch.rand(n, 1, size, size),
    }
    ids = torch.full((n, config.max_caption_tokens), PAD_ID)
    ids[:, :4] = torch.tensor([0, 9, 8, 2])
    return pictures, ids


def test_the_paper_s_preset_is_the_paper_s():
    config = paper_training()
    network = config.network
    assert (network.image_size, network.width, network.heads) == (384, 384, 8)
    assert (network.n_filter_blocks, network.n_fusion_layers) == (1, 3)
    assert network.resnet["depths"] == [3, 4, 6, 3]
    assert (config.epochs, config.learning_rate, config.label_smoothing) == (10, 1e-4, 0.0)
    assert learning_rate_at(config, 4 * 100 + 99, 100) == pytest.approx(1e-4)
    assert learning_rate_at(config, 5 * 100, 100) == pytest.approx(1e-5)


def test_the_feature_filter_is_the_formula():
    block = FeatureFilter(8, 2).eval()
    product, caption = torch.rand(1, 8, 3, 3), torch.rand(1, 5, 8)
    padding = torch.zeros(1, 5, dtype=torch.bool)
    queries = product.flatten(2).transpose(1, 2)
    attended = block.attention(queries, caption, caption)[0].transpose(1, 2).reshape(1, 8, 3, 3)
    expected = block.conv_out(block.conv_attended(attended) * block.conv_product(product)) + product
    torch.testing.assert_close(block(product, caption, padding), expected)


def test_padding_of_a_caption_changes_nothing():
    network = RFNet(TINY).eval()
    pictures, ids = batch(TINY)
    with torch.no_grad():
        short = network(pictures, ids[:, :6])
        torch.testing.assert_close(network(pictures, ids), short)


@pytest.mark.parametrize("off", ["product", "generated", "depth", "saliency", "caption"])
def test_each_modality_can_be_switched_off_and_is_then_not_looked_at(off):
    config = replace(TINY, modalities=tuple(m for m in TINY.modalities if m != off))
    network = RFNet(config).eval()
    pictures, ids = batch(config)
    other = {**pictures, off: torch.rand_like(pictures[off])} if off != "caption" else pictures
    other_ids = ids.clone()
    if off == "caption":
        other_ids[:, 1] = 77
    with torch.no_grad():
        logits = network(pictures, ids)
        assert logits.shape == (2, 5)
        torch.testing.assert_close(network(other, other_ids), logits)


def test_every_modality_is_looked_at():
    network = RFNet(TINY).eval()
    pictures, ids = batch(TINY)
    with torch.no_grad():
        logits = network(pictures, ids)
        for name, picture in pictures.items():
            assert not torch.allclose(network({**pictures, name: torch.rand_like(picture)}, ids), logits)
        assert not torch.allclose(network(pictures, torch.where(ids == 9, 50, ids)), logits)


def test_one_shared_trunk_has_fewer_weights():
    def count(config):
        return sum(p.numel() for p in RFNet(config).trunks.parameters())

    apart = replace(TINY, product_alpha=False)
    assert count(apart) == 4 * count(replace(apart, share_encoder=True))


def test_a_config_survives_json_and_unknown_keys_raise():
    config = mini_training()
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="learning_rat"):
        TrainConfig.from_dict({"learning_rat": 1})
    with pytest.raises(ValueError, match="widht"):
        TrainConfig.from_dict({"network": {"widht": 1}})
    with pytest.raises(ValueError, match="modality"):
        RFNetConfig.from_dict({"modalities": ["smell"]})


def test_timm_encoders_work_or_say_what_is_missing():
    config = replace(TINY, image_encoder="timm:test_resnet")
    try:
        import timm  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install timm"):
            RFNet(config)
    else:
        assert RFNet(config)(*batch(config)).shape == (2, 5)


# --- preprocessing -------------------------------------------------------------------------------------------


def test_a_product_that_lies_on_its_image_stays_where_it_is(samples):
    product = np.roll(samples[0].product, 9, axis=1)
    picture = np.roll(samples[0].generated, 9, axis=1)
    assert is_placed(product, picture)
    planes = pack(replace(samples[0], product=product, generated=picture), TINY)
    assert planes.shape == (9, 64, 64)
    np.testing.assert_array_equal(planes[:4], product.transpose(2, 0, 1))


def test_another_product_picture_is_centred_with_its_longest_side_as_asked(samples):
    cutout = np.zeros((90, 70, 4), np.uint8)
    cutout[5:45, 3:13] = (10, 200, 10, 255)
    placed = place_product(cutout, 64, 0.5)
    rows, columns = np.flatnonzero(placed[..., 3].any(1)), np.flatnonzero(placed[..., 3].any(0))
    assert (rows[0], rows[-1] + 1) == (16, 48)
    assert (columns[0], columns[-1] + 1) == (28, 36)
    np.testing.assert_array_equal(placed[32, 32], (10, 200, 10, 255))


@pytest.mark.parametrize("scale", [0.33, 0.5, 0.72])
def test_a_product_is_found_in_its_image_at_the_size_that_generation_gave_it(scale):
    rng = np.random.default_rng(1)
    cutout = np.zeros((100, 60, 4), np.uint8)
    cutout[..., :3] = rng.integers(0, 255, (10, 6, 3)).repeat(10, 0).repeat(10, 1)
    cutout[..., 3] = 255
    image = rng.integers(100, 140, (256, 256, 3)).astype(np.uint8)
    canvas = place_product(cutout, 256, scale)
    image[canvas[..., 3] == 255] = canvas[..., :3][canvas[..., 3] == 255]
    assert found_scale(cutout, image) == pytest.approx(scale, abs=0.02)
    assert found_scale(cutout, 255 - image) is None


def test_an_empty_product_is_refused():
    with pytest.raises(ValueError, match="alpha is 0"):
        place_product(np.zeros((8, 8, 4), np.uint8), 64, 0.5)


def test_bytes_that_are_no_picture_are_refused():
    with pytest.raises(ValueError, match="not a readable picture"):
        decode_rgb(b"GIF89a-nonsense")


def test_captions_are_title_and_description():
    assert caption_of("Cup.", "12 cm tall") == "Cup. 12 cm tall"
    assert caption_of(None, " Blue ") == "Blue"


def test_any_caption_has_ids_of_one_length():
    tokenizer = train_tokenizer(["a cup of 12 cm"], 300, 8)
    ids = tokenizer(["", "a cup", "汉字 and a very long caption that does not fit into eight tokens"])
    assert ids.shape == (3, 8)
    assert (ids[:, 0] == 0).all()
    assert (ids[0, 2:] == PAD_ID).all()


# --- training ------------------------------------------------------------------------------------------------


def test_it_learns_and_writes_a_complete_checkpoint(trained):
    folder, metrics = trained
    assert metrics.history[-1]["loss"] < metrics.history[0]["loss"]
    assert metrics.n_train == 20
    assert {p.name for p in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "metrics.json",
        "tokenizer.json",
        "SHA256SUMS",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["labels"][0] == "available"
    assert config["temperature"] == metrics.temperature
    assert config["training"] == TRAINING.to_dict()


def test_a_training_stopped_anywhere_ends_with_the_same_weights(trained, data, tmp_path):
    steps = []
    for stop_at in (2, 4):  # within an epoch, and within the next
        with pytest.raises(TrainingStopped, match=f"step {stop_at}"):
            train(
                TRAINING,
                data,
                tmp_path,
                should_stop=lambda at=stop_at: len(steps) >= at,
                on_step=steps.append,
            )
    train(TRAINING, data, tmp_path, on_step=steps.append)
    assert [s["step"] for s in steps] == list(range(1, 10))
    whole, resumed = weights(trained[0]), weights(tmp_path)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_head_fitted_first_tells_apart_what_the_features_tell_apart_and_trusts_no_single_label():
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)) * 5 + 100
    labels = (features[:, 2] > 100).long() * 3
    head = torch.nn.Linear(8, 5)
    fit_head(head, features, labels, 0.01, None)
    assert (head(features).argmax(1) == labels).float().mean() > 0.95
    labels[:3] = 4  # a few wrong ones
    fit_head(head, features, labels, 0.3, None)
    assert (head(features[3:]).argmax(1) == labels[3:]).float().mean() > 0.9
    with pytest.raises(ValueError, match="head_first is 0 or more, not -1"):
        replace(TRAINING, head_first=-1)


def test_a_finished_training_is_not_done_again(trained, data):
    folder, metrics = trained
    steps = []
    again = train(TRAINING, data, folder, on_step=steps.append)
    assert steps == []
    assert again.as_dict() == metrics.as_dict()


def test_another_training_cannot_go_on_in_the_same_folder(trained, data, tmp_path):
    with pytest.raises(ValueError, match="another training"):
        train(TRAINING.with_seed(9), data, trained[0])
    with pytest.raises(TrainingStopped):
        train(TRAINING, data, tmp_path, should_stop=lambda: True)
    with pytest.raises(ValueError, match="other settings"):
        train(TRAINING.with_seed(9), data, tmp_path)


def test_callbacks_get_plain_numbers(data, tmp_path):
    steps, epochs = [], []
    train(replace(TRAINING, epochs=1), data, tmp_path, on_step=steps.append, on_epoch=epochs.append)
    json.dumps(steps + epochs)
    assert {"loss", "learning_rate", "samples_per_s", "step", "steps"} <= steps[0].keys()
    assert epochs[0]["validation"]["n"] == 10


def test_without_training_samples_it_says_what_to_do(samples, tmp_path):
    with pytest.raises(ValueError, match="label some candidates"):
        train(TRAINING, RFNetData.of_samples(samples[:2], ["test", "test"]), tmp_path)


def test_it_starts_from_another_checkpoint_but_not_from_its_head(trained, data, tmp_path):
    from adproof.rfnet.train import start_network

    network, tokenizer = start_network(replace(TRAINING, init=str(trained[0])), [])
    start = weights(trained[0])
    own = network.state_dict()
    assert torch.equal(own["position"], start["position"])
    assert not torch.equal(own["classifier.weight"], start["classifier.weight"])
    assert tokenizer.to_json() == load_checkpoint(trained[0]).tokenizer.to_json()
    with pytest.raises(ValueError, match="do not fit"):
        start_network(replace(TRAINING, init=str(trained[0]), network=replace(TINY, width=32)), [])


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return Picture(file.getvalue(), "a.png")


def write_version(folder, samples):
    splits = ["train"] * 20 + ["validation"] * 10 + ["test"] * 10
    rows = [
        version_rows.sample(
            number, split, title=s.caption, description="", label=s.label, generated_image=png(s.generated),
            product_image=png(s.product), depth_map=png(s.depth), saliency_map=png(s.saliency),
        )
        for number, (s, split) in enumerate(zip(samples, splits, strict=True))
    ]  # fmt: skip
    version_rows.write(folder, rows)
    return folder


def test_a_dataset_version_gives_the_same_tensors_as_its_samples(samples, data, tmp_path):
    version = RFNetData.of_version(write_version(tmp_path / "v1", samples))
    assert len(version) == 40
    packed, expected = version.pack(TINY, tmp_path / "cache.npy"), data.pack(TINY)
    np.testing.assert_array_equal(packed.planes, expected.planes)
    np.testing.assert_array_equal(packed.labels, expected.labels)
    np.testing.assert_array_equal(packed.splits, expected.splits)
    assert packed.captions == expected.captions


def test_a_version_without_manifest_with_a_strange_label_or_without_a_column_is_refused(samples, tmp_path):
    from pyarrow import parquet

    folder = write_version(tmp_path / "v1", samples)
    shard = next((folder / "data").glob("train-*"))
    table = parquet.read_table(shard)
    place = table.column_names.index("label")
    parquet.write_table(table.set_column(place, "label", [[7] * len(table)]), shard)
    with pytest.raises(ValueError, match="0..4"):
        RFNetData.of_version(folder).pack(TINY)
    parquet.write_table(table.drop_columns(["depth_map"]), shard)
    with pytest.raises(ValueError, match="no column depth_map"):
        RFNetData.of_version(folder).pack(TINY)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="unfinished version"):
        RFNetData.of_version(folder)


# --- checkpoints and scoring ---------------------------------------------------------------------------------


def test_scores_are_probabilities_and_do_not_depend_on_the_batch(trained, samples):
    scorer = Scorer(trained[0], batch_size=7)
    probabilities = scorer(samples)
    assert probabilities.shape == (40, 5)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(scorer(samples[3:4]), probabilities[3:4], atol=1e-5)
    np.testing.assert_allclose(Scorer(trained[0])(samples), probabilities, atol=1e-5)
    assert scorer([]).shape == (0, 5)


def test_the_temperature_is_part_of_the_scores(trained, samples):
    scorer = Scorer(trained[0])
    packed = RFNetData.of_samples(samples, ["test"] * 40).pack(TINY)
    from adproof.rfnet.preprocess import unpack

    with torch.no_grad():
        logits = scorer.network(unpack(torch.from_numpy(packed.planes)), scorer.tokens(packed.captions))
    expected = torch.softmax(logits / scorer.checkpoint.temperature, 1).numpy()
    np.testing.assert_allclose(scorer(samples), expected, atol=1e-5)


def test_the_differentiable_form_agrees_and_gives_gradient_to_all_pictures(trained, samples):
    scorer = Scorer(trained[0])
    module = differentiable(scorer)
    big = [s.generated.repeat(2, 0).repeat(2, 1) for s in samples[:3]]  # 128 px
    pictures = {
        "product": scorer.products([s.product for s in samples[:3]], placed=True),
        "generated": torch.from_numpy(np.stack(big)).permute(0, 3, 1, 2).float() / 255,
        "depth": torch.from_numpy(np.stack([s.depth >> 8 for s in samples[:3]]).astype(np.float32) / 255)[:, None],
        "saliency": torch.from_numpy(np.stack([s.saliency for s in samples[:3]]))[:, None].float() / 255,
    }
    for picture in pictures.values():
        picture.requires_grad_(True)
    logits = module.train()(*pictures.values(), scorer.tokens([s.caption for s in samples[:3]]))
    np.testing.assert_allclose(torch.softmax(logits, 1).detach().numpy(), scorer(samples[:3]), atol=1e-5)
    logits[:, 0].sum().backward()
    for name, picture in pictures.items():
        assert picture.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in module.parameters())


def test_a_pickle_is_refused_with_what_to_do(trained, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(ValueError, match="can run any code.*safetensors"):
        load_checkpoint(path)
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin.*Convert"):
        load_checkpoint(tmp_path / "folder")


def copied(folder, to):
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_pickle_renamed_to_safetensors_is_refused(trained, tmp_path):
    folder = copied(trained[0], tmp_path / "c")
    (folder / files.WEIGHTS_FILE).write_bytes(pickle.dumps({"weight": 1}))
    files.write_sums(folder, [files.WEIGHTS_FILE])
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_checkpoint(folder)


def test_damaged_and_unfinished_checkpoints_are_refused(trained, tmp_path):
    folder = copied(trained[0], tmp_path / "c")
    data = bytearray((folder / files.WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / files.WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ValueError, match="sha256 differs"):
        load_checkpoint(folder)
    (folder / files.SUMS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="not a finished checkpoint"):
        load_checkpoint(folder)


def test_a_strange_config_key_is_refused(trained, tmp_path):
    folder = copied(trained[0], tmp_path / "c")
    config = json.loads((folder / files.CONFIG_FILE).read_text())
    config["network"]["wings"] = 2
    files.write_json(folder / files.CONFIG_FILE, config)
    files.write_sums(folder, [files.WEIGHTS_FILE, files.CONFIG_FILE])
    with pytest.raises(ValueError, match="wings"):
        load_checkpoint(folder)


def test_the_shipped_start_fits_the_mini_preset(samples, tmp_path):
    start = load_checkpoint(shipped("rfnet_init"))
    assert start.config == mini_network()
    config = replace(mini_training(), epochs=1, batch_size=20)
    metrics = train(config, RFNetData.of_samples(samples[:25], ["train"] * 20 + ["validation"] * 5), tmp_path)
    assert metrics.test is None
    assert metrics.validation is not None
