"""What a worker knows about the Redis server."""

import pytest
import redis

from worker.store import Store


def test_uptime_of_a_server_whose_clock_was_set_back_counts_from_when_it_was_first_seen(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, server = [100.0], {"run_id": "one", "uptime_in_seconds": -3600}
    monkeypatch.setattr(redis.Redis, "info", lambda *_: server)
    store = Store(redis_url, clock=lambda: now[0])
    assert store.uptime_seconds() == 0
    now[0] += 30
    assert store.uptime_seconds() == 30
    server["run_id"] = "another"
    assert store.uptime_seconds() == 0
    server["uptime_in_seconds"] = 7
    assert store.uptime_seconds() == 7
