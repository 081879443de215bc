import numpy as np
import pytest

from adproof.diffusion.recurrent import availability_at, mean_attempts, recurrent_generation

GOOD = np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32)
BAD = np.array([0.3, 0.4, 0.1, 0.1, 0.1], np.float32)


def run(verdicts, attempts):
    return recurrent_generation(
        draw=lambda number: np.full((2, 2, 3), number, np.uint8),
        judge=lambda image: verdicts[int(image[0, 0, 0]) - 1],
        attempts=attempts,
    )


def test_it_stops_at_the_first_available_image_and_keeps_every_attempt():
    made = run([BAD, GOOD, GOOD], attempts=3)
    assert [a.number for a in made] == [1, 2]
    assert [a.available for a in made] == [False, True]
    assert made[0].image[0, 0, 0] == 1


def test_it_gives_up_after_the_last_attempt():
    made = run([BAD, BAD, GOOD], attempts=2)
    assert len(made) == 2
    assert not made[-1].available


def test_another_rule_may_decide_what_is_available():
    made = recurrent_generation(lambda _: np.zeros((2, 2, 3), np.uint8), lambda _: GOOD, 3, lambda p: p[0] > 0.7)
    assert len(made) == 3


def test_it_refuses_to_draw_nothing():
    with pytest.raises(ValueError, match="at least one"):
        run([GOOD], attempts=0)


def test_availability_at_k_and_cost():
    runs = [run([GOOD], 3), run([BAD, GOOD], 3), run([BAD, BAD, BAD], 3), run([BAD, BAD, GOOD], 3)]
    assert availability_at(runs, 3).tolist() == [0.25, 0.5, 0.75]
    assert mean_attempts(runs) == (1 + 2 + 3 + 3) / 4
