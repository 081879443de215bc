"""The shipped mini set tells what it is; and one command trains it again, going on where it was cut off."""

import sys
from pathlib import Path

import pytest

from adproof import mini_set
from adproof.mini_set import QUICK, SHIPPED, Step, StepFailed, finish, problems


def test_every_shipped_part_has_a_full_card_and_sums_and_all_of_it_is_small() -> None:
    parts = {path.name for path in SHIPPED.iterdir() if path.is_dir()}
    assert parts == {"depth", "generator", "judge", "rfnet_init", "saliency"}
    assert problems(SHIPPED) == []


def test_a_changed_file_or_a_card_that_keeps_silent_is_told(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "config.json").write_text("{}")
    finish(tmp_path / "depth", {}, 0)
    assert problems(tmp_path) == [
        "depth: its MODEL_CARD.md does not tell: data, command, seed, minutes, measured, licence"
    ]
    (tmp_path / "depth" / "config.json").write_text("{ }")
    assert "depth: config.json is missing or not the one in SHA256SUMS" in problems(tmp_path)


@pytest.fixture
def two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training of two steps, of which the second fails until a file is there."""
    second = f"import pathlib, sys; sys.exit(0 if pathlib.Path({str(tmp_path / 'mended')!r}).exists() else 'no such thing')"
    steps = [
        Step("first", (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'a').write('x'); print('0.5 error')"), "depth"),
        Step("second", (sys.executable, "-c", second), "depth"),
    ]
    monkeypatch.setattr(mini_set, "steps_of", lambda *_: steps)
    return tmp_path


def test_a_training_that_was_cut_off_goes_on_and_ends_with_cards(two_steps: Path) -> None:
    work, out, said = two_steps / "work", two_steps / "out", []
    (out / "depth").mkdir(parents=True)
    with pytest.raises(StepFailed, match="no such thing\n.*give the same command again"):
        mini_set.train(work, out, QUICK, 0, said.append)
    (two_steps / "mended").touch()
    done = mini_set.train(work, out, QUICK, 0, said.append)
    assert (two_steps / "ran").read_text() == "x"  # once
    assert "1/2 first: done before" in said and list(done) == ["first", "second"]
    card = (out / "depth" / "MODEL_CARD.md").read_text()
    assert all(word in card.lower() for word in mini_set.CARD_SAYS) and "Seed: 0" in card
    with pytest.raises(ValueError, match="another seed"):
        mini_set.train(work, out, QUICK, 1, said.append)
    with pytest.raises(ValueError, match="no step is called third; there are: first, second"):
        mini_set.train(work, out, QUICK, 0, said.append, ["third"])


@pytest.mark.slow
def test_the_quick_training_runs_every_step_but_the_generators(tmp_path: Path) -> None:
    """Over a minute, because each step starts torch anew; the generator's stages have a test of their own."""
    wanted = ["catalogue", "scenes", "saliency", "depth"]
    done = mini_set.train(tmp_path / "work", tmp_path / "out", QUICK, 0, lambda _: None, wanted)
    assert list(done) == wanted and done["catalogue"].last_line.startswith("90 products")
    assert not [each for each in problems(tmp_path / "out") if each.startswith("depth")]
