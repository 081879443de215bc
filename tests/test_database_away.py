"""What people and programs are told while PostgreSQL is away. tests/test_desk_faults.py really takes it away."""

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import RequestFactory
from psycopg_pool import PoolTimeout

from config.database_away import DatabaseAway, is_away


def error(cause, kind=OperationalError):
    made = kind("server closed the connection unexpectedly")
    made.__cause__ = cause
    return made


@pytest.mark.parametrize(
    "cause",
    [
        psycopg.OperationalError("no route"), PoolTimeout("5 s"), psycopg.errors.AdminShutdown(), psycopg.errors.CrashShutdown(),
        psycopg.errors.CannotConnectNow(), psycopg.errors.TooManyConnections(), psycopg.errors.ConnectionFailure(),
    ],
)  # fmt: skip
def test_a_broken_connection_is_the_database_being_away(cause):
    assert is_away(error(cause))


def test_a_closed_connection_too():
    assert is_away(error(psycopg.InterfaceError("the connection is closed"), InterfaceError))


@pytest.mark.parametrize("cause", [psycopg.errors.DiskFull(), psycopg.errors.DeadlockDetected(), psycopg.errors.QueryCanceled()])
def test_a_statement_that_failed_by_itself_is_not(cause):
    assert not is_away(error(cause))
    assert not is_away(ValueError("x"))


@pytest.mark.parametrize(("method", "says"), [("get", "This page tries by itself"), ("post", "may not be stored")])
def test_a_page_says_so_without_asking_the_database(method, says):
    request = getattr(RequestFactory(), method)("/desk/")
    response = DatabaseAway(lambda _: None).process_exception(request, error(psycopg.OperationalError("gone")))
    html = response.content.decode()
    assert response.status_code == 503 and response["Retry-After"] == "2"
    assert says in html and ("http-equiv" in html) == (method == "get")


def test_programs_get_json():
    response = DatabaseAway(lambda _: None).process_exception(RequestFactory().post("/api/v1/desk/lease"), error(None))
    assert response.status_code == 503 and b'"detail"' in response.content


@pytest.mark.django_db
def test_whatever_else_goes_wrong_is_left_to_others():
    assert DatabaseAway(lambda _: None).process_exception(RequestFactory().get("/"), ValueError("x")) is None
    assert connection.settings_dict["ENGINE"] == "config.postgres"
