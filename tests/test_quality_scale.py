"""The quality pages where there are many answers: they read what the fit counted, and the newest rows."""

import time

import pytest
from django.core.cache import cache
from django.db import connection
from django.urls import reverse

from accounts.models import User
from annotation.models import Annotation, Project
from tests import crowd_rows
from tests.empty_tables import may_skip_triggers

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ANNOTATORS = 50

ANSWERS = """
    INSERT INTO annotation_annotation (id, task_id, candidate_id, annotator_id, label, seconds, state,
        guidelines_version, shown, details, created_at)
    SELECT gen_random_uuid(), t.id, t.candidate_id, %(first)s + ((t.id * 7 + k * 17) %% %(people)s),
        CASE WHEN random() < 0.8 THEN t.id %% 5 ELSE floor(random() * 5)::int END, 1 + random() * 6, 'standing',
        1, '{}', '{}', now() - random() * interval '40 days'
    FROM annotation_task t, generate_series(0, 2) k WHERE t.project_id = %(project)s"""
TASKS = """
    INSERT INTO annotation_task (project_id, candidate_id, overlap, priority, tie, reason, round_number, is_gold,
        is_open, created_at)
    SELECT %s, id, 3, 0, random(), '', 0, false, false, now() FROM generation_candidate
    WHERE id NOT IN (SELECT candidate_id FROM annotation_task)"""


def more_candidates(n):
    base = crowd_rows.candidates(1)[0] if not Project.objects.exists() else Project.objects.first().tasks.first().candidate
    columns = [field.column for field in base._meta.concrete_fields if not field.primary_key]
    own = {"key": "md5(random()::text) || md5(random()::text)", "draw": "gen_random_uuid()", "seed": "g"}
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO generation_candidate ({', '.join(columns)})"
            f" SELECT {', '.join(own.get(name, f'b.{name}') for name in columns)}"
            " FROM generation_candidate b, generate_series(1, %s) g WHERE b.id = %s",
            [n, base.pk],
        )


def answered(n, people):
    """n more candidates with three answers each, as rows."""
    with connection.cursor() as cursor:
        if may_skip_triggers():  # rows that fit are made here: looking up what each refers to takes longer than making them
            cursor.execute("SET LOCAL session_replication_role = replica")
        more_candidates(n)
        project = Project.objects.create(name=f"{n} more", overlap=3)
        cursor.execute(TASKS, [project.pk])
        cursor.execute(ANSWERS, {"first": people[0], "people": len(people), "project": project.pk})
        cursor.execute("ANALYZE")
        cursor.execute("RESET session_replication_role")  # what the test itself writes is looked up
    crowd_rows.fit()


def seconds(client, url):
    best = 1e9
    for _ in range(7):
        cache.clear()  # as for the first visitor: nothing is kept
        started = time.perf_counter()
        assert client.get(url).status_code == 200
        best = min(best, time.perf_counter() - started)
    return best


def test_three_hundred_thousand_answers_make_the_pages_no_slower_than_a_visitor_notices(client, people):
    client.force_login(people["max"])
    ids = sorted(user.pk for user in crowd_rows.users([f"person-{n}" for n in range(ANNOTATORS)]).values())
    assert ids[-1] - ids[0] == ANNOTATORS - 1
    urls = [reverse("quality"), reverse("annotators"), reverse("annotator", args=[ids[0]]), reverse("quality-table", args=["days"])]
    answered(1_000, ids)
    few = {url: seconds(client, url) for url in urls}
    answered(100_000, ids)
    assert Annotation.objects.count() > 300_000 and User.objects.count() > ANNOTATORS
    many = {url: seconds(client, url) for url in urls}
    for url in urls:
        # One person's page compares their newest 2,000 answers: with 60 answers there is less to compare.
        assert many[url] < 3 * few[url] + 0.3, (url, few[url], many[url])
