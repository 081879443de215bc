"""Model sets: named in sets.json, got by one command, never pickled, and every problem said in a sentence."""

import hashlib
import json

import pytest
from django.core.management import CommandError, call_command

from adproof import model_sets
from adproof.model_sets import Places


@pytest.fixture
def site(settings, tmp_path):
    """A site's own folder of sets."""
    settings.MODEL_SETS_DIR = tmp_path / "models"
    settings.MODEL_SETS_DIR.mkdir()
    return settings.MODEL_SETS_DIR


def write_sets(site, **entries):
    (site / "sets.json").write_text(json.dumps(entries))


def test_the_shipped_set_is_here_and_sound_and_the_papers_names_what_to_get(capsys):
    call_command("modelset", "check", "mini")
    assert "sound" in capsys.readouterr().out
    call_command("modelset", "list")
    told = capsys.readouterr().out
    assert "* mini" in told and "digiplay/majicMIX_realistic_v7" in told and "Intel/dpt-large" in told
    with pytest.raises(CommandError, match="there is no model set 'big'"):
        call_command("modelset", "check", "big")


def test_a_set_is_an_entry_and_no_code(site, capsys):
    depth = site / "ours" / "depth"
    depth.mkdir(parents=True)
    (depth / "model.safetensors").write_bytes(b"weights")
    write_sets(site, ours={"about": "Our own.", "depth": {"name": "our-dpt", "source": "ours/depth"}, "saliency": "mini/saliency/u2netp.onnx"})
    places = Places(site, site)
    assert model_sets.path(model_sets.part("ours", "depth", places), places) == depth
    assert model_sets.path(model_sets.part("ours", "saliency", places), places).name == "u2netp.onnx"  # the package's
    with pytest.raises(ValueError, match="add it to its entry"):
        model_sets.part("ours", "text", places)
    (depth / "SHA256SUMS").write_text("0" * 64 + "  model.safetensors\n" + "1" * 64 + "  config.json\n")
    with pytest.raises(CommandError, match="1 of ours's models"):
        call_command("modelset", "check", "ours")
    told = capsys.readouterr().out
    assert "is not what SHA256SUMS names" in told and "config.json is missing" in told


def test_pickled_weights_are_refused_in_a_sentence(site, capsys):
    (site / "old").mkdir()
    (site / "old" / "pytorch_model.bin").write_bytes(b"pickle")
    write_sets(site, old={"depth": "old"})
    with pytest.raises(CommandError):
        call_command("modelset", "check", "old")
    assert "reading them can run code" in capsys.readouterr().out


def test_what_is_missing_names_the_command_that_gets_it_and_offline_it_says_so(site, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_sets(site, far={"depth": "nobody/nothing-here"})
    places = Places(site, site)
    with pytest.raises(model_sets.ModelMissing, match="manage.py modelset get far"):
        model_sets.path(model_sets.part("far", "depth", places), places)
    with pytest.raises(CommandError, match="HF_HUB_OFFLINE is set: unset it, or copy the model's folder here"):
        call_command("modelset", "get", "far")
    with pytest.raises(CommandError, match="nobody/nothing-here can't be fetched"):
        call_command("modelset", "get", "nobody/nothing-here")


def test_a_file_from_an_address_is_kept_only_whole(site, tmp_path, settings):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a model")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/nets/small.onnx"
    try:
        write_sets(site, near={"saliency": {"source": address, "md5": "0" * 32}})
        with pytest.raises(CommandError, match="another checksum"):
            call_command("modelset", "get", "near")
        assert not list(settings.DATA_DIR.rglob("small.onnx*"))
        write_sets(site, near={"saliency": {"source": address, "md5": hashlib.md5(b"a model").hexdigest()}})
        call_command("modelset", "get", "near")
    finally:
        server.shutdown()
        server.server_close()
    call_command("modelset", "check", "near")
    assert (settings.DATA_DIR / "models/near/saliency/small.onnx").read_bytes() == b"a model"


def test_a_release_with_other_weights_is_another_generator_and_takes_the_place_of_the_one_it_replaces(db, site):
    from adproof.diffusion.config import MINI
    from generation import samples
    from generation.actions import put_in_use, register_generator
    from generation.models import Generator

    before = register_generator("mini", "mini", {"kind": "mini", "steps": 16}, "of an earlier release")
    put_in_use(before)
    now = samples.mini_generator()
    assert now.name == f"mini {now.key[:8]}" and Generator.objects.get(is_in_use=True) == now == samples.mini_generator()
    # Every setting is named, so that a later preset changes none of it; and no path of this machine.
    assert now.config["guidance"] == MINI.guidance and now.config["canvas"] == 128 and "base" not in now.config
    tuned = register_generator("tuned", "mini", {**now.config, "controlnet": "/somewhere"}, "tuned")
    put_in_use(tuned)
    samples.mini_generator()
    assert Generator.objects.get(is_in_use=True) == tuned


def test_a_sites_own_mini_set_draws_in_place_of_the_packages(db, site):
    from generation.model_sets import register_generator_of

    (site / "mini" / "generator").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=f"{site}/mini/generator"):
        register_generator_of("mini")  # not whole: the package's must not draw under its name
