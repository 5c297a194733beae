"""Ports for servers that are started later, and restarted."""

import socket
from pathlib import Path

import pytest

from service import ports
from service.ports import free_port

GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not GIVEN_OUT.exists(), reason="only Linux tells which ports it gives out")
def test_no_outgoing_connection_can_take_the_port() -> None:
    first, last = map(int, GIVEN_OUT.read_text().split())
    if first <= ports._PORTS.stop and last >= ports._PORTS.start:
        pytest.skip("this machine gives out nearly all ports")
    assert all(free_port() not in range(first, last + 1) for _ in range(20))


def test_taken_ports_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "_PORTS", (taken,))
        monkeypatch.setattr(ports, "_TRIES", 1)
        assert free_port() not in (0, taken)
