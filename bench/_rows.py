"""Rows of a platform for load tests, made where they are counted by the million; prints what the load needs as JSON."""

from __future__ import annotations

import argparse
import json
import os


def fill(n_tasks: int, name: str = "bench", overlap: int = 3) -> int:
    """A project with tasks over as many candidates; returns its number. No picture files are needed."""
    from django.db import connection

    from annotation.models import Project
    from generation.models import Candidate, Generator, Product, Prompt

    values = {"sku": "bench", "title": "Lamp", "image_sha256": "0" * 64, "width_px": 512, "height_px": 512}
    product, _ = Product.objects.get_or_create(sku="bench", defaults=values)
    prompt, _ = Prompt.objects.get_or_create(name="bench", defaults={"text": "on a table"})
    generator, _ = Generator.objects.get_or_create(name="bench", defaults={"kind": "mini", "key": "bench"})
    project = Project.objects.create(name=name, overlap=overlap)
    before = Candidate.objects.count()
    # One by the ORM, so that every column has what the code gives it; the others are its copies.
    first = Candidate.objects.create(
        product=product, prompt=prompt, generator=generator, prompt_text="on a table", image_scale=0.5, seed=before,
        draw=f"00000000-0000-0000-0000-{before:012d}", key=f"{before:064x}", image_sha256=f"{before:064x}",
        depth_sha256="1" * 64, saliency_sha256="2" * 64,
    )  # fmt: skip
    own = {
        "seed": "%(before)s + n", "draw": "gen_random_uuid()", "key": "lpad(to_hex(%(before)s + n), 64, '0')",
        "image_sha256": "lpad(to_hex(%(before)s + n), 64, '0')",
    }  # fmt: skip
    columns = [field.column for field in Candidate._meta.local_concrete_fields if not field.primary_key]
    given = {"first": first.pk, "n": n_tasks - 1, "before": before, "project": project.pk, "overlap": overlap}
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO generation_candidate ({', '.join(columns)})"
            f" SELECT {', '.join(own.get(column, 'c.' + column) for column in columns)}"
            " FROM generation_candidate c, generate_series(1, %(n)s) n WHERE c.id = %(first)s",
            given,
        )
        cursor.execute(
            "INSERT INTO annotation_task (project_id, candidate_id, overlap, priority, tie, reason, round_number,"
            " is_gold, is_open, created_at)"
            " SELECT %(project)s, id, %(overlap)s, 0, random(), 'bench', 0, false, true, now()"
            " FROM generation_candidate WHERE id >= %(first)s ORDER BY id",
            given,
        )
        cursor.execute(
            "INSERT INTO annotation_slot (task_id, number, is_filled)"
            " SELECT t.id, number, false FROM annotation_task t, generate_series(0, t.overlap - 1) number"
            " WHERE t.project_id = %(project)s",
            given,
        )
    return project.pk


def settle() -> None:
    """What autovacuum and the checkpointer would do in the next minutes, so that they do not do it meanwhile."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, nargs="+", required=True, help="a project of each")
    parser.add_argument("--annotators", type=int, required=True)
    args = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.core.management import call_command

    from annotation.crowd import simulated_people

    call_command("migrate", verbosity=0)
    projects = [fill(n_tasks, f"bench {number}") for number, n_tasks in enumerate(args.tasks)]
    tokens = [token for token, _ in simulated_people(args.annotators, seed=1)]
    settle()
    print(json.dumps({"projects": projects, "tokens": tokens}))


if __name__ == "__main__":
    main()
