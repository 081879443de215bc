"""Prepared statements in few round trips: a transaction like any other, with or without preparing."""

import pytest
from django.db import IntegrityError, ProgrammingError, connection

from annotation import prepared, statements
from annotation.models import Project
from annotation.statements import TYPES
from tests.test_queue import fill, leased, save

ADD = "INSERT INTO annotation_team (name, created_at) VALUES (%(token)s, %(now)s)"
COUNT = "SELECT count(*) FROM annotation_team WHERE name <> %(token)s"


@pytest.fixture(params=[True, False], ids=["prepared", "behind a pooler"])
def either_way(request, settings):
    settings.DATABASE_PREPARES = request.param


@pytest.fixture
def values():
    from django.utils import timezone

    return {"token": "o'brien; --", "now": timezone.now()}


def teams():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM annotation_team")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)
class TestTrips:
    def test_the_rows_of_each_statement_come_back(self, either_way, values):
        with prepared.trips() as trip:
            assert trip.run(COUNT, ADD, COUNT, values=values) == [[(0,)], [], [(0,)]]
            assert trip.run(COUNT, values={**values, "token": "x"}, last=True) == [[(1,)]]
        assert teams() == ["o'brien; --"]

    def test_it_is_committed_at_its_end_without_a_last_statement(self, either_way, values):
        with prepared.trips() as trip:
            trip.run(ADD, values=values)
        assert teams() == ["o'brien; --"] and not connection.in_atomic_block

    def test_whatever_is_raised_takes_all_back(self, either_way, values):
        with pytest.raises(KeyError), prepared.trips() as trip:
            trip.run(ADD, values=values)
            raise KeyError
        assert teams() == []

    def test_an_error_of_the_database_takes_all_back_and_the_connection_goes_on(self, either_way, values):
        with pytest.raises(IntegrityError), prepared.trips() as trip:
            trip.run(ADD, values=values)
            trip.run(ADD, values=values, last=True)
        assert teams() == []
        with prepared.trips() as trip:
            trip.run(ADD, values=values, last=True)
        assert teams() == ["o'brien; --"]

    def test_a_connection_that_breaks_in_the_middle_is_not_used_again(self, values):
        with pytest.raises(Exception), prepared.trips() as trip:  # noqa: B017, PT011 - whatever the driver says
            trip.run(ADD, values=values)
            connection.connection.close()
            trip.run(ADD, values=values, last=True)
        assert teams() == []

    def test_each_statement_is_prepared_once_a_connection(self, values, django_assert_num_queries):
        prepared.run(COUNT, values=values)
        with django_assert_num_queries(1):
            prepared.run(COUNT, values=values)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = %s", [prepared._prepared(COUNT).name])
            assert cursor.fetchone() == (1,)


def test_within_another_transaction_it_is_a_part_of_it(db, either_way, values):
    with pytest.raises(IntegrityError), prepared.trips() as trip:
        trip.run(ADD, ADD, values=values, last=True)
    assert teams() == []
    with prepared.trips() as trip:
        trip.run(ADD, values=values, last=True)
    assert teams() == ["o'brien; --"]


def test_the_desk_works_without_preparing(db, people, settings):
    settings.DATABASE_PREPARES = False
    project = Project.objects.create(name="behind a pooler", overlap=1, gold_percent=50)
    tasks = fill(project, 3)
    for task in leased(people["alice"], project):
        assert save(people["alice"], task, 2).status == "saved"
    assert {task.pk for task in tasks} == set(project.tasks.filter(is_open=False).values_list("pk", flat=True))


def test_every_value_of_the_statements_has_a_type():
    texts = [text for name, text in vars(statements).items() if name.isupper() and isinstance(text, str)]
    texts.append(statements.lease(60))
    once = {"read_at", "candidate", "lapsed", "reviewer"}  # of the fit and of reviews, which are not prepared
    assert {value for text in texts for value in prepared._VALUE.findall(text)} <= set(TYPES) | once


def test_a_wrong_statement_says_so(db, values):
    with pytest.raises(ProgrammingError, match="nowhere"):
        prepared.run("SELECT %(token)s FROM nowhere", values=values)
