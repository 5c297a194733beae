"""Ports for servers that are started later, and restarted."""

import socket

import pytest

from service import ports
from service.ports import free_port

GIVEN_OUT_FROM = 32_768
"""The first port that Linux gives to outgoing connections by default; others begin higher."""


def test_port_is_never_one_that_an_outgoing_connection_could_take_first() -> None:
    assert all(free_port() < GIVEN_OUT_FROM for _ in range(20))


def test_no_port_is_named_twice() -> None:
    named = [free_port() for _ in range(1_000)]
    assert len(set(named)) == len(named)


def test_taken_ports_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "_in_random_order", iter([taken]))
        assert free_port() not in (0, taken)
