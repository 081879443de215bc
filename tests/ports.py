"""Ports for servers that a test starts."""

import itertools
import os
import socket

# Below 32,768, from where on Linux gives ports to outgoing connections: one of those may take a port that was free a moment
# ago. Each process of the suite looks at others, for both may start a server at once.
FIRST, MANY = 11_000, 10_000
_places = itertools.count(os.getpid() * 64)


def free_ports(n: int = 1, beside: int = 0) -> list[int]:
    """Different ones at each call. beside: the number that is so much higher is free, too."""
    found: list[int] = []
    while len(found) < n:
        port = FIRST + next(_places) % MANY
        if _is_free(port) and (not beside or _is_free(port + beside)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
