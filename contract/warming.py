"""What samplers are asked before a name means another generator: its first picture, so that they load it."""

import secrets
from typing import Any

from contract.keys import SAMPLES_REPLIES_OF, Role
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask

PATIENCE_SECONDS = 2.0
"""Longer than a generator takes to be read and probed; whoever moves a name waits no longer, if so long."""
LIVES_SECONDS = 10
"""What a sampler that has just died was asked is gone by then."""


def living_samplers(workers: list[dict[str, Any]]) -> list[str]:
    """The names of those that take asks now, from what all workers say of themselves."""
    active = [one for one in workers if one["role"] == Role.SAMPLE and one.get("active")]
    return [one["name"] for one in active if "name" in one]  # those of another version may have none


def first_picture(digest: str, place: CheckpointPlace, redis_seconds: int) -> Ask:
    """An ask that nobody else can answer or await: to a list of its own, by Redis TIME as it is now."""
    deadline_ms = round(1000 * (redis_seconds + PATIENCE_SECONDS + 1))
    spec = SampleSpec(digest=digest, seed=0, count=1)
    return Ask(secrets.token_hex(8), secrets.token_hex(6), deadline_ms, spec, place)


def answers_to(ask: Ask) -> str:
    """The list to which samplers push what they answer to it."""
    return SAMPLES_REPLIES_OF + ask.gateway
