"""The accounts of simulated annotators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rest_framework.authtoken.models import Token

from accounts.models import User
from adproof.simulate import SimulatedAnnotator, crowd


def simulated_people(n: int, seed: int) -> list[tuple[str, SimulatedAnnotator]]:
    """(token, annotator) of n accounts that can only be used by token; the same seed gives the same people."""
    return accounts_of(crowd(n, np.random.default_rng(seed)))


def accounts_of(annotators: Sequence[SimulatedAnnotator]) -> list[tuple[str, SimulatedAnnotator]]:
    """Each with the token of an account, made if need be, that can only be used by token."""
    people = []
    for annotator in annotators:
        user, made = User.objects.get_or_create(
            username=f"sim-{annotator.name}", defaults={"is_simulated": True, "role": "annotator"}
        )
        if made:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        elif not user.is_simulated:
            raise ValueError(f"{user.username} is a person's account: rename it to simulate annotators")
        token, _ = Token.objects.get_or_create(user=user)
        people.append((token.key, annotator))
    return people
