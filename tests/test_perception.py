import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from adproof.perception.depth import Depth, TorchDepth, mini_config, predicted_distance  # noqa: E402
from adproof.perception.depth_training import (  # noqa: E402
    DepthPairs,
    DepthTraining,
    augmented,
    depth_loss,
    fresh_network,
    measure,
    rate_at,
    train,
)
from adproof.perception.saliency import Saliency, cut_out  # noqa: E402
from adproof.perception.u2netp import TorchU2NetP  # noqa: E402

MINI = Path(__file__).parents[1] / "adproof" / "models" / "mini"
ONNX = MINI / "saliency" / "u2netp.onnx"
WEIGHTS = MINI / "saliency" / "u2netp.safetensors"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def saliency() -> Saliency:
    return Saliency(ONNX)


def mug(width: int = 320, height: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """A red mug on a pale table, and where it is."""
    where = Image.new("L", (width, height))
    draw = ImageDraw.Draw(where)
    x, y, u = width // 2, height // 2, min(width, height) // 8
    draw.rounded_rectangle((x - 2 * u, y - 2 * u, x + u, y + 2 * u), u // 2, fill=255)
    draw.ellipse((x + u // 2, y - u, x + 2 * u, y + u), outline=255, width=u // 3)
    picture = Image.new("RGB", (width, height), (222, 218, 210))
    picture.paste((178, 30, 35), (0, 0), where)
    return np.array(picture), np.array(where) > 127


# --- saliency ---------------------------------------------------------------------------------------------------


def test_the_shipped_weights_are_the_published_ones() -> None:
    assert hashlib.md5(ONNX.read_bytes()).hexdigest() == "8e83ca70e441ab06c318d82300c84806"
    card = (MINI / "saliency" / "MODEL_CARD.md").read_text("utf-8")
    for path in (ONNX, WEIGHTS):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_the_torch_net_gives_what_the_onnx_file_gives(saliency: Saliency) -> None:
    picture, _ = mug(320, 320)
    with torch.no_grad():
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        ours = TorchU2NetP(WEIGHTS).confidence(x)[0, 0].numpy()
    (published,) = saliency.confidence([picture])
    assert published.max() > 0.9
    assert np.abs(ours - published).max() < 1e-3


def test_the_conversion_gives_the_shipped_torch_weights() -> None:
    pytest.importorskip("onnx")
    from safetensors.torch import load_file

    from adproof.perception.convert_u2netp import convert

    converted, shipped = convert(ONNX.read_bytes()), load_file(WEIGHTS)
    assert converted.keys() == shipped.keys()
    assert all(torch.equal(converted[name], shipped[name]) for name in shipped)


def test_saliency_finds_the_mug_at_the_pictures_own_size(saliency: Saliency) -> None:
    picture, where = mug(300, 220)
    (found,) = saliency([picture])
    assert found.shape == (220, 300) and found.dtype == np.uint8
    assert found.min() == 0 and found.max() == 255
    assert found[where].mean() > 230 and found[~where].mean() < 15


def test_saliency_takes_many_pictures_of_different_sizes_on_more_threads(saliency: Saliency) -> None:
    pictures = [mug(320, 240)[0], mug(100, 180)[0]]
    side_by_side = Saliency(ONNX, threads=2)(pictures)
    assert [each.shape for each in side_by_side] == [(240, 320), (180, 100)]
    for one, other in zip(side_by_side, saliency(pictures), strict=True):
        assert np.array_equal(one, other)
    assert saliency([]) == []


def test_saliency_refuses_what_is_no_rgb_picture(saliency: Saliency) -> None:
    for wrong in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            saliency([wrong])
    with pytest.raises(FileNotFoundError, match="no saliency model"):
        Saliency(MINI / "missing.onnx")


@pytest.mark.parametrize("size", [(128, 128), (192, 160)])
def test_the_torch_net_has_a_gradient_at_small_sizes(size: tuple[int, int]) -> None:
    picture, where = mug(*size)
    x = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255).requires_grad_()
    found = TorchU2NetP(WEIGHTS)(x)
    assert found.shape == (1, 1, size[1], size[0])
    assert found.min().item() == 0 and found.max().item() == pytest.approx(1)
    inside = torch.from_numpy(where)
    assert found[0, 0][inside].mean() > 0.8 > 0.2 > found[0, 0][~inside].mean()
    found[0, 0][inside].mean().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


def test_a_flat_picture_gives_a_finite_map_and_gradient() -> None:
    x = torch.full((2, 3, 64, 64), 0.0, requires_grad=True)
    TorchU2NetP(WEIGHTS)(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_the_torch_net_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        TorchU2NetP()(torch.zeros(1, 3, 100, 128))


# --- cutting out ------------------------------------------------------------------------------------------------


def test_a_cut_out_keeps_the_colours_and_finds_the_product(saliency: Saliency) -> None:
    picture, where = mug(400, 300)
    cut = cut_out(picture, saliency)
    assert cut.shape == (300, 400, 4) and np.array_equal(cut[..., :3], picture)
    found = cut[..., 3] > 127
    assert (found & where).sum() / (found | where).sum() > 0.9


@pytest.mark.parametrize(
    "picture",
    [
        np.full((200, 200, 3), 200, np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8),
    ],
    ids=["plain", "black", "noise"],
)
def test_where_nothing_or_everything_stands_out_it_says_what_to_do(picture: np.ndarray, saliency: Saliency) -> None:
    with pytest.raises(ValueError, match="no object found.*plain background"):
        cut_out(picture, saliency)


# --- depth ------------------------------------------------------------------------------------------------------


def rooms(n: int, size_px: int, seed: int) -> DepthPairs:
    """A wall over a floor that comes nearer downwards; the horizon differs from picture to picture."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((n, size_px, size_px, 3), np.uint8)
    depths = np.full((n, size_px, size_px), 255, np.uint8)
    for row in range(n):
        horizon = int(rng.integers(size_px // 5, 4 * size_px // 5))
        pictures[row, :horizon], pictures[row, horizon:] = (230, 225, 220), (90, 60, 40)
        depths[row, horizon:] = np.linspace(230, 25, size_px - horizon)[:, None].astype(np.uint8)
    return DepthPairs(pictures, depths)


SMALL = DepthTraining(size_px=32, steps=60, batch=8, warm_up_steps=10, save_every_steps=20)


def test_the_loss_counts_errors_and_their_slopes() -> None:
    truth = torch.rand(2, 1, 32, 32)
    assert depth_loss(truth, truth, 0.5) == 0
    assert depth_loss(truth + 0.25, truth, 0.5) == pytest.approx(0.25, abs=1e-5)
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1
    # one edge between 16, 8, 4, 2 columns
    slopes = 1 / 15 + 1 / 7 + 1 / 3 + 1
    assert depth_loss(step, torch.zeros_like(step), 0.5) == pytest.approx(0.5 + 0.5 * slopes, abs=1e-5)
    with pytest.raises(ValueError, match="truth is"):
        depth_loss(torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8), 0.5)


def test_augmentation_mirrors_truth_with_the_picture_and_stays_in_range() -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(64, 1, 32, 32)
    x, truth = augmented(ramp.expand(64, 3, 32, 32), ramp, torch.Generator().manual_seed(0))
    assert x.min() >= 0 and x.max() <= 1
    rising = truth[:, 0, 0, -1] > truth[:, 0, 0, 0]
    assert 0 < rising.sum() < 64
    assert torch.equal(rising, x[..., -4:].mean((1, 2, 3)) > x[..., :4].mean((1, 2, 3)))


def test_the_rate_climbs_then_falls() -> None:
    config = DepthTraining(steps=1000, warm_up_steps=100, learning_rate=1e-3)
    assert rate_at(0, config) == pytest.approx(1e-5)
    assert rate_at(100, config) == pytest.approx(1e-3)
    assert rate_at(550, config) == pytest.approx(1e-3 * (0.01 + 0.99 / 2))
    assert rate_at(999, config) < 2e-5


@pytest.mark.slow
def test_it_learns_rooms_and_beats_answers_that_do_not_look(tmp_path: Path) -> None:
    pairs = rooms(64, 32, seed=0)
    losses: list[float] = []
    network = train(SMALL, pairs, tmp_path, lambda step, loss: losses.append(loss))
    errors = measure(network, rooms(32, 32, seed=1), pairs)
    assert len(losses) == 60 and losses[-1] < losses[0]
    assert errors.net < 0.6 * errors.mean_map < errors.constant


def test_a_broken_off_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = DepthTraining(size_px=32, steps=8, batch=4, warm_up_steps=2, save_every_steps=3)
    pairs = rooms(16, 32, seed=0)
    whole = train(config, pairs, tmp_path / "whole", lambda *_: None).state_dict()
    steps: list[int] = []
    train(config, pairs, tmp_path / "broken", lambda step, _: steps.append(step), lambda: len(steps) == 5)
    resumed = train(config, pairs, tmp_path / "broken", lambda step, _: steps.append(step)).state_dict()
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="other settings"):
        train(DepthTraining(size_px=32, steps=9), pairs, tmp_path / "broken", lambda *_: None)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="do not match"):
        DepthPairs(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 9), np.uint8))


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dpt")
    fresh_network(DepthTraining(size_px=64)).save_pretrained(folder)
    return folder


def test_depth_maps_have_sixteen_bits_and_the_pictures_size(random_folder: Path) -> None:
    found = Depth(random_folder)([mug(100, 80)[0], mug(64, 64)[0]] * 9)
    assert len(found) == 18
    assert found[0].shape == (80, 100) and found[1].shape == (64, 64)
    assert all(each.dtype == np.uint16 for each in found)
    assert Depth(random_folder)([]) == []
    with pytest.raises(ValueError, match="uint8"):
        Depth(random_folder)([np.zeros((9, 9, 4), np.uint8)])


def test_a_batch_gives_what_single_pictures_give(random_folder: Path) -> None:
    depth = Depth(random_folder)
    pictures = [mug(64, 64)[0], mug(128, 64)[0]]
    for alone, together in zip((depth([each])[0] for each in pictures), depth(pictures), strict=True):
        assert np.abs(alone.astype(int) - together.astype(int)).max() <= 8


def test_the_layer_has_a_gradient_and_agrees_with_the_maps(random_folder: Path) -> None:
    picture, _ = mug(64, 64)
    x = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255).requires_grad_()
    found = TorchDepth(random_folder)(x)
    assert found.shape == (1, 1, 64, 64)
    found.mean().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    (written,) = Depth(random_folder)([picture])
    assert np.abs(found.detach()[0, 0].numpy() - written / 65535).max() < 1e-3


class InverseDepth(torch.nn.Module):  # type: ignore[misc]
    """Answers as a published DPT does: the redder the nearer, on a scale of its own."""

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(predicted_depth=300 + 50 * pixel_values[:, 0])


def test_published_checkpoints_give_inverse_depth_which_is_turned_round_in_each_picture() -> None:
    x = torch.zeros(2, 3, 1, 3)
    x[:, 0, 0] = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.3, 0.4]])
    distance = predicted_distance(InverseDepth(), x, gives_distance=False)
    assert torch.allclose(distance[:, 0, 0], torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0]]), atol=1e-5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        mini_config(100)


def test_a_missing_model_is_an_error_and_fetches_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Depth(tmp_path / "missing")
