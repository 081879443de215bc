"""The paper's models end to end, with tiny random weights of the same classes: a model set, a run, maps, a verdict, the gallery."""

import json

import pytest
from django.core.management import call_command
from django.urls import reverse

torch = pytest.importorskip("torch")

from transformers import DPTConfig, DPTForDepthEstimation  # noqa: E402

from generation import planning, runtime  # noqa: E402
from generation.models import Candidate, Generator  # noqa: E402
from rfnet_service.models import Checkpoint, Verdict  # noqa: E402
from tests import build, tiny_generators  # noqa: E402
from tests.data_rows import do  # noqa: E402


def save_dpt(folder):
    """As Intel/dpt-large: a plain ViT under DPT's neck and head, inverse depth out."""
    torch.manual_seed(0)
    config = DPTConfig(
        is_hybrid=False, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=64,
        patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 16, 16], fusion_hidden_size=16,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(folder)


@pytest.fixture
def tiny_paper(settings, tmp_path, transactional_db):
    from adproof.rfnet.checkpoint import shipped

    models = settings.MODEL_SETS_DIR = tmp_path / "models"
    tiny_generators.save_stable_diffusion(models / "sd")
    save_dpt(models / "dpt")
    generator = {"kind": "sd-controlnet", "base": "sd", "controlnet": "sd/controlnet", "device": "cpu", "dtype": "float32"}
    entry = {
        "generator": {**generator, "canvas": 64, "size": 64, "steps": 4, "scheduler": "UniPCMultistepScheduler"},
        "depth": {"name": "tiny-dpt", "source": "dpt"},
        "saliency": "mini/saliency/u2netp.onnx",
    }
    (models / "sets.json").write_text(json.dumps({"tiny-paper": entry}))
    settings.MODEL_SET = "tiny-paper"
    Checkpoint.objects.create(name="mini", folder=str(shipped("rfnet_init")), sha256="mini", is_promoted=True)
    caches = (runtime.drawer, runtime.depth, runtime.saliency, runtime.quick_saliency)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_a_run_with_the_papers_classes_ends_in_the_gallery(tiny_paper, people, client, capsys):
    call_command("modelset", "check", "tiny-paper")
    call_command("modelset", "use", "tiny-paper")
    assert "tiny-paper draws from now on" in capsys.readouterr().out
    run = planning.start_generation(
        products=[build.product(number) for number in range(2)], prompts=[build.prompt()], attempts=2,
        early_stop={"step": 2, "threshold": 0.0},
    )  # fmt: skip
    part = do(run.parts.get())
    assert part.state == "succeeded", part.error
    run.refresh_from_db()
    assert run.result["draws"] == 2 and 1 <= run.result["mean_attempts"] <= 2
    rows = list(Candidate.objects.order_by("pk"))
    assert all(row.is_perceived and row.depth_model.startswith("tiny-dpt") for row in rows)
    assert Verdict.objects.count() == len(rows) == run.result["images"]
    assert Generator.objects.get(is_in_use=True).config["scheduler"] == "UniPCMultistepScheduler"
    client.force_login(people["olga"])
    assert f"candidates/{rows[0].pk}/" in client.get(reverse("candidates")).content.decode()
    call_command("candidate", "remake", str(rows[0].pk))
    assert "Equal to the bit." in capsys.readouterr().out
