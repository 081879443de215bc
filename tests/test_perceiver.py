"""Depth and saliency in bulk: order, bad pictures, bounds; and the run that makes them for imported candidates."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from adproof.perception.depth import Depth  # noqa: E402
from adproof.perception.perceiver import Maps, Perceiver, Unseen  # noqa: E402
from adproof.perception.pictures import picture_to_png, png_to_depth, png_to_saliency  # noqa: E402
from adproof.perception.precision import chosen_precision  # noqa: E402
from adproof.perception.saliency import Saliency, TorchSaliency, open_saliency  # noqa: E402
from tests import build  # noqa: E402
from tests.test_perception import MINI, ONNX, WEIGHTS, mug  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def perceiver() -> Iterator[Perceiver]:
    made = Perceiver(Depth(MINI / "depth"), TorchSaliency(WEIGHTS, "bf16"), lanes=2, batch=2)
    yield made
    made.close()


def test_the_two_nets_give_the_same_maps_of_many_kinds_of_pictures(perceiver: Perceiver) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (200, 120, 3)).astype(np.uint8)
    slope = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    pictures = [noise, slope, 255 - mug(320, 200)[0]]
    published = Saliency(ONNX).confidence(pictures)
    for one, other in zip(published, TorchSaliency(WEIGHTS, "fp32").confidence(pictures), strict=True):
        assert np.abs(one - other).max() < 1e-3
    halved = perceiver.saliency.confidence(pictures)
    for one, other in zip(published, halved, strict=True):
        assert np.abs(one - other).mean() < 1 / 255


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_torch_without_fused_convolutions_gives_the_same_maps(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = mug(200, 320)
    (fused,) = TorchSaliency(WEIGHTS, precision).confidence([picture])
    monkeypatch.setattr("adproof.perception.saliency.can_fuse", lambda kind: False)
    (plain,) = TorchSaliency(WEIGHTS, precision).confidence([picture])
    difference = np.abs(fused - plain)
    assert difference.max() < 1e-3 if precision == "fp32" else difference.mean() < 0.2 / 255


def test_depth_in_bfloat16_keeps_its_sixteen_bits_and_says_the_same() -> None:
    picture, _ = mug(256, 256)
    exact, halved = (Depth(MINI / "depth", precision=p)([picture])[0].astype(int) for p in ("fp32", "bf16"))
    assert np.abs(exact - halved).mean() < 0.01 * 65535
    assert len(np.unique(halved)) > 1000  # bfloat16 has 256 steps in its upper half


def test_the_precision_is_chosen_by_the_machine_or_by_hand(tmp_path: Path) -> None:
    assert chosen_precision("auto", "cuda") == "bf16"
    assert open_saliency(ONNX, "fp32").precision == "fp32"
    assert open_saliency(ONNX, "bf16").precision == "bf16"
    (tmp_path / "u2net.onnx").write_bytes(ONNX.read_bytes())
    assert isinstance(open_saliency(tmp_path / "u2net.onnx"), Saliency)  # no weights beside it that torch could run
    with pytest.raises(ValueError, match="choose fp32"):
        open_saliency(tmp_path / "u2net.onnx", "bf16")
    with pytest.raises(ValueError, match="fp32 or bf16, not 'int8'"):
        open_saliency(ONNX, "int8")


def test_maps_come_in_the_pictures_order_and_a_bad_picture_spoils_only_itself(perceiver: Perceiver) -> None:
    sizes = [(64, 48), (96, 64), (48, 80), (64, 64), (80, 40)]
    pictures = [picture_to_png(mug(*size)[0]) for size in sizes]
    pictures.insert(1, b"no picture")
    pictures.insert(4, pictures[0][: len(pictures[0]) // 2])
    seen = list(perceiver(pictures))
    assert [isinstance(each, Unseen) for each in seen] == [False, True, False, False, True, False, False]
    assert "no picture of a known kind" in seen[1].why and "cut short" in seen[4].why
    maps = [each for each in seen if isinstance(each, Maps)]
    assert [Image.open(io.BytesIO(each.depth_png)).size for each in maps] == sizes
    whole = mug(64, 48)[0]
    assert np.array_equal(png_to_depth(maps[0].depth_png), perceiver.depth([whole])[0])
    assert np.array_equal(png_to_saliency(maps[0].saliency_png), perceiver.saliency([whole])[0])
    assert list(perceiver([])) == []


def test_pictures_are_taken_as_they_are_needed_however_many_there_are(perceiver: Perceiver) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield mug(32, 32)[0]

    first = next(perceiver(endless()))
    assert isinstance(first, Maps)
    assert taken <= 5 * perceiver.batch


@pytest.mark.django_db
def test_candidates_that_came_without_maps_get_them_and_unreadable_ones_are_listed() -> None:
    from generation.actions import start_perception
    from generation.blobs import blobs
    from generation.models import Candidate, ImportProblem
    from generation.tasks import perceive
    from runs.context import RunContext

    bare = {"depth_sha256": "", "saliency_sha256": "", "depth_model": "", "saliency_model": ""}
    of = build.product(0)
    good, damaged, lost, whole = (build.candidate(number, of=of) for number in range(4))
    Candidate.objects.filter(pk__in=[good.pk, damaged.pk, lost.pk]).update(**bare)
    Candidate.objects.filter(pk=damaged.pk).update(image_sha256=blobs().put(blobs().get(good.image_sha256)[:200]))
    Candidate.objects.filter(pk=lost.pk).update(image_sha256="0" * 64)

    run = start_perception(Candidate.objects.all())
    (part,) = run.parts.all()
    assert part.params["candidates"] == [good.pk, damaged.pk, lost.pk]
    assert part.claim("test")
    for _ in range(2):  # also when it is started again
        assert perceive(RunContext(part)) == {"candidates": 3, "left_out": 2}
    good.refresh_from_db()
    assert png_to_depth(blobs().get(good.depth_sha256)).shape == (64, 64)
    assert good.depth_model.startswith("mini-dpt") and good.saliency_model.startswith("u2netp")
    assert whole.depth_model == "test"
    assert set(ImportProblem.objects.values_list("where", flat=True)) == {f"candidate {damaged.pk}", f"candidate {lost.pk}"}
    assert set(Candidate.objects.lacking_maps()) == {damaged, lost}
