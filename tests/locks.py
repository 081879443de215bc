"""Who waits for whom in the database."""

from django.db import connection


def somebody_waits_for_us() -> bool:
    """Whether another transaction stands waiting for a lock that this one holds.

    On this server others' tests wait for locks too, in databases of their own; and within a transaction pg_stat_activity
    shows those connections only that there were when it was first asked.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)) LIMIT 1")
        return cursor.fetchone() is not None
