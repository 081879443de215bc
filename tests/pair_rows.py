"""Pairs for tests: products with a picture of each of two generators."""

from annotation.models import Pair, Project
from annotation.pairs import Wanted, make_pairs
from generation.models import Candidate
from tests import build


def two_generators():
    return build.generator("before"), build.generator("after")


def products(n, per_generator=1, **values):
    """n products with candidates of both generators; returns the two generators' candidates, in the order made."""
    made = {"before": [], "after": []}
    start = Candidate.objects.count()
    for number in range(start, start + n):
        of = build.product(number, **values)
        for place in range(2 * per_generator):
            name = ("before", "after")[place % 2]
            seed = 1000 * number + place
            made[name].append(build.candidate(seed, of=of, generator=build.generator(name)))
    return made["before"], made["after"]


def wanted(**values) -> Wanted:
    before, after = two_generators()
    return Wanted(**{"generators": (before.pk, after.pk), **values})


def pairs(n, overlap=2, name="taste", **values) -> tuple[Project, list[Pair]]:
    """A project with n pairs, in the order of its queue."""
    project = Project.objects.get_or_create(name=name, defaults=values)[0]
    products(n)
    assert make_pairs(project, wanted(overlap=overlap, at_most=n)).made == n
    return project, list(Pair.objects.filter(project=project).order_by("tie"))
