"""What a test has committed is gone before the next one, whoever still writes; and its connection is as good as new."""

import asyncio
import threading
import time

import pytest
from django.core.signals import request_finished, request_started
from django.db import connection, connections, transaction
from psycopg.pq import TransactionStatus

from accounts.models import User
from generation.models import Product
from tests import build, empty_tables

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beside():
    """Runs a function in a thread that has a connection of its own."""
    threads = []

    def start(work):
        def run():
            try:
                work()
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


# PostgreSQL ends whichever of the two looks first, after its deadlock_timeout, and each looks once only. So that it is not the
# late one, that looks much later, and comes to wait, in the database itself, before the other one looks.
OF_THE_OTHER, OF_THE_LATE = "SET deadlock_timeout = '3s'", "SET LOCAL deadlock_timeout = '1min'"
ONCE_SOMEBODY_WAITS_FOR_US = """
    DO $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))
        LOOP PERFORM pg_sleep(0.01); END LOOP;
        UPDATE accounts_user SET first_name = 'late';
    END $$"""


def test_a_deadlock_with_a_late_request_costs_another_try_and_no_connection(beside, monkeypatch):
    monkeypatch.setattr(empty_tables, "PATIENCE_S", 0.1)
    build.product()
    User.objects.create_user("late")
    has_first, ended = threading.Event(), []

    def late_request():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(OF_THE_LATE)
                Product.objects.update(title="late")  # deleted after the people, so the other one comes to wait for this
                has_first.set()
                cursor.execute(ONCE_SOMEBODY_WAITS_FOR_US)
            ended.append("committed")
        except Exception as error:  # noqa: BLE001
            ended.append(error)

    with connection.cursor() as cursor:
        cursor.execute(OF_THE_OTHER)
    beside(late_request)
    assert has_first.wait(60)
    empty_tables.empty_tables()
    assert not Product.objects.exists() and not User.objects.exists()
    assert ended == ["committed"], "the late one was to win"
    assert connection.connection.info.transaction_status == TransactionStatus.IDLE
    with connection.cursor() as cursor:
        cursor.execute("RESET deadlock_timeout")  # the connection goes on to other tests


def test_a_request_that_writes_late_leaves_nothing(beside):
    build.product()
    begun = threading.Event()

    def late_request():
        request_started.send(sender=None, environ={})
        begun.set()
        time.sleep(0.3)
        User.objects.create_user("late")
        request_finished.send(sender=None)

    beside(late_request)
    assert begun.wait(60)
    empty_tables.empty_tables()
    assert not empty_tables.requests.under_way() and not User.objects.exists() and not Product.objects.exists()


def test_under_a_running_loop_as_playwrights_the_connection_is_the_same():
    async def there():
        return connections["default"]

    assert asyncio.run(there()) is connections["default"]


def test_tables_that_do_not_become_empty_are_told_of(monkeypatch):
    monkeypatch.setattr(empty_tables, "_delete_rows", lambda: ["accounts_user"])
    with pytest.raises(AssertionError, match="not empty: .'accounts_user'"):
        empty_tables.empty_tables()
