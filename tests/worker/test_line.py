"""A sampler may take asks from the middle of the line, if no other has."""

import redis

from contract.keys import SAMPLES_WAITING
from tests.worker.asking import Gateway
from worker.line import Line


def test_ask_that_another_sampler_has_taken_meanwhile_is_left_to_it(gateway: Gateway, redis_url: str) -> None:
    line = Line(redis.Redis.from_url(redis_url), "sample-1")
    asks = [gateway.ask(seed) for seed in range(3)]
    gateway.push(b"no ask", *asks, asks[2])
    seen = line.look(9)
    assert [one.ask for one in seen] == [*asks, asks[2]]
    gateway.redis.lrem(SAMPLES_WAITING, 0, asks[0].pack())
    assert line.remove([seen[0], seen[2]]) == [asks[2]]
    assert gateway.redis.lrange(SAMPLES_WAITING, 0, -1) == [b"no ask", asks[1].pack().encode()]
    assert line.remove([]) == []
