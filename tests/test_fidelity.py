import numpy as np

from adproof.adworld.words import MATERIALS, WALLS, compose_prompt
from adproof.diffusion.fidelity import prompt_fidelity


def flat_scene(material, wall, light=1.0):
    image = np.empty((64, 64, 3))
    image[:32], image[32:] = WALLS[wall], MATERIALS[material]
    return np.rint(np.clip(image * light, 0, 1) * 255).astype(np.uint8)


def test_every_wall_and_surface_of_the_vocabulary_is_recognised():
    pairs = [(m, w) for m in MATERIALS for w in WALLS]
    prompts = [compose_prompt("table", m, w, (), "soft light") for m, w in pairs]
    found = prompt_fidelity([flat_scene(m, w) for m, w in pairs], prompts)
    assert (found.walls, found.surfaces, found.n_walls) == (1.0, 1.0, len(pairs))


def test_another_wall_than_asked_for_counts_against_it():
    prompts = [compose_prompt("table", "light wood", wall, (), "soft light") for wall in ("blue", "red")]
    assert prompt_fidelity([flat_scene("light wood", "blue")] * 2, prompts).walls == 0.5


def test_prompts_without_a_wall_are_left_out():
    prompts = [compose_prompt("floor", "sand", "sky", (), "soft light")]
    found = prompt_fidelity([flat_scene("sand", "blue")], prompts)
    assert found.n_walls == 0
    assert np.isnan(found.walls)
    assert found.surfaces == 1.0
