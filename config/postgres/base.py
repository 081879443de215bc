"""Django's PostgreSQL backend, except that it never hands out a pooled connection whose server is gone.

Asking the server before every request (CONN_HEALTH_CHECKS) costs a round trip each; looking at the socket costs nothing:
a connection that rests has nothing to read, unless the server has said goodbye or the line is cut.
"""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base


def is_alive(connection: psycopg.Connection) -> bool:
    try:
        resting = select.poll()
        resting.register(connection.pgconn.socket, select.POLLIN)
        if not resting.poll(0):
            return True
        connection.execute("")  # a notice can be read as well: the server says which it is
        return True
    except (psycopg.Error, OSError, ValueError):
        return False


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        while True:
            connection = super().get_new_connection(conn_params)
            if not self.pool or is_alive(connection):
                return connection
            connection.close()
            self.pool.putconn(connection)  # the pool makes another in its place
