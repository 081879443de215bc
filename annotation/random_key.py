"""What orders rows at random, the same way each time it is asked."""

import random


def a_random_key() -> float:
    return random.random()
