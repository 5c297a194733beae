"""Finds a free port for a server of ours."""

import random
import socket
from itertools import chain, cycle, islice

_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections (from 32,768 on Linux, unless it is configured
otherwise), any of which could take the port before the server does, or while that restarts."""
_TRIES = 100
_in_random_order = cycle(random.sample(_PORTS, len(_PORTS)))
"""So that two servers of one process never get the same port before the first has begun to listen."""


def free_port() -> int:
    """A random port that nobody uses on the loopback interface."""
    for port in chain(islice(_in_random_order, _TRIES), [0]):  # in the end, whatever the system finds
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
